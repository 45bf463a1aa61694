//! Four heads with a tile of rows: each row is loaded once for the four.
//!
//! Scores and probabilities of a tile lie row by row, four heads side by side, so that a vector
//! holds four rows.

#[allow(
    clippy::wildcard_imports,
    reason = "every second word here is an intrinsic"
)]
use std::arch::x86_64::*;

use super::TILE;

/// Heads at a time.
pub(super) const HEADS: usize = 4;

/// Columns of the sums that are kept in registers; rows are whole multiples of them.
pub(super) const COLUMNS: usize = 64;

/// Rows that meet four queries at once.
const ROWS: usize = 4;

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32], at: usize) -> __m512 {
    // SAFETY: the slice covers the 64 bytes read, at any alignment.
    unsafe { _mm512_loadu_ps(values[at..at + 16].as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(values: &mut [f32], at: usize, v: __m512) {
    // SAFETY: the slice covers the 64 bytes written, at any alignment.
    unsafe { _mm512_storeu_ps(values[at..at + 16].as_mut_ptr(), v) };
}

/// Joins the rows of a tile, as `Heads::join` does for any number of heads.
#[target_feature(enable = "avx512f,avx512vl,fma")]
pub(super) fn join(
    q: &[f32],
    out: &mut [f32],
    state: &mut [(f32, f32); HEADS],
    tile: &[f32],
    d: usize,
) {
    let rows = tile.len() / d;
    if rows == 0 {
        return;
    }
    let mut scores = [0.0; TILE * HEADS];
    let filled = rows.div_ceil(ROWS) * ROWS * HEADS;
    for first in (0..rows).step_by(ROWS) {
        let products = sixteen(q, tile, d, first, rows);
        let scaled = _mm512_mul_ps(products, _mm512_set1_ps(1.0 / (d as f32).sqrt()));
        // Rows that are missing have no weight.
        let present = (1u32 << (4 * (rows - first).min(ROWS))) - 1;
        let none = _mm512_set1_ps(f32::NEG_INFINITY);
        store(
            &mut scores,
            first * HEADS,
            _mm512_mask_mov_ps(none, present as u16, scaled),
        );
    }

    let of_heads = |values: [f32; HEADS]| {
        _mm512_broadcast_f32x4(_mm_setr_ps(values[0], values[1], values[2], values[3]))
    };
    let before = of_heads(state.map(|(max, _)| max));
    let mut top = before;
    for at in (0..filled).step_by(16) {
        top = _mm512_max_ps(top, load(&scores, at));
    }
    top = _mm512_max_ps(top, _mm512_shuffle_f32x4::<0b01_00_11_10>(top, top));
    top = _mm512_max_ps(top, _mm512_shuffle_f32x4::<0b10_11_00_01>(top, top));
    let mut sum = _mm512_setzero_ps();
    for at in (0..filled).step_by(16) {
        let p = exp(_mm512_sub_ps(load(&scores, at), top));
        sum = _mm512_add_ps(sum, p);
        store(&mut scores, at, p);
    }
    sum = _mm512_add_ps(sum, _mm512_shuffle_f32x4::<0b01_00_11_10>(sum, sum));
    sum = _mm512_add_ps(sum, _mm512_shuffle_f32x4::<0b10_11_00_01>(sum, sum));
    let shrink = first_four(exp(_mm512_sub_ps(before, top)));
    let (top, sum) = (first_four(top), first_four(sum));
    for (h, (max, total)) in state.iter_mut().enumerate() {
        (*max, *total) = (top[h], *total * shrink[h] + sum[h]);
    }

    for column in (0..d).step_by(COLUMNS) {
        add_rows(out, &scores, shrink, tile, d, column);
    }
}

/// Products of the rows from `first` on with the four queries, row by row; missing rows are the
/// last one again.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn sixteen(q: &[f32], tile: &[f32], d: usize, first: usize, rows: usize) -> __m512 {
    let mut acc = [[_mm512_setzero_ps(); HEADS]; ROWS];
    for at in (0..d).step_by(16) {
        let mut queries = [_mm512_setzero_ps(); HEADS];
        for (h, query) in queries.iter_mut().enumerate() {
            *query = load(q, h * d + at);
        }
        for (r, acc) in acc.iter_mut().enumerate() {
            let row = load(tile, (first + r).min(rows - 1) * d + at);
            for (acc, query) in acc.iter_mut().zip(queries) {
                *acc = _mm512_fmadd_ps(row, query, *acc);
            }
        }
    }
    sums(acc.as_flattened())
}

/// The sums of sixteen vectors, in their order.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums(v: &[__m512]) -> __m512 {
    let mut four = [_mm512_setzero_ps(); 4];
    for (four, v) in four.iter_mut().zip(v.as_chunks::<4>().0) {
        let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (a, b) = (pair(v[0], v[1]), pair(v[2], v[3]));
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        *four = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    }
    // Each holds four sums in quarters that are still to be added.
    let quarters = |a, b| {
        let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
        let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
        _mm512_add_ps(even, odd)
    };
    quarters(quarters(four[0], four[1]), quarters(four[2], four[3]))
}

/// `out = out · shrink + Σ p · row` for some columns of four heads.
#[inline]
#[target_feature(enable = "avx512f,fma")]
fn add_rows(
    out: &mut [f32],
    p: &[f32; TILE * HEADS],
    shrink: [f32; HEADS],
    tile: &[f32],
    d: usize,
    column: usize,
) {
    let mut acc = [[_mm512_setzero_ps(); COLUMNS / 16]; HEADS];
    for (h, acc) in acc.iter_mut().enumerate() {
        for (i, acc) in acc.iter_mut().enumerate() {
            let old = load(out, h * d + column + 16 * i);
            *acc = _mm512_mul_ps(old, _mm512_set1_ps(shrink[h]));
        }
    }
    for (row, p) in tile.chunks_exact(d).zip(p.as_chunks::<HEADS>().0) {
        let mut values = [_mm512_setzero_ps(); COLUMNS / 16];
        for (i, value) in values.iter_mut().enumerate() {
            *value = load(row, column + 16 * i);
        }
        for (acc, p) in acc.iter_mut().zip(p) {
            for (acc, value) in acc.iter_mut().zip(values) {
                *acc = _mm512_fmadd_ps(_mm512_set1_ps(*p), value, *acc);
            }
        }
    }
    for (h, acc) in acc.iter().enumerate() {
        for (i, acc) in acc.iter().enumerate() {
            store(out, h * d + column + 16 * i, *acc);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn first_four(v: __m512) -> [f32; 4] {
    let mut four = [0.0; 4];
    let v = _mm512_castps512_ps128(v);
    // SAFETY: the array covers the 16 bytes written, at any alignment.
    unsafe { _mm_storeu_ps(four.as_mut_ptr(), v) };
    four
}

/// `e^x` for `x` up to 0, to two units in the last place; 0 below the smallest normal result. NaN
/// stays NaN.
#[inline]
#[target_feature(enable = "avx512f,fma")]
fn exp(x: __m512) -> __m512 {
    let set = |x: f32| _mm512_set1_ps(x);
    let n = _mm512_roundscale_ps::<0>(_mm512_mul_ps(x, set(std::f32::consts::LOG2_E)));
    // ln 2 in two parts: n times the first is exact.
    let r = _mm512_fnmadd_ps(n, set(355.0 / 512.0), x);
    let r = _mm512_fnmadd_ps(n, set(-2.121_944_4e-4), r);
    let mut y = set(1.0 / 5040.0);
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        y = _mm512_fmadd_ps(y, r, set(c));
    }
    let tiny = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, set(-87.0));
    _mm512_mask_mov_ps(_mm512_scalef_ps(y, n), tiny, _mm512_setzero_ps())
}

#[cfg(test)]
mod tests {
    use super::super::Heads;
    use super::exp;
    use crate::dot::Simd;

    #[target_feature(enable = "avx512f,fma")]
    fn all_equal(x: f32) -> f32 {
        super::first_four(exp(super::_mm512_set1_ps(x)))[0]
    }

    #[test]
    fn exponentials_are_those_of_the_library() {
        if !Simd::Avx512.is_supported() {
            return;
        }
        for i in 0..90_000 {
            let x = -1e-3 * i as f32;
            // SAFETY: the instructions are there by the first line.
            let got = unsafe { all_equal(x) };
            let expected = x.exp();
            assert!(
                (got - expected).abs() <= 3e-7 * expected + 2e-38,
                "exp({x}): {got} and {expected}"
            );
        }
    }

    #[test]
    fn four_heads_at_a_time_give_what_the_loops_give() {
        let noise = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
        let (d, heads) = (128, 8);
        let q: Vec<f32> = (0..heads * d).map(|i| noise(3 * i)).collect();
        for rows in [1, 2, 3, 4, 5, 17, 31, 32] {
            let run = |simd: Simd| {
                let mut out = vec![0.0; heads * d];
                let mut state = vec![(0.0, 0.0); heads];
                let mut all = Heads {
                    q: &q,
                    out: &mut out,
                    state: &mut state,
                    d,
                    simd,
                };
                all.begin(&[0.3; 8]);
                for tile in 0..3 {
                    let tile: Vec<f32> =
                        (0..rows * d).map(|i| noise(i + 31 * tile) * 2.0).collect();
                    all.join(&tile);
                }
                all.finish();
                out
            };
            if Simd::Avx512.is_supported() {
                let (fast, plain) = (run(Simd::Avx512), run(Simd::Scalar));
                let far = fast
                    .iter()
                    .zip(&plain)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(far < 3e-6, "{rows} rows: {far}");
            }
        }
    }
}
