//! What was measured, and on what.

/// A benchmark's result.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) environment: Environment,
    pub(super) model: Model,
    pub(super) settings: Settings,
    pub(super) points: Vec<Point>,
    /// Whether every run came to its end.
    pub(super) is_complete: bool,
}

/// The machine, and what of it was used.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    pub(super) version: &'static str,
    pub(super) system: String,
    pub(super) cpu: String,
    /// What computed: `CPU`, or a card's name.
    pub(super) device: String,
    /// Bytes of the card's memory, if a card computed.
    pub(super) device_memory: Option<u64>,
    pub(super) simd: String,
    /// Hardware threads this process may use.
    pub(super) hardware_threads: usize,
    pub(super) threads: usize,
    pub(super) memory: Option<u64>,
    /// Graphics cards that are there, used or not.
    pub(super) gpus: Vec<String>,
    /// Bytes a second that the memory delivers: the card's, or to as many threads.
    pub(super) bandwidth: f64,
}

/// The model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) profile: String,
    pub(super) recipe: String,
    pub(super) layers: usize,
    pub(super) file_bytes: u64,
}

/// How it was measured.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) repetitions: u32,
    pub(super) seed: u64,
    pub(super) arithmetic: &'static str,
    /// Whether the context's memory was random instead of computed.
    pub(super) is_filled: bool,
    /// Where the prompt's tokens come from.
    pub(super) prompt: String,
}

/// One context and one number of sessions.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) context: u32,
    pub(super) sessions: u32,
    /// Tokens since the frontier before.
    pub(super) prefilled: u32,
    /// Tokens a second; none where the context was filled.
    pub(super) prefill: Series,
    /// Tokens each session decoded.
    pub(super) generated: u32,
    /// Tokens a second of all sessions together.
    pub(super) decode: Series,
    pub(super) kv_bytes: u64,
    /// Bytes a decoded token reads, where that can be told.
    pub(super) token_bytes: Option<u64>,
    /// Whether all repetitions generated the same tokens, and every logit looked at was a number.
    pub(super) is_repeatable: bool,
    /// Whether the first session generated what it generates alone.
    pub(super) is_same_alone: bool,
}

impl Point {
    /// Share of the memory's bandwidth that decoding used.
    pub(super) fn bandwidth_share(&self, bandwidth: f64) -> Option<f64> {
        Some(self.token_bytes? as f64 * self.decode.median()? / bandwidth)
    }
}

/// Measurements of one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series(Vec<f64>);

impl Series {
    /// Adds a measurement.
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// All of them, as they were made.
    pub(super) fn all(&self) -> &[f64] {
        &self.0
    }

    /// The middle one, or between the middle two.
    pub(super) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(f64::midpoint(lower, upper))
    }

    /// The least and the greatest.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let least = self.0.iter().copied().min_by(f64::total_cmp)?;
        let greatest = self.0.iter().copied().max_by(f64::total_cmp)?;
        Some((least, greatest))
    }

    /// How far the outer ones are from the median at most, relative to it.
    pub(super) fn spread(&self) -> Option<f64> {
        let (least, greatest) = self.range()?;
        let median = self.median().filter(|&median| median > 0.0)?;
        Some((greatest - median).max(median - least) / median)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series(values.to_vec())
    }

    /// A report as a test wants it.
    pub(in super::super) fn report() -> Report {
        let point = |context, sessions: u32| Point {
            context,
            sessions,
            prefilled: 2048,
            prefill: series(&[100.0, 110.0, 90.0]),
            generated: 16,
            decode: series(&[12.0, 15.0, 11.0]),
            kv_bytes: 14_000_000,
            token_bytes: (sessions == 1).then_some(1_000_000_000),
            is_repeatable: true,
            is_same_alone: true,
        };
        Report {
            environment: Environment {
                version: "0",
                system: "linux x86_64".into(),
                cpu: "a <CPU> & more".into(),
                device: "CPU".into(),
                device_memory: None,
                simd: "AVX2".into(),
                hardware_threads: 4,
                threads: 2,
                memory: Some(24_000_000_000),
                gpus: Vec::new(),
                bandwidth: 20e9,
            },
            model: Model {
                name: "mini".into(),
                identity: "cafe".into(),
                profile: "Mini".into(),
                recipe: "q2".into(),
                layers: 5,
                file_bytes: 17_000_000,
            },
            settings: Settings {
                repetitions: 3,
                seed: 1,
                arithmetic: "eight-bit codes",
                is_filled: false,
                prompt: "random tokens".into(),
            },
            points: vec![
                point(2048, 1),
                point(4096, 1),
                point(2048, 4),
                point(4096, 4),
            ],
            is_complete: true,
        }
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(series(&[]).median(), None);
        assert_eq!(series(&[]).spread(), None);
        assert_eq!(series(&[3.0]).median(), Some(3.0));
        assert_eq!(series(&[3.0]).spread(), Some(0.0));
        assert_eq!(series(&[9.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(series(&[4.0, 1.0, 3.0, 2.0]).median(), Some(2.5));
        assert_eq!(series(&[4.0, 1.0]).range(), Some((1.0, 4.0)));
        assert_eq!(series(&[8.0, 10.0, 11.0]).spread(), Some(0.2));
    }

    #[test]
    fn decoding_is_held_against_the_memory() {
        let report = report();
        let share = |at: usize| report.points[at].bandwidth_share(20e9);
        // 12 tokens a second, a gigabyte each.
        assert_eq!(share(0), Some(0.6));
        assert_eq!(
            share(2),
            None,
            "several sessions read some weights once for all"
        );
    }
}
