//! Others go on while a session is restored.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ds4_engine::{Engine, Options, Output, Request, Tenant};
use tempfile::tempdir;

use crate::hooked::Hooked;
use crate::rig::{TOKENIZER, exact, greedy, greedy_tokens, machine, noise, plain};
use crate::tiers::store;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Step,
    Load,
}

/// With no time to spare between two tokens, one page is put into place between two steps, and a
/// step comes after each: whoever decodes is never held up by a restore, however long.
#[test]
fn others_go_on_while_a_session_is_restored() {
    let dir = tempdir().unwrap();
    let prompt = noise(21, 3000);
    let engine = crate::rig::engine_with(exact(), store(&dir));
    let session = engine.resume(Tenant::default(), &prompt).unwrap();
    greedy_tokens(&session, &prompt, 1);
    drop((session, engine));

    let log = Arc::<Mutex<Vec<Did>>>::default();
    let (steps, loads) = (Arc::clone(&log), Arc::clone(&log));
    let watched = Hooked {
        inner: machine(exact()),
        after_step: move || {
            steps.lock().unwrap().push(Did::Step);
            Ok(())
        },
        before_save: || {},
        before_load: move || loads.lock().unwrap().push(Did::Load),
        host_memory: None,
    };
    let options = Options {
        between_tokens: Duration::from_nanos(1),
        ..store(&dir)
    };
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    let engine = Engine::start(Box::new(watched), tokenizer, options).unwrap();
    let other = engine.session().unwrap();
    let request = Request::tokens(noise(22, 10), 4000, greedy());
    let mut decoding = other.generate(request).unwrap();
    while !matches!(decoding.next(), Some(Output::Token(_))) {}
    let mut longer = prompt;
    longer.push(1);
    let session = thread::scope(|threads| {
        let resuming = threads.spawn(|| engine.resume(Tenant::default(), &longer).unwrap());
        while !resuming.is_finished() {
            assert!(matches!(decoding.next(), Some(Output::Token(_))));
        }
        resuming.join().unwrap()
    });
    drop(decoding);
    assert_eq!(session.cached(), 3000);
    let log = log.lock().unwrap().clone();
    let first = log.iter().position(|did| *did == Did::Load).unwrap();
    let loads = log.iter().filter(|did| **did == Did::Load).count();
    assert_eq!(loads, 6, "five full pages and the open one");
    for pair in log[first..].windows(2) {
        assert_ne!(pair, [Did::Load, Did::Load]);
    }
    greedy_tokens(&session, &longer, 3).assert_close(&plain(&longer, 3));
}
