//! The bridge between the engine, which blocks, and the server, which does not.
//!
//! One blocking thread per request under way takes outputs from the engine and sends them on in
//! batches: all there is at the moment, never splitting a token from its text. The other end is
//! async. A receiver that is dropped cancels the generation at once; one that is slow pauses it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ds4_engine::{Canceller, EngineError, Generation, Output};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::error::ApiError;
use crate::model::Model;
use crate::prepare::Prepared;
use crate::refusal::of_engine;
use crate::sessions;
use crate::tenant::Tenant;
use crate::way::Way;

/// What comes over the bridge.
#[derive(Debug)]
pub(crate) enum Beat {
    /// The session is there, with this many tokens of one of the prompts computed.
    Begun { cached: u32, way: Way },
    /// Outputs of one of the answers, in order.
    Outputs { choice: u32, outputs: Vec<Output> },
    /// The engine refused.
    Refused(ApiError),
}

/// Batches on their way: the engine pauses a generation whose reader is further behind.
const AHEAD: usize = 4;

/// Outputs of a batch.
const BATCH: usize = 64;

/// How long a cancellation may go unnoticed that nobody announced.
const PATIENCE: Duration = Duration::from_millis(500);

/// The async end. Dropping it cancels.
#[derive(Debug)]
pub(crate) struct Beats {
    beats: Receiver<Beat>,
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    wanted: AtomicBool,
    canceller: Mutex<Option<Canceller>>,
}

impl Stop {
    fn want(&self) {
        self.wanted.store(true, Ordering::Release);
        let canceller = self
            .canceller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(canceller) = &*canceller {
            canceller.cancel();
        }
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// From now on this is what stops.
    fn covers(&self, generation: &Generation) {
        let mut canceller = self
            .canceller
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *canceller = Some(generation.canceller());
        if self.is_wanted() {
            generation.cancel();
        }
    }
}

impl Beats {
    /// The next batch; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Beat> {
        self.beats.recv().await
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.stop.want();
    }
}

/// Begins the answers to a request, one after the other on one session.
pub(crate) fn pump(model: Model, tenant: Tenant, prepared: Arc<Prepared>, choices: u32) -> Beats {
    let (sender, beats) = mpsc::channel(AHEAD);
    let stop = Arc::<Stop>::default();
    let beats = Beats {
        beats,
        stop: Arc::clone(&stop),
    };
    tokio::task::spawn_blocking(move || {
        if let Err(error) = run(&model, tenant, &prepared, choices, &sender, &stop) {
            let _ = sender.blocking_send(Beat::Refused(error));
        }
    });
    beats
}

fn run(
    model: &Model,
    tenant: Tenant,
    prepared: &Prepared,
    choices: u32,
    sender: &Sender<Beat>,
    stop: &Stop,
) -> Result<(), ApiError> {
    let engine_says = |error: EngineError| of_engine(&error);
    let resumed = sessions::resume(model.engine(), tenant, prepared);
    let (session, way) = resumed.map_err(engine_says)?;
    let begun = Beat::Begun {
        cached: session.cached(),
        way,
    };
    if sender.blocking_send(begun).is_err() {
        return Ok(());
    }
    for choice in 0..choices {
        let request = prepared.request(way, choice, model.tokenizer())?;
        let mut generation = session.generate(request).map_err(engine_says)?;
        stop.covers(&generation);
        if !carry(&mut generation, choice, sender, stop) {
            break;
        }
    }
    Ok(())
}

/// Carries one answer over. Whether anybody still listens at its end.
fn carry(generation: &mut Generation, choice: u32, sender: &Sender<Beat>, stop: &Stop) -> bool {
    let mut ready: Vec<Output> = Vec::new();
    loop {
        // With something in hand there is no waiting: what is not here now comes next time.
        let patience = if ready.is_empty() {
            PATIENCE
        } else {
            Duration::ZERO
        };
        let next = generation.next_within(patience);
        let is_boundary = match &next {
            Ok(Some(Output::Token(_) | Output::Progress(_) | Output::Finish(_))) => {
                ready.len() >= BATCH
            }
            Ok(Some(_)) => false,
            Ok(None) | Err(_) => true,
        };
        if is_boundary && !ready.is_empty() {
            let outputs = std::mem::take(&mut ready);
            if sender
                .blocking_send(Beat::Outputs { choice, outputs })
                .is_err()
            {
                return false;
            }
        }
        match next {
            Ok(Some(output)) => ready.push(output),
            Ok(None) => return !stop.is_wanted(),
            Err(_) if sender.is_closed() => return false,
            Err(_) => {}
        }
    }
}
