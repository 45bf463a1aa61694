//! Character classes of the pre-tokenizer: one letter per code point, from a generated two-stage
//! table.
//!
//! | letter | class |
//! |---|---|
//! | `L` `M` `N` `P` `S` | the Unicode general categories of these initials |
//! | `R` | `\r` and `\n` |
//! | `W` | other white space (the White_Space property) |
//! | `O` | everything else: controls, format characters, private use, unassigned |
//!
//! A lower-case letter says the same of a code point in the ranges of the second split stage
//! (ideographs and kana). So "same stage-two side" is one bit of the letter, [`CJK`].

mod table;

/// The bit of a class letter that says: cut off by the second split stage.
pub(crate) const CJK: u8 = b'a' ^ b'A';

/// A set of classes, for [`ClassSet::has`].
#[derive(Clone, Copy)]
pub(crate) struct ClassSet(u32);

impl ClassSet {
    /// The classes named by `letters`.
    pub(crate) const fn of(letters: &[u8]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < letters.len() {
            bits |= 1 << (letters[i] & 31);
            i += 1;
        }
        Self(bits)
    }

    /// Whether `class` is in the set, on either side of the second stage.
    #[inline(always)]
    pub(crate) const fn has(self, class: u8) -> bool {
        self.0 >> (class & 31) & 1 != 0
    }
}

/// The class letter of a code point.
#[inline]
pub(crate) fn class_of(code: u32) -> u8 {
    match table::BLOCK_OF.get(code as usize / 64) {
        Some(&block) => table::BLOCKS[block as usize][code as usize % 64],
        None => high_class_of(code),
    }
}

#[cold]
fn high_class_of(code: u32) -> u8 {
    let after = table::HIGH.partition_point(|&(first, ..)| first <= code);
    match after.checked_sub(1).map(|i| table::HIGH[i]) {
        Some((_, last, class)) if code <= last => class,
        _ => b'O',
    }
}

/// Classes of the ASCII characters.
pub(crate) static ASCII: [u8; 128] = {
    let mut classes = [0; 128];
    let mut i = 0;
    while i < 128 {
        classes[i] = table::BLOCKS[table::BLOCK_OF[i / 64] as usize][i % 64];
        i += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::{CJK, class_of};

    #[test]
    fn table_equals_the_measured_ranges() {
        let file = include_bytes!("../tests/data/unicode-classes.json");
        let file: serde_json::Value = serde_json::from_slice(file).unwrap();
        let mut wanted = vec![b'O'; 0x11_0000];
        for name in ["L", "M", "N", "P", "S", "space"] {
            for range in file["classes"][name].as_array().unwrap() {
                let (first, last) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
                let letter = if name == "space" {
                    b'W'
                } else {
                    name.as_bytes()[0]
                };
                wanted[first as usize..=last as usize].fill(letter);
            }
        }
        wanted[usize::from(b'\r')] = b'R';
        wanted[usize::from(b'\n')] = b'R';
        for code in 0..=0x10_FFFF {
            let class = class_of(code);
            let cjk = matches!(code, 0x4E00..=0x9FA5 | 0x3040..=0x309F | 0x30A0..=0x30FF);
            assert_eq!(class & !CJK, wanted[code as usize], "U+{code:04X}");
            assert_eq!(class & CJK != 0, cjk, "U+{code:04X}");
        }
        assert_eq!(class_of(u32::MAX), b'O');
    }
}
