//! No text costs more per byte than ten times prose, counted in steps of merging.

use ds4_prompt::pretokenize::pieces;

use crate::corpus::{base64, ideographs, letters, prose};
use crate::published::TOKENIZER;

const MEGABYTE: usize = 1 << 20;

fn steps_per_byte(text: &str) -> f64 {
    let (ids, steps) = TOKENIZER.encode_counting(text);
    assert_eq!(
        ids.iter()
            .map(|&id| TOKENIZER.token_bytes(id).len())
            .sum::<usize>(),
        text.len()
    );
    steps as f64 / text.len() as f64
}

#[test]
fn hostile_megabytes_cost_what_prose_costs() {
    let usual = steps_per_byte(&prose(MEGABYTE));
    let hostile = [
        ("one letter", "a".repeat(MEGABYTE)),
        ("two letters", "ab".repeat(MEGABYTE / 2)),
        ("spaces", " ".repeat(MEGABYTE)),
        ("newlines", "\n".repeat(MEGABYTE)),
        ("equals signs", "=".repeat(MEGABYTE)),
        ("one ideograph", "的".repeat(MEGABYTE / 3)),
        ("marks", "\u{301}".repeat(MEGABYTE / 2)),
        ("controls", "\u{1}".repeat(MEGABYTE)),
        ("digits", "7".repeat(MEGABYTE)),
        ("base64", base64(MEGABYTE)),
        ("letter noise", letters(MEGABYTE)),
        ("ideograph noise", ideographs(MEGABYTE / 3)),
        (
            "pieces as long as searching goes",
            "abcdefgh".repeat(7).repeat(MEGABYTE / 64) + " ",
        ),
    ];
    for (name, text) in hostile {
        let cost = steps_per_byte(&text);
        assert!(
            cost <= 10.0 * usual,
            "{name}: {cost:.1} steps a byte, prose {usual:.1}"
        );
        let eighth: String = text.chars().take(text.chars().count() / 8).collect();
        let small = steps_per_byte(&eighth);
        assert!(
            cost <= 1.2 * small + 0.1,
            "{name}: {cost:.2} a byte, {small:.2} on an eighth"
        );
    }
}

/// The searched pieces are the only quadratic ones; their bound is the worst length.
#[test]
fn no_length_of_piece_is_expensive() {
    let usual = steps_per_byte(&prose(MEGABYTE / 8));
    let noise = letters(MEGABYTE / 16);
    for len in 1..200 {
        let text: Vec<&str> = noise
            .as_bytes()
            .chunks(len)
            .map(|word| std::str::from_utf8(word).unwrap())
            .collect();
        let text = text.join(" ");
        assert!(pieces(&text).all(|piece| piece.len() <= len + 1));
        let cost = steps_per_byte(&text);
        assert!(
            cost <= 10.0 * usual,
            "pieces of {len}: {cost:.1} a byte, prose {usual:.1}"
        );
    }
}
