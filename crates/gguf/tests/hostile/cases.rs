//! The table: raw bytes and the words that refuse them.

use super::support::raw::{self, Raw};

/// A file and what is said about it, behind its name.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) bytes: Raw,
    pub(super) says: String,
}

fn case(name: &'static str, bytes: Raw, says: impl Into<String>) -> Case {
    Case {
        name,
        bytes,
        says: says.into(),
    }
}

const U8: u32 = 0;
pub(super) const U32: u32 = 4;
pub(super) const I32: u32 = 5;
pub(super) const BOOL: u32 = 7;
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;
const U64: u32 = 10;

pub(super) const F32: u32 = 0;
pub(super) const Q8_0: u32 = 8;
const IQ2_XXS: u32 = 16;
pub(super) const F64: u32 = 28;

/// Every case.
pub(super) fn all() -> impl Iterator<Item = Case> {
    [beginnings(), counts(), values(), alignments(), tensors()]
        .into_iter()
        .flatten()
}

fn beginnings() -> Vec<Case> {
    let magic = "not a GGUF file: it begins with";
    vec![
        case(
            "empty",
            Raw::new(),
            "the file ends inside magic: 4 bytes from byte 0 on, but it has 0 bytes",
        ),
        case(
            "zeros",
            Raw::new().zeros(64),
            format!("{magic} [00, 00, 00, 00] (perhaps safetensors)"),
        ),
        case(
            "safetensors",
            Raw::new().u64(300).bytes(b"{\"a\":"),
            format!("{magic} [2c, 01, 00, 00] (perhaps safetensors)"),
        ),
        case(
            "zip",
            Raw::new().bytes(b"PK\x03\x04").zeros(60),
            format!("{magic} [50, 4b, 03, 04] (a zip archive, perhaps a PyTorch checkpoint)"),
        ),
        case(
            "old ggml",
            Raw::new().bytes(b"tjgg").zeros(60),
            format!("{magic} [74, 6a, 67, 67] (a GGML file from before GGUF: convert it again)"),
        ),
        case(
            "pointer",
            Raw::new().bytes(b"version https://git-lfs.example/spec/v1"),
            format!("{magic} [76, 65, 72, 73] (perhaps a Git LFS pointer: fetch the file itself)"),
        ),
        case(
            "web page",
            Raw::new().bytes(b"<!DOCTYPE html>"),
            format!("{magic} [3c, 21, 44, 4f] (a web page: the download failed)"),
        ),
        case(
            "noise",
            Raw::new().bytes(b"\xde\xad\xbe\xef"),
            format!("{magic} [de, ad, be, ef]"),
        ),
        case(
            "big-endian",
            Raw::new().bytes(b"GGUF\0\0\0\x03").zeros(16),
            "a big-endian GGUF file (version field 0x03000000); only little-endian files are read",
        ),
        case(
            "version 1",
            Raw::new().bytes(b"GGUF").u32(1).zeros(16),
            "GGUF version 1; only version 3 is read (older files keep 32-bit sizes or other \
             layouts: convert the file again)",
        ),
        case(
            "version 2",
            Raw::new().bytes(b"GGUF").u32(2).zeros(16),
            "GGUF version 2; only version 3 is read (older files keep 32-bit sizes or other \
             layouts: convert the file again)",
        ),
        case(
            "version 4",
            Raw::new().bytes(b"GGUF").u32(4).zeros(16),
            "GGUF version 4; only version 3 is read",
        ),
    ]
}

