//! `ds4 serve`: a private model vendor at an address of this machine.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use ds4_server::{Config, Keep, Limits, Loading, Model, ServeError, Server};

use crate::kv::TierArgs;
use crate::loading::{ModelArgs, Wants};
use crate::manners::Hinted;
use crate::{interrupts, manners, progress};

/// Tokens of context where nobody says: what agents work with.
const CONTEXT: u32 = 131_072;

/// Serve a model to coding agents and SDKs: Chat Completions, Responses, Messages, Completions.
///
/// It listens before the model is loaded (`/health` tells how far that is), writes a line to stderr
/// for every request, and at the first Ctrl-C or SIGTERM lets answers under way come to their end.
/// docs/server.md describes every route.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Address to listen on. Other machines reach it at 0.0.0.0, which needs a key.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "DS4_HOST",
        value_parser = address)]
    host: IpAddr,
    /// Port to listen on; 0 takes any free one.
    #[arg(long, default_value_t = 8000, env = "DS4_PORT")]
    port: u16,
    /// Answers that are written at the same time. Each may fill the whole context: memory for that
    /// is set aside.
    #[arg(long, value_name = "N", default_value_t = 4, env = "DS4_SESSIONS",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    sessions: u16,
    /// Requests that may wait; more are told to come back.
    #[arg(long, value_name = "N", default_value_t = 64, env = "DS4_WAITING",
        value_parser = clap::value_parser!(u16).range(0..=4096))]
    waiting: u16,
    /// A key that opens the server, may be given several times. Each is a tenant of its own: none
    /// sees what another's prompts have left in memory. Other users of this machine can see flags:
    /// a file is safer.
    #[arg(long, value_name = "KEY")]
    api_key: Vec<String>,
    /// A file of keys, one a line; `#` begins a comment.
    #[arg(long, value_name = "FILE", env = "DS4_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Listen beyond this machine without a key: whoever reaches the port may use the model.
    #[arg(long)]
    without_key: bool,
    /// A name the server is called by, besides addresses and localhost. Others are refused: a page
    /// could make its own name mean this machine.
    #[arg(
        long,
        value_name = "NAME",
        env = "DS4_ALLOW_HOST",
        value_delimiter = ','
    )]
    allow_host: Vec<String>,
    /// Let pages of these origins use the server; without a value, all pages.
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, require_equals = true,
        default_missing_value = "*", value_delimiter = ',', env = "DS4_CORS")]
    cors: Vec<String>,
    /// Most tokens of an answer whose request names no limit, thoughts included [default: what the
    /// context has room for].
    #[arg(short = 'n', long, value_name = "TOKENS", env = "DS4_TOKENS",
        value_parser = clap::value_parser!(u32).range(1..))]
    tokens: Option<u32>,
    /// Answer at once when a request does not say whether to think.
    #[arg(long)]
    nothink: bool,
    /// While the model thinks, draw tokens as its makers do, whatever requests say.
    #[arg(long)]
    official_sampling: bool,
    /// Read the names of control tokens in messages and files as control tokens, as the official
    /// encoder does. Whoever writes them can then forge turns.
    #[arg(long)]
    tokens_in_data: bool,
    /// Put tools before the system text: projects with the same tools share more of their prompts.
    #[arg(long)]
    tools_first: bool,
    /// Send calls while they are written. Some clients run calls that were cut off.
    #[arg(long)]
    live_calls: bool,
    /// Let keys share what their prompts have in common: faster, and told by how long a prompt
    /// takes.
    #[arg(long)]
    share_prefixes: bool,
    /// Write a file here for every answer: request, prompt, what was cached, output.
    #[arg(long, value_name = "FOLDER", env = "DS4_TRACE")]
    trace: Option<PathBuf>,
    /// Go to this folder first: files are then meant from there.
    #[arg(long, value_name = "FOLDER")]
    chdir: Option<PathBuf>,
    #[command(flatten)]
    kv: TierArgs,
}

const EXAMPLES: &str = "\
Examples:
  ds4 serve -m flash.gguf --kv-disk-dir ~/.cache/ds4/kv
  ds4 serve -m flash.gguf --host 0.0.0.0 --api-key-file ~/.config/ds4/keys
  curl -s localhost:8000/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \
