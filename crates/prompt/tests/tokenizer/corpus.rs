//! Long texts made from a seed.

/// A small generator (SplitMix64): the same texts everywhere.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn chars_of(alphabet: &str, count: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut seeded = Seeded(count as u64);
    (0..count)
        .map(|_| alphabet[seeded.below(alphabet.len())])
        .collect()
}

/// Base64 of noise.
pub(crate) fn base64(count: usize) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    chars_of(alphabet, count)
}

/// Noise of letters: one piece.
pub(crate) fn letters(count: usize) -> String {
    chars_of("etaoinsrhldcumfpgwybvkxjqz", count)
}

/// Noise of common ideographs: one piece.
pub(crate) fn ideographs(count: usize) -> String {
    chars_of(
        "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得",
        count,
    )
}

/// English-looking prose.
pub(crate) fn prose(count: usize) -> String {
    const WORDS: &str = "the of and to in a is that it was for on are with as his they be at one \
        have this from or had by hot but some what there we can out other were all your when up \
        use word how said an each she which do their time if will way about many then them would \
        write like so these her long make thing see him two has look more day could go come did \
        my sound no most number who over know water than call first people may down side been now \
        find engine memory context window attention expert position generation";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut seeded = Seeded(7);
    let mut text = String::new();
    while text.len() < count {
        text.push_str(words[seeded.below(words.len())]);
        text.push_str(match seeded.below(12) {
            0 => ", ",
            1 => ". ",
            2 if seeded.below(4) == 0 => ".\n\n",
            _ => " ",
        });
    }
    text.truncate(count);
    text
}
