//! `ds4 bench`: how fast a model reads and writes, over the depth of its context.

mod bandwidth;
mod csv;
mod frontiers;
mod json;
mod measure;
mod prompt;
mod report;
mod subject;
mod svg;
mod synthetic;
mod table;
mod traffic;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ds4_engine::Simd;
use indicatif::{ProgressBar, ProgressStyle};

use self::frontiers::Sweep;
use self::measure::{Found, Task};
use self::prompt::PromptArgs;
use self::report::{Environment, Point, Report, Series, Settings};
use self::subject::{Room, Subject, SubjectArgs};
use crate::hardware;
use crate::interrupts::{self, Interrupted};
use crate::manners::{self, Hinted};

/// Measure how fast a model reads and writes, over the depth of its context.
///
/// At each frontier the tokens since the one before are read, then tokens are written greedily; the
/// next frontier goes on from the context alone. The table goes to stdout, with the median of the
/// runs and how far they were apart. Numbers are only as quiet as the machine: stop other work.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    /// The first frontier.
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = context())]
    ctx_start: u32,
    /// The last frontier.
    #[arg(long, value_name = "TOKENS", default_value_t = 32_768, value_parser = context())]
    ctx_max: u32,
    /// Room for context [default: what the last frontier needs].
    #[arg(long, value_name = "TOKENS", value_parser = context())]
    ctx_alloc: Option<u32>,
    /// Factor from one frontier to the next; 1 steps by --step-incr.
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    step_mul: f64,
    /// Tokens from one frontier to the next.
    #[arg(long, value_name = "TOKENS", default_value = "2048")]
    step_incr: NonZeroU32,
    /// Tokens to write at each frontier.
    #[arg(short = 'n', long, visible_alias = "tokens", value_name = "TOKENS",
        default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    gen_tokens: u32,
    /// Fill contexts of these lengths with random memory instead of reading a prompt: what comes
    /// after a million tokens, without the hours of reading them.
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = context(),
        conflicts_with_all = ["ctx_start", "ctx_max", "step_mul", "step_incr"])]
    fill_kv: Vec<u32>,
    /// Sessions that write at once. They share their context's memory.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    sessions: Vec<u32>,
    /// Runs of it all; every figure is their median.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Write comma-separated values here: the columns of the original program, then more. With
    /// `-` they go to stdout, in the place of the table.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write everything as JSON here; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw a chart here.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Hold it against an older report (of --json): ratios above 1 are faster now.
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  ds4 bench --synthetic mini-q2 --ctx-max 8192      a small model, no file needed
  ds4 bench -m flash.gguf --json now.json --svg now.svg
  ds4 bench -m flash.gguf --compare now.json        after a change
  ds4 bench --synthetic flash-q2:4 --fill-kv 65536,524288,1048000 -n 32
  ds4 bench -m flash.gguf --ctx-max 4096 --sessions 1,4,16";

fn context() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1 << 20)
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let contexts = args.contexts()?;
    let room = args.room(&contexts)?;
    let older = args.compare.as_deref().map(json::read).transpose()?;
    let interrupted = interrupts::catch()?;
    let subject = args.subject.open(room)?;
    let most = subject.shape.context;
    if room.context as usize > most {
        let wanted = room.context;
        bail!(
            "{wanted} tokens of context and answer; {} has {most}",
            subject.model.name
        );
    }
    let environment = args.environment(&subject)?;
    if let Some(older) = &older {
        older.refuse_other_device(&environment.device)?;
    }
    let deepest = *contexts.last().expect("there is a first frontier") as usize;
    let (tokens, prompt) = args.prompt.tokens(&subject, deepest, args.subject.seed)?;
    let engine = args.subject.load(&subject, room)?;
    let mut report = Report {
        environment,
        model: subject.model.clone(),
        settings: Settings {
            repetitions: args.repeat,
            seed: args.subject.seed,
            arithmetic: args.subject.arithmetic(&subject),
            is_filled: !args.fill_kv.is_empty(),
            prompt: match args.fill_kv.is_empty() {
                true => prompt,
                false => "random memory".into(),
            },
        },
        points: Vec::new(),
        is_complete: false,
    };
    let bar = args.bar(&contexts);
    let progress = |said: &str, tokens: u32| {
        if !said.is_empty() {
            bar.set_message(said.to_owned());
        }
        bar.inc(tokens.into());
        interrupted.is_pressed()
    };
    let task = Task {
        engine: &engine,
        progress: &progress,
        tokens: &tokens,
        contexts: &contexts,
        is_filled: report.settings.is_filled,
        sessions: &args.sessions,
        generated: args.gen_tokens,
        seed: args.subject.seed,
    };
    let measured = args.measure(&task, &subject, &mut report);
    bar.finish_and_clear();
    let measured = match measured {
        // What was measured is not lost.
        Err(error) if !error.is::<Interrupted>() => return Err(error),
        other => other,
    };
    report.is_complete = measured.is_ok();
    args.write(&report, older.as_ref())?;
    measured?;
    match report.points.iter().find(|point| !point.is_repeatable) {
        Some(point) => bail!(
            "at {} tokens two runs wrote different tokens, or a logit was no number: these figures \
             are of a broken engine",
            point.context
        ),
        None => Ok(()),
    }
}

/// A point without measurements.
fn begin(found: &Found, generated: u32, subject: &Subject) -> Point {
    let middle = found.context as usize + generated as usize / 2;
    let bytes = || {
        let reading = &subject.inventory.reading;
        traffic::token_bytes(reading, &subject.shape, &subject.geometry, middle)
    };
    Point {
        context: found.context,
        sessions: found.sessions,
        prefilled: found.prefilled,
        prefill: Series::default(),
        generated,
        decode: Series::default(),
        kv_bytes: found.kv_bytes + subject.geometry.session_bytes(0) as u64,
        // Several sessions read a weight once for all of them.
        token_bytes: (found.sessions == 1).then(bytes),
        is_repeatable: true,
        is_same_alone: true,
    }
}

