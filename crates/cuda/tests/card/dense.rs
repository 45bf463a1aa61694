//! Dense products of few rows, which multiply integers where weights are codes: against plain loops
//! over decoded weights and activations that were rounded one by one.

use ds4_cuda::Cuda;
use ds4_gguf::Format;
use ds4_model::{Backend, Ops, Outputs, Plan, RowSet, Shape, Tensor, synthetic};

use crate::Check;
use crate::coded::{Noise, decoded, matrices, product, rounded};
use crate::rigs::Setup;
use crate::twin::distance;

pub(crate) const CHECKS: &[Check] = &[
    ("dense by integers", || hold(Format::Q8_0, rounded)),
    ("dense by halves", || hold(Format::F16, halves)),
    ("dense in groups", groups),
    ("dense shows what is no number", wild),
];

/// Columns and rows: windows that are whole and that are not, of every share; rows of no whole tile.
const SIZES: [(usize, usize); 9] = [
    (64, 16),
    (96, 45),
    (192, 131),
    (256, 64),
    (1024, 96),
    (1088, 40),
    (2112, 33),
    (4096, 272),
    (8192, 48),
];

const ROWS: [usize; 13] = [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 32, 33, 64];

/// Values as binary16 has them.
fn halves(values: &[f32]) -> Vec<f32> {
    let eleven = |v: &f32| {
        // Twelve bits go, to the even neighbour; none of these is subnormal or too large.
        let bits = v.to_bits();
        f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
    };
    values.iter().map(eleven).collect()
}

fn seeded() -> Noise {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    println!("  seed {seed}");
    Noise(seed)
}

fn begin(cuda: &mut Cuda, rows: usize) {
    let mut plan = Plan::new();
    plan.push(0, 0, &vec![0; rows], Outputs::None).unwrap();
    cuda.clear_slot(0).unwrap();
    cuda.set_pages(0, &[0]).unwrap();
    cuda.begin(&plan).unwrap();
}

fn load(cuda: &Cuda, tensor: &Tensor) -> ds4_cuda::Tensor {
    cuda.load_tensor("layers.0.output.b", tensor).unwrap()
}

/// `n` rows times a weight, on the card.
fn run(cuda: &mut Cuda, x: &[f32], w: &ds4_cuda::Tensor, n: usize, rows: usize) -> Vec<f32> {
    begin(cuda, n);
    let mut from = cuda.buffer(RowSet::All, x.len() / n).unwrap();
    let mut out = cuda.buffer(RowSet::All, rows).unwrap();
    from.fill(x).unwrap();
    out.poison().unwrap();
    cuda.matmul(&mut out, &from, w).unwrap();
    cuda.read(&out).unwrap().to_vec()
}

/// Rows of values of every size, among them nothing at all.
fn values(noise: &mut Noise, n: usize, columns: usize) -> Vec<f32> {
    let mut x: Vec<f32> = Vec::with_capacity(n * columns);
    for group in 0..n * columns / 32 {
        let size = [1.0, 8.0, 0.25, 1.0][noise.next() as usize % 4];
        let size = if group % 11 == 5 { 0.0 } else { size };
        x.extend((0..32).map(|_| size * (0.01 + noise.value().abs())));
    }
    for v in &mut x {
        *v = if noise.next().is_multiple_of(2) {
            *v
        } else {
            -*v
        };
    }
    x
}

fn hold(format: Format, rounded: fn(&[f32]) -> Vec<f32>) {
    let mut noise = seeded();
    let mut cuda = Setup::HALF.cuda(&synthetic::mini());
    let (mut worst, mut like) = (0.0f64, 0.0f64);
    for (columns, rows) in SIZES {
        let w = matrices(&mut noise, format, columns, rows, 1);
        let (on_card, plain) = (load(&cuda, &w), decoded(&w));
        for n in ROWS {
            let x = values(&mut noise, n, columns);
            let found = run(&mut cuda, &x, &on_card, n, rows);
            let with = |rounded: fn(&[f32]) -> Vec<f32>| {
                let x = rounded(&x);
                let rows = x.chunks(columns).map(|x| product(&plain, 0, rows, x));
                rows.collect::<Vec<_>>().concat()
            };
            // Scales of blocks come in pairs; where they do not, activations are binary16.
            let (truth, limit) = if columns.is_multiple_of(64) || format == Format::F16 {
                (with(rounded), 5e-6)
            } else {
                (with(<[f32]>::to_vec), 1e-3)
            };
            let far = distance(&found, &truth);
            assert!(
                far < limit,
                "{columns} columns, {rows} rows, {n} tokens: {far:.1e}"
            );
            worst = worst.max(far / limit);
            if columns == 1024 {
                like = like.max(distance(&found, &with(<[f32]>::to_vec)));
            }
        }
    }
    println!("  worst {worst:.2} of its limit; from activations that are not rounded {like:.1e}");
    // That they are rounded at all must be seen.
    assert!(like > 5e-5);
}

/// A weight of blocks along its diagonal, as the output projection has it.
fn groups() {
    let mut noise = seeded();
    let mut worst = 0.0f64;
    for (groups, columns, rows) in [
        (2, 128, 32),
        (4, 256, 48),
        (3, 160, 16),
        (8, 1024, 64),
        (3, 512, 128),
        (8, 256, 384),
    ] {
        let shape = Shape {
            output_groups: groups,
            ..synthetic::mini()
        };
        let mut cuda = Setup::HALF.cuda(&shape);
        let w = matrices(&mut noise, Format::Q8_0, columns, groups * rows, 1);
        let (on_card, plain) = (load(&cuda, &w), decoded(&w));
        for n in ROWS {
            let x = values(&mut noise, n, groups * columns);
            begin(&mut cuda, n);
            let mut heads = cuda.buffer(RowSet::All, groups * columns).unwrap();
            let mut low = cuda.buffer(RowSet::All, groups * rows).unwrap();
            heads.fill(&x).unwrap();
            low.poison().unwrap();
            cuda.output_groups(&mut low, &heads, &on_card).unwrap();
            let found = cuda.read(&low).unwrap().to_vec();
            // Where groups begin amid a window, or of many tokens amid a block's rows, activations
            // are binary16.
            let (x, limit) = if columns % 128 == 0 && (n <= 4 || rows % 128 == 0) {
                (rounded(&x), 5e-6)
            } else {
                (x, 1e-3)
            };
            let each = x.chunks(columns).enumerate();
            let truth: Vec<f32> = each
                .flat_map(|(i, x)| product(&plain, i % groups, rows, x))
                .collect();
            let far = distance(&found, &truth);
            assert!(
                far < limit,
                "{groups} groups of {rows}, {n} tokens: {far:.1e}"
            );
            worst = worst.max(far / limit);
        }
    }
    println!("  worst {worst:.2} of its limit");
}

/// A token with an infinity or a NaN has no results, and the others have theirs.
fn wild() {
    let mut noise = seeded();
    let mut cuda = Setup::HALF.cuda(&synthetic::mini());
    let (columns, rows) = (512, 32);
    let w = matrices(&mut noise, Format::Q8_0, columns, rows, 1);
    let on_card = load(&cuda, &w);
    for (n, bad) in [(1, 0), (2, 1), (4, 2), (7, 3), (16, 9), (40, 33)] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = values(&mut noise, n, columns);
            x[bad * columns + 77] = value;
            let found = run(&mut cuda, &x, &on_card, n, rows);
            for (token, found) in found.chunks(rows).enumerate() {
                let finite = found.iter().filter(|v| v.is_finite()).count();
                assert_eq!(finite, if token == bad { 0 } else { rows });
            }
        }
    }
}
