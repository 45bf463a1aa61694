//! How weights are computed with, on any model: what loading and measuring ask alike.

use anyhow::{Context, Result};
use clap::ArgAction;
use ds4_engine::Arithmetic;
use ds4_gguf::Gguf;

use crate::progress;

/// How it is computed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ComputingArgs {
    /// Multiply floats instead of eight-bit codes: no rounding beyond the model's own, and an
    /// answer that does not depend on what else is computed. Slower.
    #[arg(long, env = "DS4_EXACT", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value_t = false, action = ArgAction::Set,
        hide_default_value = true, hide_possible_values = true)]
    pub(crate) exact: bool,
    /// Read all weights before the first token instead of when they are first used.
    #[arg(long, env = "DS4_WARM_WEIGHTS", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value_t = false,
        action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    warm_weights: bool,
}

impl ComputingArgs {
    /// What the CPU multiplies.
    pub(crate) fn arithmetic(&self, usual: Arithmetic) -> Arithmetic {
        if self.exact { Arithmetic::Float } else { usual }
    }

    /// Reads all weights, if that is wanted.
    pub(crate) fn warm(&self, file: &Gguf) -> Result<()> {
        if self.warm_weights {
            progress::bytes(|progress| file.warm(progress))?
                .0
                .with_context(|| format!("cannot read all of {}", file.name()))?;
        }
        Ok(())
    }
}
