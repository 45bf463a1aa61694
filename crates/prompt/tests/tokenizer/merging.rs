//! Merging against its definition, on made-up vocabularies.

use std::collections::HashMap;

use ds4_prompt::{TokenId, Tokenizer};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fuzz_body::byte_symbols;

/// A vocabulary of bytes and of what some merges make, in an order no training would give.
struct Made {
    tokens: Vec<String>,
    merges: Vec<String>,
    ranks: HashMap<(String, String), usize>,
}

impl Made {
    /// `choices` pick the sides of each merge among the tokens made so far; `order` shuffles the
    /// merges.
    fn new(choices: &[(usize, usize)], order: &[usize]) -> Self {
        let mut parts: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let mut pairs = Vec::new();
        for &(left, right) in choices {
            let pair = (
                parts[left % parts.len()].clone(),
                parts[right % parts.len()].clone(),
            );
            let made = format!("{}{}", pair.0, pair.1);
            if made.len() > 12 || pairs.contains(&pair) {
                continue;
            }
            if !parts.contains(&made) {
                parts.push(made);
            }
            pairs.push(pair);
        }
        for (i, &to) in order.iter().enumerate().take(pairs.len()) {
            let to = to % pairs.len();
            pairs.swap(i, to);
        }
        let tokens = byte_symbols()
            .into_iter()
            .chain(parts.into_iter().skip(3))
            .collect();
        let merges = pairs
            .iter()
            .map(|(left, right)| format!("{left} {right}"))
            .collect();
        let ranks = pairs
            .into_iter()
            .enumerate()
            .map(|(rank, pair)| (pair, rank))
            .collect();
        Self {
            tokens,
            merges,
            ranks,
        }
    }

    fn tokenizer(&self) -> Tokenizer {
        let tokens = self.tokens.iter().map(String::as_str);
        let merges = self.merges.iter().map(String::as_str);
        Tokenizer::from_vocab(tokens, merges, None).unwrap()
    }

    /// The definition: the pair of lowest rank, the leftmost among equals, until there is none.
    fn merge(&self, text: &str) -> Vec<String> {
        let mut symbols: Vec<String> = text.chars().map(String::from).collect();
        loop {
            let rank = |i: usize| {
                self.ranks
                    .get(&(symbols[i].clone(), symbols[i + 1].clone()))
            };
            let ranked = (1..symbols.len()).filter_map(|i| Some((rank(i - 1)?, i)));
            let Some((_, at)) = ranked.min() else {
                return symbols;
            };
            let right = symbols.remove(at);
            symbols[at - 1].push_str(&right);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn follows_the_definition(
        choices in vec((0usize..40, 0usize..40), 0..30),
        order in prop_oneof![Just(Vec::new()), vec(0usize..30, 0..30)],
        text in prop_oneof!["[abc]{0,20}", "[abc]{0,300}", "[ab]{60,400}", "a{0,200}"],
    ) {
        let made = Made::new(&choices, &order);
        let tokenizer = made.tokenizer();
        let id = |token: &String| {
            TokenId(made.tokens.iter().position(|each| each == token).unwrap() as u32)
        };
        let wanted: Vec<TokenId> = made.merge(&text).iter().map(id).collect();
        prop_assert_eq!(&tokenizer.encode(&text), &wanted);
        // Now from the cache.
        prop_assert_eq!(&tokenizer.encode(&text), &wanted);
        prop_assert_eq!(&tokenizer.encode_counting(&text).0, &wanted);
    }
}
