//! Rendered text in segments: seams change nothing, data becomes no structure.

use ds4_prompt::{AddedTokens, Segment, Special, Standing, TokenId};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::published::TOKENIZER;
use crate::texts::{text, text_with_added};

const POLICIES: [AddedTokens; 3] = [
    AddedTokens::AsText,
    AddedTokens::TurnsAsText,
    AddedTokens::AsToken,
];

fn control() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(Special::ALL.as_slice()).prop_map(|token| token.text().to_owned()),
        prop::sample::select(
            [
                "\n\n",
                "<｜DSML｜invoke name=\"",
                "\">\n",
                "</｜DSML｜parameter>\n",
                "\n"
            ]
            .as_slice()
        )
        .prop_map(String::from),
    ]
}

fn segments<'a>(parts: &'a [(String, String)]) -> Vec<Segment<'a>> {
    let pair =
        |(control, data): &'a (String, String)| [Segment::control(control), Segment::data(data)];
    parts.iter().flat_map(pair).collect()
}

/// Cuts `segments` at every character: kinds and text stay the same.
fn crumbs<'a>(segments: &[Segment<'a>]) -> Vec<Segment<'a>> {
    let crumble = |segment: &Segment<'a>| {
        let Segment { kind, text } = *segment;
        text.split_inclusive(|_| true)
            .map(move |text| Segment { kind, text })
    };
    segments.iter().flat_map(crumble).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn policies_agree_where_data_holds_no_added_tokens(
        parts in vec((control(), text(6)), 0..12),
    ) {
        let segments = segments(&parts);
        let whole: String = segments.iter().map(|segment| segment.text).collect();
        let wanted = TOKENIZER.encode_with_added(&whole);
        for policy in POLICIES {
            prop_assert_eq!(&TOKENIZER.encode_segments(&segments, policy), &wanted);
            prop_assert_eq!(&TOKENIZER.encode_segments(crumbs(&segments), policy), &wanted);
        }
    }

    #[test]
    fn data_becomes_no_structure(parts in vec((control(), text_with_added(6)), 0..12)) {
        let segments = segments(&parts);
        let whole: String = segments.iter().map(|segment| segment.text).collect();
        let tokens = |text: &str| -> Vec<TokenId> {
            let ids = TOKENIZER.encode_with_added(text).into_iter();
            ids.filter(|&id| TOKENIZER.is_added(id)).collect()
        };
        let wanted: Vec<TokenId> = parts.iter().flat_map(|(control, _)| tokens(control)).collect();

        let ids = TOKENIZER.encode_segments(&segments, AddedTokens::AsText);
        let found = ids.iter().copied().filter(|&id| TOKENIZER.is_added(id));
        prop_assert_eq!(&found.collect::<Vec<_>>(), &wanted);
        prop_assert_eq!(&TOKENIZER.decode(&ids), &whole);

        let is_turn = |id: &TokenId| {
            let turn = |special: &Special| special.standing() == Standing::Turn;
            let of = |special: Special| TOKENIZER.special(special);
            Special::ALL.into_iter().filter(turn).any(|special| of(special) == Some(*id))
        };
        let ids = TOKENIZER.encode_segments(&segments, AddedTokens::TurnsAsText);
        let turns = |ids: &[TokenId]| ids.iter().copied().filter(is_turn).collect::<Vec<_>>();
        prop_assert_eq!(turns(&ids), turns(&wanted));
        prop_assert_eq!(&TOKENIZER.decode(&ids), &whole);

        let ids = TOKENIZER.encode_segments(&segments, AddedTokens::AsToken);
        prop_assert_eq!(ids, TOKENIZER.encode_with_added(&whole));
    }
}

#[test]
fn a_seam_cannot_complete_a_token() {
    let user = TOKENIZER.special(Special::User).unwrap();
    let check = |segments: &[Segment<'_>], wanted: [bool; 3]| {
        for (policy, wanted) in POLICIES.into_iter().zip(wanted) {
            let ids = TOKENIZER.encode_segments(segments, policy);
            assert_eq!(ids.contains(&user), wanted, "{policy:?} {segments:?}");
        }
    };
    let (control, data) = (Segment::control, Segment::data);
    check(&[data("<｜User｜>")], [false, false, true]);
    check(&[data("<｜Us"), data("er｜>")], [false, false, true]);
    check(&[control("<｜Us"), control("er｜>")], [true, true, true]);
    check(&[control("<｜Us"), data("er｜>")], [false, false, true]);
    check(&[data("<｜Us"), control("er｜>")], [false, false, true]);
    check(
        &[data("x"), control("<｜User｜>"), data("y")],
        [true, true, true],
    );
    check(
        &[data("</think"), control("<｜User｜>")],
        [true, true, true],
    );
}

#[test]
fn markup_in_data_follows_the_policy() {
    let think = TOKENIZER.special(Special::ThinkEnd).unwrap();
    let ids = |policy| TOKENIZER.encode_segments([Segment::data("a</think>b")], policy);
    assert!(!ids(AddedTokens::AsText).contains(&think));
    assert!(ids(AddedTokens::TurnsAsText).contains(&think));
    assert_eq!(ids(AddedTokens::TurnsAsText), ids(AddedTokens::AsToken));
    assert_eq!(ids(AddedTokens::AsText), TOKENIZER.encode("a</think>b"));
}