impl Args {
    /// All runs, into the report.
    fn measure(&self, task: &Task<'_>, subject: &Subject, report: &mut Report) -> Result<()> {
        task.warm_up()?;
        let mut first: Vec<Found> = Vec::new();
        for run in 0..self.repeat {
            let mut at = 0;
            task.run(|found| {
                let point = match run {
                    0 => {
                        report.points.push(begin(&found, task.generated, subject));
                        report.points.last_mut().expect("it was just pushed")
                    }
                    _ => &mut report.points[at],
                };
                found
                    .prefill
                    .into_iter()
                    .for_each(|rate| point.prefill.push(rate));
                point.decode.push(found.decode);
                match run {
                    0 => {
                        let alone = |other: &&Found| other.context == found.context;
                        let alone = first.iter().find(alone).map(|other| &other.written[0]);
                        point.is_same_alone = alone.is_none_or(|alone| *alone == found.written[0]);
                        first.push(found);
                    }
                    _ if self.subject.is_determined(subject, found.sessions) => {
                        point.is_repeatable &= first[at].written == found.written;
                    }
                    _ => {}
                }
                at += 1;
                Ok(())
            })?;
        }
        let (is_sound, tokens) = task.look()?;
        let same = first[0].written[0].starts_with(&tokens);
        report.points[0].is_repeatable &= is_sound && same;
        Ok(())
    }

    fn contexts(&self) -> Result<Vec<u32>> {
        if !self.fill_kv.is_empty() {
            let mut contexts = self.fill_kv.clone();
            contexts.sort_unstable();
            contexts.dedup();
            return Ok(contexts);
        }
        if self.ctx_start > self.ctx_max {
            let (start, max) = (self.ctx_start, self.ctx_max);
            return Err(Hinted::senseless(
                format!("--ctx-start {start} is beyond --ctx-max {max}"),
                "the first frontier is 2,048 and the last one 32,768 unless told otherwise",
            ));
        }
        // Also refuses what is no number.
        if !(1.0..=1e6).contains(&self.step_mul) {
            return Err(Hinted::senseless(
                format!("--step-mul is {}; it must be 1 to 1000000", self.step_mul),
                "with 1, --step-incr says how far the frontiers are apart",
            ));
        }
        let sweep = Sweep {
            start: self.ctx_start,
            max: self.ctx_max,
            factor: self.step_mul,
            increment: self.step_incr,
        };
        Ok(sweep.frontiers())
    }

    fn room(&self, contexts: &[u32]) -> Result<Room> {
        let deepest = contexts.last().copied().unwrap_or(1);
        let sessions = self.sessions.iter().copied().max().unwrap_or(1);
        // One token goes before what is written, and the last one written has no place of its own.
        let needed = deepest + self.gen_tokens + sessions + 1;
        let context = self.ctx_alloc.unwrap_or(needed);
        if context < needed {
            return Err(Hinted::senseless(
                format!("--ctx-alloc is {context}; the last frontier needs {needed}"),
                "without --ctx-alloc there is as much room as is needed",
            ));
        }
        Ok(Room {
            context,
            generated: self.gen_tokens,
            sessions,
        })
    }

    fn environment(&self, subject: &Subject) -> Result<Environment> {
        let memory = hardware::memory();
        let threads = self.subject.threads();
        manners::say("measuring the memory's bandwidth");
        let (device, device_memory, bandwidth) = match &subject.card {
            Some(card) => {
                let delivers = card
                    .bandwidth()
                    .context("cannot measure the card's memory")?;
                (card.name()?, Some(card.memory()?.1 as u64), delivers)
            }
            None => ("CPU".into(), None, bandwidth::measure(threads, memory)),
        };
        let best = Simd::ALL.into_iter().rev().find(|simd| simd.is_supported());
        Ok(Environment {
            version: env!("CARGO_PKG_VERSION"),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: hardware::cpu_name(),
            device,
            device_memory,
            simd: format!("{:?}", best.unwrap_or(Simd::Scalar)),
            hardware_threads: std::thread::available_parallelism().map_or(1, usize::from),
            threads,
            memory: memory.map(|memory| memory.total),
            gpus: hardware::gpus().into_iter().map(|gpu| gpu.name).collect(),
            bandwidth,
        })
    }

    /// Progress in tokens, all runs together.
    fn bar(&self, contexts: &[u32]) -> ProgressBar {
        let counts = self.sessions.iter().map(|&count| u64::from(count));
        let written: u64 = counts
            .map(|count| count * (u64::from(self.gen_tokens) + count))
            .sum();
        let written = written * contexts.len() as u64;
        let read = match self.fill_kv.is_empty() {
            true => contexts.last().copied().unwrap_or(0),
            false => 0,
        };
        let bar = match manners::is_quiet() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new((u64::from(read) + written) * u64::from(self.repeat)),
        };
        let style = "{wide_bar} {msg}, {pos} of {len} tokens, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        bar
    }

    /// Writes what was asked for; stdout has one thing.
    fn write(&self, report: &Report, older: Option<&json::Older>) -> Result<()> {
        let mut stdout = None;
        let files = [
            (&self.csv, csv::render(report)),
            (&self.json, json::render(report)),
            (&self.svg, svg::render(report, older)),
        ];
        for (path, text) in files {
            match path.as_deref() {
                Some(path) if path == Path::new("-") => _ = stdout.get_or_insert(text),
                Some(path) => save(path, &text)?,
                None => {}
            }
        }
        manners::print(&stdout.unwrap_or_else(|| table::render(report, older)))
    }
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
