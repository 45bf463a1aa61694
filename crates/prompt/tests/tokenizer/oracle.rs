//! The reference library and a regex engine as oracles over random Unicode.

use std::sync::LazyLock;

use ds4_prompt::TokenId;
use ds4_prompt::pretokenize::pieces;
use fancy_regex::Regex;
use proptest::prelude::*;

use crate::published::{JSON, TOKENIZER, data};
use crate::texts::{text, text_with_added};

static REFERENCE: LazyLock<tokenizers::Tokenizer> =
    LazyLock::new(|| tokenizers::Tokenizer::from_bytes(JSON.as_slice()).unwrap());

/// The three split stages, as the published file has them.
static STAGES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let file: serde_json::Value = serde_json::from_slice(&JSON).unwrap();
    let stages = &file["pre_tokenizer"]["pretokenizers"];
    let stage = |i: usize| Regex::new(stages[i]["pattern"]["Regex"].as_str().unwrap()).unwrap();
    (0..3).map(stage).collect()
});

/// Code points whose class the oracles' regex engine, on another version of Unicode, sees
/// otherwise.
static DISPUTED: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let file: serde_json::Value = serde_json::from_slice(&data("unicode-classes.json")).unwrap();
    let mut disputed = vec![false; 0x11_0000];
    let all: String = ('\0'..=char::MAX).collect();
    for class in ["L", "M", "N", "P", "S", "space"] {
        let mut theirs = vec![false; 0x11_0000];
        let pattern = if class == "space" {
            r"\s".into()
        } else {
            format!(r"\p{{{class}}}")
        };
        for found in Regex::new(&format!("{pattern}+")).unwrap().find_iter(&all) {
            for each in found.unwrap().as_str().chars() {
                theirs[each as usize] = true;
            }
        }
        for range in file["classes"][class].as_array().unwrap() {
            let end = |i: usize| usize::try_from(range[i].as_u64().unwrap()).unwrap();
            theirs[end(0)..=end(1)]
                .iter_mut()
                .for_each(|each| *each = !*each);
        }
        disputed
            .iter_mut()
            .zip(theirs)
            .for_each(|(all, one)| *all |= one);
    }
    disputed
});

fn undisputed(text: &str) -> String {
    text.chars()
        .map(|each| if DISPUTED[each as usize] { 'x' } else { each })
        .collect()
}

fn split(stage: &Regex, text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for found in stage.find_iter(text) {
        let found = found.unwrap();
        pieces.push(text[at..found.start()].to_owned());
        pieces.push(found.as_str().to_owned());
        at = found.end();
    }
    pieces.push(text[at..].to_owned());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn split_by_regex(text: &str) -> Vec<String> {
    STAGES.iter().fold(vec![text.to_owned()], |pieces, stage| {
        pieces
            .iter()
            .flat_map(|piece| split(stage, piece))
            .collect()
    })
}

fn reference_ids(text: &str) -> Vec<TokenId> {
    let encoded = REFERENCE.encode_fast(text, false).unwrap();
    encoded.get_ids().iter().copied().map(TokenId).collect()
}

#[test]
fn the_oracles_dispute_only_recent_characters() {
    let disputed = DISPUTED.iter().filter(|&&each| each).count();
    assert!(disputed < 10_000, "{disputed} code points of other classes");
    let early = DISPUTED[..0x800].iter().position(|&each| each);
    assert_eq!(
        early, None,
        "no dispute in Latin, Greek, Cyrillic, Hebrew, Arabic"
    );
}

/// What a pair of neighbours becomes may depend on both classes and on what follows: all triples of
/// one character of each kind.
#[test]
fn pieces_of_every_triple_of_kinds() {
    let kinds = "a\u{e9}\u{301}1\u{663} \t\n\r\u{a0}\u{3000}.<\u{3002}\u{20ac}\u{4e2d}\u{304b}\
                 \u{30fb}\u{3099}\u{309b}\u{3040}\u{1}\u{200b}\u{e000}\u{1f600}";
    let kinds: Vec<char> = kinds.chars().collect();
    for &a in &kinds {
        for &b in &kinds {
            for &c in &kinds {
                for text in [format!("{a}{b}{c}"), format!("{a}{a}{b}{b}{c}a")] {
                    assert_eq!(
                        pieces(&text).collect::<Vec<_>>(),
                        split_by_regex(&text),
                        "{text:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_are_those_of_the_regular_expressions(text in text(40)) {
        let text = undisputed(&text);
        prop_assert_eq!(pieces(&text).collect::<Vec<_>>(), split_by_regex(&text));
    }

    #[test]
    fn ids_are_those_of_the_reference(text in text_with_added(60)) {
        let text = undisputed(&text);
        let ids = TOKENIZER.encode_with_added(&text);
        prop_assert_eq!(&ids, &reference_ids(&text));
        prop_assert_eq!(TOKENIZER.decode(&ids), text);
    }

    #[test]
    fn plain_encoding_never_yields_added_tokens(text in text_with_added(40)) {
        let ids = TOKENIZER.encode(&text);
        prop_assert!(ids.iter().all(|&id| !TOKENIZER.is_added(id)));
        prop_assert_eq!(TOKENIZER.decode(&ids), text);
    }
}

/// Long pieces take another way through merging than short ones.
#[test]
fn long_pieces_are_those_of_the_reference() {
    let mut texts: Vec<String> = [
        "a", " ", "=", "-", "ab", "的", "はは", "\n", "\t ", "é", "//", "aab", "é́", "0",
    ]
    .iter()
    .flat_map(|part| [65, 127, 1000, 4001].map(|count| part.repeat(count)))
    .collect();
    texts.push(crate::corpus::base64(20_000));
    texts.push(crate::corpus::letters(20_000));
    texts.push(crate::corpus::ideographs(3_000));
    for text in texts {
        let start: String = text.chars().take(20).collect();
        assert!(
            TOKENIZER.encode(&text) == reference_ids(&text),
            "{start:?} x {}",
            text.len()
        );
    }
}
