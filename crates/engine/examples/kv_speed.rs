//! What it takes to save and to find again what a session computed, at the sizes of Flash.
//!
//!     cargo run --release -p ds4-engine --example kv_speed [-- DIR]
//!
//! The machine computes nothing and remembers everything: it has Flash's pages and frontiers, so
//! what is measured is all that lies between a device and the disk. DIR is where the store goes;
//! a temporary folder otherwise.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ds4_engine::{
    Engine, Identity, Limits, Machine, MachineError, Options, PAGE_TOKENS, Request, Sampling,
    Session, Store, Tenant,
};
use ds4_model::kv::{KvGeometry, RowFormat};
use ds4_model::{Plan, Shape};
use ds4_store::tree::New;
use ds4_store::{Chain, Kind, Scope, Tree};

/// Tokens of the conversation.
const TOKENS: usize = 100_000;
const VOCAB: usize = 1000;

static GEOMETRY: LazyLock<KvGeometry> =
    LazyLock::new(|| KvGeometry::new(&Shape::flash(), RowFormat::Packed, false));

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

struct Memory {
    arena: Vec<u8>,
    frontier: Vec<u8>,
    logits: Vec<f32>,
    copying: Arc<Copying>,
}

impl Memory {
    fn new(copying: Arc<Copying>) -> Self {
        let pages = TOKENS.div_ceil(PAGE_TOKENS) + 16;
        // Every byte is written once, so that no page of it is met for the first time later.
        let arena = (0..pages * GEOMETRY.page_bytes).map(|at| ((at * 31) >> 7) as u8);
        Self {
            arena: arena.collect(),
            frontier: vec![7; GEOMETRY.frontier_bytes(TOKENS)],
            logits: vec![0.0; VOCAB * 8],
            copying,
        }
    }

    fn page(&mut self, page: u32) -> &mut [u8] {
        let size = GEOMETRY.page_bytes;
        &mut self.arena[page as usize * size..][..size]
    }
}

impl Machine for Memory {
    fn geometry(&self) -> &KvGeometry {
        &GEOMETRY
    }

    fn limits(&self) -> Limits {
        Limits {
            slots: 4,
            pages: self.arena.len() / GEOMETRY.page_bytes,
            max_rows: 4096,
            max_outputs: 8,
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

    fn seat(&mut self, _: u32, _: &[u32], _: u32, _: Option<&[u8]>) -> Result<(), MachineError> {
        Ok(())
    }

    fn set_pages(&mut self, _: u32, _: &[u32]) -> Result<(), MachineError> {
        Ok(())
    }

    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), MachineError> {
        let size = GEOMETRY.page_bytes;
        let from = from as usize * size;
        self.arena
            .copy_within(from..from + size, to as usize * size);
        Ok(())
    }

    fn save_page(&mut self, page: u32, out: &mut Vec<u8>) -> Result<(), MachineError> {
        let copying = Arc::clone(&self.copying);
        copying.time(|| out.extend_from_slice(self.page(page)));
        Ok(())
    }

    fn load_page(&mut self, page: u32, bytes: &[u8]) -> Result<(), MachineError> {
        let copying = Arc::clone(&self.copying);
        copying.time(|| self.page(page).copy_from_slice(bytes));
        Ok(())
    }

    fn frontier(&mut self, _: u32, tokens: u32) -> Result<Vec<u8>, MachineError> {
        let bytes = GEOMETRY.frontier_bytes(tokens as usize);
        Ok(self.copying.time(|| self.frontier[..bytes].to_vec()))
    }
}

fn start(dir: &Path, copying: &Arc<Copying>) -> Result<Engine, Box<dyn Error>> {
    let options = Options {
        context: 1 << 20,
        store: Some(Store {
            dir: dir.to_owned(),
            bytes: 8 << 30,
            free: 1 << 30,
        }),
        ..Options::default()
    };
    let machine = Memory::new(Arc::clone(copying));
    let engine = Engine::start(Box::new(machine), None, options)?;
    engine.stored();
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
        std::thread::sleep(Duration::from_millis(400));
        let written = engine.stored().map_or(0, |report| report.written_bytes);
        if written == last {
            return written;
        }
        last = written;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1);
    let dir = dir.map_or_else(|| temporary.path().join("kv"), Into::into);
    let copying = Arc::<Copying>::default();
    let prompt: Vec<u32> = (0..TOKENS).map(|at| (at * 7 % 997) as u32).collect();

    let engine = start(&dir, &copying)?;
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
    for run in 0..3 {
        let engine = start(&dir, &copying)?;
        copying.take();
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let session = engine.resume(Tenant::default(), &turn)?;
        let took = begun.elapsed();
        let cpu = cpu_seconds().zip(cpu).map(|(now, then)| now - then);
        let mb = session.cached() as f64 * 3514.0 / 1e6;
        println!(
            "restored, run {run}: {} tokens, {mb:.0} MB in {:.3} s ({:.2} GB/s), processor time of \
             all threads {:.2} s, {:.0} ms of copies by the engine thread; trouble: {:?}",
            session.cached(),
            took.as_secs_f64(),
            mb / 1e3 / took.as_secs_f64(),
            cpu.unwrap_or(f64::NAN),
            copying.take().as_secs_f64() * 1e3,
            engine.stored().and_then(|report| report.trouble),
        );
    }
    lookup();
    Ok(())
}

/// Processor time of this process, where the system has a file that says so: on a machine that is
/// shared it says more than the clock.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
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
