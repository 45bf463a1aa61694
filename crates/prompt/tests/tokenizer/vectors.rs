//! Every vector made with the reference tokenizer, exactly.

use ds4_prompt::pretokenize::pieces;
use ds4_prompt::{Decoder, Special, TokenId};

use crate::published::{TOKENIZER, cases, ids};

#[test]
fn strings() {
    let cases = cases("tokenizer-strings.json.gz");
    assert_eq!(cases.len(), 904);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let wanted = ids(&case["ids"]);
        assert_eq!(
            TOKENIZER.encode_with_added(text),
            wanted,
            "{}: {text:?}",
            case["id"]
        );
        assert_eq!(TOKENIZER.decode(&wanted), text, "{}", case["id"]);
    }
}

#[test]
fn pre_tokenizer() {
    let cases = cases("pretokenize.json");
    assert_eq!(cases.len(), 596);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let wanted: Vec<&str> = case["pieces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece.as_str().unwrap())
            .collect();
        assert_eq!(
            pieces(text).collect::<Vec<_>>(),
            wanted,
            "{}: {text:?}",
            case["id"]
        );
    }
}

#[test]
fn decoding() {
    let cases = cases("decode.json");
    assert_eq!(cases.len(), 91);
    for case in cases {
        let ids = ids(&case["ids"]);
        let bytes = TOKENIZER.decode_bytes(&ids);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, case["bytes_hex"].as_str().unwrap(), "{}", case["id"]);
        let lossy = case["text_lossy"].as_str().unwrap();
        assert_eq!(TOKENIZER.decode(&ids), lossy, "{}", case["id"]);
        let mut decoder = Decoder::new();
        let mut streamed = String::new();
        for &id in &ids {
            streamed.push_str(decoder.push(TOKENIZER.token_bytes(id)));
        }
        streamed.push_str(decoder.finish());
        assert_eq!(streamed, lossy, "{}", case["id"]);
    }
}

#[test]
fn special_tokens_are_where_the_published_vocabulary_has_them() {
    assert_eq!(TOKENIZER.vocab_len(), 129_280);
    let wanted = [
        (Special::Bos, 0),
        (Special::Eos, 1),
        (Special::User, 128_803),
        (Special::Assistant, 128_804),
        (Special::ThinkBegin, 128_821),
        (Special::ThinkEnd, 128_822),
        (Special::Dsml, 128_825),
    ];
    for (special, id) in wanted {
        assert_eq!(TOKENIZER.special(special), Some(TokenId(id)), "{special:?}");
    }
    for special in Special::ALL {
        let id = TOKENIZER
            .special(special)
            .unwrap_or_else(|| panic!("{special:?} is missing"));
        assert!(TOKENIZER.is_added(id));
        assert_eq!(TOKENIZER.token_bytes(id), special.text().as_bytes());
    }
    let added = (0..129_280)
        .filter(|&id| TOKENIZER.is_added(TokenId(id)))
        .count();
    assert_eq!(added, 1283);
    assert_eq!(TOKENIZER.token_bytes(TokenId(129_280)), b"");
}

#[test]
fn id_sequences_of_the_tool_markup() {
    let check = |text: &str, ids: &[u32]| {
        let ids: Vec<TokenId> = ids.iter().copied().map(TokenId).collect();
        assert_eq!(TOKENIZER.encode_with_added(text), ids, "{text:?}");
    };
    check(
        "<｜DSML｜tool_calls>",
        &[30, 128_825, 72_461, 4941, 12_548, 32],
    );
    check("</｜DSML｜parameter>", &[1718, 128_825, 41_523, 32]);
    check("\n\n", &[271]);
    check("<tool_result>", &[30, 72_461, 46_148, 32]);
    check("</tool_result>", &[1718, 72_461, 46_148, 32]);
    check("</think>\n\n", &[128_822, 271]);
    check(":\n\n", &[979]);
}
