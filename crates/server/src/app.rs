//! What all requests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Semaphore;

use crate::ask::{Ask, Serving};
use crate::config::Config;
use crate::dialect::responses::{Kept, Shelf};
use crate::diary::{Diary, Entry, Reply};
use crate::error::{ApiError, Kind};
use crate::grammar::{Shape, Vocabulary};
use crate::line::Line;
use crate::log::Log;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::replay::{Replay, Said};
use crate::tenant::Keys;
use crate::tenant::Tenant;
use crate::trace::Traces;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) log: Log,
    pub(crate) replay: Replay,
    pub(crate) replies: Shelf,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Option<Traces>,
    /// Where what was said outlives the server.
    pub(crate) diary: Option<Diary>,
    /// Bytes of bodies there is room for.
    pub(crate) bodies: Arc<Semaphore>,
    ready: OnceLock<Ready>,
    loading: Loading,
}

/// What there is once the model is loaded.
struct Ready {
    model: Model,
    line: Arc<Line>,
    /// Made when the first grammar is needed.
    vocabulary: OnceLock<Result<Vocabulary, ApiError>>,
}

/// How far loading is.
#[derive(Default)]
struct Loading {
    done: AtomicU64,
    total: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl App {
    pub(crate) fn new(
        config: Config,
        log: Log,
        traces: Option<Traces>,
        diary: Option<Diary>,
    ) -> Self {
        Self {
            keys: Keys::new(&config.keys),
            bodies: Arc::new(Semaphore::new(config.limits.bodies_bytes)),
            log,
            replay: Replay::new(config.limits.remembered_bytes),
            replies: Shelf::new(config.limits.remembered_bytes),
            metrics: Metrics::new(),
            traces,
            diary,
            ready: OnceLock::new(),
            loading: Loading::default(),
            config,
        }
    }

    /// The model is there.
    pub(crate) fn ready(&self, model: Model) {
        let slots = model.engine().limits().slots;
        let line = Line::new(slots, self.config.limits.waiting);
        self.recall(&model);
        // A second model would answer under the first one's name; there is none.
        let _ = self.ready.set(Ready {
            model,
            line,
            vocabulary: OnceLock::new(),
        });
    }

    /// What was said before the server was started.
    fn recall(&self, model: &Model) {
        let Some(diary) = &self.diary else {
            return;
        };
        for dated in diary.begin(model.engine().identity().0) {
            match dated.entry {
                Entry::Turn(said) => self.replay.keep(dated.tenant, said),
                Entry::Reply(reply) => {
                    let before = reply.before.as_deref();
                    let found = before.map(|id| self.replies.find(dated.tenant, id));
                    // Without the beginning of its conversation it says something else.
                    if let Some(before) = found.map_or(Some(None), |found| found.map(Some)) {
                        let kept = Kept::new(before, reply.input, reply.output, reply.reply);
                        self.replies.keep(dated.tenant, &reply.id, kept);
                    }
                }
            }
        }
    }

    /// Remembers a turn.
    pub(crate) fn remember(&self, tenant: Tenant, said: Said) {
        let said = Arc::new(said);
        self.replay.keep(tenant, Arc::clone(&said));
        if let Some(diary) = &self.diary {
            let bytes = said.bytes();
            diary.keep(tenant, Entry::Turn(said), bytes);
        }
    }

    /// Keeps a reply to go on from.
    pub(crate) fn keep(&self, tenant: Tenant, id: &str, kept: Kept) {
        if let Some(diary) = &self.diary {
            let reply = Reply {
                id: id.to_owned(),
                before: kept.before_id(),
                input: kept.input.clone(),
                output: kept.output.clone(),
                reply: kept.reply.clone(),
            };
            diary.keep(tenant, Entry::Reply(reply), kept.bytes);
        }
        self.replies.keep(tenant, id, kept);
    }

    /// Forgets a reply. Whether there was one.
    pub(crate) fn forget(&self, tenant: Tenant, id: &str) -> bool {
        let is_known = self.replies.forget(tenant, id);
        if let Some(diary) = self.diary.as_ref().filter(|_| is_known) {
            tokio::task::block_in_place(|| diary.erase(tenant, id));
        }
        is_known
    }

    pub(crate) fn progress(&self, done: u64, total: u64) {
        self.loading.done.store(done, Ordering::Relaxed);
        self.loading.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, problem: String) {
        let mut failure = self
            .loading
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *failure = Some(problem);
    }

    /// How far loading is: bytes read, of how many, and what went wrong.
    pub(crate) fn loading(&self) -> (u64, u64, Option<String>) {
        let failure = self
            .loading
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (
            read(&self.loading.done),
            read(&self.loading.total),
            failure.clone(),
        )
    }

    /// The model, if it is loaded.
    pub(crate) fn model(&self) -> Option<&Model> {
        self.ready.get().map(|ready| &ready.model)
    }

    /// The model and the line before it.
    ///
    /// # Errors
    /// If it is not loaded yet.
    pub(crate) fn serving(&self) -> Result<(&Model, &Arc<Line>), ApiError> {
        match self.ready.get() {
            Some(ready) => Ok((&ready.model, &ready.line)),
            None => {
                let (done, total, failure) = self.loading();
                let message = match (failure, total) {
                    (Some(failure), _) => format!("the model could not be loaded: {failure}"),
                    (None, 0) => "the model is loading".to_owned(),
                    (None, total) => {
                        format!(
                            "the model is loading: {} %",
                            done.saturating_mul(100) / total
                        )
                    }
                };
                Err(ApiError::new(Kind::Unavailable, message))
            }
        }
    }

    /// What an answer must look like. The first request that demands anything waits for the
    /// vocabulary to be arranged.
    ///
    /// # Errors
    /// If a schema cannot be followed.
    pub(crate) fn shape(&self, model: &Model, ask: &Ask) -> Result<Option<Shape>, ApiError> {
        if !Shape::is_demanded(ask) {
            return Ok(None);
        }
        let Some(ready) = self.ready.get() else {
            return Ok(None);
        };
        let make = || Vocabulary::new(model.tokenizer(), model.engine().limits().vocab);
        let vocabulary = ready.vocabulary.get_or_init(make);
        Shape::of(ask, vocabulary.as_ref().map_err(Clone::clone)?)
    }

    /// What a tenant may find of what was said.
    pub(crate) fn memory(&self, tenant: Tenant) -> Memory<'_> {
        Memory::new(&self.replay, &self.replies, tenant)
    }

    /// What the server brings to a request.
    pub(crate) fn serves(&self, model: &Model) -> Serving {
        Serving {
            generation: model.generation(),
            context: model.engine().context(),
            is_thinking: self.config.thinking,
        }
    }
}
