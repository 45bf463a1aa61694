//! Who is computed when: cancellation, admission, slow receivers, a full queue, the end.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::sampling::TokenMask;
use ds4_engine::{
    EngineError, FinishReason, Grammar, Options, Output, Request, RequestError, Sampling, Session,
};

use crate::rig::{Made, engine, engine_with, exact, greedy, greedy_tokens, noise, options, plain};

/// An engine whose steps hold as little of a prompt as possible.
fn small_steps() -> Options {
    Options {
        longest_step: Duration::ZERO,
        between_tokens: Duration::ZERO,
        ..options()
    }
}

fn request(prompt: &[u32], count: u32) -> Request {
    Request::tokens(prompt.to_vec(), count, greedy())
}

/// Asks until the session is idle; every question is answered between two steps.
fn until_idle(session: &Session) -> Vec<u32> {
    loop {
        let status = session.status().unwrap();
        if !status.is_generating {
            return status.tokens;
        }
    }
}

#[test]
fn cancelling_a_prefill_keeps_what_is_computed() {
    let engine = engine_with(exact(), small_steps());
    let session = engine.session().unwrap();
    let prompt = noise(1, 700);
    let mut generation = session.generate(request(&prompt, 5)).unwrap();
    let Some(Output::Progress(first)) = generation.next() else {
        panic!("a prefill begins with progress");
    };
    assert_eq!(first.total, 700);
    generation.cancel();
    let made = Made::collect(generation);
    assert!(matches!(made.reason, Some(FinishReason::Cancelled)));
    let tokens = session.status().unwrap().tokens;
    assert!(!tokens.is_empty() && tokens.len() < 700, "{}", tokens.len());
    assert_eq!(tokens, prompt[..tokens.len()]);
    let made = greedy_tokens(&session, &prompt, 5);
    assert_eq!(made.usage.cached_tokens as usize, tokens.len());
    made.assert_close(&plain(&prompt, 5));
}

#[test]
fn a_receiver_that_went_away_stops_costing() {
    let engine = engine_with(exact(), small_steps());
    let session = engine.session().unwrap();
    let prompt = noise(2, 900);
    let mut generation = session.generate(request(&prompt, 100)).unwrap();
    let Some(Output::Progress(_)) = generation.next() else {
        panic!("a prefill begins with progress");
    };
    drop(generation);
    // The flag is set: no step begins after the one under way.
    let at_drop = session.status().unwrap().tokens.len();
    let end = until_idle(&session).len();
    assert!(end <= at_drop + 32, "from {at_drop} to {end}");
    assert!(end < 900);
    let status = engine.status().unwrap();
    assert_eq!((status.running, status.promised_bytes), (0, 0));
}

#[test]
fn a_dropped_session_gives_everything_back() {
    let engine = engine();
    let session = engine.session().unwrap();
    let generation = session.generate(request(&noise(3, 600), 50)).unwrap();
    drop(session);
    // Its generation goes on until it ends or is dropped as well.
    let made = Made::collect(generation);
    assert_eq!(made.tokens.len(), 50);
    let status = engine.status().unwrap();
    assert_eq!(status.free_bytes, status.total_bytes);
}

#[test]
fn decoding_goes_on_during_a_long_prefill() {
    let engine = engine_with(exact(), small_steps());
    let (talker, reader) = (engine.session().unwrap(), engine.session().unwrap());
    let mut talking = talker.generate(request(&noise(4, 3), 200)).unwrap();
    talking
        .find(|output| matches!(output, Output::Token(_)))
        .unwrap();
    let mut reading = reader.generate(request(&noise(5, 800), 1)).unwrap();
    let Some(Output::Progress(first)) = reading.next() else {
        panic!("a prefill begins with progress");
    };
    assert!(first.done <= 96);
    // Between two tokens there is never more than one step, and a step holds a small slice.
    let before = engine.status().unwrap();
    assert_eq!(before.running, 2);
    let talked = Made::collect(talking);
    let read = Made::collect(reading);
    assert_eq!((talked.tokens.len(), read.tokens.len()), (199, 1));
    talked_like_alone(&talked);
    read.assert_close(&plain(&noise(5, 800), 1));
}

fn talked_like_alone(talked: &Made) {
    assert_eq!(talked.tokens, plain(&noise(4, 3), 200).tokens[1..]);
}

#[test]
fn a_session_that_cannot_fit_is_refused_with_figures() {
    let engine = engine_with(
        CpuOptions {
            pages: 2,
            ..exact()
        },
        options(),
    );
    let page = engine.status().unwrap().total_bytes / 2;
    let session = engine.session().unwrap();
    let made = greedy_tokens(&session, &noise(6, 1020), 10);
    let Some(FinishReason::Error(EngineError::Admission(admission))) = made.reason else {
        panic!("{:?}", made.reason);
    };
    assert_eq!((admission.needed, admission.free), (3 * page, 2 * page));
    // What fits is served.
    assert_eq!(greedy_tokens(&session, &noise(6, 600), 10).tokens.len(), 10);
}

