//! Which tokens may come next: what a grammar tells the sampler.

/// A set of token ids of one vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u64>,
    vocab: usize,
}

impl TokenMask {
    /// The empty set, for a vocabulary of `vocab` tokens.
    pub fn none(vocab: usize) -> Self {
        Self {
            words: vec![0; vocab.div_ceil(64)],
            vocab,
        }
    }

    /// The whole vocabulary.
    pub fn all(vocab: usize) -> Self {
        let mut mask = Self::none(vocab);
        mask.allow_all();
        mask
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Removes every token.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds every token.
    pub fn allow_all(&mut self) {
        self.words.fill(u64::MAX);
        // Bits beyond the vocabulary stay clear, so that counting words counts tokens.
        if let (Some(last), used @ 1..) = (self.words.last_mut(), self.vocab % 64) {
            *last = (1 << used) - 1;
        }
    }

    /// Adds a token; one outside of the vocabulary is no token.
    pub fn allow(&mut self, token: u32) {
        if (token as usize) < self.vocab {
            self.words[token as usize / 64] |= 1 << (token % 64);
        }
    }

    /// Removes a token.
    pub fn forbid(&mut self, token: u32) {
        if (token as usize) < self.vocab {
            self.words[token as usize / 64] &= !(1 << (token % 64));
        }
    }

    /// Is the token in the set?
    pub fn allows(&self, token: u32) -> bool {
        let word = self.words.get(token as usize / 64);
        word.is_some_and(|word| word >> (token % 64) & 1 == 1)
    }

    /// The set as words, 64 tokens each, the lowest id in the lowest bit.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The same, to be filled by a grammar. Bits beyond the vocabulary are ignored.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
}

#[cfg(test)]
mod tests {
    use super::TokenMask;

    #[test]
    fn sets_of_odd_vocabularies() {
        for vocab in [1, 63, 64, 65, 130] {
            let mut mask = TokenMask::all(vocab);
            let count: u32 = mask.words().iter().map(|word| word.count_ones()).sum();
            assert_eq!(count as usize, vocab);
            let last = vocab as u32 - 1;
            mask.forbid(last);
            assert!(!mask.allows(last) && !mask.allows(vocab as u32) && !mask.allows(u32::MAX));
            mask.clear();
            mask.allow(last);
            mask.allow(vocab as u32);
            assert!(mask.allows(last) && !mask.allows(vocab as u32));
        }
    }
}
