//! Stop strings: visible text ends before the first that occurs.

/// Visible text on its way out; holds back what may be the beginning of a stop string.
#[derive(Debug, Default)]
pub(super) struct Stops {
    patterns: Vec<Pattern>,
    /// Text that was not passed on yet.
    held: String,
}

/// One stop string, matched by Knuth, Morris and Pratt: no byte is looked at twice.
#[derive(Debug)]
struct Pattern {
    /// Its place in the request.
    index: usize,
    text: Box<[u8]>,
    /// For each matched length, the longest shorter one that is also a match.
    shorter: Box<[usize]>,
    matched: usize,
}

impl Stops {
    pub(super) fn new(strings: &[String]) -> Self {
        let texts = strings.iter().map(String::as_bytes).enumerate();
        let patterns = texts.filter(|(_, text)| !text.is_empty());
        Self {
            patterns: patterns
                .map(|(index, text)| Pattern::new(index, text))
                .collect(),
            // Room for a long token, so that reading allocates nothing between two ordinary ones.
            held: String::with_capacity(256),
        }
    }

    /// Passes on `text`, up to the first stop string; says which one that was.
    pub(super) fn push(&mut self, text: &str, emit: &mut dyn FnMut(&str)) -> Option<usize> {
        if text.is_empty() {
            return None;
        }
        if self.patterns.is_empty() {
            emit(text);
            return None;
        }
        let new_from = self.held.len();
        self.held.push_str(text);
        for (at, byte) in text.bytes().enumerate() {
            for pattern in &mut self.patterns {
                pattern.step(byte);
            }
            let complete = self.patterns.iter().filter(|p| p.matched == p.text.len());
            if let Some(stop) = complete.max_by_key(|p| p.matched) {
                let index = stop.index;
                self.held.truncate(new_from + at + 1 - stop.matched);
                self.flush(emit);
                return Some(index);
            }
        }
        let hold = self.patterns.iter().map(|p| p.matched).max().unwrap_or(0);
        let ready = self.held.len() - hold;
        if ready > 0 {
            emit(&self.held[..ready]);
            self.held.drain(..ready);
        }
        None
    }

    /// Passes on what is held: no visible text follows.
    pub(super) fn flush(&mut self, emit: &mut dyn FnMut(&str)) {
        if !self.held.is_empty() {
            emit(&self.held);
            self.held.clear();
        }
    }
}

impl Pattern {
    fn new(index: usize, text: &[u8]) -> Self {
        let mut shorter = vec![0; text.len() + 1];
        let mut matched = 0;
        for at in 1..text.len() {
            while matched > 0 && text[at] != text[matched] {
                matched = shorter[matched];
            }
            matched += usize::from(text[at] == text[matched]);
            shorter[at + 1] = matched;
        }
        Self {
            index,
            text: text.into(),
            shorter: shorter.into(),
            matched: 0,
        }
    }

    /// Never called once the whole string has matched: the turn ends there.
    fn step(&mut self, byte: u8) {
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = self.shorter[self.matched];
        }
        self.matched += usize::from(self.text[self.matched] == byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text before the earliest end of any stop string; of several ending there, the longest.
    fn naive(text: &str, stops: &[String]) -> (String, Option<usize>) {
        for end in 0..=text.len() {
            let ending = stops
                .iter()
                .enumerate()
                .filter(|(_, s)| !s.is_empty() && text.as_bytes()[..end].ends_with(s.as_bytes()));
            if let Some((index, stop)) = ending.max_by_key(|(_, s)| s.len()) {
                return (text[..end - stop.len()].to_owned(), Some(index));
            }
        }
        (text.to_owned(), None)
    }

    #[test]
    fn as_a_plain_search_however_the_text_is_cut() {
        let lists = [
            vec!["aab", "ab"],
            vec!["abab", "bc"],
            vec!["é"],
            vec!["", "ba"],
            vec![],
        ];
        let texts = [
            "aaab",
            "aabaabab",
            "ababababc",
            "caféx",
            "",
            "abcabc",
            "aéba",
        ];
        for stops in lists {
            let stops: Vec<String> = stops.into_iter().map(str::to_owned).collect();
            for text in texts {
                for cut in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                    let mut filter = Stops::new(&stops);
                    let mut out = String::new();
                    let mut emit = |part: &str| out.push_str(part);
                    let mut hit = filter.push(&text[..cut], &mut emit);
                    if hit.is_none() {
                        hit = filter.push(&text[cut..], &mut emit);
                    }
                    filter.flush(&mut emit);
                    assert_eq!(
                        (out, hit),
                        naive(text, &stops),
                        "{text:?} at {cut} for {stops:?}"
                    );
                }
            }
        }
    }
}
