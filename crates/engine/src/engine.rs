//! The handles front ends hold: an [`Engine`], and [`Session`]s on it.
//!
//! Both talk to the engine thread through one bounded queue. A call never waits for room in it (a
//! full queue is an error, so that the caller can say so), and waits for its answer no longer than
//! one step, for a snapshot (out or in) some more. Cancelling and dropping go around the queue: they
//! set a flag that the engine thread looks at in every turn.
//!
//! | file | what |
//! |---|---|
//! | `engine/options.rs` | how an engine is set up |
//! | `engine/session.rs` | the handle of one session |
//! | `engine/status.rs` | what both say of themselves |
//! | `engine/commands.rs` | how handles reach the engine thread |

mod commands;
mod options;
mod session;
mod status;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Release;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ds4_model::KvGeometry;
use ds4_prompt::Tokenizer;
use ds4_store::{Report, Scope, Tenant};

use crate::error::{EngineError, RequestError};
use crate::event::{Event, Gone, Reply, SessionId};
use crate::machine::{Identity, Limits, Machine};
use crate::restoring::Restorer;
use crate::scheduler::Scheduler;
use crate::snapshot::{Expected, Parts};
use crate::tiers::Tiers;

pub use options::{Options, Store};
pub use session::Session;
pub use status::{Rewind, SessionStatus, Status};

/// A loaded model with its engine thread. Clones are the same engine; the last one to go stops and
/// joins the thread.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    commands: SyncSender<Event>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    options: Options,
    limits: Limits,
    identity: Identity,
    geometry: KvGeometry,
    tokenizer: Option<Arc<Tokenizer>>,
    restorer: Option<Restorer>,
}

impl Engine {
    /// Starts the engine thread over a loaded model. Text is read with `tokenizer`, if there is
    /// one.
    ///
    /// # Errors
    /// If options and machine do not go together, or there is no thread to be had.
    pub fn start(
        machine: Box<dyn Machine>,
        tokenizer: Option<Arc<Tokenizer>>,
        options: Options,
    ) -> Result<Self, EngineError> {
        let limits = machine.limits();
        options.check(limits)?;
        let (commands, events) = sync_channel(options.queue);
        let stop = Arc::<AtomicBool>::default();
        let tiers = Tiers::open(&*machine, &options, &commands)?;
        let restorer = tiers.clone().map(|tiers| Restorer {
            tiers,
            geometry: machine.geometry().clone(),
        });
        let inner = Inner {
            restorer,
            commands,
            stop: Arc::clone(&stop),
            thread: Mutex::new(None),
            limits,
            identity: machine.identity(),
            geometry: machine.geometry().clone(),
            tokenizer: tokenizer.clone(),
            options: options.clone(),
        };
        let scheduler = Scheduler::new(machine, tokenizer, options, tiers);
        let thread = thread::Builder::new().name("ds4-engine".into());
        let thread = thread
            .spawn(move || scheduler.run(&events, &stop))
            .map_err(|_| EngineError::Stopped)?;
        *inner.thread() = Some(thread);
        Ok(Self(Arc::new(inner)))
    }

