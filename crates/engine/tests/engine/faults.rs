//! A device that fails takes nothing with it but the step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ds4_engine::{
    Engine, EngineError, FinishReason, Identity, Limits, Machine, MachineError, Request,
};
use ds4_model::{KvGeometry, Plan};

use crate::rig::{Made, TOKENIZER, exact, greedy, greedy_tokens, machine, noise, options, plain};

/// A machine that fails in some step, after it did the work.
struct Flaky<M> {
    inner: M,
    /// Steps until it fails.
    left: Arc<AtomicU32>,
    how: Failure,
}

/// How it fails.
enum Failure {
    /// As a device does.
    Error,
    /// As a program does.
    Panic,
}

#[derive(Debug, thiserror::Error)]
#[error("a cosmic ray")]
struct CosmicRay;

impl<M: Machine> Machine for Flaky<M> {
    fn geometry(&self) -> &KvGeometry {
        self.inner.geometry()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn step(&mut self, plan: &Plan) -> Result<&[f32], MachineError> {
        let fails = self.left.fetch_sub(1, Relaxed) == 0;
        let logits = self.inner.step(plan)?;
        match (fails, &self.how) {
            (false, _) => Ok(logits),
            (true, Failure::Error) => Err(MachineError::new(CosmicRay)),
            (true, Failure::Panic) => panic!("a test that the engine survives this"),
        }
    }

    fn seat(
        &mut self,
        slot: u32,
        pages: &[u32],
        tokens: u32,
        frontier: Option<&[u8]>,
    ) -> Result<(), MachineError> {
        self.inner.seat(slot, pages, tokens, frontier)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), MachineError> {
        self.inner.set_pages(slot, pages)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), MachineError> {
        self.inner.copy_page(from, to)
    }

    fn save_page(&mut self, page: u32, out: &mut Vec<u8>) -> Result<(), MachineError> {
        self.inner.save_page(page, out)
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), MachineError> {
        self.inner.load_page(page, bytes)
    }

    fn frontier(&mut self, slot: u32, tokens: u32) -> Result<Vec<u8>, MachineError> {
        self.inner.frontier(slot, tokens)
    }
}

#[test]
fn after_a_failed_step_the_session_goes_on_from_its_last_frontier() {
    let left = Arc::new(AtomicU32::new(u32::MAX));
    let flaky = Flaky {
        inner: machine(exact()),
        left: Arc::clone(&left),
        how: Failure::Error,
    };
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    let engine = Engine::start(Box::new(flaky), tokenizer, options()).unwrap();
    let session = engine.session().unwrap();
    let prompt = noise(1, 100);
    let request = || Request {
        cuts: vec![64],
        ..Request::tokens(prompt.clone(), 20, greedy())
    };
    left.store(9, Relaxed);
    let made = Made::collect(session.generate(request()).unwrap());
    let Some(FinishReason::Error(EngineError::Machine(error))) = made.reason else {
        panic!("{:?}", made.reason);
    };
    assert!(error.to_string().contains("cosmic ray"));
    assert!(!made.tokens.is_empty() && made.tokens.len() < 20);
    assert_eq!(session.status().unwrap().tokens, prompt[..64]);
    let made = greedy_tokens(&session, &prompt, 20);
    assert_eq!(made.usage.cached_tokens, 64);
    made.assert_close(&plain(&prompt, 20));
}

#[test]
fn a_panic_on_the_engine_thread_ends_streams_with_an_error() {
    let flaky = Flaky {
        inner: machine(exact()),
        left: Arc::new(AtomicU32::new(3)),
        how: Failure::Panic,
    };
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    let engine = Engine::start(Box::new(flaky), tokenizer, options()).unwrap();
    let session = engine.session().unwrap();
    let request = Request::tokens(noise(2, 20), 50, greedy());
    let made = Made::collect(session.generate(request).unwrap());
    assert!(matches!(
        made.reason,
        Some(FinishReason::Error(EngineError::Stopped))
    ));
    assert!(matches!(session.status(), Err(EngineError::Stopped)));
    engine.shutdown();
}
