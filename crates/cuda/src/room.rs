//! Whether a model and its sessions fit a card, and what would.

use std::fmt;

use ds4_model::kv::PAGE_TOKENS;

use crate::Error;

/// What the card is asked for, and what it has, in bytes. Counted before weights are copied, so that
/// a card that is too small says so at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Weights.
    pub weights: usize,
    /// What a step works in, whatever the sessions, and what the driver may need besides.
    pub step: usize,
    /// Sessions at once.
    pub slots: usize,
    /// What each remembers besides its pages.
    pub slot_bytes: usize,
    /// Pages of all sessions together.
    pub pages: usize,
    /// What each takes.
    pub page_bytes: usize,
    /// What is free on the card.
    pub free: usize,
    /// What it has.
    pub total: usize,
}

/// Left to the driver: graphs of steps, events, the stacks of kernels.
const SPARE: usize = 512 << 20;

/// Bytes that the driver takes for an allocation: whole pages of two megabytes, which small ones
/// share.
pub(crate) fn taken(bytes: usize) -> usize {
    const LARGE: usize = 1 << 20;
    match bytes {
        0..LARGE => bytes.max(256).next_multiple_of(512),
        _ => bytes.next_multiple_of(2 * LARGE),
    }
}

impl Room {
    /// Bytes of sessions.
    fn sessions(&self) -> usize {
        let pages = self.pages.saturating_mul(self.page_bytes);
        pages.saturating_add(self.slots.saturating_mul(self.slot_bytes))
    }

    /// Bytes of everything that does not depend on how long sessions are.
    fn fixed(&self) -> usize {
        let slots = self.slots.saturating_mul(self.slot_bytes);
        let spare = self.step.saturating_add(SPARE);
        self.weights.saturating_add(spare).saturating_add(slots)
    }

    /// Bytes of everything.
    pub fn needed(&self) -> usize {
        let pages = self.pages.saturating_mul(self.page_bytes);
        self.fixed().saturating_add(pages)
    }

    /// Pages that fit beside all that does not depend on them.
    pub fn pages_that_fit(&self) -> usize {
        self.free.saturating_sub(self.fixed()) / self.page_bytes.max(1)
    }

    /// Tokens of all sessions together that fit.
    pub fn tokens_that_fit(&self) -> usize {
        self.pages_that_fit() * PAGE_TOKENS
    }

    /// An error if it does not fit.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self.pages <= self.pages_that_fit() && self.needed() <= self.free {
            true => Ok(()),
            false => Err(Error::Room(self)),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.slots == 1 { "" } else { "s" };
        write!(
            f,
            "{} are needed on the card, of which {} of {} are free: {} for weights, {} to work in, {} for {} \
             session{plural} of {} tokens in all; ",
            Gigabytes(self.needed()),
            Gigabytes(self.free),
            Gigabytes(self.total),
            Gigabytes(self.weights),
            Gigabytes(self.step.saturating_add(SPARE)),
            Gigabytes(self.sessions()),
            self.slots,
            self.pages.saturating_mul(PAGE_TOKENS),
        )?;
        match self.tokens_that_fit() {
            0 if self.weights > self.free => f.write_str("not even the weights fit"),
            0 => f.write_str("no session fits beside the weights"),
            tokens => write!(f, "{tokens} tokens in all would fit"),
        }
    }
}

/// Bytes as people compare them.
struct Gigabytes(usize);

impl fmt::Display for Gigabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} GB", self.0 as f64 * 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        weights: 80_000_000_000,
        step: 3_000_000_000,
        slots: 4,
        slot_bytes: 10_000_000,
        pages: 1024,
        page_bytes: 1_800_000,
        free: 90_000_000_000,
        total: 96_000_000_000,
    };

    #[test]
    fn what_fits_is_the_border_of_what_is_refused() {
        let fit = ROOM.pages_that_fit();
        assert!((3000..4000).contains(&fit), "{fit}");
        assert!(ROOM.check().is_ok());
        let with = |pages| Room { pages, ..ROOM };
        assert!(with(fit).check().is_ok());
        assert!(with(fit + 1).check().is_err());
        // As it does not depend on what was asked for.
        assert_eq!(with(fit + 1).pages_that_fit(), fit);
        assert_eq!(ROOM.tokens_that_fit(), 512 * fit);
    }

    #[test]
    fn the_error_names_both_numbers_and_what_would_fit() {
        let asked = Room {
            pages: 1 << 20,
            ..ROOM
        };
        let said = asked.to_string();
        for part in [
            "1971.01 GB are needed",
            "90.00 GB of 96.00 GB are free",
            "80.00 GB for weights",
            "for 4 sessions of 536870912 tokens in all",
            &format!("{} tokens in all would fit", 512 * ROOM.pages_that_fit()),
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let small = Room {
            free: 24_000_000_000,
            ..ROOM
        };
        assert!(small.check().is_err());
        assert!(small.to_string().ends_with("not even the weights fit"));
        let tight = Room {
            free: 83_000_000_000,
            ..ROOM
        };
        assert!(tight.check().is_err());
        assert!(
            tight
                .to_string()
                .ends_with("no session fits beside the weights")
        );
    }

    #[test]
    fn absurd_wishes_are_refused_without_overflow() {
        for pages in [usize::MAX, usize::MAX / 512] {
            let asked = Room { pages, ..ROOM };
            assert!(asked.check().is_err());
            assert!(!asked.to_string().is_empty());
        }
    }

    #[test]
    fn allocations_are_counted_as_the_driver_takes_them() {
        assert_eq!(taken(0), 512);
        assert_eq!(taken(513), 1024);
        assert_eq!(taken((2 << 20) + 1), 4 << 20);
    }
}
