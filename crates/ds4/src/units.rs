//! Numbers as people read them: sizes with units, digits in groups.

use std::fmt;

/// A size in bytes, as `86.72 GB`; powers of ten, as disks and downloads are sold.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let scaled = [
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1_000, "kB"),
        ];
        // The largest unit of which there is at least one.
        let text = match scaled.into_iter().find(|&(unit, _)| bytes >= unit) {
            Some((unit, name)) => format!("{} {name}", three_digits(bytes as f64 / unit as f64)),
            None => format!("{bytes} B"),
        };
        f.pad(&text)
    }
}

fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// `129280` as `129,280`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of parameters, as `284 billion`.
pub(crate) fn parameters(count: u64) -> String {
    match count {
        1_000_000_000_000.. => format!("{} trillion", three_digits(count as f64 / 1e12)),
        1_000_000_000.. => format!("{} billion", three_digits(count as f64 / 1e9)),
        1_000_000.. => format!("{} million", three_digits(count as f64 / 1e6)),
        _ => grouped(count),
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, grouped, parameters};

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (86_714_775_900, "86.7 GB"),
            (9_994_999, "9.99 MB"),
            (9_996_000, "10.0 MB"),
            (117_900_000, "118 MB"),
            (1_572_999_528_803, "1.57 TB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(129_280), "129,280");
        assert_eq!(grouped(86_714_775_900), "86,714,775,900");
        assert_eq!(parameters(284_334_567_511), "284 billion");
        assert_eq!(parameters(1_572_999_528_803), "1.57 trillion");
    }
}
