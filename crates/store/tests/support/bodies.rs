//! Bodies of fuzz targets, which ordinary tests call as well.

use ds4_store::{Body, Head, Name, Scope, Tenant, record};

const PAGE_TOKENS: usize = 512;
const FIXED: usize = 176;
const CHECKSUM: usize = 32;

/// A record out of arbitrary bytes. The first one says what is put right before it is read, since
/// no fuzzer finds a checksum: 1 the checksums, 2 the sizes.
pub(crate) fn kv_record(bytes: &[u8]) {
    let Some((&mode, bytes)) = bytes.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if mode & 2 > 0 {
        fit(&mut bytes);
    }
    if mode & 1 > 0 {
        seal(&mut bytes);
    }
    let length = bytes.len() as u64;
    let Ok(head) = Head::read(&bytes, length, PAGE_TOKENS) else {
        return;
    };
    // What is accepted is what would be written.
    let written = head.write();
    assert_eq!(head.record_bytes(), length);
    assert_eq!(bytes[..written.len()], written);
    assert!(head.tokens.len() <= PAGE_TOKENS && head.tokens.len() <= head.at as usize);
    let scope = Scope::new(&head.identity, Tenant::default());
    // Nobody guesses a name.
    assert!(head.check(&head.identity, &scope, Name([0; 32])).is_err());
    let rest = bytes[written.len()..].to_vec();
    let Ok(body) = Body::check(rest, &head) else {
        return;
    };
    let sum = record::checksum(&body.state, &body.open);
    assert_eq!(
        [&written[..], &body.state, &body.open, &sum].concat(),
        bytes
    );
}

/// Where the tokens end, as the bytes say.
fn end(bytes: &[u8]) -> Option<usize> {
    let count = u32::from_le_bytes(*bytes.get(24..)?.first_chunk()?) as usize;
    let end = FIXED + 4 * count.min(PAGE_TOKENS);
    (bytes.len() >= end + 2 * CHECKSUM).then_some(end)
}

fn fit(bytes: &mut [u8]) {
    let Some(end) = end(bytes) else {
        return;
    };
    let size = (bytes.len() - end - 2 * CHECKSUM) as u64;
    let open = u64::from(bytes[168]).min(size);
    bytes[160..168].copy_from_slice(&(size - open).to_le_bytes());
    bytes[168..176].copy_from_slice(&open.to_le_bytes());
}

fn seal(bytes: &mut [u8]) {
    let Some(end) = end(bytes) else {
        return;
    };
    let head = *blake3::hash(&bytes[..end]).as_bytes();
    bytes[end..end + CHECKSUM].copy_from_slice(&head);
    let last = bytes.len() - CHECKSUM;
    let body = *blake3::hash(&bytes[end + CHECKSUM..last]).as_bytes();
    bytes[last..].copy_from_slice(&body);
}
