//! Random text that looks for trouble: scripts, marks, digits and spaces of all kinds, side by
//! side.

use proptest::collection::vec;
use proptest::prelude::*;

/// Text of up to `atoms` parts.
pub(crate) fn text(atoms: usize) -> impl Strategy<Value = String> {
    vec(atom(), 0..=atoms).prop_map(|parts| parts.concat())
}

/// As [`text`], with added tokens and what almost is one.
pub(crate) fn text_with_added(atoms: usize) -> impl Strategy<Value = String> {
    vec(prop_oneof![3 => atom(), 1 => added()], 0..=atoms).prop_map(|parts| parts.concat())
}

fn atom() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z]{1,8}",
        3 => " {1,4}",
        2 => "[ \t\r\n]{1,4}",
        2 => "[!-/:-@\\[-`{-~]{1,3}",
        2 => "[0-9]{1,5}",
        1 => "[àéîõüßøłñçšžıİǅ]{1,4}",
        2 => "[一-龥]{1,6}",
        2 => "[ぁ-ゟァ-ヿ]{1,4}",
        1 => "[、。，！？：；「」『』（）【】]{1,2}",
        1 => "[Ѐ-ӿ]{1,5}",
        1 => "[Α-ω]{1,5}",
        1 => "[ء-ي]{1,4}",
        1 => "[א-ת]{1,4}",
        1 => "[अ-ह][ऀ-ः़-ॏ]{0,2}",
        1 => "[ก-๎]{1,4}",
        1 => "[가-힣]{1,4}",
        1 => "[\u{300}-\u{36F}\u{20D0}-\u{20F0}\u{3099}\u{309A}\u{FE0F}]{1,3}",
        1 => "[²½Ⅳ٠-٩०-९１-９〇〡-〩㈠-㈩①-⑳𝟎-𝟗]{1,4}",
        1 => "[\u{A0}\u{85}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}]{1,3}",
        1 => "[\u{0}-\u{1F}\u{7F}-\u{9F}\u{200B}-\u{200F}\u{180E}\u{FEFF}\u{AD}\u{2060}]{1,3}",
        1 => "[\u{1F300}-\u{1F6FF}\u{1F900}-\u{1F9FF}\u{1F3FB}-\u{1F3FF}\u{200D}\u{FE0F}]{1,3}",
        1 => "[€£¥₿+<=>|~∀-⋿─-▟]{1,3}",
        1 => "[\u{3040}\u{3097}\u{3098}・゠ー゛゜々〇㐀-㐂龦-龫𠀀-𠀂ｦ-ﾝ]{1,3}",
        1 => "[\u{E000}-\u{E010}\u{378}\u{FFFF}\u{10FFFF}\u{E0100}\u{F0000}]{1,2}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn added() -> impl Strategy<Value = String> {
    const LIST: [&str; 22] = [
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<｜latest_reminder｜>",
        "<｜title｜>",
        "<think>",
        "</think>",
        "｜DSML｜",
        "<｜DSML｜",
        "</｜DSML｜invoke>",
        "<｜place▁holder▁no▁1｜>",
        "<｜place▁holder▁no▁1",
        "<｜/table>｜",
        "<|EOT|>",
        "<|place_holder_mm_span_0021|>",
        "</dsml:",
        "<dsml:",
        "<｜",
        "｜",
        "<",
        "think>",
    ];
    prop::sample::select(LIST.as_slice()).prop_map(String::from)
}
