//! How long a step takes, and so how many rows of a prompt fit into one.

use std::time::Duration;

/// Share of a new measurement in the running mean of steps that only decode: a change of load shows
/// within a few steps.
const WEIGHT: f64 = 0.25;

/// Rows of a prompt that tell as much about the cost of a row as all that was measured before. A
/// step of one row costs a card as much as one of fifty, so it says little, and must not make the
/// next thousand rows crawl.
const TELLING: f64 = 64.0;

/// Rows of a prompt that every step may hold, however slow they are: a prefill always moves.
const LEAST: usize = 8;

/// Rows to begin with beside decoding sessions, before anything is measured.
const FIRST: usize = 32;

/// The targets and what was measured.
#[derive(Debug)]
pub(super) struct Pace {
    /// Longest step while somebody waits for a next token.
    between_tokens: f64,
    /// Longest step otherwise: how long a cancellation may take.
    alone: f64,
    /// Seconds of a step that only decodes.
    decode: Option<f64>,
    /// Seconds a row of a prompt adds.
    row: Option<f64>,
}

impl Pace {
    pub(super) fn new(between_tokens: Duration, alone: Duration) -> Self {
        Self {
            between_tokens: between_tokens.as_secs_f64(),
            alone: alone.as_secs_f64(),
            decode: None,
            row: None,
        }
    }

    /// Rows of prompts that the next step may hold, beside `decoding` rows.
    pub(super) fn slice(&self, decoding: usize) -> usize {
        let Some(row) = self.row else {
            return FIRST;
        };
        let left = match decoding {
            0 => self.alone,
            _ => self.between_tokens - self.decode.unwrap_or(0.0),
        };
        // A float to integer cast saturates: no row cost is too small, no time left is too
        // negative.
        ((left / row) as usize).max(LEAST)
    }

    /// A step took this long.
    pub(super) fn note(&mut self, decoding: usize, prefilling: usize, took: Duration) {
        let took = took.as_secs_f64();
        if prefilling == 0 {
            mean(&mut self.decode, took, WEIGHT);
            return;
        }
        let decode = match decoding {
            0 => 0.0,
            _ => self.decode.unwrap_or(0.0),
        };
        let (more, rows) = ((took - decode).max(1e-9), prefilling as f64);
        mean(&mut self.row, more / rows, rows / (rows + TELLING));
    }
}

fn mean(value: &mut Option<f64>, new: f64, weight: f64) {
    *value = Some(match *value {
        Some(old) => old + weight * (new - old),
        None => new,
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FIRST, LEAST, Pace};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn slices_settle_at_what_fits_between_two_tokens() {
        let mut pace = Pace::new(100 * MS, 1000 * MS);
        assert_eq!(pace.slice(1), FIRST);
        // Decoding takes 20 ms, a row of a prompt 2 ms more.
        for _ in 0..40 {
            pace.note(2, 0, 20 * MS);
            let rows = pace.slice(2);
            pace.note(2, rows, 20 * MS + 2 * MS * rows as u32);
        }
        assert!((39..=41).contains(&pace.slice(2)), "{}", pace.slice(2));
        assert!((499..=501).contains(&pace.slice(0)));
    }

    /// As a card behaves: every step takes ten milliseconds, and a row a fifth of one.
    #[test]
    fn many_short_prompts_do_not_slow_down_a_long_one() {
        let took = |rows: usize| 10 * MS + Duration::from_micros(200) * rows as u32;
        let mut pace = Pace::new(200 * MS, 1000 * MS);
        for _ in 0..4 {
            let rows = pace.slice(0).min(2048);
            pace.note(0, rows, took(rows));
        }
        assert!(pace.slice(0) > 2048, "{}", pace.slice(0));
        // Sixteen sessions begin one after the other, a row each.
        for others in 0..16 {
            pace.note(others, 0, took(others));
            pace.note(others, 1, took(others + 1));
        }
        let after = pace.slice(0).min(2048);
        assert!(after > 256, "{after}");
        pace.note(0, after, took(after));
        assert!(pace.slice(0) > 2048, "{}", pace.slice(0));
    }

    #[test]
    fn a_prefill_moves_however_slow_the_machine() {
        let mut pace = Pace::new(MS, MS);
        pace.note(1, 0, 900 * MS);
        pace.note(1, 1, 2000 * MS);
        assert_eq!(pace.slice(1), LEAST);
    }

    #[test]
    fn a_faster_step_than_the_clock_can_tell_is_no_division_by_zero() {
        let mut pace = Pace::new(MS, MS);
        pace.note(0, 512, Duration::ZERO);
        assert!(pace.slice(0) > 512);
    }
}
