//! How fast this machine runs a model from a file: a prompt, then tokens one by one.
//!
//! `cargo run --release -p ds4-cpu --example speed -- FILE [--threads T] [--ids FILE] [--prompt N] [--chunk C]
//! [--decode M] [--context N] [--repeat R] [--profile] [--exact] [--simd LEVEL] [--logits FILE]`
//!
//! Token ids come from `--ids` (numbers between blanks: the prompt, then what is fed while
//! decoding) or are made up. Each of the `R` repeats is a session of its own; the best is the one
//! that shows the machine. `cpu` is processor time, which other programs disturb less; with one
//! thread it is what the clock would show on a quiet machine. GB/s count the weights that a decoded
//! token reads. `--context` decodes as if that many tokens went before, by copies of the prompt's
//! first page of 512 tokens: what a long context costs, without its prefill. `--profile` shows where
//! the time goes, operation by operation. `--simd` takes other vector instructions than the
//! machine's best. `--logits` takes the logits of the last prompt token and of every decoded one, as
//! float32, one row after the other: `tools/compare-llama-cpp.py` compares them with those of
//! another engine.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::error::Error;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use ds4_cpu::dot::Simd;
use ds4_cpu::{Arithmetic, Cpu, Options, Tensor};
use ds4_gguf::Gguf;
use ds4_model::kv::PAGE_TOKENS;
use ds4_model::probe::{Probed, Times};
use ds4_model::{Backend, Inventory, Outputs, Weights};
use ds4_truth::Rig;

type Failure = Box<dyn Error>;

/// What the command line says.
struct Wish {
    file: String,
    threads: usize,
    ids: Option<String>,
    prompt: usize,
    chunk: usize,
    decode: usize,
    context: usize,
    profile: bool,
    repeat: usize,
    arithmetic: Arithmetic,
    simd: Option<Simd>,
    logits: Option<String>,
}

impl Wish {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut wish = Self {
            file: words.next().ok_or("which file?")?,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ids: None,
            prompt: 512,
            chunk: 512,
            decode: 32,
            context: 0,
            profile: false,
            repeat: 1,
            arithmetic: Arithmetic::Blocks,
            simd: None,
            logits: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} what?"));
            match word.as_str() {
                "--threads" => wish.threads = value()?.parse()?,
                "--ids" => wish.ids = Some(value()?),
                "--prompt" => wish.prompt = value()?.parse()?,
                "--chunk" => wish.chunk = value()?.parse()?,
                "--decode" => wish.decode = value()?.parse()?,
                "--context" => wish.context = value()?.parse()?,
                "--profile" => wish.profile = true,
                "--repeat" => wish.repeat = value()?.parse()?,
                "--logits" => wish.logits = Some(value()?),
                "--exact" => wish.arithmetic = Arithmetic::Float,
                "--simd" => wish.simd = Some(level(&value()?)?),
                _ => return Err(format!("{word}: not one of the options").into()),
            }
        }
        Ok(wish)
    }

    /// The prompt and the tokens fed after it.
    fn tokens(&self, vocab: usize) -> Result<Vec<u32>, Failure> {
        let count = self.prompt + self.decode;
        let Some(path) = &self.ids else {
            return Ok((0..count)
                .map(|i| (i * 7919 + 17) as u32 % vocab as u32)
                .collect());
        };
        let text = std::fs::read_to_string(path)?;
        let ids: Vec<u32> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if ids.len() < count {
            return Err(format!("{path} has {} tokens, {count} are needed", ids.len()).into());
        }
        Ok(ids[..count].to_vec())
    }
}

/// A level by its name, whatever the case: `avx2`.
fn level(name: &str) -> Result<Simd, Failure> {
    let known = Simd::ALL.map(|simd| (format!("{simd:?}").to_lowercase(), simd));
    let found = known
        .iter()
        .find(|(known, _)| *known == name.to_lowercase());
    let names = || known.iter().map(|(name, _)| &**name).collect::<Vec<_>>();
    found
        .map(|(_, simd)| *simd)
        .ok_or_else(|| format!("--simd {name}: it is one of {}", names().join(", ")).into())
}

/// Wall and processor seconds of some work.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (start, cpu) = (Instant::now(), processor_seconds());
    let result = work();
    (
        result,
        start.elapsed().as_secs_f64(),
        processor_seconds() - cpu,
    )
}

