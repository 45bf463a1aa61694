//! The byte alphabet: every byte as one printable character, the form in which vocabularies and
//! merges are written.
//!
//! Bytes that print in Latin-1 stand for themselves; the other 68, in order, are U+0100 and up.

/// Whether a byte is written as the character of the same code point.
const fn is_itself(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// How many bytes are written as U+0100 and up.
const SHIFTED: usize = 68;

/// The bytes written as U+0100 and up, in order.
const SHIFTED_BYTES: [u8; SHIFTED] = {
    let mut bytes = [0; SHIFTED];
    let (mut byte, mut n) = (0, 0);
    while byte < 256 {
        if !is_itself(byte as u8) {
            bytes[n] = byte as u8;
            n += 1;
        }
        byte += 1;
    }
    assert!(n == SHIFTED);
    bytes
};

/// The byte that `symbol` stands for.
pub(super) fn byte_of(symbol: char) -> Option<u8> {
    match u8::try_from(symbol) {
        Ok(byte) => is_itself(byte).then_some(byte),
        Err(_) => SHIFTED_BYTES
            .get((symbol as usize).checked_sub(0x100)?)
            .copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::byte_of;

    #[test]
    fn is_the_published_bijection() {
        let symbols = [
            ('Ā', 0x00),
            ('Ċ', 0x0A),
            ('Ġ', 0x20),
            ('!', 0x21),
            ('ġ', 0x7F),
            ('Ń', 0xAD),
        ];
        for (symbol, byte) in symbols {
            assert_eq!(byte_of(symbol), Some(byte), "{symbol}");
        }
        let mut bytes: Vec<u8> = ('\0'..'\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!((byte_of(' '), byte_of('中')), (None, None));
    }
}
