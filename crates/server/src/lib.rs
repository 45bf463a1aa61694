//! HTTP: four dialects over one stream of pieces.
//!
//! A [`Server`] is bound before its model is loaded, so that `/health` can say how far loading is;
//! then it answers on the engine it is given. A request becomes an `Ask` in a file of its dialect,
//! the ask becomes a prompt and a place in line, the engine's outputs become one `Answer` that
//! grows, and a `Voice` of the dialect says it. Nothing between the dialects knows which one it is,
//! and nothing behind them knows HTTP.
//!
//! | module | what |
//! |---|---|
//! | `listen`, `route`, `guard` | connections, routes, who may use them |
//! | `body`, `fields` | requests within bounds, read field by field |
//! | `dialect` | how clients ask, and how they are answered |
//! | `ask`, `conversation`, `prepare` | what is wanted, in no dialect; its prompt |
//! | `line`, `sessions`, `pump` | a slot, a session, the bridge from the blocking engine |
//! | `job`, `answer`, `ledger`, `voice`, `audience` | one request under way |
//! | `grammar` | answers that must have a shape |
//! | `replay`, `memory`, `diary` | what was said, so that the next request continues it; over a restart too |
//! | `log`, `metrics`, `trace`, `pages` | what operators see |
//! | `page` | the chat page, files and all |

#![forbid(unsafe_code)]

mod answer;
mod app;
mod ask;
mod audience;
mod body;
mod clock;
mod config;
mod conversation;
mod converse;
mod dialect;
mod diary;
mod error;
mod fields;
mod grammar;
mod guard;
mod ids;
mod job;
mod ledger;
mod line;
mod listen;
mod log;
mod memory;
mod metrics;
mod model;
mod page;
mod pages;
mod prepare;
mod pump;
mod refusal;
mod replay;
mod restore;
mod route;
mod script;
mod sessions;
mod sse;
mod tenant;
mod trace;
mod voice;
mod way;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use thiserror::Error;

use crate::app::App;
use crate::diary::Diary;
use crate::log::Log;
use crate::trace::Traces;

pub use config::{Config, Keep, Limits, Patience};
pub use model::Model;
pub use script::Script;

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Beyond this machine without keys.
    #[error("{address} can be reached from other machines, and no key is asked for")]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// No folder for traces.
    #[error("cannot make the folder of traces {}", folder.display())]
    Trace {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No folder for what was said.
    #[error("cannot keep what was said in {}", folder.display())]
    Keep {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No threads to be had.
    #[error("cannot start the server's threads")]
    Threads(#[source] io::Error),
    /// A model that cannot chat.
    #[error("cannot serve this model: {0}")]
    Model(String),
}

/// What a request at `path` becomes: what the protocol writes of its prompt, without anyone's data.
/// Nothing is kept or computed. For fuzzers and for whoever wants to see a mapping.
///
/// # Errors
/// If it is refused: the message a client would get.
pub fn request_prompt(path: &str, body: &str) -> Result<String, String> {
    let read = || {
        let config = Config::default();
        let dialect = dialect::Dialect::at(path);
        let missing = || error::ApiError::new(error::Kind::NotFound, format!("nothing at {path}"));
        let dialect = dialect.ok_or_else(missing)?;
        let body = body::parse_json(body)?;
        let body = fields::Fields::root(&body)?;
        let serving = ask::Serving {
            generation: ds4_prompt::Generation::April,
            context: 1 << 20,
            is_thinking: true,
        };
        let memory = memory::Memory::NONE;
        let ask = dialect.read(&body, serving, &config.limits, memory)?;
        prepare::prompt_of(serving.generation, &config, &ask)
    };
    let prompt = read().map_err(|error: error::ApiError| error.message(error::Family::OpenAi))?;
    let control =
        |segment: &ds4_prompt::Segment<'_>| segment.kind == ds4_prompt::SegmentKind::Control;
    Ok(prompt
        .segments()
        .filter(control)
        .map(|segment| segment.text)
        .collect())
}

/// Removes what [`Config::keep`] has left in a folder: how many files, and their bytes.
///
/// # Errors
/// If the system refuses.
pub fn forget(folder: &Path) -> io::Result<(usize, u64)> {
    diary::clear(folder)
}

/// A bound server. Its model comes later.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
}

/// Tells a server about its model. Clones are the same.
#[derive(Clone)]
pub struct Loading(Arc<App>);

impl Loading {
    /// So many bytes are read, of how many.
    pub fn progress(&self, done: u64, total: u64) {
        self.0.progress(done, total);
    }

    /// It is there: from now on requests are answered.
    pub fn ready(&self, model: Model) {
        self.0.ready(model);
    }

    /// It will not come, for this reason.
    pub fn failed(&self, problem: &str) {
        self.0.failed(problem.to_owned());
    }
}

impl Server {
    /// Binds the address. Requests are logged to `log`, a line each.
    ///
    /// # Errors
    /// If the address cannot be had, or would be open to other machines without a key.
    pub fn bind(config: Config, log: Box<dyn Write + Send>) -> Result<Self, ServeError> {
        let address = config.address;
        if !address.ip().is_loopback() && config.keys.is_empty() && !config.open_to_all {
            return Err(ServeError::Exposed { address });
        }
        let refused = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let traces = config.trace.as_deref().map(|folder| {
            let refused = |source| ServeError::Trace {
                folder: folder.to_owned(),
                source,
            };
            Traces::new(folder).map_err(refused)
        });
        let traces = traces.transpose()?;
        let log = Log::new(log);
        let diary = config.keep.as_ref().map(|keep| {
            let refused = |source| ServeError::Keep {
                folder: keep.folder.clone(),
                source,
            };
            Diary::new(&keep.folder, keep.bytes, log.clone()).map_err(refused)
        });
        let diary = diary.transpose()?;
        Ok(Self {
            address: listener.local_addr().map_err(refused)?,
            app: Arc::new(App::new(config, log, traces, diary)),
            listener,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For whoever loads the model.
    pub fn loading(&self) -> Loading {
        Loading(Arc::clone(&self.app))
    }

    /// Serves until `stop` is set, then lets requests under way come to their end, within the
    /// configured patience. Whether they all did.
    ///
    /// # Errors
    /// If there are no threads to be had.
    pub fn run(self, stop: &AtomicBool) -> Result<bool, ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("ds4-server")
            .enable_all()
            .build()
            .map_err(ServeError::Threads)?;
        let drained = runtime.block_on(async {
            let address = self.address;
            let listener = tokio::net::TcpListener::from_std(self.listener);
            let listener = listener.map_err(|source| ServeError::Listen { address, source })?;
            let router = route::router(Arc::clone(&self.app));
            Ok(listen::listen(&self.app, listener, router, stop).await)
        });
        // What still runs is dropped, which cancels it.
        runtime.shutdown_timeout(Duration::from_secs(2));
        if let Some(diary) = &self.app.diary {
            diary.end();
        }
        drained
    }
}
