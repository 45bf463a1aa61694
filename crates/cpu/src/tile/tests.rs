//! Tiles against the scalar dot product, in all formats, for odd numbers of rows and tokens.

use std::time::SystemTime;

use ds4_gguf::Format;
use ds4_gguf::block::encode;
use ds4_gguf::scalar::shared;

use super::{INDEX_COLUMNS, ROWS};
use crate::dot::{Activations, Dots, Partner, Simd};
use crate::kernels::{Arithmetic, Kernels, Local};
use crate::tensor::Tensor;

/// Noise from a seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn tensor(format: Format, columns: usize, rows: usize, noise: &mut Noise) -> Tensor {
    let mut bytes = Vec::new();
    encode(format, &noise.values(rows * columns), &mut bytes).expect("whole blocks");
    Tensor::new(format, columns, rows, bytes.into())
}

/// A seed that no other run had.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a clock after 1970").as_nanos() as u64
}

/// The kernels of all levels of this machine, or of those with tiles.
fn levels(arithmetic: Arithmetic) -> impl Iterator<Item = Kernels> {
    let dots = Simd::ALL.into_iter().filter_map(Dots::of);
    dots.map(move |dots| Kernels::new(dots, arithmetic))
}

fn levels_with_tiles(arithmetic: Arithmetic) -> impl Iterator<Item = Kernels> {
    levels(arithmetic).filter(|kernels| kernels.tiles(usize::MAX))
}

/// Compares all products of a matrix in strips with scalar ones, at each level.
fn check(w: &Tensor, arithmetic: Arithmetic, tokens: usize, noise: &mut Noise, seed: u64) {
    let x = noise.values(tokens * w.cols);
    for kernels in levels(arithmetic) {
        for tiled in [false, kernels.tiles(usize::MAX)] {
            check_products(w, &kernels, tiled, &x, seed);
        }
    }
}

fn check_products(w: &Tensor, kernels: &Kernels, tiled: bool, x: &[f32], seed: u64) {
    let arithmetic = kernels.arithmetic;
    let tokens = x.len() / w.cols;
    let mut activations = Activations::default();
    activations.fill(kernels.partner(w.format), w.cols, x.chunks_exact(w.cols));
    let mut exact = Activations::default();
    let native = Partner::of(w.format).expect("a weight format");
    exact.fill(native, w.cols, x.chunks_exact(w.cols));
    let mut local = Local::default();
    let mut decoded = vec![0.0; w.cols];
    for first in (0..w.rows).step_by(ROWS) {
        let rows = first..(first + ROWS).min(w.rows);
        // In reverse, so that rows of activations are really looked up.
        let all = (tokens, |i: usize| tokens - 1 - i);
        let mut seen = 0;
        kernels.strip(
            w,
            rows.clone(),
            &mut local,
            &activations,
            all,
            tiled,
            |i, products| {
                assert_eq!((i, products.len()), (seen, rows.len()));
                seen += 1;
                for (row, product) in rows.clone().zip(products) {
                    let token = tokens - 1 - i;
                    w.decode_row(row, &mut decoded);
                    let scalar = match arithmetic {
                        Arithmetic::Blocks => {
                            Dots::SCALAR.dot(w.format, w.row(row), exact.row(token))
                        }
                        Arithmetic::Float => {
                            let x = &x[token * w.cols..][..w.cols];
                            decoded
                                .iter()
                                .zip(x)
                                .map(|(w, x)| f64::from(w * x))
                                .sum::<f64>() as f32
                        }
                    };
                    // Sums differ by the rounding of partial sums, of which the shifted codes have the
                    // largest.
                    let x = &x[token * w.cols..][..w.cols];
                    let most: f32 = decoded.iter().map(|w| w.abs()).fold(0.0, f32::max);
                    let size: f32 = x.iter().map(|x| x.abs()).sum::<f32>() * most;
                    assert!(
                        (product - scalar).abs() <= 2e-6 * size,
                        "{:?} {} {arithmetic:?}, row {row} of {}, token {token} of {tokens}, {} \
                     columns: {product}, scalar {scalar}; seed {seed}",
                        kernels.dots.simd(),
                        w.format,
                        w.rows,
                        w.cols,
                    );
                }
            },
        );
        assert_eq!(seen, tokens);
    }
}

#[test]
fn tiles_give_what_scalar_dot_products_give() {
    let seed = fresh_seed();
    let mut noise = Noise(seed);
    for format in Format::all().filter(|format| format.is_weight()) {
        for (rows, supers) in [(16, 1), (19, 2), (1, 3), (37, 5)] {
            // Formats of small blocks do without whole super-blocks, those of single numbers
            // without whole vectors.
            let columns = match format.block_values() {
                1 => 256 * supers - 7,
                32 => 256 * supers - 32,
                _ => 256 * supers,
            };
            let w = tensor(format, columns, rows, &mut noise);
            for tokens in [1, 2, 3, 5, 12, 13, 17, 29] {
                for arithmetic in [Arithmetic::Blocks, Arithmetic::Float] {
                    check(&w, arithmetic, tokens, &mut noise, seed);
                }
            }
        }
    }
}

