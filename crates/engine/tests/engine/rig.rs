//! The model under test, and what is asked of it again and again.

use std::sync::{Arc, LazyLock};

use ds4_cpu::{Cpu, Options as CpuOptions};
use ds4_engine::sampling::Report;
use ds4_engine::{
    Engine, FinishReason, Generation, Loaded, Options, Output, Request, Sampling, SamplingFields,
    Session, Usage, load_cpu,
};
use ds4_gguf::Gguf;
use ds4_model::synthetic::{Synthetic, tiny};
use ds4_model::{Recipe, Rounding, RowFormat};
use ds4_prompt::Tokenizer;

/// The file of the test model: every code path at small sizes, a window of 16, 8 selected rows.
pub(crate) static MODEL: LazyLock<Gguf> = LazyLock::new(|| model(1));
pub(crate) static TOKENIZER: LazyLock<Arc<Tokenizer>> =
    LazyLock::new(|| Arc::new(Tokenizer::from_gguf(&MODEL).unwrap()));
pub(crate) const VOCAB: usize = 512;

pub(crate) fn model(seed: u64) -> Gguf {
    let model = Synthetic::reference(tiny(), seed, Recipe::FLOAT);
    model.model().unwrap()
}

/// Rows as floats, nothing rounded: sums in another order differ in their last bits only.
pub(crate) fn exact() -> CpuOptions {
    CpuOptions {
        threads: 1,
        rows: RowFormat::F32,
        rounding: Rounding::None,
        slots: 3,
        pages: 24,
        max_rows: 96,
        max_outputs: 8,
        ..CpuOptions::default()
    }
}

/// As it runs: packed rows, rounded as trained.
pub(crate) fn packed() -> CpuOptions {
    CpuOptions {
        rows: RowFormat::Packed,
        rounding: Rounding::Model,
        ..exact()
    }
}

pub(crate) fn machine(options: CpuOptions) -> Loaded<Cpu> {
    machine_of(&MODEL, options)
}

pub(crate) fn machine_of(file: &Gguf, options: CpuOptions) -> Loaded<Cpu> {
    load_cpu(file, options).unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        context: 4096,
        ..Options::default()
    }
}

pub(crate) fn engine_with(cpu: CpuOptions, options: Options) -> Engine {
    engine_of(&MODEL, cpu, options)
}

/// An engine over another file of the same vocabulary.
pub(crate) fn engine_of(file: &Gguf, cpu: CpuOptions, options: Options) -> Engine {
    let tokenizer = Some(Arc::clone(&TOKENIZER));
    Engine::start(Box::new(machine_of(file, cpu)), tokenizer, options).unwrap()
}

pub(crate) fn engine() -> Engine {
    engine_with(exact(), options())
}

/// Tokens that look like nothing in particular, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % VOCAB as u32
    };
    (0..len).map(|_| next()).collect()
}

/// Greedy, with the log-probabilities of the 20 likeliest tokens: as good as the logits to tell two
/// runs apart.
pub(crate) fn greedy() -> Sampling {
    let fields = SamplingFields {
        report: Report::Logprobs(20),
        ..Sampling::greedy().fields().clone()
    };
    Sampling::new(fields).unwrap()
}

/// What a generation gave.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) tokens: Vec<u32>,
    /// For each token, its place's likeliest ones and their log-probabilities.
    pub(crate) tops: Vec<Vec<(u32, f32)>>,
    pub(crate) usage: Usage,
    pub(crate) reason: Option<FinishReason>,
}

impl Made {
    /// Takes the rest of a stream.
    pub(crate) fn collect(generation: Generation) -> Self {
        let mut made = Self::default();
        for output in generation {
            match output {
                Output::Token(token) => {
                    made.tokens.push(token.id);
                    let top = token.top.as_slice().iter();
                    made.tops
                        .push(top.map(|item| (item.token, item.logprob)).collect());
                }
                Output::Finish(finish) => {
                    made.usage = finish.usage;
                    made.reason = Some(finish.reason);
                }
                _ => {}
            }
        }
        made
    }

    /// The same to the last bit.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self) {
        assert_eq!(self.tokens, other.tokens);
        assert_eq!(self.tops, other.tops);
    }

    /// The same but for the order of sums. Likeliest tokens may trade places when they are as close
    /// as that.
    #[track_caller]
    pub(crate) fn assert_close(&self, other: &Self) {
        assert_eq!(self.tokens, other.tokens);
        for (at, (a, b)) in self.tops.iter().zip(&other.tops).enumerate() {
            for (token, logprob) in a {
                let Some((_, other)) = b.iter().find(|item| item.0 == *token) else {
                    let last = b.last().unwrap().1;
                    assert!((logprob - last).abs() < 1e-3, "token {token} at {at}");
                    continue;
                };
                assert!(
                    (logprob - other).abs() < 5e-4,
                    "{logprob} and {other} at {at}"
                );
            }
        }
    }
}

pub(crate) fn greedy_tokens(session: &Session, prompt: &[u32], count: u32) -> Made {
    let request = Request::tokens(prompt.to_vec(), count, greedy());
    Made::collect(session.generate(request).unwrap())
}

/// What a fresh session of a fresh engine makes of a prompt: the plain run.
pub(crate) fn plain(prompt: &[u32], count: u32) -> Made {
    let engine = engine();
    greedy_tokens(&engine.session().unwrap(), prompt, count)
}