    /// The tokenizer it reads text with.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.0.tokenizer.as_deref()
    }

    /// What the machine has room for.
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// Which model this is.
    pub fn identity(&self) -> Identity {
        self.0.identity
    }

    /// Most tokens of a session.
    pub fn context(&self) -> usize {
        self.0.options.context
    }

    /// A new, empty session that has nothing to do with others: it computes everything itself, and
    /// what it computed is gone with it. For measurements; what talks to somebody wants
    /// [`Self::resume`].
    ///
    /// # Errors
    /// If there are too many.
    pub fn session(&self) -> Result<Session, EngineError> {
        self.open(|gone, reply| Event::Open { gone, reply })
    }

    /// A session for a prompt, with as much of it computed as any earlier session of this tenant
    /// left: it stands at the deepest frontier on the path of `prompt`, by token ids, and
    /// [`Session::cached`] says where that is. At least one token is left to compute.
    ///
    /// What it computes is there for others in turn, at the cuts of its requests, at the end of
    /// every generation (cancelled ones too) and every [`Options::frontier_tokens`] tokens, while
    /// it lives and after it is dropped. Pages are shared, never copied, but for the one that is
    /// not full. Nothing has to be saved or closed: a server may resume a session for every request
    /// and drop it when it is answered.
    ///
    /// It is looked up once more when a generation begins, which may be later: what somebody else
    /// computed meanwhile is taken up then, and a prompt whose beginning is just being computed by
    /// another session waits for that. [`Usage::cached_tokens`](crate::Usage) counts all of it.
    ///
    /// With [`Options::host_bytes`], what the device has no room for stays in memory of the host. With
    /// [`Options::store`], what is kept is written to disk as well, in the background, and what
    /// an earlier process left there is found: pages that are not in memory are read and checked on
    /// the caller's thread. What cannot be used costs a prefill; [`Self::stored`] says why.
    ///
    /// Memory: frontiers up to [`Options::kept_bytes`]; pages as long as no session needs the room.
    /// What saved the least prefill per byte lately goes first.
    ///
    /// ```
    /// # use ds4_engine::{CpuOptions, Engine, Options, Output, Request, Sampling, Tenant, load_cpu};
    /// # use ds4_model::{Recipe, synthetic::{Synthetic, tiny}};
    /// # let file = Synthetic::reference(tiny(), 1, Recipe::FLOAT).model()?;
    /// # let machine = load_cpu(&file, CpuOptions { pages: 8, ..CpuOptions::default() })?;
    /// let engine = Engine::start(Box::new(machine), None, Options::default())?;
    /// let tenant = Tenant::of(b"a key");
    /// let system: Vec<u32> = (0..40).collect();
    ///
    /// // Two agents with the same instructions. The cut says where they end.
    /// let ask = |question: &[u32]| {
    ///     let prompt = [&system, question].concat();
    ///     let session = engine.resume(tenant, &prompt)?;
    ///     let request = Request {
    ///         cuts: vec![system.len() as u32],
    ///         ..Request::tokens(prompt, 5, Sampling::greedy())
    ///     };
    ///     session.generate(request)?.for_each(drop);
    ///     Ok::<_, ds4_engine::EngineError>(session.cached())
    /// };
    /// assert_eq!(ask(&[7, 8, 9])?, 0);
    /// assert_eq!(ask(&[1, 2])?, 40, "the instructions are computed once");
    /// // A question asked again is computed but for its last token; it was never cut there, and
    /// // is found at the deepest place that was.
    /// assert_eq!(ask(&[7, 8, 9])?, 40);
    ///
    /// // Others do not find it.
    /// let stranger = engine.resume(Tenant::of(b"another key"), &system)?;
    /// assert_eq!(stranger.cached(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there are too many sessions, the engine is busy, or the device failed.
    pub fn resume(&self, tenant: Tenant, prompt: &[u32]) -> Result<Session, EngineError> {
        let scope = Scope::new(&self.0.identity.0, tenant);
        let gone = Gone::default();
        let (id, cached) = self.call(|reply| Event::Resume {
            scope,
            prompt: prompt.to_vec(),
            gone: Arc::clone(&gone),
            reply,
        })?;
        let mut session = Session {
            engine: self.clone(),
            id,
            gone,
            cached,
        };
        if let Some(restorer) = &self.0.restorer {
            session.cached = restorer.restore(self, id, &scope, prompt, cached);
        }
        Ok(session)
    }

    /// The session in a snapshot. It is checked on the caller's thread; others go on meanwhile.
    ///
    /// # Errors
    /// If the bytes are not a session of this model, or there is no room for it.
    pub fn restore(&self, bytes: Vec<u8>) -> Result<Session, EngineError> {
        let model = Expected {
            identity: self.0.identity,
            geometry: &self.0.geometry,
            vocab: self.0.limits.vocab,
        };
        let parts = Box::new(Parts::read(bytes, &model)?);
        self.open(|gone, reply| Event::Restore { parts, gone, reply })
    }

    /// A session that stands after `tokens` without having computed them: its memory holds random
    /// rows, all of them following from `seed`. For measuring what comes after a long context; what
    /// the model says there means nothing.
    ///
    /// # Errors
    /// If there are no tokens or more than fit, one that the vocabulary lacks, or no room.
    pub fn fill(&self, tokens: Vec<u32>, seed: u64) -> Result<Session, EngineError> {
        self.check_prompt(&tokens, true)?;
        self.open(|gone, reply| Event::Fill {
            tokens,
            seed,
            gone,
            reply,
        })
    }

    /// How the engine is doing.
    ///
    /// # Errors
    /// If it is busy or stopped.
    pub fn status(&self) -> Result<Status, EngineError> {
        self.call(|reply| Event::Report { reply })
    }

    /// What the disk tier holds and did, if there is one.
    pub fn stored(&self) -> Option<Report> {
        let disk = self.0.restorer.as_ref()?.tiers.disk.as_ref()?;
        Some(disk.report())
    }

    /// The same of the tier in memory of the host.
    pub fn hosted(&self) -> Option<Report> {
        let host = self.0.restorer.as_ref()?.tiers.host.as_ref()?;
        Some(host.report())
    }

    /// Ends all generations and joins the engine thread. Every handle gets [`EngineError::Stopped`]
    /// from then on.
    pub fn shutdown(&self) {
        self.0.shutdown();
    }

    /// Refuses tokens that cannot be a session's beginning; `room` for one more.
    fn check_prompt(&self, tokens: &[u32], room: bool) -> Result<(), RequestError> {
        let (prompt, context) = (tokens.len(), self.context());
        let vocab = self.limits().vocab;
        if prompt == 0 {
            return Err(RequestError::Empty);
        }
        if prompt + usize::from(room) > context {
            return Err(RequestError::Context { prompt, context });
        }
        match tokens.iter().position(|&token| token as usize >= vocab) {
            Some(at) => {
                let token = tokens[at];
                Err(RequestError::Token { token, at, vocab })
            }
            None => Ok(()),
        }
    }

    fn open(
        &self,
        event: impl FnOnce(Gone, Reply<SessionId>) -> Event,
    ) -> Result<Session, EngineError> {
        let gone = Gone::default();
        let id = self.call(|reply| event(Arc::clone(&gone), reply))?;
        Ok(Session {
            engine: self.clone(),
            id,
            gone,
            cached: 0,
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("model", &self.0.identity)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn thread(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shutdown(&self) {
        self.stop.store(true, Release);
        let _ = self.commands.try_send(Event::Wake);
        if let Some(thread) = self.thread().take() {
            // A panic on the engine thread has been printed by the panic hook; the handles say
            // Stopped.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}