/// A tensor of one block's bytes over and over, its scales set to one.
fn of_bytes(format: Format, byte: impl Fn(usize) -> u8, columns: usize, rows: usize) -> Tensor {
    const ONE: [u8; 2] = 0x3c00_u16.to_le_bytes();
    let (size, ones) = match format {
        Format::Q8_0 => (34, &[0][..]),
        Format::Mxfp4 => (17, &[][..]),
        Format::Q2K => (84, &[80, 82][..]),
        Format::Q4K => (144, &[0, 2][..]),
        Format::Iq2Xxs => (66, &[0][..]),
        format => unreachable!("{format} has no codes"),
    };
    let mut block: Vec<u8> = (0..size).map(byte).collect();
    for &at in ones {
        block[at..at + 2].copy_from_slice(&ONE);
    }
    if format == Format::Mxfp4 {
        block[0] = 127;
    }
    let blocks = rows * columns / format.block_values();
    Tensor::new(format, columns, rows, block.repeat(blocks).into())
}

/// Whatever stands in a file, sums of products stay exact: all codes at either end of their range,
/// and bytes at random, against activations at either end of theirs.
#[test]
fn largest_codes_do_not_saturate() {
    const COLUMNS: usize = 512;
    let seed = fresh_seed();
    let random = |at: usize| {
        let mut noise = Noise(seed.wrapping_add(at as u64 * 0x9e37_79b9));
        (128.0 + 128.0 * noise.next()) as u8
    };
    let all = |value: u8| move |_: usize| value;
    for format in [
        Format::Q8_0,
        Format::Q2K,
        Format::Q4K,
        Format::Iq2Xxs,
        Format::Mxfp4,
    ] {
        let weights = [
            of_bytes(format, all(0x80), COLUMNS, ROWS),
            of_bytes(format, all(0x7f), COLUMNS, ROWS),
            of_bytes(format, all(0xff), COLUMNS, ROWS),
            of_bytes(format, all(0x77), COLUMNS, ROWS),
            of_bytes(format, all(0), COLUMNS, ROWS),
            of_bytes(format, random, COLUMNS, ROWS),
        ];
        let signs = [
            |_: usize| 1.0,
            |_| -1.0,
            |i| [1.0, -1.0][i % 2],
            |i| [1.0, 1.0, -1.0][i % 3],
        ];
        let x: Vec<f32> = signs.iter().flat_map(|x| (0..COLUMNS).map(x)).collect();
        for w in &weights {
            for kernels in levels(Arithmetic::Blocks) {
                for tiled in [false, kernels.tiles(usize::MAX)] {
                    check_products(w, &kernels, tiled, &x, seed);
                }
            }
        }
    }
}

/// Products of the first rows of a weight with all tokens, in tiles.
fn tiled(w: &Tensor, kernels: &Kernels, tokens: &[usize], x: &Activations) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    let which = (tokens.len(), |i: usize| tokens[i]);
    let rows = 0..ROWS.min(w.rows);
    kernels.strip(
        w,
        rows,
        &mut Local::default(),
        x,
        which,
        true,
        |_, products| {
            all.push(products.iter().map(|product| product.to_bits()).collect());
        },
    );
    all
}

/// Integers are exact, and scales meet them in the same order: a file gives the same bits whichever
/// of its levels a machine uses, as far as its matrices are quantised.
#[test]
fn quantised_tiles_of_all_levels_give_the_same_bits() {
    let seed = fresh_seed();
    let mut noise = Noise(seed);
    let all: Vec<Kernels> = levels_with_tiles(Arithmetic::Blocks).collect();
    let formats = Format::all().filter(|format| Partner::of(*format).is_some());
    for format in formats.filter(|format| Partner::of(*format) != Some(Partner::F32)) {
        for (rows, tokens) in [(16, 1), (5, 2), (16, 13), (11, 31)] {
            let w = tensor(format, 768, rows, &mut noise);
            let mut x = Activations::default();
            let values = noise.values(tokens * 768);
            x.fill(
                Partner::of(format).expect("a weight"),
                768,
                values.chunks_exact(768),
            );
            let tokens: Vec<usize> = (0..tokens).collect();
            for kernels in all.iter().skip(1) {
                assert!(
                    tiled(&w, &all[0], &tokens, &x) == tiled(&w, kernels, &tokens, &x),
                    "{format}: {:?} and {:?} differ; seed {seed}",
                    all[0].dots.simd(),
                    kernels.dots.simd(),
                );
            }
        }
    }
}

