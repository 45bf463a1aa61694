//! Bytes in any split to whole characters.

/// Holds back an incomplete character, at most three bytes; what can never become one is U+FFFD at
/// once.
#[derive(Debug, Default)]
pub(super) struct Characters {
    carry: [u8; 4],
    len: usize,
}

/// What an illegal sequence becomes.
const REPLACEMENT: &str = "\u{fffd}";

impl Characters {
    /// Passes on the characters that `bytes` completes.
    pub(super) fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        while self.len > 0 && !bytes.is_empty() {
            self.carry[self.len] = bytes[0];
            match std::str::from_utf8(&self.carry[..=self.len]) {
                Ok(character) => {
                    emit(character);
                    self.len = 0;
                    bytes = &bytes[1..];
                }
                Err(error) if error.error_len().is_none() => {
                    self.len += 1;
                    bytes = &bytes[1..];
                }
                // What was held was legal so far, so it is this byte that does not belong; it is
                // read for itself.
                Err(_) => {
                    emit(REPLACEMENT);
                    self.len = 0;
                }
            }
        }
        while !bytes.is_empty() {
            let error = match std::str::from_utf8(bytes) {
                Ok(text) => return emit(text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            if !valid.is_empty() {
                emit(std::str::from_utf8(valid).expect("checked just now"));
            }
            match error.error_len() {
                Some(illegal) => {
                    emit(REPLACEMENT);
                    bytes = &rest[illegal..];
                }
                None => {
                    self.carry[..rest.len()].copy_from_slice(rest);
                    self.len = rest.len();
                    return;
                }
            }
        }
    }

    /// The end: what is still incomplete stays so.
    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(&str)) {
        if std::mem::take(&mut self.len) > 0 {
            emit(REPLACEMENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_gives_what_the_whole_gives() {
        let samples: [&[u8]; 6] = [
            "a｜é😀\u{fffd}".as_bytes(),
            b"\xf0\x9f\x98",
            b"\xf0\x9fx\xe2\x82",
            b"\xff\xfe\xc3\xa9\xc3(\xed\xa0\x80",
            b"\xf4\x90\x80\x80\xc0\xaf\x80",
            b"\xe2\xe2\x82\xac",
        ];
        for bytes in samples {
            let whole = String::from_utf8_lossy(bytes);
            for at in 0..=bytes.len() {
                for then in at..=bytes.len() {
                    let mut characters = Characters::default();
                    let mut text = String::new();
                    let mut emit = |part: &str| text.push_str(part);
                    for part in [&bytes[..at], &bytes[at..then], &bytes[then..]] {
                        characters.push(part, &mut emit);
                    }
                    characters.finish(&mut emit);
                    assert_eq!(text, whole, "{bytes:x?} cut at {at} and {then}");
                }
            }
        }
    }
}
