//! What it takes to save and to find again what a session computed, at the sizes of Flash.
//!
//!     cargo run --release -p ds4-engine --example kv_speed [-- [cuda] [DIR]]
//!
//! The machine computes nothing and remembers everything: it is a backend with Flash's pages and
//! frontiers and no weights, so what is measured is all that lies between its memory and the disk.
//! `cuda` puts it on a card. DIR is where the store goes; a temporary folder otherwise.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use ds4_cpu::Cpu;
use ds4_cuda::Cuda;
use ds4_engine::{
    Engine, Identity, Limits, Machine, MachineError, Options, PAGE_TOKENS, Request, Sampling,
    Session, Store, Tenant,
};
use ds4_model::{Backend, HostMemory, KvGeometry, Plan, Shape};
use ds4_store::tree::New;
use ds4_store::{Chain, Kind, Scope, Tree};

/// Tokens of the conversation.
const TOKENS: usize = 100_000;
const VOCAB: usize = 1000;
const ROWS: usize = 512;
const OUTPUTS: usize = 8;
/// Pages that are not zeros.
const FILLED: u32 = 16;

/// Time that the engine thread spends on copying pages and frontiers.
#[derive(Default)]
struct Copying(AtomicU64);

impl Copying {
    fn time<T>(&self, act: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = act();
        self.0.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
        done
    }

    fn take(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Relaxed))
    }
}

/// A backend that is never asked to compute.
struct Memory<B> {
    backend: B,
    logits: Vec<f32>,
    copying: Arc<Copying>,
}

impl<B> Machine for Memory<B>
where
    B: Backend<Error: Error + Send + Sync + 'static> + Send,
{
    fn geometry(&self) -> &KvGeometry {
        self.backend.geometry()
    }

    fn limits(&self) -> Limits {
        Limits {
            slots: self.backend.slots(),
            pages: self.backend.pages(),
            max_rows: ROWS,
            max_outputs: OUTPUTS,
            vocab: VOCAB,
            context: 1 << 20,
        }
    }

    fn identity(&self) -> Identity {
        Identity([1; 32])
    }

    fn step(&mut self, plan: &Plan) -> Result<&[f32], MachineError> {
        Ok(&self.logits[..VOCAB * plan.outputs().len()])
    }

    fn seat(
        &mut self,
        slot: u32,
        pages: &[u32],
        tokens: u32,
        frontier: Option<&[u8]>,
    ) -> Result<(), MachineError> {
        let backend = &mut self.backend;
        let mut seat = || {
            backend.clear_slot(slot)?;
            backend.set_pages(slot, pages)?;
            frontier.map_or(Ok(()), |bytes| backend.load_frontier(slot, tokens, bytes))
        };
        self.copying.time(&mut seat).map_err(MachineError::new)
    }

    fn set_pages(&mut self, slot: u32, pages: &[u32]) -> Result<(), MachineError> {
        let set = self.backend.set_pages(slot, pages);
        set.map_err(MachineError::new)
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), MachineError> {
        let copied = self.backend.copy_page(from, to);
        copied.map_err(MachineError::new)
    }

    fn save_page(&mut self, page: u32, out: &mut [u8]) -> Result<(), MachineError> {
        let saved = self.copying.time(|| self.backend.save_page(page, out));
        saved.map_err(MachineError::new)
    }

    fn host_memory(&self) -> Option<HostMemory> {
        self.backend.host_memory()
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), MachineError> {
        let loaded = self.copying.time(|| self.backend.load_page(page, bytes));
        loaded.map_err(MachineError::new)
    }

    fn frontier(&mut self, slot: u32, tokens: u32) -> Result<Vec<u8>, MachineError> {
        let mut out = Vec::new();
        let save = || self.backend.save_frontier(slot, tokens, &mut out);
        self.copying.time(save).map_err(MachineError::new)?;
        Ok(out)
    }
}

/// The memory of a process that was just started.
fn memory(is_cuda: bool, copying: Arc<Copying>) -> Result<Box<dyn Machine>, Box<dyn Error>> {
    fn filled<B>(mut backend: B, copying: Arc<Copying>) -> Result<Box<dyn Machine>, Box<dyn Error>>
    where
        B: Backend<Error: Error + Send + Sync + 'static> + Send + 'static,
    {
        // Some pages are written, so that what is saved is not all zeros; most are met for the
        // first time, as in a process that was just started.
        let mut bytes = vec![0; backend.geometry().page_bytes];
        for page in 0..FILLED {
            let byte =
                |(at, byte): (usize, &mut u8)| *byte = ((at * 31 + page as usize) >> 7) as u8;
            bytes.iter_mut().enumerate().for_each(byte);
            backend.load_page(page, &bytes)?;
        }
        Ok(Box::new(Memory {
            backend,
            logits: vec![0.0; VOCAB * OUTPUTS],
            copying,
        }))
    }
    let (slots, pages) = (4, TOKENS.div_ceil(PAGE_TOKENS) + 16);
    let (max_rows, max_outputs) = (ROWS, OUTPUTS);
    match is_cuda {
        false => {
            let options = ds4_cpu::Options {
                slots,
                pages,
                max_rows,
                max_outputs,
                ..Default::default()
            };
            filled(Cpu::new(Shape::flash(), options)?, copying)
        }
        true => {
            let options = ds4_cuda::Options {
                slots,
                pages,
                max_rows,
                max_outputs,
                ..Default::default()
            };
            filled(Cuda::new(Shape::flash(), options)?, copying)
        }
    }
}