fn counts() -> Vec<Case> {
    let most = u64::MAX;
    vec![
        case(
            "2^64-1 tensors",
            raw::head(most, 0),
            format!("tensor count is {most}, the limit is 1048576"),
        ),
        case(
            "2^64-1 keys",
            raw::head(0, most),
            format!("metadata count is {most}, the limit is 1048576"),
        ),
        case(
            "2^20 keys that are not there",
            raw::head(0, 1 << 20),
            "metadata key number 0: the file ends inside a key: \
             8 bytes from byte 24 on, but it has 24 bytes",
        ),
        case(
            "2^20 tensors that are not there",
            raw::head(1 << 20, 0),
            "tensor number 0: the file ends inside a tensor name: \
             8 bytes from byte 24 on, but it has 24 bytes",
        ),
        case(
            "key of 2^64-1 bytes",
            raw::head(0, 1).u64(most),
            format!("metadata key number 0: a key of {most} bytes; the limit is 65535"),
        ),
        case(
            "key longer than the file",
            raw::head(0, 1).u64(65_535).zeros(3),
            "metadata key number 0: the file ends inside a key: \
             65535 bytes from byte 32 on, but it has 35 bytes",
        ),
        case(
            "string of 2^64-1 bytes",
            raw::head(0, 1).key("s", STRING).u64(most),
            format!("metadata key \"s\": a string of {most} bytes; the limit is 16777216"),
        ),
        case(
            "string longer than the file",
            raw::head(0, 1).key("s", STRING).u64(1 << 24),
            "metadata key \"s\": the file ends inside a string: \
             16777216 bytes from byte 45 on, but it has 45 bytes",
        ),
        case(
            "array of 2^64-1 bytes",
            raw::head(0, 1).key("a", ARRAY).u32(U8).u64(most),
            format!("metadata key \"a\": array length is {most}, the limit is 1048576"),
        ),
        case(
            "array of 2^61 words",
            raw::head(0, 1).key("a", ARRAY).u32(U64).u64(1 << 61),
            "metadata key \"a\": array length is 2305843009213693952, the limit is 1048576",
        ),
        case(
            "array longer than the file",
            raw::head(0, 1).key("a", ARRAY).u32(U64).u64(1 << 20),
            "metadata key \"a\": the file ends inside array items: \
             8388608 bytes from byte 49 on, but it has 49 bytes",
        ),
        case(
            "strings that are not there",
            raw::head(0, 1).key("a", ARRAY).u32(STRING).u64(1 << 20),
            "metadata key \"a\": the file ends inside a string: \
             8 bytes from byte 49 on, but it has 49 bytes",
        ),
        case(
            "tensor name of 2^63 bytes",
            raw::head(1, 0).u64(1 << 63),
            "tensor number 0: a tensor name of 9223372036854775808 bytes; the limit is 65535",
        ),
    ]
}

