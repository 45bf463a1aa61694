//! The `ds4` binary: one verb a file.
//!
//! stdout is data, stderr is talk. Exit code 0 is success, 1 a failure, 2 a command line that makes
//! no sense.

#![forbid(unsafe_code)]

mod inspect;
mod loading;
mod logprobs;
mod manners;
mod perplexity;
mod progress;
mod run;
mod scoring;
mod synth;
mod tokenize;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// DeepSeek V4 on your own machine.
///
/// One model family, one binary: run its models, look into their weight files, and make synthetic
/// ones to try the program without a download of 80 GB.
#[derive(Debug, Parser)]
#[command(name = "ds4", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
First steps:
  ds4 synth mini -o mini.gguf        make a small model in a second
  ds4 inspect mini.gguf              see what is in it
  ds4 run -m mini.gguf -p Hello      let it write (nonsense: its weights are noise)
  ds4 synth flash --share 1 -o f.gguf
                                     all of Flash's 43 layers in a 3.8 GB file

A verb explains itself: ds4 help inspect";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Args>),
    Inspect(inspect::Args),
    Synth(synth::Args),
    Tokenize(tokenize::Args),
    Logprobs(logprobs::Args),
    Perplexity(perplexity::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(args) => run::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Synth(args) => synth::run(&args),
        Verb::Tokenize(args) => tokenize::run(&args),
        Verb::Logprobs(args) => logprobs::run(&args),
        Verb::Perplexity(args) => perplexity::run(&args),
    };
    manners::end(done)
}
