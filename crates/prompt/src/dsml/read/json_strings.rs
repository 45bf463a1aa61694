//! Which parts of JSON are strings: those are payload, the rest is structure.

/// Follows JSON just far enough to tell strings from punctuation.
#[derive(Debug, Default)]
pub(super) struct JsonStrings {
    inside: bool,
    escaped: bool,
    /// Bytes since the last string.
    pub(super) outside: usize,
}

impl JsonStrings {
    pub(super) fn is_inside(&self) -> bool {
        self.inside
    }

    pub(super) fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.inside {
                self.outside = 0;
            } else {
                self.outside += 1;
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.inside => self.escaped = true,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
    }
}