fn values() -> Vec<Case> {
    let nested = |levels: usize| {
        let array = |raw: Raw, inner| raw.u32(inner).u64(1);
        let outer = (1..levels).fold(raw::head(0, 1).key("n", ARRAY), |raw, _| array(raw, ARRAY));
        array(outer, U8).bytes(&[7])
    };
    vec![
        case(
            "unknown type",
            raw::head(0, 1).key("k", 13).zeros(8),
            "metadata key \"k\": unknown metadata type 13; GGUF defines 0 to 12",
        ),
        case(
            "unknown item type",
            raw::head(0, 1).key("k", ARRAY).u32(u32::MAX).u64(0),
            "metadata key \"k\": unknown metadata type 4294967295; GGUF defines 0 to 12",
        ),
        case(
            "bool of 2",
            raw::head(0, 1).key("b", BOOL).bytes(&[2]),
            "metadata key \"b\": a bool at byte 37 is 2, not 0 or 1",
        ),
        case(
            "bool of 255 in an array",
            raw::head(0, 1)
                .key("b", ARRAY)
                .u32(BOOL)
                .u64(3)
                .bytes(&[0, 1, 255]),
            "metadata key \"b\": a bool at byte 51 is 255, not 0 or 1",
        ),
        case(
            "arrays nested nine deep",
            nested(9),
            "metadata key \"n\": arrays are nested deeper than 8",
        ),
        case(
            "arrays nested a million deep",
            raw::head(0, 1)
                .key("n", ARRAY)
                .repeat(1 << 16, |raw| raw.u32(ARRAY).u64(1)),
            "metadata key \"n\": arrays are nested deeper than 8",
        ),
        case(
            "key that is not UTF-8",
            raw::head(0, 1)
                .u64(2)
                .bytes(b"\xc3\x28")
                .u32(U8)
                .bytes(&[0]),
            "metadata key number 0: a key at byte 32 is not UTF-8",
        ),
        case(
            "string that is not UTF-8",
            raw::head(0, 1)
                .key("s", STRING)
                .u64(3)
                .bytes(b"\xed\xa0\x80"),
            "metadata key \"s\": a string at byte 45 is not UTF-8",
        ),
        case(
            "string in an array that is not UTF-8",
            raw::head(0, 1)
                .key("s", ARRAY)
                .u32(STRING)
                .u64(2)
                .text("fine")
                .u64(1)
                .bytes(b"\xff"),
            "metadata key \"s\": a string at byte 69 is not UTF-8",
        ),
        case(
            "key twice",
            raw::head(0, 3)
                .key("k", U8)
                .bytes(&[1])
                .key("j", U8)
                .bytes(&[1])
                .key("k", U8)
                .bytes(&[1]),
            "metadata key \"k\": appears twice, as number 0 and number 2",
        ),
        case(
            "key made to garble a terminal",
            raw::head(0, 1).key("\u{1b}[2Jgone\u{202e}", 99),
            "metadata key \"\\u{1b}[2Jgone\\u{202e}\": unknown metadata type 99; \
             GGUF defines 0 to 12",
        ),
        case(
            "key made to flood a terminal",
            raw::head(0, 1).key(&"x".repeat(60_000), 99),
            format!(
                "metadata key \"{}…\": unknown metadata type 99; GGUF defines 0 to 12",
                "x".repeat(80)
            ),
        ),
        case(
            "header without end",
            raw::head(0, 5).repeat(5, |raw| raw.key("k", STRING).u64(1 << 24).zeros(1 << 24)),
            "metadata key \"k\": header length is 67108972, the limit is 67108864",
        ),
    ]
}

fn alignments() -> Vec<Case> {
    let of = |value: u32| raw::head(0, 1).key("general.alignment", U32).u32(value);
    let says = |found: u64| {
        format!(
            "metadata key \"general.alignment\": alignment {found}; \
             it must be a power of two of at most 2097152"
        )
    };
    vec![
        case("alignment 0", of(0), says(0)),
        case("alignment 48", of(48), says(48)),
        case("alignment 2^31", of(1 << 31), says(1 << 31)),
        case(
            "alignment 2^63",
            raw::head(0, 1).key("general.alignment", U64).u64(1 << 63),
            says(1 << 63),
        ),
        case(
            "alignment as text",
            raw::head(0, 1).key("general.alignment", STRING).text("32"),
            "metadata key \"general.alignment\": alignment has type string; \
             it must be an unsigned integer",
        ),
        case(
            "alignment below zero",
            raw::head(0, 1).key("general.alignment", I32).u32(u32::MAX),
            "metadata key \"general.alignment\": alignment has type i32; \
             it must be an unsigned integer",
        ),
    ]
}

