//! Whether the model reasons before it answers, how hard, and what the prompt says to make it so.
//!
//! Two generations of checkpoints share one protocol and differ in a single place: which fixed text
//! stands after BOS for which effort. Nothing in a weight file says which generation it is, so
//! [`Generation`] is a setting, guessed at most from the model's name.

/// Which checkpoints the prompt is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generation {
    /// The first release, April 2026. Reasoning is ordinary or maximal.
    #[default]
    April,
    /// The 0731 checkpoints: three levels, each text one level lower than before, and a new text
    /// for the highest.
    July,
}

impl Generation {
    /// What a model's name tells, if it tells anything: the later checkpoints carry `0731`.
    pub fn of_model_name(name: &str) -> Option<Self> {
        name.contains("0731").then_some(Self::July)
    }

    /// The effort of a request that asks for reasoning and says no more.
    pub fn ordinary_effort(self) -> Effort {
        match self {
            Self::April => Effort::High,
            Self::July => Effort::Low,
        }
    }

    /// What stands between BOS and the system text for this effort.
    pub fn effort_text(self, effort: Effort) -> &'static str {
        match (self, effort) {
            (Self::April, Effort::Low | Effort::High) | (Self::July, Effort::Low) => "",
            (Self::April, Effort::Max) | (Self::July, Effort::High) => ABSOLUTE_MAXIMUM,
            (Self::July, Effort::Max) => BEYOND_MAXIMUM,
        }
    }
}

/// How hard the model reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// The 0731 checkpoints' ordinary reasoning; the first release knows no lower level than
    /// [`Effort::High`].
    Low,
    /// The first release's ordinary reasoning.
    High,
    /// As much as the model can. Needs [`MAX_EFFORT_CONTEXT`].
    Max,
}

/// Whether the model reasons, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thinking {
    /// The assistant turn opens with `</think>`: the answer at once.
    Off,
    /// The assistant turn opens with `<think>`.
    On(Effort),
}

/// Tokens of context below which maximal effort is not given: the models' authors ask for at least
/// 384K.
pub const MAX_EFFORT_CONTEXT: u64 = 393_216;

/// Maximal effort was asked for and the context is too small for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "effort max needs a context of {needed} tokens and this one has {context}: \
     running with effort high \
     (enlarge the context to get max)"
)]
pub struct EffortLowered {
    /// Tokens of context that maximal effort needs.
    pub needed: u64,
    /// Tokens of context configured.
    pub context: u64,
}

impl Thinking {
    /// What a request's effort field means. `None`: not a level anybody sends.
    ///
    /// `xhigh` is not `max`: coding agents send it freely, and maximal effort is slow.
    pub fn of_effort_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::Off),
            "minimal" | "low" => Some(Self::On(Effort::Low)),
            "medium" | "high" | "xhigh" => Some(Self::On(Effort::High)),
            "max" => Some(Self::On(Effort::Max)),
            _ => None,
        }
    }

    /// What a context of this many tokens has room for, and a notice if that is less than was
    /// asked.
    pub fn within(self, context: u64) -> (Self, Option<EffortLowered>) {
        if self == Self::On(Effort::Max) && context < MAX_EFFORT_CONTEXT {
            let needed = MAX_EFFORT_CONTEXT;
            return (
                Self::On(Effort::High),
                Some(EffortLowered { needed, context }),
            );
        }
        (self, None)
    }

    /// Whether the model reasons at all.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }
}

// Protocol data of the models, verbatim from the encoder published with them (MIT).

/// Maximal effort of the first release, high effort of the 0731 checkpoints.
const ABSOLUTE_MAXIMUM: &str = "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n\
    You MUST be very thorough in your thinking and comprehensively decompose the problem to \
    resolve the root cause, rigorously stress-testing your logic against all potential paths, \
    edge cases, and adversarial scenarios.\n\
    Explicitly write out your entire deliberation process, documenting every intermediate step, \
    considered alternative, and rejected hypothesis to ensure absolutely no assumption is left \
    unchecked.\n\n";

/// Maximal effort of the 0731 checkpoints.
const BEYOND_MAXIMUM: &str = "Reasoning Effort: Beyond maximum — exhaustive, relentless, and \
    uncompromising.\n\
    You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: \
    exhaustively decompose the problem into its most fundamental components, trace every causal \
    chain to its root, and resolve the underlying cause rather than any surface symptom.\n\
    Do not stop reasoning until you have independently verified the solution from multiple angles \
    and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maximal_effort_needs_its_context_and_says_so() {
        let max = Thinking::On(Effort::Max);
        assert_eq!(max.within(MAX_EFFORT_CONTEXT), (max, None));
        let (lowered, notice) = max.within(131_072);
        assert_eq!(lowered, Thinking::On(Effort::High));
        let notice = notice.unwrap().to_string();
        assert!(
            notice.contains("393216") && notice.contains("131072"),
            "{notice}"
        );
        assert_eq!(Thinking::Off.within(1), (Thinking::Off, None));
    }

    #[test]
    fn only_a_name_with_the_date_tells_the_generation() {
        let of = Generation::of_model_name;
        assert_eq!(of("DeepSeek-V4-Flash-0731-Q2.gguf"), Some(Generation::July));
        assert_eq!(of("DeepSeek-V4-Flash-Q2.gguf"), None);
    }
}
