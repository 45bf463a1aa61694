//! What a model is computed on and how: what loading and measuring ask alike.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ArgAction;
use ds4_engine::{
    Arithmetic, Card, CpuOptions, CudaArithmetic, CudaOptions, LoadError, Machine, PAGE_TOKENS,
    load_cpu, load_cuda,
};
use ds4_gguf::Gguf;

use crate::manners::Hinted;
use crate::{manners, progress};

/// Most rows of a step on a card: the longer the stretch of a prompt, the more tokens share the
/// reading and the expanding of an expert. Four thousand take half a second on a large card; beside
/// sessions that write the scheduler takes fewer.
const CARD_ROWS: usize = 4096;

/// The same on cards with less memory than `ROOMY`: what four thousand rows work in, some nine
/// gigabytes, is twice as much as what two thousand do.
const SMALL_CARD_ROWS: usize = 2048;
const ROOMY: usize = 128 << 30;

/// What it is computed on, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ComputingArgs {
    /// Threads to compute with [default: one a physical core].
    #[arg(short, long, value_name = "N", env = "DS4_THREADS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// What to compute on: an NVIDIA card, the CPU, or the card if there is one and the model fits.
    #[arg(
        long,
        env = "DS4_DEVICE",
        value_name = "DEVICE",
        default_value = "auto"
    )]
    pub(crate) device: Device,
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

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Device {
    /// An NVIDIA card if there is one and the model fits, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA card.
    Cuda,
}

/// What there has to be room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Sessions that are computed.
    pub(crate) slots: usize,
    /// Pages of their memory.
    pub(crate) pages: usize,
    /// Rows with logits in one step.
    pub(crate) outputs: usize,
}

impl ComputingArgs {
    /// Threads that compute, on the CPU.
    pub(crate) fn threads(&self) -> usize {
        let usual = CpuOptions::default().threads;
        self.threads.map_or(usual, usize::from)
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

    /// The card to compute on, if it is to be a card; an error if one was asked for and there is
    /// none.
    pub(crate) fn card(&self) -> Result<Option<Arc<Card>>> {
        match self.device {
            Device::Cpu => Ok(None),
            Device::Auto => Ok(Card::open(0).ok()),
            Device::Cuda => Card::open(0)
                .map(Some)
                .context("cannot compute on an NVIDIA card"),
        }
    }

    /// The model on the device asked for, and what that is called.
    pub(crate) fn machine(&self, file: &Gguf, room: Room) -> Result<(Box<dyn Machine>, String)> {
        let asked = self.device == Device::Cuda;
        if let Some(card) = self.card()? {
            match self.on_card(&card, file, room)? {
                Ok(machine) => return Ok((machine, card.name()?)),
                Err(reason) if asked || reason.is_interruption() => {
                    let path = file.name();
                    let cure = reason.room().map(|fits| cure(room, fits.tokens_that_fit()));
                    let said = format!("cannot run {path} on a card");
                    return Err(match cure {
                        Some(cure) => Hinted::failure(format!("{said}: {reason}"), cure),
                        None => anyhow::Error::new(reason).context(said),
                    });
                }
                Err(reason) => manners::say(&format!("not on the NVIDIA card: {reason}")),
            }
        }
        let machine = self
            .on_cpu(file, room)
            .with_context(|| format!("cannot run {}", file.name()))?;
        Ok((machine, format!("{} threads", self.threads())))
    }

    /// The model on the first card.
    pub(crate) fn on_card(
        &self,
        card: &Card,
        file: &Gguf,
        room: Room,
    ) -> Result<Result<Box<dyn Machine>, LoadError>> {
        let rows = match card.memory()?.1 >= ROOMY {
            true => CARD_ROWS,
            false => SMALL_CARD_ROWS,
        };
        let defaults = CudaOptions::default();
        let options = CudaOptions {
            arithmetic: match self.exact {
                true => CudaArithmetic::Float,
                false => defaults.arithmetic,
            },
            slots: room.slots,
            pages: room.pages,
            max_outputs: room.outputs,
            max_rows: room.outputs.max(rows),
            ..defaults
        };
        let loaded = progress::bytes(|progress| load_cuda(file, options, progress))?.0;
        Ok(loaded.map(|machine| Box::new(machine) as Box<dyn Machine>))
    }

    /// The model on the CPU.
    pub(crate) fn on_cpu(&self, file: &Gguf, room: Room) -> Result<Box<dyn Machine>, LoadError> {
        let defaults = CpuOptions::default();
        let options = CpuOptions {
            threads: self.threads(),
            arithmetic: match self.exact {
                true => Arithmetic::Float,
                false => defaults.arithmetic,
            },
            slots: room.slots,
            pages: room.pages,
            max_outputs: room.outputs,
            max_rows: room.outputs.max(defaults.max_rows),
            ..defaults
        };
        Ok(Box::new(load_cpu(file, options)?))
    }
}

/// What helps where so many tokens of all sessions together fit a card.
fn cure(room: Room, tokens: usize) -> String {
    let slots = room.slots.max(1);
    let each = room.pages / slots * PAGE_TOKENS;
    let context = tokens / slots / PAGE_TOKENS * PAGE_TOKENS;
    let sessions = tokens.checked_div(each).unwrap_or(0);
    let mut ways = Vec::new();
    if context > 0 {
        ways.push(format!("a shorter context (--ctx {context})"));
    }
    if (1..slots).contains(&sessions) {
        ways.push(format!("fewer sessions (--sessions {sessions})"));
    }
    ways.push("weights of a smaller recipe".into());
    ways.push("--device cpu".into());
    ways.join(", or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_is_what_fits() {
        let room = |slots, pages| Room {
            slots,
            pages,
            outputs: slots,
        };
        let four = room(4, 4 * 256);
        assert_eq!(
            cure(four, 300_000),
            "a shorter context (--ctx 74752), or fewer sessions (--sessions 2), or weights of a \
             smaller recipe, or --device cpu"
        );
        let nothing = "weights of a smaller recipe, or --device cpu";
        assert_eq!(cure(four, 0), nothing);
        assert_eq!(cure(room(0, 0), 100), nothing);
        assert!(
            cure(room(1, 2048), 512 * 100).starts_with("a shorter context (--ctx 51200), or w")
        );
    }
}
