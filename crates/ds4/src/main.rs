//! The `ds4` binary: one verb a file.
//!
//! stdout is data, stderr is talk. Exit code 0 is success, 1 a failure, 2 a command line or a
//! settings file that makes no sense, 130 an end by Ctrl-C.

#![forbid(unsafe_code)]

mod bench;
mod chat;
mod companions;
mod completions;
mod computing;
mod config;
mod demo;
mod doctor;
mod dump;
mod hardware;
mod inspect;
mod interrupts;
mod kv;
mod launch;
mod loading;
mod logprobs;
mod ls;
mod man;
mod manners;
mod perplexity;
mod progress;
mod pull;
mod reference;
mod rm;
mod run;
mod scoring;
mod screen;
mod selftest;
mod serve;
mod settings;
mod speech;
mod synth;
mod tokenize;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

/// DeepSeek V4 on your own machine.
///
/// One model family, one binary: chat with its models, look into their weight files, and make
/// synthetic ones to try the program without a download of 80 GB. Without a verb it is a chat, or,
/// with -p or a pipe, the answer to one question: all flags of `ds4 run`.
#[derive(Debug, Parser)]
#[command(name = "ds4", version, args_override_self = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Say nothing but errors, besides the answer itself.
    #[arg(short, long, global = true, env = "DS4_QUIET")]
    quiet: bool,
}

const EXAMPLES: &str = "\
First steps:
  ds4                                chat
  ds4 -p 'What are you?'             one answer
  git diff | ds4 -p 'Review this.' -f -
  ds4 synth mini -o mini.gguf        make a small model in a second
  ds4 inspect mini.gguf              see what is in it
  ds4 run -m mini.gguf -p Hello      let it write (nonsense: its weights are noise)
  ds4 doctor                         what this machine has, and what fits it

A verb explains itself: ds4 help inspect";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Args>),
    Serve(Box<serve::Args>),
    Launch(launch::Args),
    Inspect(inspect::Args),
    Synth(synth::Args),
    Tokenize(tokenize::Args),
    Logprobs(logprobs::Args),
    Perplexity(perplexity::Args),
    Bench(Box<bench::Args>),
    Kv(kv::Args),
    Pull(pull::Args),
    Ls(ls::Args),
    Rm(rm::Args),
    Doctor(doctor::Args),
    Selftest(selftest::Args),
    Config(config::Args),
    Completions(completions::Args),
    Man(man::Args),
    Companions(companions::Args),
    #[command(hide = true)]
    Reference(reference::Args),
}

impl Verb {
    fn run(&self) -> Result<()> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Serve(args) => serve::run(args),
            Self::Launch(args) => launch::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Synth(args) => synth::run(args),
            Self::Tokenize(args) => tokenize::run(args),
            Self::Logprobs(args) => logprobs::run(args),
            Self::Perplexity(args) => perplexity::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Kv(args) => kv::run(args),
            Self::Pull(args) => pull::run(args),
            Self::Ls(args) => ls::run(args),
            Self::Rm(args) => rm::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Selftest(args) => selftest::run(args),
            Self::Config(args) => config::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args),
            Self::Companions(args) => companions::run(args),
            Self::Reference(args) => reference::run(args),
        }
    }
}

fn main() -> ExitCode {
    manners::end(start())
}

fn start() -> Result<()> {
    let command = Cli::command()
        .mut_args(hide_values)
        .mut_subcommands(|verb| {
            // `[env: DS4_CTX]` teaches; what it holds right now is for `ds4 config show`.
            verb.mut_args(hide_values)
        });
    let words = companions::rewrite(std::env::args_os().collect(), &command)?;
    let cli = parse(words, command)?;
    if cli.quiet {
        manners::be_quiet();
    }
    cli.verb.run()
}

fn hide_values(arg: clap::Arg) -> clap::Arg {
    arg.hide_env_values(true)
}

/// Reads the command line with the settings file as its defaults. Ends the program if it makes no
/// sense, or asks for help.
fn parse(words: Vec<OsString>, command: Command) -> Result<Cli> {
    let file = settings::File::load(&settings::all(&command));
    let mut command = match (file, words.get(1).and_then(|word| word.to_str())) {
        (Ok(file), _) => file.apply(command),
        // A broken settings file must not keep anybody from mending it.
        (Err(_), Some("config" | "doctor" | "help" | "--help" | "-h" | "--version" | "-V")) => {
            command
        }
        (Err(error), _) => return Err(error),
    };
    let matches = command.try_get_matches_from_mut(words);
    let matches = matches.unwrap_or_else(|error| error.exit());
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit()))
}