fn start(dir: &Path, is_cuda: bool, copying: &Arc<Copying>) -> Result<Engine, Box<dyn Error>> {
    let options = Options {
        context: 1 << 20,
        store: Some(Store {
            dir: dir.to_owned(),
            bytes: 8 << 30,
            free: 1 << 30,
        }),
        ..Options::default()
    };
    let machine = memory(is_cuda, Arc::clone(copying))?;
    let engine = Engine::start(machine, None, options)?;
    engine.stored();
    // A card's pinned memory is fetched in the background.
    thread::sleep(Duration::from_millis(if is_cuda { 500 } else { 0 }));
    Ok(engine)
}

fn generate(session: &Session, prompt: &[u32], count: u32) -> Result<(), Box<dyn Error>> {
    let request = Request::tokens(prompt.to_vec(), count, Sampling::greedy());
    session.generate(request)?.for_each(drop);
    Ok(())
}

/// Waits until everything is written.
fn settle(engine: &Engine) -> u64 {
    let mut last = 0;
    loop {
        thread::sleep(Duration::from_millis(400));
        let written = engine.stored().map_or(0, |report| report.written_bytes);
        if written == last {
            return written;
        }
        last = written;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let mut words = std::env::args_os().skip(1).peekable();
    let is_cuda = words.next_if(|word| word == "cuda").is_some();
    let dir = words.next();
    let dir = dir.map_or_else(|| temporary.path().join("kv"), Into::into);
    let copying = Arc::<Copying>::default();
    let prompt: Vec<u32> = (0..TOKENS).map(|at| (at * 7 % 997) as u32).collect();

    let engine = start(&dir, is_cuda, &copying)?;
    let session = engine.resume(Tenant::default(), &prompt)?;
    generate(&session, &prompt, 1)?;
    let begun = settle(&engine);
    println!(
        "a conversation of {TOKENS} tokens: {:.0} MB written",
        begun as f64 / 1e6
    );
    // A turn: 200 tokens are said, 300 are answered.
    copying.take();
    let mut turn = prompt;
    turn.extend((0..200).map(|at| at % 500));
    generate(&session, &turn, 301)?;
    let written = settle(&engine) - begun;
    println!(
        "a turn of 500 tokens saved: {:.2} ms of engine time, {:.2} MB written",
        copying.take().as_secs_f64() * 1e3,
        written as f64 / 1e6
    );
    drop((session, engine));

    // What was answered, and the next question.
    turn.extend([0; 300]);
    turn.push(1);
    for run in 0..5 {
        let plain = read_plainly(&dir)?;
        let engine = start(&dir, is_cuda, &copying)?;
        copying.take();
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let session = engine.resume(Tenant::default(), &turn)?;
        let took = begun.elapsed();
        let cpu = cpu_seconds().zip(cpu).map(|(now, then)| now - then);
        let mb = session.cached() as f64 * 3514.0 / 1e6;
        println!(
            "restored, run {run}: {} tokens, {mb:.0} MB in {:.3} s ({:.2} GB/s; {:.2} times as long \
             as reading the files into fresh memory on one thread, {:.3} s), processor time of all \
             threads {:.2} s, {:.0} ms of copies by the engine thread; trouble: {:?}",
            session.cached(),
            took.as_secs_f64(),
            mb / 1e3 / took.as_secs_f64(),
            took.as_secs_f64() / plain.as_secs_f64(),
            plain.as_secs_f64(),
            cpu.unwrap_or(f64::NAN),
            copying.take().as_secs_f64() * 1e3,
            engine.stored().and_then(|report| report.trouble),
        );
    }
    lookup();
    Ok(())
}

/// How long it takes to read all pages, one after the other, and do nothing else with them.
fn read_plainly(dir: &Path) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let mut bytes = Vec::with_capacity(1 << 30);
    for file in fs::read_dir(dir.join("pages"))? {
        fs::File::open(file?.path())?.read_to_end(&mut bytes)?;
    }
    std::hint::black_box(&bytes);
    Ok(begun.elapsed())
}

/// Processor time of this process, where the system has a file that says so: on a machine that is
/// shared it says more than the clock.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Some(ticks / 100.0)
}

/// A tree of 10,000 frontiers in 1000 conversations that share their instructions.
fn lookup() {
    let scope = Scope::new(&[1; 32], Tenant::default());
    let mut tree = Tree::new(PAGE_TOKENS);
    let mut deepest = Vec::new();
    for conversation in 0..1000u32 {
        let mut tokens: Vec<u32> = (0..20_000).map(|at| at % 997).collect();
        tokens.push(conversation);
        let mut chain = Chain::new(scope, PAGE_TOKENS);
        for turn in 0..10 {
            tokens.extend((0..900).map(|at| (at * 13 + conversation * 7 + turn) % 991));
            let new = New {
                frontier: (),
                kind: Kind::Cut,
                bytes: 4_000_000,
                page_bytes: 1_800_000,
                now: 0.0,
            };
            let freed = tree.insert(&mut chain, &tokens, new, |_| ());
            assert!(freed.frontiers.is_empty(), "a cut replaces nothing");
        }
        deepest.push(tokens);
    }
    let begun = Instant::now();
    for tokens in &deepest {
        let found = tree.find(&scope, tokens);
        assert!(found.is_some_and(|found| found.at == tokens.len()));
    }
    let each = begun.elapsed() / deepest.len() as u32;
    let begun = Instant::now();
    let freed = tree.evict(1.0, |_| true);
    println!(
        "{} frontiers, {} pages: a prompt of {} tokens looked up in {:.0} us; the least worth \
         found in {:.1} ms",
        tree.len() + freed.map_or(0, |freed| freed.frontiers.len()),
        tree.pages(),
        deepest[0].len(),
        each.as_secs_f64() * 1e6,
        begun.elapsed().as_secs_f64() * 1e3
    );
}
