//! Tokens to text as they arrive, without splitting a character.
//!
//! A token's bytes may end inside a character, so a stream holds back at most three bytes: those
//! that are the beginning of a character and, so far, legal. Bytes that can never become legal are
//! replaced by U+FFFD at once, so the pieces of a stream add up to the lossy decoding of all its
//! bytes.

/// The text side of a token stream. Its buffers are reused: no allocation per token.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// What is held back, then the bytes of the push under way.
    bytes: Vec<u8>,
    text: String,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with room for the longest tokens; longer pushes grow it once.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(512),
            text: String::with_capacity(1536),
        }
    }

    /// Takes the bytes of the next token and returns the text that is complete now.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.text.clear();
        self.bytes.extend_from_slice(bytes);
        let (mut end, mut held) = (0, 0);
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            let bad = chunk.invalid();
            end += chunk.valid().len() + bad.len();
            if end == self.bytes.len() && is_beginning(bad) {
                held = bad.len();
            } else if !bad.is_empty() {
                self.text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        let done = self.bytes.len() - held;
        self.bytes.drain(..done);
        &self.text
    }

    /// The bytes held back: the beginning of a character.
    pub fn pending(&self) -> &[u8] {
        &self.bytes
    }

    /// Ends the stream: U+FFFD if it ended inside a character. The decoder is ready for another
    /// one.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.bytes.is_empty() {
            self.text.push(char::REPLACEMENT_CHARACTER);
            self.bytes.clear();
        }
        &self.text
    }
}

/// Whether `bytes` can still become a character.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