fn tensors() -> Vec<Case> {
    let one = |dims: &[u64], id, offset| raw::head(1, 0).tensor("t", dims, id, offset).data(64);
    let t = |says: &str| format!("tensor \"t\": {says}");
    let huge = [1 << 32, 1 << 32];
    vec![
        case(
            "no dimensions",
            one(&[], F32, 0),
            t("0 dimensions; 1 to 4 are possible"),
        ),
        case(
            "five dimensions",
            one(&[1; 5], F32, 0),
            t("5 dimensions; 1 to 4 are possible"),
        ),
        case(
            "2^32-1 dimensions",
            raw::head(1, 0).text("t").u32(u32::MAX).zeros(64),
            t("4294967295 dimensions; 1 to 4 are possible"),
        ),
        case(
            "dimension 0",
            one(&[4, 0], F32, 0),
            t("dimensions [4, 0] contain a zero"),
        ),
        case(
            "product that overflows",
            one(&huge, F32, 0),
            t("dimensions [4294967296, 4294967296] in F32 overflow 64 bits"),
        ),
        case(
            "product that overflows to something small",
            one(&[1 << 63, 2, 1, 1], F32, 0),
            t("dimensions [9223372036854775808, 2, 1, 1] in F32 overflow 64 bits"),
        ),
        case(
            "bytes that overflow",
            one(&[1 << 62], F64, 0),
            t("dimensions [4611686018427387904] in F64 overflow 64 bits"),
        ),
        case(
            "half a block",
            one(&[16, 2], Q8_0, 0),
            t("rows of 16 values are not whole Q8_0 blocks of 32"),
        ),
        case(
            "half a large block",
            one(&[384], IQ2_XXS, 0),
            t("rows of 384 values are not whole IQ2_XXS blocks of 256"),
        ),
        case("unknown type", one(&[32], 2, 0), t("unknown tensor type 2")),
        case(
            "absurd type",
            one(&[32], u32::MAX, 0),
            t("unknown tensor type 4294967295"),
        ),
        case(
            "off the grid",
            one(&[4], F32, 4),
            t("data offset 4 is not a multiple of the alignment 32"),
        ),
        case(
            "past the end",
            one(&[4], F32, 64),
            t("16 bytes at data offset 64 (data starts at 64) exceed the file's 128 bytes"),
        ),
        case(
            "one byte past the end",
            raw::head(1, 0).tensor("t", &[65], 24, 0).data(64),
            t("65 bytes at data offset 0 (data starts at 64) exceed the file's 128 bytes"),
        ),
        case(
            "an end that overflows",
            one(&[4], F32, u64::MAX - 31),
            t(
                "16 bytes at data offset 18446744073709551584 (data starts at 64) \
               exceed the file's 128 bytes",
            ),
        ),
        case(
            "larger than any file",
            one(&[1 << 60], F32, 0),
            t(
                "4611686018427387904 bytes at data offset 0 (data starts at 64) \
               exceed the file's 128 bytes",
            ),
        ),
        case(
            "overlap",
            raw::head(2, 0)
                .tensor("t", &[16], F32, 0)
                .tensor("u", &[8], F32, 32)
                .data(64),
            "tensor \"u\": bytes 128..160 overlap those of tensor \"t\", 96..160",
        ),
        case(
            "same place, other length",
            raw::head(2, 0)
                .tensor("t", &[16], F32, 0)
                .tensor("u", &[8], F32, 0)
                .data(64),
            "tensor \"u\": bytes 96..128 overlap those of tensor \"t\", 96..160",
        ),
        case(
            "same place, other format",
            raw::head(2, 0)
                .tensor("t", &[16], F32, 0)
                .tensor("u", &[16], 26, 0)
                .data(64),
            "tensor \"u\": bytes 96..160 overlap those of tensor \"t\", 96..160",
        ),
        case(
            "overlap behind a shared payload",
            raw::head(3, 0)
                .tensor("t", &[16], F32, 0)
                .tensor("u", &[16], F32, 0)
                .tensor("v", &[8], F32, 32)
                .data(64),
            "tensor \"v\": bytes 160..192 overlap those of tensor \"u\", 128..192",
        ),
        case(
            "name twice",
            raw::head(2, 0)
                .tensor("t", &[8], F32, 0)
                .tensor("t", &[8], F32, 32)
                .data(64),
            t("appears twice, as number 0 and number 1"),
        ),
        case(
            "name that is not UTF-8",
            raw::head(1, 0).u64(1).bytes(b"\xff").zeros(64),
            "tensor number 0: a tensor name at byte 32 is not UTF-8",
        ),
        case(
            "the file ends in the padding",
            raw::head(1, 0).tensor("t", &[1], 24, 0),
            t("1 bytes at data offset 0 (data starts at 64) exceed the file's 57 bytes"),
        ),
    ]
}
