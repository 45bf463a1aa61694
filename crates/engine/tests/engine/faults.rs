//! A device that fails takes nothing with it but the step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ds4_engine::{Engine, EngineError, FinishReason, MachineError, Request};

use crate::hooked::Hooked;
use crate::rig::{Made, TOKENIZER, exact, greedy, greedy_tokens, machine, noise, options, plain};

#[derive(Debug, thiserror::Error)]
#[error("a cosmic ray")]
struct CosmicRay;

/// An engine on a machine that fails in some step, after it did the work, as `how` says. Steps
/// until then are counted down in what comes with it.
fn flaky(
    left: u32,
    how: impl Fn() -> Result<(), MachineError> + Send + 'static,
) -> (Engine, Arc<AtomicU32>) {
    let left = Arc::new(AtomicU32::new(left));
    let steps = Arc::clone(&left);
    let hooked = Hooked {
        inner: machine(exact()),
        after_step: move || match steps.fetch_sub(1, Relaxed) {
            0 => how(),
            _ => Ok(()),
        },
        before_save: || {},
        before_load: || {},
        host_memory: None,
    };
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    let engine = Engine::start(Box::new(hooked), tokenizer, options()).unwrap();
    (engine, left)
}

#[test]
fn after_a_failed_step_the_session_goes_on_from_its_last_frontier() {
    let (engine, left) = flaky(u32::MAX, || Err(MachineError::new(CosmicRay)));
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
    let (engine, _) = flaky(3, || panic!("a test that the engine survives this"));
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
