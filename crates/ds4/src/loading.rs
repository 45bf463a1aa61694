//! From a weight file to a running engine: what every verb that computes begins with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use ds4_engine::{Arithmetic, CpuOptions, Engine, Options, load_cpu};
use ds4_gguf::Gguf;
use ds4_prompt::Tokenizer;

use crate::{manners, progress};

/// Which model, and how much of the machine it may have.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// The weight file.
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// Tokens of context: prompt and answer together.
    #[arg(long, value_name = "TOKENS", default_value_t = 8192,
        value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    ctx: u32,
    /// Threads to compute with [default: one a physical core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Multiply floats instead of eight-bit codes: no rounding beyond the model's own, and an
    /// answer that does not depend on what else is computed. Slower.
    #[arg(long)]
    exact: bool,
    /// Read all weights before the first token instead of when they are first used.
    #[arg(long)]
    warm_weights: bool,
    /// Keep the weights in memory: the system may not give their place to anything else. Needs as
    /// much free memory as the file is large, and a limit on locked memory (ulimit -l) that allows
    /// it.
    #[arg(long)]
    lock_weights: bool,
}

/// How much logits a verb wants in one step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Those of the next token.
    NextToken,
    /// Those of every token of a text.
    EveryToken,
}

/// A loaded model with its tokenizer.
pub(crate) struct Model {
    pub(crate) engine: Engine,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// What the file calls itself.
    pub(crate) name: String,
}

impl ModelArgs {
    /// Tokens of context.
    pub(crate) fn ctx(&self) -> u32 {
        self.ctx
    }

    /// Loads the model for one session.
    pub(crate) fn load(&self, wants: Wants) -> Result<Model> {
        let begun = Instant::now();
        let path = self.model.display();
        let file = Gguf::open(&self.model).context("cannot read the weight file")?;
        if self.warm_weights {
            progress::bytes(|progress| file.warm(progress))?
                .0
                .with_context(|| format!("cannot read all of {path}"))?;
        }
        if self.lock_weights {
            file.lock()
                .with_context(|| format!("cannot lock the weights of {path}"))?;
        }
        let tokenizer = Tokenizer::from_gguf(&file)
            .with_context(|| format!("cannot use the tokenizer in {path}"))?;
        let options = Options {
            context: self.ctx as usize,
            sessions: 1,
            ..Options::default()
        };
        let defaults = CpuOptions::default();
        let cpu = CpuOptions {
            threads: self.threads.map_or(defaults.threads, usize::from),
            arithmetic: if self.exact {
                Arithmetic::Float
            } else {
                defaults.arithmetic
            },
            pages: options.context.div_ceil(ds4_engine::PAGE_TOKENS),
            max_outputs: match wants {
                Wants::NextToken => 1,
                Wants::EveryToken => 64,
            },
            ..defaults
        };
        let threads = cpu.threads;
        let machine = load_cpu(&file, cpu).with_context(|| format!("cannot run {path}"))?;
        let tokenizer = Arc::new(tokenizer);
        let shared = Some(Arc::clone(&tokenizer));
        let engine = Engine::start(Box::new(machine), shared, options)
            .with_context(|| format!("cannot run {path}"))?;
        let name = file.metadata().str("general.name").unwrap_or("").to_owned();
        manners::say(&format!(
            "{path}: loaded in {:.1} s, {threads} threads",
            begun.elapsed().as_secs_f64()
        ));
        Ok(Model {
            engine,
            tokenizer,
            name,
        })
    }
}
