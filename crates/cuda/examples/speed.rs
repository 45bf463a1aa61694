//! Prefill and decode of a full-size synthetic model on a card, in tokens a second.
//!
//! `cargo run --release -p ds4-cuda --example speed [LAYERS [RECIPE [profile]
//! [decode|prefill|short|load]]]`: the Flash shape with weights of noise, which are made in memory; all
//! layers but LAYERS (default 2) share theirs, and each has its own copy on the card. With `profile`
//! it also says in which kernels the time goes; with `decode` it measures one session that writes,
//! and nothing else; with `prefill` only prompts, in steps of two sizes; with `short` one session and
//! many at 2k; with `load` three times how long weights take from memory to the card.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures"
)]

use std::time::Instant;

use ds4_cuda::{Cuda, Options, Tensor};
use ds4_model::kv::PAGE_TOKENS;
use ds4_model::synthetic::{self, Contents, Synthetic};
use ds4_model::{Backend, Outputs, Recipe, Shape, Weights};
use ds4_truth::{Rig, check};

/// Rows of a step of prefill.
const CHUNK: usize = 2048;

/// Rows of a longer one.
const LONG_CHUNK: usize = 4096;

/// Contexts at which decoding is timed, in tokens.
const CONTEXTS: [usize; 4] = [2 << 10, 32 << 10, 64 << 10, 512 << 10];

/// Tokens that the first session has room for.
const MOST: usize = CONTEXTS[CONTEXTS.len() - 1] + 4 * LONG_CHUNK;

/// Sessions that decode together, most of all.
const SESSIONS: u32 = 64;

fn main() {
    let mut args = std::env::args().skip(1);
    let own = args.next().map_or(2, |layers| layers.parse().unwrap());
    let recipe = args
        .next()
        .map_or(Recipe::Q2, |name| Recipe::named(&name).unwrap());
    let more: Vec<String> = args.collect();
    let asked = |what: &str| more.iter().any(|word| word == what);
    let (profile, alone, prompts) = (asked("profile"), asked("decode"), asked("prefill"));
    let from = Instant::now();
    let synthetic = Synthetic {
        contents: Contents::Noise { share: Some(own) },
        ..Synthetic::noise(Shape::flash(), 1, recipe)
    };
    let (shape, weights) = Weights::bind(&synthetic.model().unwrap()).unwrap();
    println!("made in {:.1} s", from.elapsed().as_secs_f32());

    let options = Options {
        pages: MOST / PAGE_TOKENS + (CHUNK / PAGE_TOKENS + 1) * SESSIONS as usize,
        max_rows: if prompts { LONG_CHUNK } else { CHUNK },
        max_outputs: SESSIONS as usize,
        slots: 1 + SESSIONS as usize,
        ..Options::default()
    };
    let cuda = Cuda::with_room_for(&weights, shape.clone(), options).unwrap();
    println!("on {}", cuda.device().name().unwrap());
    if asked("load") {
        for _ in 0..3 {
            load(&cuda, &weights);
        }
        return;
    }
    let loaded = load(&cuda, &weights);
    let mut rig = Rig::new(cuda, &shape, loaded);
    let prompt = synthetic::prompt(shape.vocab, 16 * CHUNK, 3);
    rig.reserve(0, MOST);
    if prompts {
        return prefill_alone(&mut rig, &prompt, profile);
    }

    prefill(&mut rig, 0, (CHUNK, 1), &prompt, "first");
    decode(&mut rig, CONTEXTS[0], &prompt, profile);
    if asked("short") {
        return together(&mut rig, &prompt, profile);
    }
    if !alone {
        prefill(&mut rig, CHUNK, (CHUNK, 3), &prompt, "again");
    }
    if profile && !alone {
        measured(&mut rig, "prefill at 8k", |rig| {
            prefill(rig, 8 << 10, (CHUNK, 1), &prompt, "measured");
        });
    }
    for context in &CONTEXTS[1..] {
        copy_begin(&mut rig, context + 2 * CHUNK);
        let until = context + CHUNK;
        prefill(&mut rig, *context, (CHUNK, 1), &prompt, "again");
        decode(&mut rig, until, &prompt, profile && *context != 32 << 10);
    }
    if !alone {
        together(&mut rig, &prompt, profile);
    }
}

/// What the first tokens left stands for what those up to `until` would have left.
fn copy_begin(rig: &mut Rig<Cuda>, until: usize) {
    for page in CHUNK / PAGE_TOKENS..until / PAGE_TOKENS {
        let from = (page % (CHUNK / PAGE_TOKENS)) as u32;
        rig.backend.copy_page(from, page as u32).unwrap();
    }
}

/// Steps of two sizes behind contexts of several lengths.
fn prefill_alone(rig: &mut Rig<Cuda>, prompt: &[u32], profile: bool) {
    prefill(rig, 0, (CHUNK, 1), prompt, "first");
    copy_begin(rig, MOST);
    for context in [2 << 10, 8 << 10, 64 << 10, 512 << 10] {
        for chunk in [CHUNK, LONG_CHUNK] {
            prefill(rig, context, (chunk, 1), prompt, "warming");
            prefill(rig, context, (chunk, 3), prompt, "again");
            if profile {
                measured(rig, "this step", |rig| {
                    prefill(rig, context, (chunk, 1), prompt, "measured");
                });
            }
        }
    }
}

