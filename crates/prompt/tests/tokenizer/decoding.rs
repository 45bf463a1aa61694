//! The streaming decoder against the lossy decoding of the whole.

use ds4_prompt::{Decoder, TokenId};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::published::TOKENIZER;

fn stream<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut decoder = Decoder::new();
    let mut text = String::new();
    for part in parts {
        text.push_str(decoder.push(part));
        assert!(decoder.pending().len() <= 3, "{:?}", decoder.pending());
    }
    text.push_str(decoder.finish());
    text
}

/// Overlong forms, a surrogate, a code point beyond the last, and their beginnings.
const NEVER_LEGAL: [&[u8]; 5] = [
    b"\xC0\x80",
    b"\xED\xA0\x80",
    b"\xF4\x90\x80\x80",
    b"\xE0\x80",
    b"\xF0\x8F",
];

/// Bytes that are often nearly UTF-8.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let broken = (any::<char>(), 0usize..5).prop_map(|(each, keep)| {
        let mut bytes = each.to_string().into_bytes();
        bytes.truncate(keep);
        bytes
    });
    let part = prop_oneof![
        broken,
        vec(any::<u8>(), 0..4),
        prop::sample::select(NEVER_LEGAL.as_slice()).prop_map(<[u8]>::to_vec),
    ];
    vec(part, 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_tokens(ids in vec((0u32..129_290).prop_map(TokenId), 0..60)) {
        let streamed = stream(ids.iter().map(|&id| TOKENIZER.token_bytes(id)));
        prop_assert_eq!(streamed, TOKENIZER.decode(&ids));
    }

    #[test]
    fn any_bytes_in_any_parts(bytes in bytes(), size in 1usize..6) {
        let wanted = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(stream(bytes.chunks(size)), wanted.clone());
        prop_assert_eq!(stream(std::iter::once(bytes.as_slice())), wanted);
    }
}

#[test]
fn a_character_comes_when_it_is_complete() {
    let mut decoder = Decoder::new();
    let mut push = |bytes: &[u8]| decoder.push(bytes).to_owned();
    assert_eq!(push("中".as_bytes()), "中");
    assert_eq!(push(b"a\xF0\x9F"), "a");
    assert_eq!(push(b"\x98"), "");
    assert_eq!(push(b"\x80b"), "😀b");
    assert_eq!(push(b"\xFF"), "\u{FFFD}", "never legal: not held back");
    assert_eq!(push(b"\xE4\xB8"), "");
    assert_eq!(
        push(b"x"),
        "\u{FFFD}x",
        "one replacement for the part that was legal so far"
    );
    assert_eq!(push(b"\xE4"), "");
    assert_eq!(decoder.pending(), b"\xE4");
    assert_eq!(decoder.finish(), "\u{FFFD}");
    assert_eq!(decoder.push(b"again"), "again");
    assert_eq!(decoder.finish(), "");
}
