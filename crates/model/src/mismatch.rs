//! Differences between what a model needs and what a file has. All of a file's differences come in
//! one error.

use std::fmt;

/// Of every key that describes the model.
pub(crate) const PREFIX: &str = "deepseek4.";

/// One difference between a file and the model it claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The metadata key or tensor.
    pub at: String,
    /// What the model needs there.
    pub expected: String,
    /// What the file has.
    pub found: String,
}

impl Mismatch {
    pub(crate) fn new(
        at: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self {
            at: at.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// A difference at metadata key `deepseek4.{key}`.
    pub(crate) fn key(key: &str, expected: impl ToString, found: impl ToString) -> Self {
        Self::new(format!("{PREFIX}{key}"), expected, found)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: expected {}, found {}",
            self.at, self.expected, self.found
        )
    }
}

/// Why a file is not a model this program can run.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The file is something else.
    #[error("{file}: architecture {}, expected {expected:?}", shown(.found))]
    Architecture {
        /// The file.
        file: String,
        /// What the reader is for.
        expected: &'static str,
        /// What the file says it is.
        found: Option<String>,
    },
    /// Keys or tensors differ from the model's.
    #[error("{file} does not fit {model}, {} differences:{}",
        .mismatches.len(), listed(.mismatches))]
    Mismatch {
        /// The file.
        file: String,
        /// The model it was compared with.
        model: String,
        /// Every difference.
        mismatches: Vec<Mismatch>,
    },
}

/// Lines of a message before it only counts: a wrong layer count alone brings hundreds of
/// differences.
const LISTED: usize = 40;

fn listed(mismatches: &[Mismatch]) -> String {
    let mut text: String = mismatches
        .iter()
        .take(LISTED)
        .map(|mismatch| format!("\n  {mismatch}"))
        .collect();
    if mismatches.len() > LISTED {
        text.push_str(&format!("\n  and {} more", mismatches.len() - LISTED));
    }
    text
}

fn shown(found: &Option<String>) -> String {
    match found {
        Some(name) => format!("{:?}", name.chars().take(80).collect::<String>()),
        None => "not stated".to_owned(),
    }
}