/// A number that follows from bits in their order.
fn digest(products: &[Vec<u32>]) -> u64 {
    let bytes = products
        .iter()
        .flatten()
        .flat_map(|bits| bits.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// No machine has the levels of two makers: what x86-64 gives stands here for ARM to give as well.
#[test]
fn quantised_tiles_give_the_same_bits_on_every_machine() {
    const EXPECTED: [(Format, u64); 5] = [
        (Format::Q8_0, 0x57ce_911a_c21c_7343),
        (Format::Mxfp4, 0xc0af_7ac9_9066_005b),
        (Format::Q2K, 0x305c_4d9c_486c_3276),
        (Format::Q4K, 0x0ecf_754f_ed5a_4c02),
        (Format::Iq2Xxs, 0x0bf8_5a56_6c4d_b74b),
    ];
    for kernels in levels_with_tiles(Arithmetic::Blocks) {
        let found = EXPECTED.map(|(format, _)| {
            let mut noise = Noise(4);
            let w = tensor(format, 768, ROWS, &mut noise);
            let values = noise.values(13 * 768);
            let mut x = Activations::default();
            let partner = Partner::of(format).expect("a weight");
            x.fill(partner, 768, values.chunks_exact(768));
            let tokens: Vec<usize> = (0..13).collect();
            (format, digest(&tiled(&w, &kernels, &tokens, &x)))
        });
        assert!(found == EXPECTED, "{:?}: {found:#x?}", kernels.dots.simd());
    }
}

/// Packed index rows meet rounded queries as integers: nothing is lost but what float32 loses when
/// four blocks are added.
#[test]
fn index_rows_as_codes_are_the_float_products() {
    for kernels in levels_with_tiles(Arithmetic::Blocks) {
        assert!(kernels.index_codes(INDEX_COLUMNS));
        check_index_rows(&kernels);
    }
}

fn check_index_rows(kernels: &Kernels) {
    let mut noise = Noise(11);
    let mut local = Local::default();
    for (len, heads) in [(1, 1), (5, 13), (16, 64), (16, 5)] {
        let mut keys = noise.values(len * INDEX_COLUMNS);
        // Blocks of very different sizes.
        for (number, block) in keys.chunks_exact_mut(32).enumerate() {
            let size = (2.0f32).powi(number as i32 % 9 - 4);
            block.iter_mut().for_each(|v| *v *= size);
        }
        let rows: Vec<Vec<u8>> = keys
            .chunks_exact_mut(INDEX_COLUMNS)
            .map(|key| {
                let mut row = vec![0; INDEX_COLUMNS / 2 + INDEX_COLUMNS / 32];
                let (codes, scales) = row.split_at_mut(INDEX_COLUMNS / 2);
                let blocks = key.chunks_exact_mut(32).zip(codes.chunks_exact_mut(16));
                for ((block, codes), scale) in blocks.zip(scales) {
                    let of_block = shared::encode_e2m1(block, codes);
                    *scale = of_block.0;
                    shared::decode_e2m1(of_block, codes, block);
                }
                row
            })
            .collect();
        let mut query = noise.values(heads * INDEX_COLUMNS);
        shared::round_e2m1(&mut query);
        let mut blocks = Vec::new();
        crate::index::codes(&query, &mut blocks);
        let mut seen = 0;
        let strip = (len, |i: usize| &rows[i][..]);
        kernels.index_strip(&mut local, strip, &blocks, |head, products| {
            assert_eq!((head, products.len()), (seen, len));
            seen += 1;
            let head = &query[head * INDEX_COLUMNS..][..INDEX_COLUMNS];
            for (key, product) in keys.chunks_exact(INDEX_COLUMNS).zip(products) {
                let terms = head.iter().zip(key).map(|(q, k)| f64::from(q * k));
                let size: f64 = terms.clone().map(f64::abs).sum();
                let exact: f64 = terms.sum();
                assert!((f64::from(*product) - exact).abs() <= 3e-7 * size);
            }
        });
        assert_eq!(seen, heads);
    }
}

#[test]
fn a_product_does_not_depend_on_its_company() {
    let mut noise = Noise(7);
    for kernels in levels_with_tiles(Arithmetic::Blocks) {
        for format in Format::all().filter(|format| format.is_weight()) {
            let w = tensor(format, 512, ROWS, &mut noise);
            let x = noise.values(40 * 512);
            let mut activations = Activations::default();
            activations.fill(kernels.partner(format), 512, x.chunks_exact(512));
            let run = |tokens: &[usize]| tiled(&w, &kernels, tokens, &activations);
            let whole = run(&(0..40).collect::<Vec<_>>());
            for tokens in [vec![5, 17, 39], vec![0, 1, 2, 3], (10..31).collect()] {
                let part = run(&tokens);
                assert!(
                    tokens
                        .iter()
                        .zip(part)
                        .all(|(token, products)| whole[*token] == products),
                    "{:?} {format}",
                    kernels.dots.simd(),
                );
            }
        }
    }
}

/// Levels of which this machine has the instructions are not left out of these tests.
#[test]
fn every_level_of_this_machine_has_its_tiles() {
    let levels: Vec<Simd> = levels_with_tiles(Arithmetic::Float)
        .map(|kernels| kernels.dots.simd())
        .collect();
    for simd in [Simd::Avx2, Simd::Avx512, Simd::NeonDot] {
        assert_eq!(simd.is_supported(), levels.contains(&simd), "{simd:?}");
    }
}
