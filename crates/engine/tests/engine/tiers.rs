//! What holds of the tiers whatever the device is: here the CPU, on a card the same.

use std::thread;
use std::time::{Duration, Instant};

use ds4_engine::{Engine, Options, Request, Store, Tenant};
use tempfile::{TempDir, tempdir};

use crate::rig::{Made, greedy, noise, options};

/// An engine with room for so many pages.
pub(crate) type Start<'a> = &'a dyn Fn(usize, Options) -> Engine;

/// Steps whose shapes do not depend on the clock.
fn steady() -> Options {
    Options {
        longest_step: Duration::from_secs(10_000),
        ..options()
    }
}

pub(crate) fn store(dir: &TempDir) -> Options {
    Options {
        store: Some(Store {
            dir: dir.path().join("kv"),
            bytes: 1 << 30,
            free: 0,
        }),
        ..steady()
    }
}

/// Six tokens after a prompt, and how much of it was there.
pub(crate) fn ask(engine: &Engine, prompt: &[u32], cut: u32) -> (u32, Made) {
    let session = engine.resume(Tenant::default(), prompt).unwrap();
    let request = Request {
        cuts: vec![cut],
        ..Request::tokens(prompt.to_vec(), 6, greedy())
    };
    let made = Made::collect(session.generate(request).unwrap());
    assert_eq!(made.tokens.len(), 6, "{:?}", made.reason);
    (session.cached(), made)
}

/// Computed, still in the device, and read by another process: the same bits.
pub(crate) fn cold_warm_and_restored_are_the_same_bits(start: Start<'_>) {
    // At a window, a row of each ratio, a page, and in the middle of all of them.
    for at in [16, 128, 512, 517, 1030] {
        let system = noise(1, at);
        let prompts = [2, 3].map(|seed| [system.clone(), noise(seed, 5)].concat());
        let cold = prompts
            .clone()
            .map(|prompt| ask(&start(24, steady()), &prompt, at as u32).1);
        let dir = tempdir().unwrap();
        let engine = start(24, store(&dir));
        ask(&engine, &prompts[0], at as u32).1.assert_same(&cold[0]);
        let (cached, warm) = ask(&engine, &prompts[1], at as u32);
        assert_eq!(cached as usize, at);
        warm.assert_same(&cold[1]);
        drop(engine);
        // Another process, with other room.
        for (prompt, cold) in prompts.iter().zip(&cold).rev() {
            let engine = start(9, store(&dir));
            let (cached, restored) = ask(&engine, prompt, at as u32);
            assert_eq!(cached as usize, at);
            restored.assert_same(cold);
            // What was read is in memory now.
            assert_eq!(ask(&engine, prompt, at as u32).0 as usize, at);
            assert_eq!(engine.stored().unwrap().trouble, None);
        }
    }
}

/// Conversations that do not fit into the device one beside the other: with memory of the host they
/// come back from there, the same bits, and without a disk.
pub(crate) fn the_host_has_what_the_device_has_no_room_for(start: Start<'_>) {
    let prompts = [4, 5, 6].map(|seed| noise(seed, 1205));
    // In one engine, as below: how long the first steps take decides how long the next may be.
    let roomy = start(24, steady());
    let cold = prompts.clone().map(|prompt| ask(&roomy, &prompt, 1200).1);
    drop(roomy);
    let hosted = |bytes| {
        // Three pages a conversation, and one that is written.
        start(
            5,
            Options {
                host_bytes: bytes,
                ..steady()
            },
        )
    };
    let without = hosted(0);
    for prompt in &prompts {
        ask(&without, prompt, 1200);
    }
    assert_eq!(ask(&without, &prompts[0], 1200).0, 0, "it did not fit");
    assert!(without.hosted().is_none());
    drop(without);

    let engine = hosted(1 << 30);
    for (at, (prompt, cold)) in prompts.iter().zip(&cold).enumerate() {
        let (cached, made) = ask(&engine, prompt, 1200);
        assert_eq!(cached, 0);
        made.assert_same(cold);
        // Its question and its answer. They arrive in the background.
        settle(|| engine.hosted().unwrap().frontiers == 2 * (at + 1));
    }
    for (prompt, cold) in prompts.iter().zip(&cold).chain(prompts.iter().zip(&cold)) {
        let (cached, made) = ask(&engine, prompt, 1200);
        assert_eq!(cached, 1200);
        made.assert_same(cold);
    }
    let report = engine.hosted().unwrap();
    assert_eq!((report.pages, report.frontiers), (6, 6), "{report:?}");

    // With room for one of them, one is there, and never more than was allowed.
    let engine = hosted(report.used / 2);
    for prompt in prompts.iter().chain(&prompts) {
        ask(&engine, prompt, 1200);
        assert!(engine.hosted().unwrap().used <= report.used / 2);
    }
}

/// What a process reads from disk stays in memory of the host as well.
pub(crate) fn what_was_read_once_is_read_from_the_host(start: Start<'_>) {
    let dir = tempdir().unwrap();
    let prompts = [7, 8].map(|seed| noise(seed, 1205));
    let first = start(24, store(&dir));
    let made = prompts.clone().map(|prompt| ask(&first, &prompt, 1200).1);
    drop(first);
    let options = Options {
        host_bytes: 1 << 30,
        ..store(&dir)
    };
    let engine = start(5, options);
    for (prompt, made) in prompts.iter().zip(&made) {
        let (cached, again) = ask(&engine, prompt, 1200);
        assert_eq!(cached, 1200);
        again.assert_same(made);
    }
    settle(|| engine.hosted().unwrap().pages == 4);
    std::fs::remove_dir_all(dir.path().join("kv/pages")).unwrap();
    for (prompt, made) in prompts.iter().zip(&made) {
        let (cached, again) = ask(&engine, prompt, 1200);
        assert_eq!(cached, 1200);
        again.assert_same(made);
    }
}

/// Waits for what happens in the background.
#[track_caller]
fn settle(is_done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never comes");
        thread::sleep(Duration::from_millis(5));
    }
}
