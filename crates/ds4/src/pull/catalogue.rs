//! The published files of DeepSeek V4, by the names people know them by.
//!
//! Sizes and hashes are what several users of the repository wrote down independently; where nobody
//! did, the size is about right and there is no hash. Whatever is known here must be what the server
//! announces, and what is announced must be what arrives.

/// Where they are published.
pub(crate) const REPOSITORY: &str = "antirez/deepseek-v4-gguf";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A model.
    Model,
    /// A drafter for a model.
    Support,
    /// Some layers of a model, for several machines.
    Slice,
}

/// A published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// What people call it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Its name in the repository.
    pub(crate) file: &'static str,
    pub(crate) size: Size,
    /// As 64 hexadecimal digits.
    pub(crate) sha256: Option<&'static str>,
    pub(crate) note: &'static str,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// To the byte.
    Exact(u64),
    /// Roughly.
    About(u64),
}

impl Size {
    /// The number, however sure.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Exact(bytes) | Self::About(bytes) => bytes,
        }
    }
}

use Kind::{Model, Slice, Support};
use Size::{About, Exact};

const fn variant(
    name: &'static str,
    kind: Kind,
    size: Size,
    file: &'static str,
    sha256: &'static str,
    note: &'static str,
) -> Variant {
    let sha256 = if sha256.is_empty() {
        None
    } else {
        Some(sha256)
    };
    Variant {
        name,
        kind,
        file,
        size,
        sha256,
        note,
    }
}

