//! Documents to measure on, made from the vocabulary.
//!
//! Ids of a trained vocabulary are roughly in order of frequency, so drawing its words with
//! probability 1/rank gives texts that repeat themselves about as much as real ones do. A tenth of
//! the words are made of two, so not everything is one token.

use ds4_prompt::{TokenId, Tokenizer};

use crate::hostile::Seeded;

const DOCUMENT: usize = 8 << 10;

/// The mix, then its three parts, each with the given number of bytes.
pub(crate) fn all(tokenizer: &Tokenizer, bytes: usize) -> [(&'static str, Vec<String>); 4] {
    let words = Words::of(tokenizer);
    let mut seeded = Seeded(20_260_424);
    let mut made = |kinds: &[fn(&Words, &mut Seeded) -> String]| {
        let count = bytes.div_ceil(DOCUMENT);
        (0..count)
            .map(|i| kinds[i % kinds.len()](&words, &mut seeded))
            .collect()
    };
    [
        ("prose, code and CJK", made(&[prose, code, cjk])),
        ("prose", made(&[prose])),
        ("code", made(&[code])),
        ("CJK", made(&[cjk])),
    ]
}

struct Words {
    latin: Vec<String>,
    cjk: Vec<String>,
}

impl Words {
    fn of(tokenizer: &Tokenizer) -> Self {
        let (mut latin, mut cjk) = (Vec::new(), Vec::new());
        for id in 0..tokenizer.vocab_len() as u32 {
            let id = TokenId(id);
            let Ok(word) = std::str::from_utf8(tokenizer.token_bytes(id)) else {
                continue;
            };
            if tokenizer.is_added(id) {
                continue;
            }
            let after_space = word.strip_prefix(' ').unwrap_or_default();
            if !after_space.is_empty() && after_space.bytes().all(|b| b.is_ascii_alphabetic()) {
                latin.push(after_space.to_owned());
            }
            if word.chars().all(|each| ('一'..='龥').contains(&each)) {
                cjk.push(word.to_owned());
            }
        }
        Self { latin, cjk }
    }
}

/// A word with probability about 1/rank: the logarithm of the rank is uniform.
fn draw<'a>(words: &'a [String], seeded: &mut Seeded) -> &'a str {
    let uniform = seeded.below(1 << 24) as f64 / f64::from(1 << 24);
    let rank = (words.len() as f64).powf(uniform) as usize;
    &words[(rank - 1).min(words.len() - 1)]
}

fn prose(words: &Words, seeded: &mut Seeded) -> String {
    let mut text = String::new();
    while text.len() < DOCUMENT {
        text.push_str(draw(&words.latin, seeded));
        if seeded.below(10) == 0 {
            text.push_str(draw(&words.latin, seeded));
        }
        text.push_str(match seeded.below(40) {
            0 => ".\n\n",
            1 | 2 => ". ",
            3..=5 => ", ",
            6 => " (",
            7 => ") ",
            8 => "’s ",
            9 => " 1984 ",
            _ => " ",
        });
    }
    text
}

fn code(words: &Words, seeded: &mut Seeded) -> String {
    let mut text = String::new();
    while text.len() < DOCUMENT {
        let indent = "    ".repeat(seeded.below(5));
        let mut name = || {
            let (a, b) = (draw(&words.latin, seeded), draw(&words.latin, seeded));
            match seeded.below(3) {
                0 => a.to_owned(),
                1 => format!("{a}_{b}").to_lowercase(),
                _ => format!("{a}{}{}", b[..1].to_uppercase(), &b[1..]),
            }
        };
        let (a, b, c) = (name(), name(), name());
        let number = seeded.below(100_000);
        text.push_str(&indent);
        text.push_str(&match seeded.below(8) {
            0 => format!("let mut {a} = {b}::new({c}, {number});\n"),
            1 => format!("if ({a}[{number}] != {b}->{c}) {{\n"),
            2 => format!("}} else {{\n{indent}    return {a}.{b}({c});\n{indent}}}\n\n"),
            3 => format!("def {a}(self, {b}: int = {number}) -> {c}:\n"),
            4 => format!("// {a} {b} of {c}\n"),
            5 => format!("\"{a}\": {{\"{b}\": {number}.5, \"{c}\": null}},\n"),
            6 => format!("for (int i = 0; i < {a}.size(); ++i) {b} += {c}[i] * 0x{number:x};\n"),
            _ => format!("<div class=\"{a}\">{{{{ {b} | {c} }}}}</div>\n"),
        });
    }
    text
}

fn cjk(words: &Words, seeded: &mut Seeded) -> String {
    let mut text = String::new();
    while text.len() < DOCUMENT {
        for _ in 0..=seeded.below(10) {
            text.push_str(draw(&words.cjk, seeded));
        }
        text.push_str(match seeded.below(12) {
            0 | 1 => "。",
            2 => "。\n",
            3 => "：“",
            4 => "”，",
            5 => " GPU ",
            6 => "2026年",
            7 => "は、",
            _ => "，",
        });
    }
    text
}
