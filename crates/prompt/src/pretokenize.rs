//! The pre-tokenizer: text to the pieces that byte-pair merging may not cross.
//!
//! The model's definition is three regular expressions, each applied to what the one before left
//! (docs/tokenizer.md). This is one left-to-right scan that gives the same pieces. What makes that
//! possible: the first two stages cut out digits and runs of ideographs and kana whatever stands
//! around them, so for the third stage those are the ends of its text, and it is enough to know
//! which *side* of the second stage a stretch is on (`CJK`). Within a stretch each alternative is
//! decided by the class of the first character and the one behind it.
//!
//! Every character is looked at a bounded number of times, so the scan is linear on any text.

use std::ops::Range;

use crate::unicode::{ASCII, CJK, ClassSet, class_of};

/// `[\p{L}\p{M}]`: what a word is made of.
const WORD: ClassSet = ClassSet::of(b"LM");
/// `[\p{P}\p{S}]`.
const MARK: ClassSet = ClassSet::of(b"PS");
/// `\s`.
const SPACE: ClassSet = ClassSet::of(b"WR");

/// The pieces of `text`, in order; together they are the text.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    spans(text).map(|span| &text[span])
}

/// The pieces of `text` as byte ranges.
pub(crate) fn spans(text: &str) -> Spans<'_> {
    Spans {
        text: text.as_bytes(),
        at: 0,
    }
}

/// Iterator over the pieces of a text as byte ranges.
pub(crate) struct Spans<'a> {
    text: &'a [u8],
    at: usize,
}

impl Iterator for Spans<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        if start == self.text.len() {
            return None;
        }
        self.at = piece_end(self.text, start);
        Some(start..self.at)
    }
}

/// A character as the scan sees it: its class, and where the next one begins.
#[derive(Clone, Copy)]
struct Seen {
    class: u8,
    next: usize,
}

/// The character at `at`, or class 0 at the end of the text. `text` is UTF-8 and `at` a character
/// boundary.
#[inline(always)]
fn see(text: &[u8], at: usize) -> Seen {
    let Some(&lead) = text.get(at) else {
        return Seen { class: 0, next: at };
    };
    match ASCII.get(lead as usize) {
        Some(&class) => Seen {
            class,
            next: at + 1,
        },
        None => see_wide(text, at, lead),
    }
}

#[inline(always)]
fn see_wide(text: &[u8], at: usize, lead: u8) -> Seen {
    let low = |i: usize| u32::from(text.get(at + i).copied().unwrap_or(0) & 0x3F);
    let lead = u32::from(lead);
    let (code, len) = if lead < 0xE0 {
        ((lead & 0x1F) << 6 | low(1), 2)
    } else if lead < 0xF0 {
        ((lead & 0x0F) << 12 | low(1) << 6 | low(2), 3)
    } else {
        ((lead & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3), 4)
    };
    Seen {
        class: class_of(code),
        next: at + len,
    }
}

/// The character at `at` if it belongs to the same stretch: not a digit, and on the given side of
/// stage two.
#[inline(always)]
fn see_within(text: &[u8], at: usize, side: u8) -> Seen {
    let seen = see(text, at);
    let inside = seen.class & CJK == side && seen.class != b'N';
    if inside {
        seen
    } else {
        Seen { class: 0, next: at }
    }
}

/// The end of the run of `set` that begins at `at`.
#[inline(always)]
fn run(text: &[u8], mut at: usize, side: u8, set: ClassSet) -> usize {
    loop {
        let seen = see_within(text, at, side);
        if !set.has(seen.class) {
            return at;
        }
        at = seen.next;
    }
}

/// Where the piece that begins at `start` ends. There is a character at `start`.
#[inline]
fn piece_end(text: &[u8], start: usize) -> usize {
    let first = see(text, start);
    let side = first.class & CJK;
    match first.class & !CJK {
        b'L' | b'M' => run(text, first.next, side, WORD),
        b'W' => {
            let second = see_within(text, first.next, side);
            if WORD.has(second.class) {
                run(text, second.next, side, WORD)
            } else if MARK.has(second.class) && text[start] == b' ' {
                marks_end(text, second.next, side)
            } else {
                spaces_end(text, start)
            }
        }
        b'P' | b'S' => {
            let letter = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphabetic);
            if text[start].is_ascii() && letter(first.next) {
                let mut at = first.next + 1;
                while letter(at) {
                    at += 1;
                }
                return at;
            }
            marks_end(text, first.next, side)
        }
        b'R' => spaces_end(text, start),
        b'N' => digits_end(text, first.next),
        _ => unmatched_end(text, first, side),
    }
}

/// Stage one: digits are cut three at a time.
fn digits_end(text: &[u8], second: usize) -> usize {
    let mut at = second;
    for _ in 1..3 {
        let seen = see(text, at);
        if seen.class != b'N' {
            break;
        }
        at = seen.next;
    }
    at
}

/// The rest of `[\p{P}\p{S}]+[\r\n]*`.
#[inline(always)]
fn marks_end(text: &[u8], at: usize, side: u8) -> usize {
    let mut at = run(text, at, side, MARK);
    // Line ends are never on the CJK side: there the stretch is over.
    while side == 0 && matches!(text.get(at), Some(b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// `\s*[\r\n]+`, `\s+(?!\S)` and `\s+`, in this order.
fn spaces_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut last, mut after_newline) = (start, start, None);
    let follower = loop {
        let seen = see_within(text, at, 0);
        if !SPACE.has(seen.class) {
            break seen;
        }
        last = at;
        at = seen.next;
        if seen.class == b'R' {
            after_newline = Some(at);
        }
    };
    match after_newline {
        Some(end) => end,
        // The run ends its stretch, or it is one character: all of it. Else the last one is left to
        // what follows.
        None if follower.class == 0 || last == start => at,
        None => last,
    }
}

/// Characters no alternative begins with stay together, except that a word takes the one directly
/// before it.
fn unmatched_end(text: &[u8], first: Seen, side: u8) -> usize {
    let (mut last, mut at) = (first.next, first.next);
    let mut alone = true;
    loop {
        let seen = see_within(text, at, side);
        if seen.class & !CJK == b'O' {
            (last, at, alone) = (at, seen.next, false);
        } else if !WORD.has(seen.class) {
            return at;
        } else if alone {
            return run(text, seen.next, side, WORD);
        } else {
            return last;
        }
    }
}