/// Processor time of this process; NaN where the system does not say.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
    ticks(11)
        .zip(ticks(12))
        .map_or(f64::NAN, |(user, system)| (user + system) / 100.0)
}

/// Gigabytes a second that `threads` threads read together.
fn bandwidth(bytes: &[u8], threads: usize) -> f64 {
    let read = |part: &[u8]| {
        let sum = part.as_chunks::<8>().0.iter();
        black_box(sum.fold(0u64, |sum, word| {
            sum.wrapping_add(u64::from_le_bytes(*word))
        }));
    };
    let best = (0..5).map(|_| {
        let ((), wall, _) = timed(|| {
            std::thread::scope(|scope| {
                for part in bytes.chunks(bytes.len().div_ceil(threads)) {
                    scope.spawn(move || read(part));
                }
            });
        });
        wall
    });
    bytes.len() as f64 / best.fold(f64::INFINITY, f64::min) / 1e9
}

/// Prints where the time went since the last call.
fn show_profile(rig: &mut Rig<Probed<Cpu, Option<Times>>>) {
    if let Some(times) = &mut rig.backend.probe {
        print!("{times}");
        times.clear();
    }
}

/// Gives slot 0 a context of `context` tokens, and room for `more`, by copies of its first page.
fn pretend<B: Backend<Error: Error + 'static>>(
    rig: &mut Rig<B>,
    context: usize,
    more: usize,
) -> Result<usize, Failure> {
    rig.reserve(0, context + more);
    let pages = rig.pages(0).to_vec();
    let [first, others @ ..] = &*pages else {
        return Err("--context needs a prompt".into());
    };
    for &page in others {
        rig.backend.copy_page(*first, page)?;
    }
    Ok(context)
}

fn main() -> Result<(), Failure> {
    let wish = Wish::read(std::env::args().skip(1))?;
    let file = Gguf::open(Path::new(&wish.file))?;
    let (shape, weights) = Weights::bind(&file)?;
    let reading = Inventory::of(&shape, &weights).reading;
    let weights = weights.map(|_, tensor| Tensor::bound(tensor));
    let tokens = wish.tokens(shape.vocab)?;
    let (prompt, after) = tokens.split_at(wish.prompt);
    let options = Options {
        threads: wish.threads,
        arithmetic: wish.arithmetic,
        simd: wish.simd,
        pages: (tokens.len() + wish.context) / PAGE_TOKENS + 1,
        max_rows: wish.chunk,
        max_outputs: 1,
        ..Options::default()
    };
    let backend = Probed::new(
        Cpu::new(shape.clone(), options)?,
        wish.profile.then(Times::default),
    );
    let mut rig = Rig::new(backend, &shape, weights);
    file.warm(&mut |_, _| ControlFlow::Continue(()))?;

    let mut logits = Vec::new();
    for _ in 0..wish.repeat {
        rig.clear(0);
        logits.clear();
        let (last, wall, cpu) = timed(|| {
            let mut last = Vec::new();
            for (part, first) in prompt.chunks(wish.chunk).zip((0..).step_by(wish.chunk)) {
                last = rig.step(&[(0, first, part, Outputs::Last)]);
            }
            last
        });
        logits.extend(last.concat());
        let n = prompt.len() as f64;
        println!(
            "prefill {:.2} tokens/s, {:.2} per cpu second",
            n / wall,
            n / cpu
        );
        show_profile(&mut rig);
        let begin = if wish.context > 0 {
            pretend(&mut rig, wish.context, tokens.len())?
        } else {
            prompt.len()
        };
        let ((), wall, cpu) = timed(|| {
            for (token, at) in after.iter().zip(begin as u32..) {
                logits.extend(rig.step(&[(0, at, &[*token], Outputs::Last)]).concat());
            }
        });
        let n = after.len() as f64;
        let bytes = (reading.always + reading.routed) as f64;
        println!(
            "decode {:.2} tokens/s, {:.2} per cpu second, {:.1} GB/s",
            n / wall,
            n / cpu,
            n / wall * bytes / 1e9
        );
        show_profile(&mut rig);
    }
    let sample = vec![1u8; 512 << 20];
    println!("reading {:.1} GB/s", bandwidth(&sample, wish.threads));
    if let Some(path) = &wish.logits {
        let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
