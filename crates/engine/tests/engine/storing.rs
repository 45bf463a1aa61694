//! What outlives the engine: found again by another one, the same bits, or refused.

use std::fs;
use std::path::{Path, PathBuf};

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, PAGE_TOKENS, StoreReport, Tenant, load_cpu};
use tempfile::tempdir;

use crate::rig::{engine_with, exact, greedy_tokens, model, noise, packed, plain};
use crate::tiers::{ask, store};

fn report(engine: &Engine) -> StoreReport {
    engine.stored().unwrap()
}

/// A conversation, each turn in a process of its own.
#[test]
fn a_conversation_goes_on_in_another_process() {
    let dir = tempdir().unwrap();
    let mut history = noise(8, 300);
    let mut known = 0;
    let mut pages = 0;
    for turn in 0..6 {
        let engine = engine_with(exact(), store(&dir));
        let session = engine.resume(Tenant::default(), &history).unwrap();
        assert_eq!(session.cached(), known);
        let made = greedy_tokens(&session, &history, 8);
        made.assert_close(&plain(&history, 8));
        history.extend(&made.tokens);
        known = history.len() as u32 - 1;
        history.extend(noise(turn, 150));
        drop(session);
        // Its new full pages and one frontier; the one before it is gone.
        engine.shutdown();
        let report = report(&engine);
        let full = known as usize / PAGE_TOKENS;
        assert_eq!((report.pages, report.frontiers), (full, 1), "{report:?}");
        assert_eq!(report.written as usize, full - pages + 1);
        pages = full;
    }
    assert!(pages >= 2);
}

#[test]
fn a_stored_beginning_is_read_only_where_it_is_not_in_memory() {
    let dir = tempdir().unwrap();
    let system = noise(9, 1200);
    let (one, two) = (
        [&system[..], &[1; 700]].concat(),
        [&system[..], &[2; 30]].concat(),
    );
    let engine = engine_with(exact(), store(&dir));
    ask(&engine, &one, 1200);
    ask(&engine, &two, 1200);
    drop(engine);
    let engine = engine_with(exact(), store(&dir));
    let short = engine
        .resume(Tenant::default(), &[&two[..], &[3]].concat())
        .unwrap();
    assert_eq!(short.cached(), 1200);
    // The longer one shares two pages with what is in memory now.
    let mut longer = one.clone();
    longer.extend(plain_answer(&one));
    longer.truncate(1905);
    longer.push(500);
    let session = engine.resume(Tenant::default(), &longer).unwrap();
    assert_eq!(session.cached(), 1905);
    let pages = session.status().unwrap().pages;
    assert!(pages.shared > 0);
    greedy_tokens(&session, &longer, 3).assert_close(&plain(&longer, 3));
}

fn plain_answer(prompt: &[u32]) -> Vec<u32> {
    plain(prompt, 6).tokens
}

#[test]
fn tenants_and_models_do_not_find_each_other() {
    let dir = tempdir().unwrap();
    let prompt = noise(10, 600);
    ask(&engine_with(exact(), store(&dir)), &prompt, 550);
    let engine = engine_with(exact(), store(&dir));
    let stranger = engine.resume(Tenant::of(b"stranger"), &prompt).unwrap();
    assert_eq!(stranger.cached(), 0);
    let other = engine_with(packed(), store(&dir));
    assert_eq!(
        other.resume(Tenant::default(), &prompt).unwrap().cached(),
        0
    );
    let other = load_cpu(&model(2), exact()).unwrap();
    let other = Engine::start(Box::new(other), None, store(&dir)).unwrap();
    assert_eq!(
        other.resume(Tenant::default(), &prompt).unwrap().cached(),
        0
    );
    // All of them share one directory, and the first one's is still there.
    assert!(engine.resume(Tenant::default(), &prompt).unwrap().cached() >= 550);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let folders = ["pages", "frontiers"].map(|folder| dir.join("kv").join(folder));
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Any file damaged anywhere, or gone: the answer is right, from a shallower place or from none.
#[test]
fn damage_costs_a_prefill() {
    let prompt = noise(11, 1100);
    let expected = plain(&prompt, 6);
    for which in 0..5 {
        for damage in 0..3 {
            let dir = tempdir().unwrap();
            ask(&engine_with(exact(), store(&dir)), &prompt, 700);
            let files = files(dir.path());
            assert_eq!(files.len(), 4, "two pages, two frontiers");
            let Some(file) = files.get(which) else {
                continue;
            };
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                0 => bytes[middle] ^= 0x10,
                1 => bytes.truncate(middle),
                _ => bytes.clear(),
            }
            fs::write(file, bytes).unwrap();
            let engine = engine_with(exact(), store(&dir));
            let (cached, made) = ask(&engine, &prompt, 700);
            assert!([0, 700].contains(&cached), "{cached}");
            made.assert_close(&expected);
            // It was replaced by what was computed again, or is about to be.
            let again = engine.resume(Tenant::default(), &prompt).unwrap();
            assert_eq!(again.cached(), 700);
        }
    }
}

/// Sessions that come and go in two engines on one directory that is too small for them.
#[test]
fn two_engines_share_a_small_directory() {
    let dir = tempdir().unwrap();
    let one = {
        let engine = engine_with(exact(), store(&dir));
        ask(&engine, &noise(12, 600), 590);
        engine.shutdown();
        report(&engine).used
    };
    let mut small = store(&dir);
    if let Some(store) = &mut small.store {
        store.bytes = 3 * one;
    }
    let cpu = CpuOptions {
        pages: 8,
        ..exact()
    };
    let engines = [(); 2].map(|()| engine_with(cpu.clone(), small.clone()));
    for round in 0..12 {
        let seed = [12, 13, 14, 15, 16][round * 3 % 5];
        let prompt = noise(seed, 600);
        let (_, made) = ask(&engines[round % 2], &prompt, 590);
        if round % 4 == 0 {
            made.assert_close(&plain(&prompt, 6));
        }
    }
    for engine in engines {
        engine.shutdown();
        assert!(report(&engine).used <= 3 * one);
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("kv"), b"a file").unwrap();
    let machine = Box::new(crate::rig::machine(exact()));
    let error = Engine::start(machine, None, store(&dir))
        .unwrap_err()
        .to_string();
    assert!(error.contains("kv"), "{error}");
}
