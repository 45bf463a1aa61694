//! Decoding allocates nothing: the engine thread makes hundreds of tokens, over the end of a page,
//! out of the memory it had at the first one.

#![allow(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Arc, Mutex};

use ds4_cpu::Options as CpuOptions;
use ds4_engine::sampling::{Report, TokenMask};
use ds4_engine::{
    Engine, Grammar, Options, Output, Request, Sampling, SamplingFields, Structure, load_cpu,
};
use ds4_model::Recipe;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_prompt::Tokenizer;
use ds4_prompt::dsml::Reading;

thread_local! {
    /// Allocations of this thread.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above; `alloc` got it there.
        unsafe { System.dealloc(place, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A grammar runs on the engine thread before every token: it allows everything and looks at the
/// counter.
struct Witness(Arc<Mutex<Vec<u64>>>);

impl Grammar for Witness {
    fn allow(&mut self, mask: &mut TokenMask) {
        mask.allow_all();
        self.0
            .lock()
            .expect("nobody panics with it")
            .push(COUNT.get());
    }

    fn accept(&mut self, _: u32) {}
}

const TOKENS: u32 = 600;

/// Allocations of the engine thread before each token.
fn decode(sampling: SamplingFields) -> Vec<u64> {
    let model = Synthetic::reference(tiny(), 1, Recipe::FLOAT).model();
    let model = model.expect("a small model");
    let tokenizer = Tokenizer::from_gguf(&model).expect("with a vocabulary");
    let cpu = CpuOptions {
        threads: 2,
        pages: 4,
        max_rows: 64,
        ..CpuOptions::default()
    };
    let machine = load_cpu(&model, cpu).expect("it loads");
    let options = Options {
        context: 1024,
        ..Options::default()
    };
    let tokenizer = Some(Arc::new(tokenizer));
    let engine = Engine::start(Box::new(machine), tokenizer, options).expect("it starts");
    let session = engine.session().expect("there is room");
    let seen = Arc::new(Mutex::new(Vec::with_capacity(TOKENS as usize)));
    let request = Request {
        reading: Some(Reading {
            stops: vec!["such a thing is never said".into()],
            ..Reading::default()
        }),
        structure: Structure::Greedy,
        grammar: Some(Box::new(Witness(Arc::clone(&seen)))),
        ..Request::tokens(
            (0..20).collect(),
            TOKENS,
            Sampling::new(sampling).expect("sane"),
        )
    };
    let tokens = session
        .generate(request)
        .expect("it begins")
        .filter(|output| matches!(output, Output::Token(_)))
        .count();
    assert_eq!(tokens as u32, TOKENS);
    seen.lock().expect("nobody panics with it").clone()
}

#[test]
fn tokens_after_the_first_allocate_nothing() {
    let fields = [
        SamplingFields {
            temperature: 0.0,
            ..SamplingFields::default()
        },
        SamplingFields {
            temperature: 1.3,
            top_p: 0.95,
            top_k: 100,
            min_p: 0.01,
            seed: 7,
            frequency_penalty: 0.2,
            presence_penalty: 0.1,
            logit_bias: vec![(5, 0.5)],
            report: Report::Logprobs(20),
        },
    ];
    for fields in fields {
        let counts = decode(fields);
        assert!(counts[0] > 0, "the counter counts");
        let more: Vec<_> = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // The first token may still meet a buffer for the first time.
        let late: Vec<_> = (1..)
            .zip(&more[1..])
            .filter(|(_, more)| **more > 0)
            .collect();
        assert!(
            late.is_empty(),
            "(token, allocations) {:?}",
            &late[..late.len().min(20)]
        );
    }
}
