//! From a weight file to a running engine: what every verb that computes begins with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ArgAction;
use ds4_engine::{Engine, Machine, Options, PAGE_TOKENS, Store};
use ds4_gguf::Gguf;
use ds4_prompt::Tokenizer;

use crate::computing::{ComputingArgs, Room};
use crate::kv::TierArgs;
use crate::{demo, manners};

/// Where the original program looks for a model, relative to the working folder.
const CUSTOMARY: &str = "ds4flash.gguf";

/// Which model, and how much of the machine it may have.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// The weight file [default: ds4flash.gguf in this folder, else the demo model].
    #[arg(short, long, value_name = "FILE", env = "DS4_MODEL")]
    model: Option<PathBuf>,
    /// Tokens of context: prompt and answer together [default: 8192; 131072 to serve, since agents
    /// say tens of thousands before their user does].
    #[arg(short, long, value_name = "TOKENS", env = "DS4_CTX",
        value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    ctx: Option<u32>,
    #[command(flatten)]
    computing: ComputingArgs,
    /// Keep the weights in memory: the system may not give their place to anything else. Needs as
    /// much free memory as the file is large, and a limit on locked memory (ulimit -l) that allows
    /// it.
    #[arg(long, env = "DS4_LOCK_WEIGHTS", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value_t = false,
        action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    lock_weights: bool,
    /// Where conversations outlive the process: the verbs that converse say so.
    #[arg(skip)]
    store: Option<Store>,
    /// Bytes of memory for them.
    #[arg(skip)]
    host_bytes: u64,
}

/// Tokens of context where nobody says.
const CONTEXT: u32 = 8192;

/// How much logits a verb wants in one step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Those of the next token.
    NextToken,
    /// Those of every token of a text.
    EveryToken,
    /// Those of the next token of so many conversations at once.
    Sessions(usize),
}

impl Wants {
    fn sessions(self) -> usize {
        match self {
            Self::NextToken | Self::EveryToken => 1,
            Self::Sessions(sessions) => sessions,
        }
    }

    /// Rows with logits in one step.
    fn outputs(self) -> usize {
        match self {
            Self::NextToken => 1,
            Self::EveryToken => 64,
            Self::Sessions(sessions) => sessions,
        }
    }
}

/// A loaded model with its tokenizer.
pub(crate) struct Model {
    pub(crate) engine: Engine,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// What the file calls itself.
    pub(crate) name: String,
    /// Where it was read from.
    pub(crate) file: String,
}

/// Opens a model: the one named, else the customary one, else the demo.
pub(crate) fn open(named: Option<&Path>) -> Result<Gguf> {
    let customary = Path::new(CUSTOMARY);
    let path = match named {
        Some(path) => path,
        None if customary.exists() => {
            manners::say(&format!("no model named: using ./{CUSTOMARY}"));
            customary
        }
        None => {
            let demo = demo::open().context("cannot read the demo model")?;
            manners::say("no model named: using the demo model (-m FILE for another)");
            return Ok(demo);
        }
    };
    Gguf::open(path).context("cannot read the weight file")
}

/// The tokenizer of a weight file.
pub(crate) fn tokenizer(file: &Gguf) -> Result<Tokenizer> {
    Tokenizer::from_gguf(file)
        .with_context(|| format!("cannot use the tokenizer in {}", file.name()))
}

/// What the file calls itself.
pub(crate) fn name(file: &Gguf) -> String {
    file.metadata().str("general.name").unwrap_or("").to_owned()
}

impl ModelArgs {
    /// Tokens of context.
    pub(crate) fn ctx(&self) -> u32 {
        self.ctx.unwrap_or(CONTEXT)
    }

    /// The same with another context.
    pub(crate) fn with_ctx(&self, ctx: u32) -> Self {
        Self {
            ctx: Some(ctx),
            ..self.clone()
        }
    }

    /// The same with another context where nobody says.
    pub(crate) fn with_usual_ctx(&self, usual: u32) -> Self {
        self.with_ctx(self.ctx.unwrap_or(usual))
    }

    /// The same with places for conversations.
    pub(crate) fn with_tiers(&self, tiers: &TierArgs) -> Self {
        Self {
            store: tiers.store(),
            host_bytes: tiers.host_bytes(),
            ..self.clone()
        }
    }

    /// Opens the model's file.
    pub(crate) fn open(&self) -> Result<Gguf> {
        open(self.model.as_deref())
    }

    /// The model alone, for one session of the whole context, and what it is computed on.
    pub(crate) fn machine(&self, file: &Gguf) -> Result<(Box<dyn Machine>, String)> {
        self.computing.warm(file)?;
        let room = Room {
            slots: 1,
            pages: (self.ctx() as usize).div_ceil(PAGE_TOKENS),
            outputs: 1,
        };
        self.computing.machine(file, room)
    }

    /// Loads the model for one session.
    pub(crate) fn load(&self, wants: Wants) -> Result<Model> {
        self.load_from(&self.open()?, wants)
    }

    /// Loads the model in `file`.
    pub(crate) fn load_from(&self, file: &Gguf, wants: Wants) -> Result<Model> {
        let begun = Instant::now();
        let path = file.name();
        self.computing.warm(file)?;
        if self.lock_weights {
            file.lock()
                .with_context(|| format!("cannot lock the weights of {path}"))?;
        }
        let tokenizer = Arc::new(tokenizer(file)?);
        let options = Options {
            context: self.ctx() as usize,
            // A session that is being left does not keep the next one out.
            sessions: 2 * wants.sessions() - 1,
            store: self.store.clone(),
            host_bytes: self.host_bytes,
            ..Options::default()
        };
        let slots = wants.sessions();
        let room = Room {
            slots,
            pages: slots * options.context.div_ceil(PAGE_TOKENS),
            outputs: wants.outputs(),
        };
        let (machine, on) = self.computing.machine(file, room)?;
        let shared = Some(Arc::clone(&tokenizer));
        let engine = Engine::start(machine, shared, options)
            .with_context(|| format!("cannot run {path}"))?;
        manners::say(&format!(
            "{path}: loaded in {:.1} s, {on}",
            begun.elapsed().as_secs_f64()
        ));
        Ok(Model {
            engine,
            tokenizer,
            name: name(file),
            file: path.to_owned(),
        })
    }
}
