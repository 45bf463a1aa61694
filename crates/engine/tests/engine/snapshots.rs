//! Bytes that are not a session of this model cost a prefill, never a crash or a wrong answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, EngineError, Options, Request, SnapshotError, load_cpu};

use crate::hooked::Hooked;
use crate::rig::{
    TOKENIZER, engine_with, exact, greedy, greedy_tokens, machine, model, noise, options, packed,
};

fn refusal(engine: &Engine, bytes: &[u8]) -> SnapshotError {
    match engine.restore(bytes.to_vec()) {
        Err(EngineError::Snapshot(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("restored"),
    }
}

#[test]
fn a_snapshot_continues_in_another_engine() {
    let prompt = noise(1, 530);
    let engine = engine_with(packed(), options());
    let session = engine.session().unwrap();
    let first = greedy_tokens(&session, &prompt, 3);
    let bytes = session.snapshot().unwrap();
    let mut more = prompt;
    more.extend(&first.tokens);
    let expected = greedy_tokens(&session, &more, 8);

    let other = engine_with(
        CpuOptions {
            slots: 1,
            pages: 4,
            ..packed()
        },
        options(),
    );
    let session = other.restore(bytes.clone()).unwrap();
    assert_eq!(session.snapshot().unwrap(), bytes, "what goes in comes out");
    let made = greedy_tokens(&session, &more, 8);
    assert_eq!(made.usage.cached_tokens, 532);
    made.assert_same(&expected);
}

#[test]
fn an_empty_session_has_a_snapshot_too() {
    let engine = engine_with(packed(), options());
    let bytes = engine.session().unwrap().snapshot().unwrap();
    let session = engine.restore(bytes).unwrap();
    assert!(session.status().unwrap().tokens.is_empty());
    assert_eq!(greedy_tokens(&session, &[1, 2], 3).tokens.len(), 3);
}

#[test]
fn damage_is_refused_wherever_it_is() {
    let engine = engine_with(packed(), options());
    let session = engine.session().unwrap();
    greedy_tokens(&session, &noise(2, 40), 1);
    let bytes = session.snapshot().unwrap();
    for cut in (0..200).chain((200..bytes.len()).step_by(4999)) {
        refusal(&engine, &bytes[..cut]);
    }
    for at in (0..240)
        .chain((240..bytes.len()).step_by(4999))
        .chain(bytes.len() - 32..bytes.len())
    {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        refusal(&engine, &damaged);
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        refusal(&engine, &longer),
        SnapshotError::Length { .. }
    ));
    // Sizes that would ask for all memory are compared with the bytes at hand, not allocated.
    let mut huge = bytes;
    huge[12..16].fill(0xff);
    assert!(matches!(
        refusal(&engine, &huge),
        SnapshotError::Length { .. }
    ));
    huge[56..64].fill(0xff);
    assert!(matches!(
        refusal(&engine, &huge),
        SnapshotError::Size { .. }
    ));
    // Nothing stays behind.
    drop(session);
    let status = engine.status().unwrap();
    assert_eq!(status.free_bytes, status.total_bytes);
}

/// With a checksum that is right, what it covers is still not believed.
#[test]
fn forged_contents_are_refused() {
    let engine = engine_with(packed(), options());
    let session = engine.session().unwrap();
    greedy_tokens(&session, &noise(3, 40), 1);
    let bytes = session.snapshot().unwrap();
    let forge = |change: fn(&mut Vec<u8>)| {
        let mut forged = bytes[..bytes.len() - 32].to_vec();
        change(&mut forged);
        let checksum = blake3::hash(&forged);
        forged.extend(checksum.as_bytes());
        forged
    };
    let foreign = |b: &mut Vec<u8>| b[0] = b'X';
    assert!(matches!(
        refusal(&engine, &forge(foreign)),
        SnapshotError::Magic { .. }
    ));
    let newer = |b: &mut Vec<u8>| b[8] = 9;
    let expected = SnapshotError::Version { found: 9 };
    assert_eq!(refusal(&engine, &forge(newer)), expected);
    let stranger = |b: &mut Vec<u8>| b[64..68].copy_from_slice(&512u32.to_le_bytes());
    let expected = SnapshotError::Token {
        token: 512,
        at: 0,
        vocab: 512,
    };
    assert_eq!(refusal(&engine, &forge(stranger)), expected);
    // A frontier one byte short, its length told truly.
    let short = forge(|b| {
        b.pop();
        let length = u64::from_le_bytes(b[56..64].try_into().unwrap()) - 1;
        b[56..64].copy_from_slice(&length.to_le_bytes());
    });
    assert!(matches!(
        refusal(&engine, &short),
        SnapshotError::Size { .. }
    ));
}

#[test]
fn another_model_or_layout_is_named() {
    let engine = engine_with(packed(), options());
    let session = engine.session().unwrap();
    greedy_tokens(&session, &noise(4, 20), 1);
    let bytes = session.snapshot().unwrap();
    let floats = engine_with(exact(), options());
    let other = load_cpu(&model(2), packed()).unwrap();
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    let other = Engine::start(Box::new(other), tokenizer, options()).unwrap();
    for foreign in [floats, other] {
        let expected = foreign.identity();
        let found = engine.identity();
        assert_eq!(
            refusal(&foreign, &bytes),
            SnapshotError::Foreign { found, expected }
        );
    }
}

#[test]
fn a_snapshot_without_room_is_refused_with_figures() {
    let engine = engine_with(packed(), options());
    let session = engine.session().unwrap();
    greedy_tokens(&session, &noise(5, 600), 1);
    let small = engine_with(
        CpuOptions {
            pages: 1,
            ..packed()
        },
        options(),
    );
    let error = small.restore(session.snapshot().unwrap()).unwrap_err();
    assert!(matches!(error, EngineError::Admission(a) if a.needed == 2 * a.free));
}

/// Pages copied since the last step, and the most of them there ever were.
#[derive(Default)]
struct Copies {
    now: AtomicU32,
    most: AtomicU32,
}

/// A long session is copied a little at a time, out and in: no step waits for all of it.
#[test]
fn others_go_on_while_a_long_session_is_copied() {
    let copies = Arc::new(Copies::default());
    let of_steps = Arc::clone(&copies);
    let page = |copies: &Arc<Copies>| {
        let copies = Arc::clone(copies);
        move || {
            let now = copies.now.fetch_add(1, Relaxed) + 1;
            copies.most.fetch_max(now, Relaxed);
        }
    };
    let hooked = Hooked {
        inner: machine(CpuOptions {
            pages: 40,
            ..packed()
        }),
        after_step: move || {
            of_steps.now.store(0, Relaxed);
            Ok(())
        },
        before_save: page(&copies),
        before_load: page(&copies),
        host_memory: None,
    };
    let engine = Engine::start(
        Box::new(hooked),
        Some(Arc::clone(&TOKENIZER)),
        Options {
            context: 16 * 512,
            ..options()
        },
    )
    .unwrap();
    let long = engine.fill(noise(6, 15 * 512 + 9), 3).unwrap();
    let alone = long.snapshot().unwrap();
    copies.most.store(0, Relaxed);
    let other = engine.session().unwrap();
    let prompt = noise(7, 20);
    thread::scope(|threads| {
        // It has more to say than fits its stream, so it is there as long as it is listened to.
        let request = Request::tokens(prompt.clone(), 2000, greedy());
        let mut generation = other.generate(request).unwrap();
        generation.next().unwrap();
        let snapshot = threads.spawn(|| long.snapshot().unwrap());
        while !snapshot.is_finished() {
            generation.next().unwrap();
        }
        assert!(snapshot.join().unwrap() == alone);
        let most = copies.most.swap(0, Relaxed);
        assert!((1..=17).contains(&most), "{most} pages between two steps");

        let restored = threads.spawn(|| engine.restore(alone.clone()).unwrap());
        while !restored.is_finished() {
            generation.next().unwrap();
        }
        let most = copies.most.swap(0, Relaxed);
        assert!((1..=16).contains(&most), "{most} pages between two steps");
        assert!(restored.join().unwrap().snapshot().unwrap() == alone);
    });
}

/// Whoever needs the pages of a session gets them, and its snapshot is whole all the same.
#[test]
fn a_session_that_is_emptied_while_it_is_copied_is_copied_whole() {
    let (begun, is_begun) = channel();
    let (let_go, gate) = channel::<()>();
    // The next page that is copied waits at the gate, once it is there.
    let is_armed = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&is_armed);
    let hooked = Hooked {
        inner: machine(CpuOptions {
            pages: 16,
            ..packed()
        }),
        after_step: || Ok(()),
        before_save: move || {
            if waits.swap(false, Relaxed) {
                let _ = begun.send(());
                let _ = gate.recv();
            }
        },
        before_load: || {},
        host_memory: None,
    };
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    let options = Options {
        context: 16 * 512,
        ..options()
    };
    let engine = Engine::start(Box::new(hooked), tokenizer, options.clone()).unwrap();
    let tokens = noise(8, 14 * 512);
    let long = engine.fill(tokens.clone(), 4).unwrap();
    let other = engine.session().unwrap();
    is_armed.store(true, Relaxed);
    let bytes = thread::scope(|threads| {
        let snapshot = threads.spawn(|| long.snapshot().unwrap());
        is_begun.recv().unwrap();
        let prompt = noise(9, 3 * 512);
        let wanting = threads.spawn(move || greedy_tokens(&other, &prompt, 2));
        let_go.send(()).unwrap();
        assert_eq!(wanting.join().unwrap().tokens.len(), 2);
        snapshot.join().unwrap()
    });
    assert!(long.status().unwrap().tokens.is_empty(), "it made room");
    let reference = engine_with(packed(), options);
    let same = reference.fill(tokens, 4).unwrap();
    assert!(same.snapshot().unwrap() == bytes);
    assert_eq!(engine.status().unwrap().idle_bytes, 0, "nothing stays kept");
}
