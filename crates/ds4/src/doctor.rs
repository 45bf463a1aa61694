//! `ds4 doctor`: what this machine has, and which published models fit it.

mod fit;
mod machine;

use anyhow::{Result, bail};
use clap::CommandFactory;
use serde_json::json;

use self::fit::Fit;
use self::machine::Machine;
use crate::hardware::Gpu;
use crate::manners;
use crate::settings::{self, File};
use crate::units::{Bytes, grouped};

/// Show what this machine has, which published models fit it and why, and what is wrong with its
/// set-up.
///
/// Sizes are computed from the models' own shapes: the weights, and a conversation of 32,768 tokens.
/// If something is wrong the exit code is 1. Whether the machine computes rightly is for `ds4
/// selftest` to say.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

/// Tokens of the conversation that has to fit beside the weights.
const CONVERSATION: usize = 32_768;

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let machine = Machine::look();
    let fits = fit::all(&machine);
    let problems = problems(&machine);
    manners::print(&match args.json {
        true => as_json(&machine, &fits, &problems),
        false => as_text(&machine, &fits, &problems),
    })?;
    match problems.len() {
        0 => Ok(()),
        1 => bail!("one thing is wrong"),
        many => bail!("{many} things are wrong"),
    }
}

/// What is wrong, and its cure.
fn problems(machine: &Machine) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(error) = File::load(&settings::all(&crate::Cli::command())) {
        problems.push(format!("the settings file cannot be used: {error}"));
    }
    if machine.levels.is_empty() {
        problems.push(
            "this processor has no vector instructions that ds4 knows (AVX2, AVX-512, NEON): \
             it will be very slow"
                .to_owned(),
        );
    }
    if let (Err(reason), Some(card)) = (&machine.cuda, machine.gpus.first()) {
        problems.push(format!("{} cannot be computed on: {reason}", card.name));
    }
    if machine
        .memory
        .is_some_and(|memory| memory.available < 1 << 30)
    {
        problems.push("less than 1 GiB of memory is available: close something".to_owned());
    }
    problems
}

fn as_text(machine: &Machine, fits: &[Fit], problems: &[String]) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let levels = match machine.levels.as_slice() {
        [] => "none".to_owned(),
        levels => format!("{} (the last one runs)", levels.join(", ")),
    };
    let card = |gpu: &Gpu| format!("{}, {}", gpu.name, Bytes(gpu.memory));
    let cards: Vec<String> = machine.gpus.iter().map(card).collect();
    let gpus = match (cards.as_slice(), &machine.gpu_driver) {
        ([], None) => "no NVIDIA card".to_owned(),
        ([], Some(driver)) => format!("NVIDIA driver {driver}, no card"),
        (cards, driver) => format!("{} (driver {})", cards.join("; "), known(driver)),
    };
    let cuda = match &machine.cuda {
        Ok(card) => format!(
            "computes on {}: {}, {} free, compute capability {}, CUDA {}",
            card.name,
            Bytes(card.memory.total),
            Bytes(card.memory.available),
            card.capability,
            card.version
        ),
        Err(reason) => format!("absent: {reason}"),
    };
    let disk = machine.disk.map(|free| format!("{} free", Bytes(free)));
    let memory = machine.memory.map(|memory| {
        let (total, available) = (Bytes(memory.total), Bytes(memory.available));
        format!("{total}, {available} available")
    });
    let rows = [
        (
            "ds4",
            format!("{}, {}", env!("CARGO_PKG_VERSION"), machine.system),
        ),
        ("processor", machine.processor.clone()),
        ("instructions", levels),
        (
            "threads",
            format!(
                "{} to compute with, of {}",
                machine.workers, machine.threads
            ),
        ),
        ("memory", known(&memory)),
        ("locked memory", known(&machine.locked)),
        ("huge pages", known(&machine.huge_pages)),
        ("disk here", known(&disk)),
        ("graphics", gpus),
        ("CUDA", cuda),
    ];
    let mut text = String::new();
    for (name, what) in rows {
        text.push_str(&format!("{name:14} {what}\n"));
    }
    text.push_str(&format!(
        "\nmodel          weights, with a conversation of {} tokens\n",
        grouped(CONVERSATION as u64)
    ));
    for fit in fits {
        text.push_str(&format!(
            "{:14} {}, {} in all: {}\n",
            fit.name,
            Bytes(fit.weights),
            Bytes(fit.weights + fit.conversation),
            fit.reason()
        ));
    }
    for problem in problems {
        text.push_str(&format!("\nwrong: {problem}\n"));
    }
    text
}

fn as_json(machine: &Machine, fits: &[Fit], problems: &[String]) -> String {
    let fits: Vec<_> = fits
        .iter()
        .map(|fit| {
            json!({
                "name": fit.name,
                "weight_bytes": fit.weights,
                "conversation_bytes": fit.conversation,
                "fits": fit.verdict.fits(),
                "fits_card": fit.on_card,
                "why": fit.reason(),
            })
        })
        .collect();
    let gpu = |gpu: &Gpu| json!({ "name": gpu.name, "memory_bytes": gpu.memory });
    let gpus: Vec<_> = machine.gpus.iter().map(gpu).collect();
    let cuda = match &machine.cuda {
        Ok(card) => json!({
            "name": card.name,
            "memory_bytes": card.memory.total,
            "free_bytes": card.memory.available,
            "compute_capability": card.capability,
            "cuda": card.version,
        }),
        Err(reason) => json!({ "absent": reason.to_string() }),
    };
    let object = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": machine.system,
        "processor": machine.processor,
        "instructions": machine.levels,
        "workers": machine.workers,
        "threads": machine.threads,
        "memory_bytes": machine.memory.map(|memory| memory.total),
        "available_bytes": machine.memory.map(|memory| memory.available),
        "locked_memory": machine.locked,
        "huge_pages": machine.huge_pages,
        "free_disk_bytes": machine.disk,
        "gpus": gpus,
        "gpu_driver": machine.gpu_driver,
        "cuda": cuda,
        "models": fits,
        "conversation_tokens": CONVERSATION,
        "problems": problems,
    });
    format!("{object:#}\n")
}