/// Every file, the recommended ones first.
#[rustfmt::skip]
pub(crate) const VARIANTS: &[Variant] = &[
    variant("q2-imatrix", Model, Exact(86_720_111_488),
        "DeepSeek-V4-Flash-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-chat-v2-imatrix-0731.gguf",
        "ca22ae2f838e14077c22bc1c1417b71b45b5e5a3687bd96c2ac6e17fdb6261c0",
        "Flash 0731, 2-bit experts"),
    variant("q2-q4-imatrix", Model, Exact(97_591_747_456),
        "DeepSeek-V4-Flash-Layers37-42Q4KExperts-OtherExpertLayersIQ2XXSGateUp-Q2KDown-AProjQ8-\
         SExpQ8-OutQ8-chat-v2-imatrix-fixed-0731.gguf",
        "659e22fbd01c9e13ea37a57c8d9c41e0a8819dffa3473d3c5286ee44b2d3398f",
        "Flash 0731, 2-bit experts, 4-bit in the last six layers"),
    variant("q4-imatrix", Model, Exact(164_633_502_592),
        "DeepSeek-V4-Flash-Q4KExperts-F16HC-F16Compressor-F16Indexer-Q8Attn-Q8Shared-Q8Out-chat-\
         v2-imatrix-0731.gguf",
        "6bb77b5ddcbc2d974c687cfb63d644ecfb295581b4a53fa4c1d810aea538254a",
        "Flash 0731, 4-bit experts"),
    variant("mxfp4", Model, Exact(155_976_458_848),
        "DeepSeek-V4-Flash-MXFP4Experts-F16HC-F16Compressor-F16Indexer-Q8Attn-Q8Shared-Q8Out-chat-\
         v2-mxfp4-0731.gguf",
        "0e3a161b670f686128ec5f92a601dfde616a37bf5e7e48999fa2d32471b57ec6",
        "Flash 0731, the checkpoint's own 4-bit experts"),
    variant("pro-q2-imatrix", Model, About(464_600_000_000),
        "DeepSeek-V4-Pro-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-Instruct-imatrix-0813.gguf",
        "c4d997ab9894b6c78b759f7869fe1726b6314b6515f6ff82607df3797c5eb193",
        "PRO 0813, 2-bit experts"),
    variant("dspark", Support, Exact(5_989_114_272),
        "DeepSeek-V4-Flash-DSpark-support-0731.gguf",
        "7e319924541db3f7a163ed7e11d7532a70d48228ab59d36cb81e1d4511885360",
        "drafter for Flash 0731"),
    variant("q2-imatrix-preview", Model, Exact(86_720_111_488),
        "DeepSeek-V4-Flash-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-chat-v2-imatrix.gguf",
        "efc7ed607ff27076e3e501fc3fefefa33c0ed8cf1eff483a2b7fdc0c2e616668",
        "the checkpoint before 0731"),
    variant("q2-q4-imatrix-preview", Model, Exact(97_591_747_456),
        "DeepSeek-V4-Flash-Layers37-42Q4KExperts-OtherExpertLayersIQ2XXSGateUp-Q2KDown-AProjQ8-\
         SExpQ8-OutQ8-chat-v2-imatrix-fixed.gguf",
        "edabc92af63ad8b139f00087fbfc10a4072f37b7597f4fd9ad1dfa6f83002396",
        "the checkpoint before 0731"),
    variant("q4-imatrix-preview", Model, About(164_630_000_000),
        "DeepSeek-V4-Flash-Q4KExperts-F16HC-F16Compressor-F16Indexer-Q8Attn-Q8Shared-Q8Out-chat-\
         v2-imatrix.gguf",
        "", "the checkpoint before 0731"),
    variant("q2", Model, About(86_720_000_000),
        "DeepSeek-V4-Flash-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-chat-v2.gguf",
        "", "before 0731, made without an importance matrix"),
    variant("q4", Model, About(164_630_000_000),
        "DeepSeek-V4-Flash-Q4KExperts-F16HC-F16Compressor-F16Indexer-Q8Attn-Q8Shared-Q8Out-chat-\
         v2.gguf",
        "", "before 0731, made without an importance matrix"),
    variant("mtp", Support, Exact(3_807_602_400),
        "DeepSeek-V4-Flash-MTP-Q4K-Q8_0-F32.gguf",
        "afd481ee689dce9037f70f39085fcdae5a5b096d521cdad43b19fa52bf8f4083",
        "draft block of the checkpoint before 0731"),
    variant("dspark-preview", Support, Exact(5_989_114_272),
        "DeepSeek-V4-Flash-DSpark-support.gguf",
        "8b3adf5942bec22ae2ea867cd7079cf13530ba83ffcffaf00f5de48664a1a34e",
        "drafter for the checkpoint before 0731"),
    variant("pro-q2-imatrix-preview", Model, About(464_600_000_000),
        "DeepSeek-V4-Pro-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-Instruct-imatrix.gguf",
        "a0314d9c0e16122cd60071079124a2d17185d317c55a8f95ecb3ed3506278a96",
        "PRO before 0813"),
    variant("pro-q4-layers00-30", Slice, About(457_000_000_000),
        "DeepSeek-V4-Pro-Q4K-Layers00-30.gguf", "",
        "half of PRO, for two machines; ds4 does not run halves yet"),
    variant("pro-q4-layers31-output", Slice, About(442_000_000_000),
        "DeepSeek-V4-Pro-Q4K-Layers-31-output.gguf", "",
        "the other half"),
];

/// The variant of this name.
pub(crate) fn named(name: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name)
}

/// The variant stored in a file of this name.
pub(crate) fn of_file(file: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.file == file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_files_are_unique_and_plain() {
        let names: BTreeSet<_> = VARIANTS.iter().map(|variant| variant.name).collect();
        let files: BTreeSet<_> = VARIANTS.iter().map(|variant| variant.file).collect();
        assert_eq!((names.len(), files.len()), (VARIANTS.len(), VARIANTS.len()));
        for variant in VARIANTS {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            assert!(variant.file.chars().all(plain), "{}", variant.file);
            assert!(variant.file.ends_with(".gguf"));
            let is_hash =
                |hash: &str| hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit());
            assert!(variant.sha256.is_none_or(is_hash), "{}", variant.name);
            assert_eq!(named(variant.name), Some(variant));
            assert_eq!(of_file(variant.file), Some(variant));
        }
    }
}