\"content\": \"Hi\"}]}'";

/// An address, or the usual name of this machine.
fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        _ => text
            .parse()
            .map_err(|_| "not an address, such as 127.0.0.1 or ::".to_owned()),
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    ds4_engine::few_arenas();
    if let Some(folder) = &args.chdir {
        let shown = folder.display();
        std::env::set_current_dir(folder).with_context(|| format!("cannot go to {shown}"))?;
    }
    let interrupts = interrupts::catch()?;
    let server = Server::bind(args.config()?, Box::new(io::stderr())).map_err(explain)?;
    manners::say(&format!("listening on http://{}", server.address()));
    let loading = server.loading();
    let model = args.model.with_usual_ctx(CONTEXT);
    let (model, stop) = (model.with_tiers(&args.kv), interrupts.clone());
    let sessions = usize::from(args.sessions);
    let loader = thread::spawn(move || {
        let loaded = model.open().and_then(|file| {
            follow(&loading, file.file_bytes());
            let model = model.load_from(&file, Wants::Sessions(sessions))?;
            Ok(Model::new(model.engine, &model.name)?)
        });
        match loaded {
            Ok(model) => {
                let context = model.engine().context();
                let ready = format!(
                    "{} is ready: {sessions} answers at a time, {context} tokens of context",
                    model.id()
                );
                loading.ready(model);
                manners::say(&ready);
                Ok(())
            }
            Err(error) => {
                // Nothing will ever be answered.
                stop.press();
                Err(error)
            }
        }
    });
    let drained = server.run(interrupts.flag()).map_err(explain)?;
    if loader.is_finished() {
        let loaded = loader.join();
        loaded.unwrap_or_else(|_| Err(anyhow::anyhow!("loading the model failed")))?;
    }
    manners::say(match drained {
        true => "stopped; every answer came to its end",
        false => "stopped; some answers were cut off",
    });
    Ok(())
}

/// From now on `/health` says how far reading and uploading are.
fn follow(loading: &Loading, bytes: u64) {
    loading.progress(0, bytes);
    let loading = loading.clone();
    progress::tell(move |done, total| loading.progress(done, total));
}

impl Args {
    fn config(&self) -> Result<Config> {
        let mut keys = self.api_key.clone();
        if let Some(file) = &self.api_key_file {
            keys.extend(read_keys(file)?);
        }
        if let Some(empty) = keys.iter().position(|key| key.trim().is_empty()) {
            let message = format!("key {} is empty", empty + 1);
            return Err(Hinted::senseless(message, "give a key, or none"));
        }
        Ok(Config {
            address: SocketAddr::new(self.host, self.port),
            keys,
            open_to_all: self.without_key,
            hosts: self.allow_host.clone(),
            origins: self.cors.clone(),
            tokens: self.tokens,
            thinking: !self.nothink,
            official_sampling: self.official_sampling,
            added_tokens_in_data: self.tokens_in_data,
            tools_first: self.tools_first,
            live_calls: self.live_calls,
            share_prefixes: self.share_prefixes,
            trace: self.trace.clone(),
            keep: self
                .kv
                .turns()
                .map(|(folder, bytes)| Keep { folder, bytes }),
            limits: Limits {
                waiting: usize::from(self.waiting),
                ..Limits::default()
            },
            ..Config::default()
        })
    }
}

fn read_keys(file: &Path) -> Result<Vec<String>> {
    let shown = file.display();
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read the keys in {shown}"))?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let keys: Vec<String> = lines
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect();
    match keys.is_empty() {
        true => Err(Hinted::senseless(
            format!("there is no key in {shown}"),
            "write one a line",
        )),
        false => Ok(keys),
    }
}

/// What to do about it, where that is known.
fn explain(error: ServeError) -> anyhow::Error {
    let hint = match &error {
        ServeError::Exposed { .. } => {
            "give it a key with --api-key-file, or say --without-key if that is meant"
        }
        ServeError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "another server is there: stop it, or choose another --port"
        }
        ServeError::Listen { .. } => "choose another --host or --port",
        _ => return error.into(),
    };
    Hinted::failure(error.to_string(), hint)
}

#[cfg(test)]
mod tests;
