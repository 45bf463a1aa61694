//! `ds4 inspect`: what is in a weight file, without reading its weights.

mod facts;
mod json;
mod oddities;
mod text;
mod tokenizer;

use std::path::PathBuf;

use anyhow::{Context, Result};
use ds4_gguf::Gguf;
use ds4_model::Shape;

use crate::loading;
use crate::manners::{self, Hinted};
use facts::Facts;

/// Look into a weight file: which model, which formats, what a token reads, what a conversation
/// takes.
///
/// Reads the header only, so that a file of 87 GB takes a blink. Everything is counted from the
/// tensors themselves. A file that ds4 cannot run is described as far as possible; then every
/// difference is listed and the exit code is 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file: a main model, or an MTP or DSpark support file [default: as for ds4 run].
    file: Option<PathBuf>,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
    /// List every tensor.
    #[arg(long)]
    tensors: bool,
    /// Lengths of conversation, in tokens, to state the memory for.
    #[arg(long, value_delimiter = ',', value_name = "TOKENS",
        default_values_t = [4096, 32_768, 131_072, 1_048_576],
        value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    contexts: Vec<u32>,
    /// The main model that a support file is for [default: Flash or PRO, whichever fits].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let file = loading::open(args.file.as_deref())?;
    let main = match &args.model {
        Some(path) => {
            let main = Gguf::open(path).context("cannot read the main model")?;
            Some(Shape::from_metadata(&main).context("cannot use the main model")?)
        }
        None => None,
    };
    let (facts, refused) = Facts::gather(&file, main.as_ref(), &args.contexts);
    let tensors = if args.tensors { file.tensors() } else { &[] };
    let output = if args.json {
        json::render(&facts, tensors)
    } else {
        text::render(&facts, tensors)
    };
    manners::print(&output)?;
    // Said after what is known, and the exit code says it too.
    match refused {
        None => Ok(()),
        Some(_) if main.is_none() && facts.is_support() => Err(Hinted::failure(
            format!("{} fits neither DeepSeek V4 Flash nor PRO", facts.path),
            "name the main model it is for with --model FILE to see the differences",
        )),
        Some(error) => Err(error).context("ds4 cannot run this file"),
    }
}