#[test]
fn idle_sessions_make_room_the_longest_idle_first() {
    let engine = engine_with(
        CpuOptions {
            pages: 4,
            ..exact()
        },
        options(),
    );
    let sessions = [(); 3].map(|()| engine.session().unwrap());
    let [old, fork, late] = &sessions;
    let held = |session: &Session| session.status().unwrap().tokens.len();
    let prompts = [30, 31, 32].map(|seed| noise(seed, 600));
    greedy_tokens(old, &prompts[0], 3);
    greedy_tokens(fork, &prompts[1], 3);
    // Used again: no longer the one idle for longest.
    greedy_tokens(old, &prompts[0], 3);
    assert_eq!(engine.status().unwrap().free_bytes, 0);
    let made = greedy_tokens(late, &prompts[2], 3);
    assert_eq!((held(old), held(fork)), (602, 0));
    made.assert_close(&plain(&prompts[2], 3));
    // It costs a prefill, in which the next one is emptied.
    let made = greedy_tokens(fork, &prompts[1], 3);
    assert_eq!((made.usage.cached_tokens, held(old)), (0, 0));
    made.assert_close(&plain(&prompts[1], 3));
    // Nobody is emptied in vain.
    let made = greedy_tokens(late, &noise(33, 2100), 3);
    assert!(matches!(
        made.reason,
        Some(FinishReason::Error(EngineError::Admission(_)))
    ));
    assert_eq!((held(fork), held(late)), (602, 0));
    // A stored session finds room as well.
    greedy_tokens(late, &prompts[2], 3);
    let stored = late.snapshot().unwrap();
    let restored = engine.restore(stored).unwrap();
    assert_eq!((held(&restored), held(fork), held(late)), (602, 0, 602));
}

#[test]
fn sessions_at_work_or_in_line_keep_their_pages() {
    let engine = engine_with(
        CpuOptions {
            pages: 2,
            ..exact()
        },
        options(),
    );
    let (busy, waiting) = (engine.session().unwrap(), engine.session().unwrap());
    let mut prompt = noise(34, 20);
    prompt.extend(greedy_tokens(&waiting, &prompt, 5).tokens);
    let mut running = busy.generate(request(&noise(35, 10), 480)).unwrap();
    running
        .find(|output| matches!(output, Output::Token(_)))
        .unwrap();
    // Its next turn needs a second page; it waits with its first one.
    let turn = waiting.generate(request(&prompt, 600)).unwrap();
    // All that it has is of use to it, so it has it whether or not it was looked at already.
    assert_eq!(waiting.status().unwrap().tokens.len(), 24);
    assert_eq!(engine.status().unwrap().waiting, 1);
    running.cancel();
    drop((running, busy));
    assert_eq!(Made::collect(turn).tokens.len(), 600);
}

#[test]
fn a_generation_waits_for_promises_to_come_back() {
    let engine = engine_with(
        CpuOptions {
            pages: 2,
            ..exact()
        },
        options(),
    );
    let (first, second) = (engine.session().unwrap(), engine.session().unwrap());
    // It may need both pages, and will use one.
    let mut greedy_one = first.generate(request(&noise(8, 10), 900)).unwrap();
    greedy_one.next().unwrap();
    let waiting = second.generate(request(&noise(9, 10), 5)).unwrap();
    assert_eq!(engine.status().unwrap().waiting, 1);
    greedy_one.cancel();
    let made = Made::collect(waiting);
    made.assert_close(&plain(&noise(9, 10), 5));
    assert!(made.usage.waited > Duration::ZERO);
}

/// A fork of a session at work needs a page for what both will write, and idle sessions make room
/// for it as they do for a generation.
#[test]
fn a_fork_takes_its_page_from_an_idle_session() {
    let engine = engine_with(
        CpuOptions {
            pages: 3,
            ..exact()
        },
        options(),
    );
    let (idle, at_work) = (engine.session().unwrap(), engine.session().unwrap());
    let prompts = [noise(16, 600), noise(17, 10)];
    greedy_tokens(&idle, &prompts[0], 2);
    let mut generation = at_work.generate(request(&prompts[1], 300)).unwrap();
    generation.next().unwrap();
    let fork = at_work.fork().unwrap();
    assert!(idle.status().unwrap().tokens.is_empty(), "it made room");
    // Both go on from the same page, each on a copy of its own.
    let expected = plain(&prompts[1], 300);
    let made = Made::collect(generation);
    assert_eq!(made.tokens, expected.tokens);
    let at = fork.status().unwrap().tokens.len();
    let whole = [&prompts[1][..], &expected.tokens].concat();
    let more = greedy_tokens(&fork, &whole[..at + 1], 3);
    assert_eq!(more.usage.cached_tokens as usize, at);
    assert_eq!(more.tokens, whole[at + 1..at + 4]);

    // A session at work is not emptied: it was promised all there is.
    drop((fork, idle));
    let mut generation = at_work.generate(request(&prompts[1], 1500)).unwrap();
    generation.next().unwrap();
    let refused = at_work.fork().unwrap_err();
    assert!(matches!(refused, EngineError::Admission(_)), "{refused}");
}

