//! Which published models fit into this machine's memory.

use ds4_model::{KvGeometry, Recipe, RowFormat, Shape, Weights};

use super::CONVERSATION;
use super::machine::Machine;
use crate::units::Bytes;

/// What everything else on the machine, and the work of a step, may need.
const RESERVE: u64 = 4 << 30;

/// A model and whether it fits.
pub(super) struct Fit {
    /// As `ds4 synth` and the published files name it.
    pub(super) name: String,
    /// Bytes of its weights.
    pub(super) weights: u64,
    /// Bytes of a conversation.
    pub(super) conversation: u64,
    pub(super) verdict: Verdict,
    /// Whether it fits the memory of the card, if there is one to compute on.
    pub(super) on_card: Option<bool>,
}

impl Fit {
    /// Whether it fits, in words.
    pub(super) fn reason(&self) -> String {
        let card = match self.on_card {
            Some(true) => "; fits the card",
            Some(false) => "; does not fit the card",
            None => "",
        };
        format!("{}{card}", self.verdict.reason())
    }
}

/// Whether it fits.
pub(super) enum Verdict {
    /// With this much left.
    Fits(u64),
    /// This much is missing.
    Lacks(u64),
    /// Nobody says how much memory there is.
    Unknown,
}

impl Verdict {
    pub(super) fn fits(&self) -> Option<bool> {
        match self {
            Self::Fits(_) => Some(true),
            Self::Lacks(_) => Some(false),
            Self::Unknown => None,
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Fits(left) => format!("fits, {} left", Bytes(*left)),
            Self::Lacks(missing) => format!(
                "lacks {} of memory: it would run from disk, very slowly",
                Bytes(*missing)
            ),
            Self::Unknown => "how much memory this machine has is unknown".to_owned(),
        }
    }
}

/// Every published model.
pub(super) fn all(machine: &Machine) -> Vec<Fit> {
    let flash = [Recipe::Q2, Recipe::Q2Q4, Recipe::Q4, Recipe::MXFP4];
    let pro = [Recipe::Q2, Recipe::Q4];
    let flash = flash.map(|recipe| fit("flash", &Shape::flash(), &recipe, machine));
    let pro = pro.map(|recipe| fit("pro", &Shape::pro(), &recipe, machine));
    flash.into_iter().chain(pro).collect()
}

fn fit(name: &str, shape: &Shape, recipe: &Recipe, machine: &Machine) -> Fit {
    let slots = Weights::layout(shape).slots();
    let bytes = slots.iter().filter_map(|slot| {
        let format = recipe.format(slot.role, slot.layer, shape.layers());
        format.bytes_of(slot.values())
    });
    let weights = bytes.sum();
    let geometry = KvGeometry::new(shape, RowFormat::Packed, false);
    let conversation = geometry.session_bytes(CONVERSATION) as u64;
    let needed = weights + conversation + RESERVE;
    let verdict = match machine.memory.map(|memory| memory.total) {
        None => Verdict::Unknown,
        Some(usable) if usable >= needed => Verdict::Fits(usable - needed),
        Some(usable) => Verdict::Lacks(needed - usable),
    };
    Fit {
        name: format!("{name} {recipe}"),
        weights,
        conversation,
        verdict,
        on_card: machine
            .cuda
            .as_ref()
            .ok()
            .map(|card| card.memory.total >= needed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_published_files() {
        let machine = Machine::look();
        let fits = all(&machine);
        // 81 GiB and 154 GiB, as published.
        assert_eq!(fits[0].weights >> 30, 80);
        assert_eq!(fits[2].weights >> 30, 153);
    }
}
