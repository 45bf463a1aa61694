//! How many bytes a decoded token has to read, whoever computes it.

use ds4_model::inventory::Reading;
use ds4_model::{KvGeometry, Ratio, Shape};

/// Bytes that the token after `context` tokens reads: its weights, its window, the compressed rows
/// its attention sees and the index rows it scores.
pub(super) fn token_bytes(
    reading: &Reading,
    shape: &Shape,
    geometry: &KvGeometry,
    context: usize,
) -> u64 {
    let window = context.min(shape.window) * geometry.latent_bytes;
    let layer = |ratio: &Ratio| {
        let rows = ratio.rows(context);
        let (seen, scored) = match ratio {
            Ratio::None => (0, 0),
            Ratio::Four => (rows.min(shape.index_top_k), rows),
            Ratio::OneTwentyEight => (rows, 0),
        };
        window + seen * geometry.latent_bytes + scored * geometry.index_bytes
    };
    let rows: usize = shape.ratios.iter().map(layer).sum();
    reading.total() + rows as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ds4_model::RowFormat;

    #[test]
    fn flash_reads_its_index_and_little_else_of_a_long_context() {
        let shape = Shape::flash();
        let geometry = KvGeometry::new(&shape, RowFormat::Packed, false);
        let rows = |context| token_bytes(&Reading::default(), &shape, &geometry, context);
        assert_eq!(rows(0), 0);
        // Windows of 43 layers; 512 of 16,384 latent rows and all index rows in 21 of them; 512
        // rows in 20.
        let expected = 43 * 128 * 584 + 21 * (512 * 584 + 16_384 * 68) + 20 * 512 * 584;
        assert_eq!(rows(65_536), expected);
    }
}
