//! Which variant this machine can run.

use crate::hardware::Gpu;
use crate::units::Bytes;

use super::catalogue::{Variant, named};

/// What to choose from, the best first. Drafters and older checkpoints are for those who know.
const CHOICE: [&str; 4] = [
    "pro-q2-imatrix",
    "q4-imatrix",
    "q2-q4-imatrix",
    "q2-imatrix",
];

/// A choice, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) variant: &'static Variant,
    pub(crate) why: String,
}

/// Memory that running a file takes: the weights, an eighth for context and scratch, and what the
/// system needs.
pub(crate) fn needed(file: u64) -> u64 {
    file + file / 8 + 4_000_000_000
}

/// The best variant for a machine with this much memory; none if even the smallest is too large.
pub(crate) fn choose(memory: u64, gpus: &[Gpu]) -> Option<Choice> {
    let best = |room: u64| {
        let variants = CHOICE.into_iter().filter_map(named);
        let mut fitting = variants.filter(|variant| needed(variant.size.bytes()) <= room);
        fitting.next()
    };
    let largest = gpus.iter().max_by_key(|gpu| gpu.memory);
    let on_card = largest.and_then(|gpu| Some((gpu, best(gpu.memory)?)));
    if let Some((gpu, variant)) = on_card {
        let why = reason(variant, &gpu.name, gpu.memory);
        return Some(Choice { variant, why });
    }
    let variant = best(memory)?;
    let why = reason(variant, "this machine", memory);
    Some(Choice { variant, why })
}

fn reason(variant: &Variant, whose: &str, room: u64) -> String {
    let size = variant.size.bytes();
    format!(
        "{}: the best that {whose} with {} of memory holds ({} of weights, {} with context)",
        variant.name,
        Bytes(room),
        Bytes(size),
        Bytes(needed(size))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_get_what_they_hold() {
        let gib = 1 << 30;
        let chosen = |memory| choose(memory, &[]).map(|choice| choice.variant.name);
        assert_eq!(chosen(64 * gib), None);
        assert_eq!(chosen(96 * gib), Some("q2-imatrix"));
        assert_eq!(chosen(128 * gib), Some("q2-q4-imatrix"));
        assert_eq!(chosen(256 * gib), Some("q4-imatrix"));
        assert_eq!(chosen(512 * gib), Some("pro-q2-imatrix"));
    }

    #[test]
    fn a_card_that_holds_a_model_decides() {
        let card = |gib: u64| Gpu {
            name: "a card".into(),
            memory: gib << 30,
        };
        let chosen = choose(512 << 30, &[card(24), card(140)]).expect("both hold something");
        assert_eq!(chosen.variant.name, "q2-q4-imatrix");
        assert!(chosen.why.contains("a card"), "{}", chosen.why);
        let chosen = choose(512 << 30, &[card(24)]).expect("the machine holds something");
        assert_eq!(chosen.variant.name, "pro-q2-imatrix");
    }
}
