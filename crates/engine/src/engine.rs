//! The handles front ends hold: an [`Engine`], and [`Session`]s on it.
//!
//! Both talk to the engine thread through one bounded queue. A call never waits for room in it (a
//! full queue is an error, so that the caller can say so), and waits for its answer no longer than
//! one step, for a snapshot some more. Cancelling and dropping go around the queue: they set a flag that the engine thread
//! looks at in every turn.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Release;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ds4_model::KvGeometry;
use ds4_model::kv::PAGE_TOKENS;
use ds4_prompt::Tokenizer;
use ds4_prompt::dsml::Reader;
use ds4_store::files::System;
use ds4_store::{Disk, Report, Scope, Tenant, disk};

use crate::error::{EngineError, RequestError};
use crate::event::{Event, Gone, Reply, SessionId};
use crate::generation::Generation;
use crate::machine::{Identity, Limits, Machine};
use crate::outlet::Outlet;
use crate::pages::Charge;
use crate::request::{Request, Scoring};
use crate::restoring::Restorer;
use crate::scheduler::Scheduler;
use crate::snapshot::{Expected, Parts};

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most tokens of a session, prompt and answer together.
    pub context: usize,
    /// Most sessions, idle ones included.
    pub sessions: usize,
    /// Commands that may wait.
    pub queue: usize,
    /// How long a step may take while somebody waits for a next token: bounds how much of a prompt
    /// it holds.
    pub between_tokens: Duration,
    /// How long a step may take otherwise: bounds how long a cancellation takes.
    pub longest_step: Duration,
    /// Most frontiers a session keeps, 4 to 6 MB each for the large models.
    pub frontiers: usize,
    /// Tokens after which one is kept, whatever happens.
    pub frontier_tokens: u32,
    /// Most bytes of frontiers kept for sessions to come; see [`Engine::resume`]. Their pages take
    /// what no session needs.
    pub kept_bytes: u64,
    /// Where they are kept when the process is gone, if anywhere.
    pub store: Option<Store>,
}

/// A directory for pages and frontiers that outlive the process. Several processes, and several
/// models, may share one. `docs/formats/kv-store.md` says what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The directory; made if it is not there, for its owner alone.
    pub dir: PathBuf,
    /// Most bytes in it. What saves the least prefill per byte lately goes first.
    pub bytes: u64,
    /// Bytes of the medium that are left free.
    pub free: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            context: 1 << 15,
            sessions: 64,
            queue: 256,
            between_tokens: Duration::from_millis(200),
            longest_step: Duration::from_secs(1),
            frontiers: 16,
            frontier_tokens: 4096,
            kept_bytes: 1 << 30,
            store: None,
        }
    }
}

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

/// How an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Open sessions.
    pub sessions: usize,
    /// Generations under way.
    pub running: usize,
    /// Generations in line.
    pub waiting: usize,
    /// Bytes of KV pages that no session holds and nobody was promised.
    pub free_bytes: u64,
    /// Those of them that are kept for sessions to come, until somebody needs the room.
    pub idle_bytes: u64,
    /// Frontiers kept for sessions to come.
    pub kept_frontiers: usize,
    /// Their bytes, with their open pages.
    pub kept_bytes: u64,
    /// Bytes promised to generations under way and not used yet.
    pub promised_bytes: u64,
    /// Bytes of all KV pages.
    pub total_bytes: u64,
}

/// How a session is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// The tokens that are computed.
    pub tokens: Vec<u32>,
    /// Positions it can go back to without computing anything, ascending, besides 0 and where it
    /// is.
    pub kept: Vec<u32>,
    /// Pages it holds.
    pub pages: Charge,
    /// Bytes of its kept frontiers.
    pub frontier_bytes: u64,
    /// Is a generation under way or in line?
    pub is_generating: bool,
}

