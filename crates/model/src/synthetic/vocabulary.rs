//! A made-up byte-level BPE vocabulary of any size.
//!
//! Laid out like the real one: three specials, 256 bytes, merged words, and a tail of added tokens
//! that holds the protocol's own; with 129,280 tokens these stand at their real ids. Words grow
//! letter by letter from likely beginnings, the likeliest first, so that English-looking text
//! shrinks to a third of its bytes in tokens.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Tokens, their types and the merges, by id and by rank.
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    /// 1 for words and bytes, 3 for added tokens.
    pub(super) types: Vec<i32>,
    pub(super) merges: Vec<String>,
}

/// Specials in front, then one token per byte.
const FIRST_WORD: usize = 3 + 256;
/// The smallest vocabulary that holds them and a tail.
pub(super) const SMALLEST: usize = 384;

const FRONT: [&str; 3] = [
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
];
/// Position in the tail, and text.
const TAIL: [(usize, &str); 5] = [
    (3, "<｜User｜>"),
    (4, "<｜Assistant｜>"),
    (21, "<think>"),
    (22, "</think>"),
    (25, "｜DSML｜"),
];

/// The vocabulary of `size` tokens; `size` is at least [`SMALLEST`].
pub(super) fn make(size: usize) -> Vocabulary {
    // The real vocabulary adds 1280 tokens and keeps 800 places before the protocol's.
    let (tail, offset) = if size >= 1 << 16 {
        (1280, 800)
    } else {
        (64, 0)
    };
    let first_added = size - tail;
    let (mut words, merges) = words(first_added - FIRST_WORD);

    let mut tokens: Vec<String> = FRONT.iter().map(|&text| text.to_owned()).collect();
    tokens.extend((0..=255).map(|byte| stand_in(byte).to_string()));
    tokens.append(&mut words);
    // Fewer words than places can only happen in vocabularies far larger than any real one.
    tokens.extend((tokens.len()..size).map(|id| format!("<｜place▁holder▁{id}｜>")));
    for (place, text) in TAIL {
        text.clone_into(&mut tokens[first_added + offset + place]);
    }
    let added = |id: usize| id < FRONT.len() || id >= FIRST_WORD + merges.len();
    let types = (0..size).map(|id| if added(id) { 3 } else { 1 }).collect();
    Vocabulary {
        tokens,
        types,
        merges,
    }
}

/// The printable character that stands for a byte: itself, or one from U+0100 on.
fn stand_in(byte: u8) -> char {
    let is_itself = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if is_itself(byte) {
        return char::from(byte);
    }
    let shifted = (0..byte).filter(|&earlier| !is_itself(earlier)).count();
    char::from_u32(0x100 + shifted as u32).expect("68 characters from U+0100 on")
}

/// Letters by how common they are in English text.
const LETTERS: &str = "etaoinsrhldcumfpgwybvkxjqz";

/// Up to `count` words and the merges that make them, the likeliest first.
fn words(count: usize) -> (Vec<String>, Vec<String>) {
    // The cost of a letter is about -16 log2 of its share: Zipf's law over the order above.
    let cost = |rank: usize| (16.0 * (4.0 * (rank + 2) as f64).log2()).round() as u64;
    let letters: Vec<(char, u64)> = LETTERS
        .chars()
        .enumerate()
        .map(|(rank, letter)| (letter, cost(rank)))
        .collect();

    // A word begins after a space (stand-in Ġ), inside a word, or with a capital.
    let mut begin = vec![(stand_in(b' ').to_string(), 0)];
    for &(letter, cost) in &letters {
        begin.push((letter.to_string(), cost));
        begin.push((letter.to_ascii_uppercase().to_string(), cost + 64));
    }
    // Best first: a stem waits with its cost and the rank of its last letter. Once taken, it makes
    // room for itself with the next likely last letter, and for itself with one letter more.
    let likeliest = |stem: &str, cost: u64| {
        Reverse((cost + letters[0].1, format!("{stem}{}", letters[0].0), 0))
    };
    let mut open: BinaryHeap<_> = begin
        .iter()
        .map(|(stem, cost)| likeliest(stem, *cost))
        .collect();
    let (mut words, mut merges) = (Vec::with_capacity(count), Vec::with_capacity(count));
    while words.len() < count
        && let Some(Reverse((cost, word, rank))) = open.pop()
    {
        let (stem, last) = word.split_at(word.len() - 1);
        merges.push(format!("{stem} {last}"));
        if let Some((letter, dearer)) = letters.get(rank + 1) {
            open.push(Reverse((
                cost - letters[rank].1 + dearer,
                format!("{stem}{letter}"),
                rank + 1,
            )));
        }
        open.push(likeliest(&word, cost));
        words.push(word);
    }
    (words, merges)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{SMALLEST, make};

    #[test]
    fn the_real_size_has_the_real_ids() {
        let vocabulary = make(129_280);
        assert_eq!(
            (vocabulary.tokens.len(), vocabulary.merges.len()),
            (129_280, 127_741)
        );
        for (id, text) in [
            (0, "<｜begin▁of▁sentence｜>"),
            (1, "<｜end▁of▁sentence｜>"),
            (128_803, "<｜User｜>"),
            (128_804, "<｜Assistant｜>"),
            (128_821, "<think>"),
            (128_822, "</think>"),
            (128_825, "｜DSML｜"),
        ] {
            assert_eq!(
                (vocabulary.tokens[id].as_str(), vocabulary.types[id]),
                (text, 3)
            );
        }
    }

    #[test]
    fn every_size_holds_each_token_once_and_merges_only_earlier_tokens() {
        for size in [SMALLEST, 512, 8192, 65_536] {
            let vocabulary = make(size);
            assert_eq!(vocabulary.tokens.len(), size);
            assert_eq!(vocabulary.types.len(), size);
            let mut known: HashSet<&str> = vocabulary.tokens[..259]
                .iter()
                .map(String::as_str)
                .collect();
            for (merge, word) in vocabulary.merges.iter().zip(&vocabulary.tokens[259..]) {
                let (left, right) = merge.split_once(' ').expect("two parts");
                assert!(known.contains(left) && known.contains(right), "{merge}");
                assert_eq!(&format!("{left}{right}"), word);
                assert!(known.insert(word), "{word} twice");
            }
            for token in &vocabulary.tokens[259 + vocabulary.merges.len()..] {
                assert!(known.insert(token), "{token} twice");
            }
        }
    }
}
