//! What one session computed, another one finds: by tokens, within its tenant, the same bits.

use std::time::Duration;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, FinishReason, Options, Output, Request, Session, Tenant};

use crate::rig::{Made, engine_with, exact, greedy, greedy_tokens, noise, options, packed, plain};

/// Steps whose shapes do not depend on the clock.
fn steady() -> Options {
    Options {
        longest_step: Duration::from_secs(10_000),
        ..options()
    }
}

fn cut_at(prompt: &[u32], cut: u32, count: u32) -> Request {
    Request {
        cuts: vec![cut],
        ..Request::tokens(prompt.to_vec(), count, greedy())
    }
}

fn resume(engine: &Engine, prompt: &[u32]) -> Session {
    engine.resume(Tenant::default(), prompt).unwrap()
}

fn ask(engine: &Engine, prompt: &[u32], cut: u32) -> (u32, Made) {
    let session = resume(engine, prompt);
    let made = Made::collect(session.generate(cut_at(prompt, cut, 6)).unwrap());
    assert_eq!(made.tokens.len(), 6, "{:?}", made.reason);
    (session.cached(), made)
}

/// The first of two agents computes the instructions, the second one nothing of them, and what
/// each is told is what it would be told on an engine of its own.
#[test]
fn what_was_computed_once_is_found_and_gives_the_same_bits() {
    // At a window, a row of each ratio, a page, and in the middle of all of them.
    for at in [16, 128, 512, 517, 1030] {
        let system = noise(1, at);
        let prompts = [2, 3].map(|seed| [system.clone(), noise(seed, 5)].concat());
        let cold = prompts.clone().map(|prompt| {
            let engine = engine_with(packed(), steady());
            let (cached, made) = ask(&engine, &prompt, at as u32);
            assert_eq!(cached, 0);
            made
        });
        let engine = engine_with(packed(), steady());
        ask(&engine, &prompts[0], at as u32).1.assert_same(&cold[0]);
        for (prompt, cold) in prompts.iter().zip(&cold).rev() {
            let (cached, warm) = ask(&engine, prompt, at as u32);
            assert_eq!(
                (cached as usize, warm.usage.cached_tokens as usize),
                (at, at)
            );
            warm.assert_same(cold);
        }
    }
}

/// A session goes on in the open page that it shares with others, who see none of it.
#[test]
fn an_open_page_is_copied_once_somebody_else_goes_on_in_it() {
    let engine = engine_with(packed(), steady());
    let system = noise(4, 700);
    let prompts = [5, 6, 7].map(|seed| [system.clone(), noise(seed, 9)].concat());
    let alone = prompts.clone().map(|prompt| {
        let engine = engine_with(packed(), steady());
        ask(&engine, &prompt, 700).1
    });
    // All three at once, from one frontier, and the first of them was there before.
    ask(&engine, &prompts[0], 700);
    let sessions = prompts.each_ref().map(|prompt| resume(&engine, prompt));
    let pages = sessions[1].status().unwrap().pages;
    assert!(
        pages.shared > 0 && pages.own == pages.shared,
        "one full page, one open: {pages:?}"
    );
    for ((session, prompt), alone) in sessions.iter().zip(&prompts).zip(&alone) {
        assert_eq!(session.cached(), 700);
        let made = Made::collect(session.generate(cut_at(prompt, 700, 6)).unwrap());
        made.assert_same(alone);
    }
}

#[test]
fn a_conversation_goes_on_where_its_last_session_ended() {
    let engine = engine_with(exact(), options());
    let mut history = noise(8, 40);
    let mut known = 0;
    for turn in 0..6 {
        let session = resume(&engine, &history);
        assert_eq!(session.cached(), known);
        let made = greedy_tokens(&session, &history, 8);
        made.assert_close(&plain(&history, 8));
        history.extend(&made.tokens);
        // The last token was chosen and never computed.
        known = history.len() as u32 - 1;
        history.extend(noise(turn, 3));
    }
    // Every turn replaced the one before it.
    assert_eq!(engine.status().unwrap().kept_frontiers, 1);
}

#[test]
fn tenants_do_not_find_each_other() {
    let engine = engine_with(exact(), options());
    let prompt = noise(9, 50);
    let tenants = [Tenant::default(), Tenant::of(b"a"), Tenant::of(b"b")];
    for tenant in tenants {
        let session = engine.resume(tenant, &prompt).unwrap();
        assert_eq!(session.cached(), 0);
        let made = Made::collect(session.generate(cut_at(&prompt, 30, 2)).unwrap());
        assert_eq!(made.usage.cached_tokens, 0);
    }
    for tenant in tenants {
        assert_eq!(engine.resume(tenant, &prompt).unwrap().cached(), 30);
    }
}

#[test]
fn a_session_alone_leaves_nothing_and_finds_nothing() {
    let engine = engine_with(exact(), options());
    let prompt = noise(10, 50);
    let alone = || {
        let session = engine.session().unwrap();
        let made = Made::collect(session.generate(cut_at(&prompt, 30, 2)).unwrap());
        assert_eq!(made.usage.cached_tokens, 0);
    };
    alone();
    assert_eq!(engine.status().unwrap().kept_frontiers, 0);
    assert_eq!(resume(&engine, &prompt).cached(), 0);
    ask(&engine, &prompt, 30);
    alone();
}