/// Where a rewind led.
#[must_use = "after a short rewind some tokens have to be computed again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// To where it was wanted.
    Exact {
        /// The position.
        at: u32,
    },
    /// To the deepest kept frontier before that. The tokens in between are computed again by the
    /// next prompt.
    Short {
        /// The position.
        at: u32,
        /// The position wanted.
        wanted: u32,
    },
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
        check(&options, limits)?;
        let (commands, events) = sync_channel(options.queue);
        let stop = Arc::<AtomicBool>::default();
        let disk = options
            .store
            .as_ref()
            .map(|store| open_disk(store, commands.clone()));
        let disk = disk.transpose()?.map(Arc::new);
        let restorer = disk.clone().map(|disk| Restorer {
            disk,
            geometry: machine.geometry().clone(),
            identity: machine.identity().0,
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
        let scheduler = Scheduler::new(machine, tokenizer, options, disk);
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
    /// With [`Options::store`], what is kept is written to disk as well, in the background, and what
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

    /// The session in a snapshot.
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
        let restorer = self.0.restorer.as_ref();
        restorer.map(|restorer| restorer.disk.report())
    }

    /// Puts an event into the queue, waiting for room.
    pub(crate) fn send(&self, event: Event) -> Result<(), EngineError> {
        let sent = self.0.commands.send(event);
        sent.map_err(|_| EngineError::Stopped)
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

    /// Makes the engine thread look at its flags. A full queue means that it is about to.
    pub(crate) fn wake(&self) {
        let _ = self.0.commands.try_send(Event::Wake);
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

    fn call<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, EngineError> {
        let (reply, answer) = sync_channel(1);
        self.0
            .commands
            .try_send(event(reply))
            .map_err(|error| match error {
                TrySendError::Full(_) => EngineError::Busy {
                    waiting: self.0.options.queue,
                },
                TrySendError::Disconnected(_) => EngineError::Stopped,
            })?;
        answer.recv().unwrap_or(Err(EngineError::Stopped))
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

/// Opens the disk tier. Its writer wakes the engine thread when there is room for more.
fn open_disk(store: &Store, commands: SyncSender<Event>) -> Result<Disk, EngineError> {
    let options = disk::Options {
        dir: store.dir.clone(),
        bytes: store.bytes,
        free: store.free,
        page_tokens: PAGE_TOKENS,
        queue: QUEUE,
    };
    let wake = move || {
        let _ = commands.try_send(Event::Wake);
    };
    Ok(Disk::open(options, Box::new(System), wake)?)
}

/// Records that may wait to be written: some 30 MB of the large models.
const QUEUE: usize = 16;

/// Options that go with the machine.
fn check(options: &Options, limits: Limits) -> Result<(), EngineError> {
    let refuse = |field, value, expected| {
        Err(EngineError::Options {
            field,
            value,
            expected,
        })
    };
    if !(2..=limits.context).contains(&options.context) {
        let expected = format!("2 to {}, the model's longest context", limits.context);
        return refuse("context", options.context, expected);
    }
    if options.sessions == 0 {
        return refuse("sessions", 0, "at least 1".into());
    }
    if options.queue == 0 {
        return refuse("queue", 0, "at least 1".into());
    }
    // Every slot may decode at once, and a prompt wants a row besides.
    let most = limits.max_outputs.min(limits.max_rows);
    if limits.slots == 0 || limits.slots > most {
        let expected = format!("1 to {most}, the rows with logits of a step");
        return refuse("slots", limits.slots, expected);
    }
    Ok(())
}

/// One timeline of tokens. Dropping it gives its memory back, or leaves it to others.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    id: SessionId,
    gone: Gone,
    cached: u32,
}

impl Session {
    /// The engine it runs on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Tokens that were computed already when [`Engine::resume`] made it.
    pub fn cached(&self) -> u32 {
        self.cached
    }

    /// Begins a generation: computes what is new of the prompt, then samples. What the session has
    /// computed beyond the tokens it shares with the prompt is forgotten.
    ///
    /// # Errors
    /// If the request cannot be served, the session is at work, or the engine busy. Whether there
    /// is memory for it is known when it is its turn: then the stream ends with an error.
    pub fn generate(&self, request: Request) -> Result<Generation, EngineError> {
        self.check(&request)?;
        let reader = request.reading.as_ref().map(Reader::new);
        let (outlet, messages, signals) = Outlet::new();
        self.engine.call(|reply| Event::Generate {
            session: self.id,
            request: Box::new(request),
            outlet,
            reply,
        })?;
        let engine = self.engine.clone();
        Ok(Generation::new(messages, signals, engine, reader))
    }

    /// Goes back to position `to`, or to the deepest kept frontier before it: at cuts of the
    /// prompt, ends of turns, and every so many tokens. Where it is now and the beginning are
    /// always possible.
    ///
    /// # Errors
    /// If the session is at work, or the engine busy.
    pub fn rewind(&self, to: u32) -> Result<Rewind, EngineError> {
        self.engine.call(|reply| Event::Rewind {
            session: self.id,
            to,
            reply,
        })
    }

    /// A second session that goes on from what is computed of this one. Both see the same pages;
    /// only the open one will be copied.
    ///
    /// # Errors
    /// If there are too many sessions, no page for the copy, or the engine is busy.
    pub fn fork(&self) -> Result<Self, EngineError> {
        self.engine.open(|gone, reply| Event::Fork {
            session: self.id,
            gone,
            reply,
        })
    }

    /// What is computed, as bytes that [`Engine::restore`] takes. Others go on meanwhile: a few pages
    /// are copied between two steps.
    ///
    /// # Errors
    /// If the engine is busy, or the device failed.
    pub fn snapshot(&self) -> Result<Vec<u8>, EngineError> {
        let copied = self.engine.call(|reply| Event::Snapshot {
            session: self.id,
            reply,
        })?;
        Ok(copied.seal())
    }

    /// How the session is doing.
    ///
    /// # Errors
    /// If the engine is busy.
    pub fn status(&self) -> Result<SessionStatus, EngineError> {
        self.engine.call(|reply| Event::Describe {
            session: self.id,
            reply,
        })
    }

    fn check(&self, request: &Request) -> Result<(), RequestError> {
        self.engine
            .check_prompt(&request.prompt, request.max_tokens > 0)?;
        if request.reading.is_some() && self.engine.tokenizer().is_none() {
            return Err(RequestError::NoTokenizer);
        }
        if request.grammar.is_some() && request.scoring != Scoring::Off {
            return Err(RequestError::GrammarWhileScoring);
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.gone.store(true, Release);
        self.engine.wake();
    }
}
