//! How a server behaves, and what it takes from strangers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::script::Script;

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// Keys that open it, each a tenant of its own; none lets everybody in.
    pub keys: Vec<String>,
    /// Listen beyond this machine without keys.
    pub open_to_all: bool,
    /// Host names it answers to, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Origins whose pages may talk to it; `*` is all.
    pub origins: Vec<String>,
    /// Tokens of an answer that names no limit; none leaves it to the context.
    pub tokens: Option<u32>,
    /// Whether the model thinks when a request does not say.
    pub thinking: bool,
    /// Ignore what requests say about sampling while the model thinks, as the official service.
    pub official_sampling: bool,
    /// Added tokens in messages and files are tokens, as in the official encoder.
    pub added_tokens_in_data: bool,
    /// Tools stand before the system text.
    pub tools_first: bool,
    /// Calls are delivered as they are written instead of whole.
    pub live_calls: bool,
    /// Tenants see each other's prefixes: faster, and no longer private.
    pub share_prefixes: bool,
    /// Where to write what every request became.
    pub trace: Option<PathBuf>,
    /// Where what was said outlives the server.
    pub keep: Option<Keep>,
    /// What the model shall say, for tests.
    pub script: Option<Script>,
    /// How much is taken.
    pub limits: Limits,
    /// How long things may take.
    pub patience: Patience,
}

/// Where turns and replies are kept over a restart.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The folder, made if need be.
    pub folder: PathBuf,
    /// Most bytes in it.
    pub bytes: u64,
}

/// How much is taken from a client.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of all headers of a request.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of all bodies that are being read and understood.
    pub bodies_bytes: usize,
    /// Messages of a conversation.
    pub messages: usize,
    /// Tools of a request.
    pub tools: usize,
    /// Bytes of a schema that answers must match.
    pub schema_bytes: usize,
    /// Stop strings of a request.
    pub stops: usize,
    /// Bytes of a stop string.
    pub stop_bytes: usize,
    /// Answers to one request.
    pub choices: u32,
    /// Requests that may wait for a slot.
    pub waiting: usize,
    /// Bytes of turns that can be repeated, and as many of replies that can be gone on from.
    pub remembered_bytes: usize,
}

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the headers of a request.
    pub headers: Duration,
    /// For its body.
    pub body: Duration,
    /// Between two events of a stream that has nothing to say.
    pub alive: Duration,
    /// For a client to take what it is sent.
    pub stall: Duration,
    /// For requests under way when the server stops.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8000)),
            keys: Vec::new(),
            open_to_all: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            tokens: None,
            thinking: true,
            official_sampling: false,
            added_tokens_in_data: false,
            tools_first: false,
            live_calls: false,
            share_prefixes: false,
            trace: None,
            keep: None,
            script: None,
            limits: Limits::default(),
            patience: Patience::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            header_bytes: 64 << 10,
            headers: 100,
            body_bytes: 16 << 20,
            bodies_bytes: 128 << 20,
            messages: 20_000,
            tools: 2048,
            schema_bytes: 256 << 10,
            stops: 16,
            stop_bytes: 1024,
            choices: 8,
            waiting: 64,
            remembered_bytes: 256 << 20,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(20),
            body: Duration::from_secs(60),
            alive: Duration::from_secs(5),
            stall: Duration::from_secs(120),
            drain: Duration::from_secs(30),
        }
    }
}
