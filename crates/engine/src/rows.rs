//! The rows of a page that is not full: what a stored frontier needs of it.

use std::ops::Range;

use ds4_model::kv::KvGeometry;
use ds4_model::shape::Ratio;

/// Where the rows of the first `tokens` tokens lie in a page.
fn ranges(geometry: &KvGeometry, tokens: usize) -> impl Iterator<Item = Range<usize>> {
    geometry.layers.iter().flat_map(move |layer| {
        let rows = layer.ratio.rows(tokens);
        let latent = layer.latent..layer.latent + rows * geometry.latent_bytes;
        let index_rows = if layer.ratio == Ratio::Four { rows } else { 0 };
        let index = layer.index..layer.index + index_rows * geometry.index_bytes;
        [latent, index]
    })
}

/// Bytes of those rows.
pub(crate) fn open_bytes(geometry: &KvGeometry, tokens: usize) -> usize {
    ranges(geometry, tokens).map(|range| range.len()).sum()
}

/// Those rows, one after the other.
pub(crate) fn pack(geometry: &KvGeometry, tokens: usize, page: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(open_bytes(geometry, tokens));
    for range in ranges(geometry, tokens) {
        rows.extend_from_slice(&page[range]);
    }
    rows
}

/// A page that holds those rows, and zeros.
pub(crate) fn unpack(geometry: &KvGeometry, tokens: usize, mut rows: &[u8]) -> Vec<u8> {
    let mut page = vec![0; geometry.page_bytes];
    for range in ranges(geometry, tokens) {
        let (own, rest) = rows.split_at(range.len());
        page[range].copy_from_slice(own);
        rows = rest;
    }
    page
}

#[cfg(test)]
mod tests {
    use ds4_model::kv::{KvGeometry, PAGE_TOKENS, RowFormat};
    use ds4_model::shape::Shape;

    use super::{open_bytes, pack, unpack};

    #[test]
    fn a_page_of_so_many_tokens_is_its_first_rows() {
        let geometry = KvGeometry::new(&Shape::flash(), RowFormat::Packed, false);
        let page: Vec<u8> = (0..geometry.page_bytes)
            .map(|at| (at % 251) as u8 + 1)
            .collect();
        assert_eq!(pack(&geometry, PAGE_TOKENS, &page), page);
        assert_eq!(open_bytes(&geometry, 3), 0);
        for tokens in [4, 130, 511] {
            let rows = pack(&geometry, tokens, &page);
            let (csa, hca) = (21 * (tokens / 4), 20 * (tokens / 128));
            assert_eq!(rows.len(), csa * (584 + 68) + hca * 584);
            let back = unpack(&geometry, tokens, &rows);
            assert_eq!(pack(&geometry, tokens, &back), rows);
            assert_eq!(back.iter().filter(|&&byte| byte > 0).count(), rows.len());
        }
    }
}