#[test]
fn what_was_cancelled_is_found_where_it_ended() {
    let small = Options {
        longest_step: Duration::ZERO,
        ..options()
    };
    let engine = engine_with(exact(), small);
    let prompt = noise(11, 700);
    let session = resume(&engine, &prompt);
    let mut generation = session.generate(cut_at(&prompt, 700, 5)).unwrap();
    let Some(Output::Progress(_)) = generation.next() else {
        panic!("a prefill begins with progress");
    };
    drop((generation, session));
    let session = resume(&engine, &prompt);
    assert!((8..700).contains(&session.cached()), "{}", session.cached());
    greedy_tokens(&session, &prompt, 5).assert_close(&plain(&prompt, 5));
}

/// Two agents ask at the same time: the second one waits for what the first one is computing.
#[test]
fn a_beginning_that_is_being_computed_is_waited_for() {
    let small = Options {
        longest_step: Duration::ZERO,
        between_tokens: Duration::ZERO,
        ..options()
    };
    let engine = engine_with(exact(), small);
    let system = noise(12, 300);
    let prompts = [13, 14].map(|seed| [system.clone(), noise(seed, 4)].concat());
    let sessions = prompts.each_ref().map(|prompt| resume(&engine, prompt));
    let mut first = sessions[0].generate(cut_at(&prompts[0], 300, 3)).unwrap();
    let Some(Output::Progress(progress)) = first.next() else {
        panic!("a prefill begins with progress");
    };
    assert!(progress.done < 300);
    let second = sessions[1].generate(cut_at(&prompts[1], 300, 3)).unwrap();
    let second = Made::collect(second);
    assert_eq!(second.usage.cached_tokens, 300);
    second.assert_close(&plain(&prompts[1], 3));
    // Somebody who is cancelled is waited for no longer.
    drop((first, sessions));
    let other = noise(15, 400);
    let session = resume(&engine, &other);
    let first = session.generate(cut_at(&other, 400, 1)).unwrap();
    let late = resume(&engine, &[&other[..], &[1]].concat());
    let second = late
        .generate(cut_at(&[&other[..], &[1]].concat(), 400, 2))
        .unwrap();
    first.cancel();
    let second = Made::collect(second);
    assert!(matches!(second.reason, Some(FinishReason::Length)));
}

/// Kept pages make room for sessions, the least useful first, and what a session stands on is not
/// touched.
#[test]
fn sessions_come_before_what_is_kept() {
    let engine = engine_with(
        CpuOptions {
            pages: 6,
            ..exact()
        },
        options(),
    );
    let main = noise(16, 1500);
    ask(&engine, &main, 1200);
    let status = engine.status().unwrap();
    assert_eq!(
        (status.free_bytes, status.kept_frontiers),
        (status.total_bytes, 2)
    );
    assert!(status.idle_bytes > 0);
    // Side requests of one page each, more than there are pages.
    for seed in 100..108 {
        ask(&engine, &noise(seed, 30), 20);
    }
    assert_eq!(
        resume(&engine, &main).cached(),
        1200,
        "the conversation is still there"
    );
    // A session at work keeps what it stands on.
    let holder = resume(&engine, &main);
    let running = holder.generate(Request::tokens(main.clone(), 30, greedy()));
    ask(&engine, &noise(18, 1000), 900);
    let made = Made::collect(running.unwrap());
    assert_eq!(made.usage.cached_tokens, 1200);
    made.assert_close(&plain(&main, 30));
    // An idle one makes room for a session that needs everything.
    let all = noise(19, 3000);
    assert_eq!(ask(&engine, &all, 2900).0, 0);
    assert!(holder.status().unwrap().tokens.is_empty());
}

#[test]
fn frontiers_stay_within_their_budget() {
    let mut small = options();
    let engine = engine_with(exact(), options());
    ask(&engine, &noise(20, 30), 20);
    let one = engine.status().unwrap().kept_bytes / 2;
    small.kept_bytes = 3 * one + one / 2;
    let engine = engine_with(exact(), small);
    for seed in 21..30 {
        ask(&engine, &noise(seed, 30), 20);
        let status = engine.status().unwrap();
        assert!(status.kept_bytes <= 3 * one + one / 2 && status.kept_frontiers >= 2);
    }
}

/// Sessions that come and go, branch and repeat themselves, in too little memory: every answer is
/// that of a plain run, and nothing is lost.
#[test]
fn many_conversations_in_little_memory() {
    let cpu = CpuOptions {
        pages: 7,
        slots: 2,
        ..exact()
    };
    let engine = engine_with(cpu, options());
    let mut state = 1u64;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut histories: Vec<Vec<u32>> = (0..5).map(|seed| noise(seed, 300)).collect();
    let mut cached = 0;
    for round in 0..30 {
        let who = next(5) as usize;
        if next(4) == 0 {
            // Another conversation branches off this one.
            let to = next(histories[who].len() as u64) as usize;
            let mut branch = histories[who][..to].to_vec();
            branch.extend(noise(round, 20));
            histories[(who + 1) % 5] = branch;
        }
        let history = &mut histories[who];
        history.extend(noise(round + 50, 1 + next(150) as usize));
        let cut = 1 + next(history.len() as u64) as u32;
        let (_, made) = ask(&engine, history, cut);
        cached += made.usage.cached_tokens;
        if round % 5 == 0 {
            made.assert_close(&plain(history, 6));
        }
        history.extend(&made.tokens);
        let status = engine.status().unwrap();
        assert_eq!(
            (status.free_bytes, status.promised_bytes),
            (status.total_bytes, 0)
        );
    }
    assert!(cached > 1000, "{cached} tokens were found");
}
