//! What the fuzz target `tokenizer` does with its input; ordinary tests replay its corpus.
//!
//! The first byte chooses: 0 reads a `tokenizer.json`, 1 makes a vocabulary of lines, anything else
//! encodes text. Whatever becomes a tokenizer must encode without loss and decode what it encoded.

use std::sync::LazyLock;

use ds4_prompt::{AddedTokens, Decoder, Segment, TokenId, TokenType, Tokenizer};

/// A text with everything the pre-tokenizer tells apart.
const MIXED: &str = "ab <｜User｜> 12½ 中文、ア\r\n\t!x é\u{301}\u{1}\u{1} </think>==  ";

/// One input.
pub(crate) fn tokenizer(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(input);
    match choice {
        0 => {
            if let Ok(tokenizer) = Tokenizer::from_json(input) {
                round_trips(&tokenizer, MIXED);
            }
        }
        1 => {
            if let Some(tokenizer) = of_lines(&text) {
                round_trips(&tokenizer, MIXED);
                round_trips(&tokenizer, &text);
            }
        }
        _ => {
            round_trips(&MADE, &text);
            segments(&text);
        }
    }
    decoder(input);
}

/// Lines become tokens, those with a space merges, those that begin with `<` added tokens.
fn of_lines(text: &str) -> Option<Tokenizer> {
    let bytes = byte_symbols();
    let merges = text.lines().filter(|line| line.contains(' '));
    let tokens: Vec<&str> = bytes
        .iter()
        .map(String::as_str)
        .chain(text.lines().filter(|line| !line.contains(' ')))
        .collect();
    let kind = |token: &&str| match token.starts_with('<') && token.len() > 1 {
        true => TokenType::Added,
        false => TokenType::Base,
    };
    let types: Vec<TokenType> = tokens.iter().map(kind).collect();
    Tokenizer::from_vocab(tokens.into_iter(), merges, Some(&types)).ok()
}

static MADE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let lines = "aa\naaaa\naaaaaaaa\nĠĠ\nĠĠĠĠ\n==\n====\nth\nthe\nĠthe\nä¸\nä¸Ń\nab\nba\n\
                 a a\naa aa\naaaa aaaa\nĠ Ġ\nĠĠ ĠĠ\n= =\n== ==\nt h\nth e\nĠ the\nä ¸\nä¸ Ń\nb a\na b\n\
                 <｜User｜>\n<｜begin▁of▁sentence｜>\n</think>\n<think>\n<｜Us";
    of_lines(lines).expect("a vocabulary that holds together")
});

fn round_trips(tokenizer: &Tokenizer, text: &str) {
    let plain = tokenizer.encode(text);
    assert!(plain.iter().all(|&id| !tokenizer.is_added(id)));
    assert_eq!(tokenizer.decode(&plain), text);
    assert_eq!(
        tokenizer.encode_counting(text).0,
        plain,
        "with and without the cache"
    );
    assert_eq!(tokenizer.decode(&tokenizer.encode_with_added(text)), text);
}

/// Cuts `text` into segments of alternating kind at its spaces.
fn segments(text: &str) {
    let parts = text.split_inclusive(' ').enumerate();
    let segment = |(i, part)| {
        if i % 2 == 0 {
            Segment::data(part)
        } else {
            Segment::control(part)
        }
    };
    let segments: Vec<Segment<'_>> = parts.map(segment).collect();
    for policy in [
        AddedTokens::AsText,
        AddedTokens::TurnsAsText,
        AddedTokens::AsToken,
    ] {
        let ids = MADE.encode_segments(&segments, policy);
        assert_eq!(MADE.decode(&ids), text);
    }
    let data = MADE.encode_segments([Segment::data(text)], AddedTokens::AsText);
    assert_eq!(data, MADE.encode(text));
}

fn decoder(bytes: &[u8]) {
    let mut decoder = Decoder::new();
    let mut text = String::new();
    for part in bytes.chunks(1 + bytes.len() % 5) {
        text.push_str(decoder.push(part));
    }
    text.push_str(decoder.finish());
    assert_eq!(text, String::from_utf8_lossy(bytes));
    let ids: Vec<TokenId> = bytes.iter().map(|&byte| TokenId(byte.into())).collect();
    assert_eq!(MADE.decode_bytes(&ids), bytes);
}

/// The byte alphabet for bytes 0 to 255, as vocabularies write it.
pub(crate) fn byte_symbols() -> Vec<String> {
    let mut shifted = 0x100..;
    let symbol = |byte: u8| match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        _ => shifted
            .next()
            .and_then(char::from_u32)
            .expect("a code point below U+0144"),
    };
    (0..=255).map(symbol).map(String::from).collect()
}