fn load(cuda: &Cuda, weights: &Weights<ds4_model::Tensor>) -> Weights<Tensor> {
    let mut bytes = 0;
    weights.for_each(|_, tensor| bytes += tensor.bytes().len());
    let (before, _) = cuda.device().memory().unwrap();
    let from = Instant::now();
    let loaded = cuda.load(weights).unwrap();
    let seconds = from.elapsed().as_secs_f64();
    let (free, total) = cuda.device().memory().unwrap();
    let gb = |bytes: usize| bytes as f64 / 1e9;
    println!(
        "loaded {:.1} GB in {seconds:.1} s, {:.1} GB/s; they take {:.1}, {:.1} of {:.1} GB are in use",
        gb(bytes),
        gb(bytes) / seconds,
        gb(before - free),
        gb(total - free),
        gb(total)
    );
    loaded
}

fn measured(rig: &mut Rig<Cuda>, what: &str, run: impl FnOnce(&mut Rig<Cuda>)) {
    rig.backend.device().measure().unwrap();
    run(rig);
    let all = rig.backend.device().measured().unwrap();
    let sum: f64 = all.iter().map(|spent| spent.seconds).sum();
    println!("{what}: {:.2} ms in kernels", 1e3 * sum);
    for spent in all.iter().take(24) {
        println!(
            "  {:<20} {:>5} times {:>9.3} ms  {:>4.1} %",
            spent.kernel,
            spent.times,
            1e3 * spent.seconds,
            100.0 * spent.seconds / sum
        );
    }
}

/// One prompt from position `first` on, in steps: rows of each, and how many.
fn prefill(
    rig: &mut Rig<Cuda>,
    first: usize,
    (chunk, steps): (usize, usize),
    prompt: &[u32],
    what: &str,
) {
    let from = Instant::now();
    let until = first + chunk * steps;
    for at in (first..until).step_by(chunk) {
        let start = at % (prompt.len() - chunk);
        let part = &prompt[start..start + chunk];
        let logits = rig.step(&[(0, at as u32, part, Outputs::Last)]);
        assert!(logits[0].iter().all(|l| l.is_finite()));
    }
    println!(
        "prefill {first}..{until} by {chunk} ({what}): {:.0} t/s",
        (until - first) as f64 / from.elapsed().as_secs_f64()
    );
}

/// Median time of single steps.
fn decode(rig: &mut Rig<Cuda>, at: usize, prompt: &[u32], profile: bool) {
    let step = |rig: &mut Rig<Cuda>, at: usize| {
        let start = at % prompt.len();
        let token = &prompt[start..=start];
        let logits = rig.step(&[(0, at as u32, token, Outputs::Last)]);
        assert!(check::argmax(&logits[0]).1.is_finite());
    };
    let mut times: Vec<f64> = (at..at + 40)
        .map(|at| {
            let from = Instant::now();
            step(rig, at);
            from.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "decode at {at}: {:.1} t/s ({:.2} ms, best {:.2})",
        1.0 / times[20],
        1e3 * times[20],
        1e3 * times[0]
    );
    if profile {
        measured(rig, "one token", |rig| step(rig, at + 40));
    }
}

/// Many sessions, one token each a step.
fn together(rig: &mut Rig<Cuda>, prompt: &[u32], profile: bool) {
    // All continue what the first session began.
    let pages = (CHUNK / PAGE_TOKENS) as u32;
    for slot in 1..=SESSIONS {
        rig.reserve(slot, CHUNK + PAGE_TOKENS);
        for page in 0..pages {
            let to = (MOST / PAGE_TOKENS) as u32 + (slot - 1) * (pages + 1) + page;
            rig.backend.copy_page(page, to).unwrap();
        }
    }
    for sessions in [1, 2, 4, 8, 16, 32, 64] {
        let mut step = CHUNK as u32;
        let mut one = |rig: &mut Rig<Cuda>| {
            let tokens: Vec<[u32; 1]> = (1..=sessions)
                .map(|slot| [prompt[(997 * slot + step) as usize % prompt.len()]])
                .collect();
            let runs: Vec<_> = (1..=sessions)
                .map(|slot| (slot, step, &tokens[slot as usize - 1][..], Outputs::Last))
                .collect();
            step += 1;
            rig.step(&runs);
        };
        let mut times: Vec<f64> = (0..16)
            .map(|_| {
                let from = Instant::now();
                one(rig);
                from.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{sessions} sessions at 2k: {:.1} t/s in sum ({:.2} ms)",
            f64::from(sessions) / times[8],
            1e3 * times[8]
        );
        if profile && sessions == 16 {
            measured(rig, "16 sessions", &mut one);
        }
    }
}