#[test]
fn a_slow_receiver_pauses_itself_alone() {
    let engine = engine();
    let (slow, quick) = (engine.session().unwrap(), engine.session().unwrap());
    let paused = slow.generate(request(&noise(10, 4), 300)).unwrap();
    let made = greedy_tokens(&quick, &noise(11, 4), 300);
    assert_eq!(made.tokens.len(), 300);
    // By now it had time for as many, but it is told apart from one that listens.
    let ahead = slow.status().unwrap();
    assert!(
        ahead.is_generating && ahead.tokens.len() < 100,
        "{}",
        ahead.tokens.len()
    );
    Made::collect(paused).assert_close(&plain(&noise(10, 4), 300));
}

/// A grammar that lets the engine thread wait.
struct Gate(Sender<()>, Receiver<()>);

impl Grammar for Gate {
    fn allow(&mut self, mask: &mut TokenMask) {
        mask.allow_all();
        let _ = self.0.send(());
        let _ = self.1.recv();
    }

    fn accept(&mut self, _: u32) {}
}

#[test]
fn a_full_queue_is_an_error() {
    let options = Options {
        queue: 1,
        ..options()
    };
    let engine = engine_with(exact(), options);
    let session = engine.session().unwrap();
    let (entered, is_in) = channel();
    let (let_go, gate) = channel();
    let grammar: Option<Box<dyn Grammar>> = Some(Box::new(Gate(entered, gate)));
    let generation = session
        .generate(Request {
            grammar,
            ..request(&noise(12, 4), 1)
        })
        .unwrap();
    is_in.recv().unwrap();
    // The engine thread stands in the grammar, the queue holds one wake-up: there is no room.
    generation.canceller().cancel();
    assert!(matches!(
        engine.status(),
        Err(EngineError::Busy { waiting: 1 })
    ));
    let_go.send(()).unwrap();
    assert_eq!(Made::collect(generation).tokens.len(), 1);
}

#[test]
fn shutting_down_ends_every_stream() {
    let engine = engine_with(exact(), small_steps());
    let session = engine.session().unwrap();
    let mut generation = session.generate(request(&noise(13, 900), 100)).unwrap();
    generation.next().unwrap();
    engine.shutdown();
    let made = Made::collect(generation);
    assert!(matches!(
        made.reason,
        Some(FinishReason::Error(EngineError::Stopped))
    ));
    assert!(matches!(session.status(), Err(EngineError::Stopped)));
    assert!(matches!(engine.session(), Err(EngineError::Stopped)));
}

#[test]
fn requests_that_make_no_sense_are_refused_before_any_work() {
    let engine = engine();
    let session = engine.session().unwrap();
    let refuse = |prompt: Vec<u32>| {
        let error = session.generate(request(&prompt, 1)).unwrap_err();
        match error {
            EngineError::Request(error) => error,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refuse(vec![]), RequestError::Empty);
    let stranger = RequestError::Token {
        token: 512,
        at: 1,
        vocab: 512,
    };
    assert_eq!(refuse(vec![1, 512]), stranger);
    let full = RequestError::Context {
        prompt: 4096,
        context: 4096,
    };
    assert_eq!(refuse(noise(1, 4096)), full);
    let first = session.generate(request(&[1, 2, 3], 50)).unwrap();
    let twice = session.generate(request(&[1, 2, 3], 1)).unwrap_err();
    assert!(matches!(twice, EngineError::Generating));
    assert!(matches!(session.rewind(0), Err(EngineError::Generating)));
    drop(first);

    let sessions = engine_with(
        exact(),
        Options {
            sessions: 1,
            ..options()
        },
    );
    let _one = sessions.session().unwrap();
    assert!(matches!(
        sessions.session(),
        Err(EngineError::Sessions { most: 1 })
    ));
}

#[test]
fn the_context_is_a_bound() {
    let engine = engine_with(
        exact(),
        Options {
            context: 20,
            ..options()
        },
    );
    let session = engine.session().unwrap();
    let made = greedy_tokens(&session, &noise(14, 15), 100);
    assert_eq!(made.tokens.len(), 5);
    assert!(matches!(made.reason, Some(FinishReason::Length)));
}

#[test]
fn draws_follow_the_seed() {
    let engine = engine();
    let prompt = noise(15, 8);
    let draw = |seed| {
        let fields = ds4_engine::SamplingFields {
            seed,
            ..Default::default()
        };
        let sampling = Sampling::new(fields).unwrap();
        let session = engine.session().unwrap();
        let request = Request::tokens(prompt.clone(), 20, sampling);
        Made::collect(session.generate(request).unwrap()).tokens
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
