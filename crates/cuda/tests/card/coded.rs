//! Experts of few rows, which multiply integers: against plain loops over decoded weights and
//! activations that were rounded to codes one by one.

use ds4_cuda::Cuda;
use ds4_gguf::{Format, Payload, block};
use ds4_model::weights::Ffn;
use ds4_model::{Backend, Ops, Outputs, Plan, RowSet, Shape, Tensor, synthetic};

use crate::Check;
use crate::rigs::Setup;
use crate::twin::distance;

pub(crate) const CHECKS: &[Check] = &[
    ("experts by integers q2", || {
        hold(Format::Iq2Xxs, Format::Q2K);
    }),
    ("experts by integers, the other way round", || {
        hold(Format::Q2K, Format::Iq2Xxs);
    }),
    ("experts by integers q4", || hold(Format::Q4K, Format::Q4K)),
    ("experts by integers mxfp4", || {
        hold(Format::Mxfp4, Format::Mxfp4);
    }),
];

/// Widths that are no whole number of what a warp takes at a time.
fn shape() -> Shape {
    Shape {
        hidden: 2304,
        expert_width: 1280,
        experts: 5,
        experts_used: 3,
        ..synthetic::mini()
    }
}

/// Numbers that look like nothing in particular.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32
    }

    /// Between -1 and 1.
    pub(crate) fn value(&mut self) -> f32 {
        (self.next() as i32) as f32 / i32::MAX as f32
    }
}

/// Blocks of random bytes, whose scales are of a size that sums can bear.
pub(crate) fn matrices(
    noise: &mut Noise,
    format: Format,
    columns: usize,
    rows: usize,
    slabs: usize,
) -> Tensor {
    let size = format.block_bytes();
    let mut bytes = vec![0; columns / format.block_values() * size * rows * slabs];
    for block in bytes.chunks_exact_mut(size) {
        block.fill_with(|| noise.next() as u8);
        // Binary16 around one thousandth, of either sign.
        let mut unit = |at: usize| {
            let bits = (0x1400 + noise.next() % 0x800) | (noise.next() & 0x8000);
            block[at..at + 2].copy_from_slice(&(bits as u16).to_le_bytes());
        };
        match format {
            Format::Iq2Xxs | Format::Q8_0 | Format::F16 => unit(0),
            Format::Q2K => [80, 82].into_iter().for_each(unit),
            Format::Q4K => [0, 2].into_iter().for_each(unit),
            Format::Mxfp4 => block[0] = (118 + noise.next() % 4) as u8,
            _ => block.fill(0),
        }
    }
    let dims = [columns as u64, rows as u64, slabs as u64];
    Tensor::new(format.name(), format, &dims, Payload::from(bytes))
}

/// Values as the codes of their groups of 32 stand for them.
pub(crate) fn rounded(values: &[f32]) -> Vec<f32> {
    let groups = values.chunks(32).flat_map(|group| {
        let largest = group.iter().fold(0.0, |a: f32, v| a.max(v.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let scale = largest / 127.0;
        group
            .iter()
            .map(move |v| scale * (v * inverse).round_ties_even())
    });
    groups.collect()
}

/// `w x` for slab `slab` of `w`.
pub(crate) fn product(w: &[f32], slab: usize, rows: usize, x: &[f32]) -> Vec<f32> {
    let slab = &w[slab * rows * x.len()..][..rows * x.len()];
    let dot = |row: &[f32]| -> f64 {
        let terms = row
            .iter()
            .zip(x)
            .map(|(w, x)| f64::from(*w) * f64::from(*x));
        terms.sum()
    };
    slab.chunks_exact(x.len())
        .map(|row| dot(row) as f32)
        .collect()
}

pub(crate) fn decoded(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.columns * tensor.rows * tensor.slabs];
    block::decode(tensor.format, tensor.bytes(), &mut values).unwrap();
    values
}

fn hold(inward: Format, outward: Format) {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    println!("  seed {seed}");
    let (noise, shape) = (&mut Noise(seed), shape());
    let (e, f, experts) = (shape.hidden, shape.expert_width, shape.experts);
    let routed = Ffn {
        gate: matrices(noise, inward, e, f, experts),
        up: matrices(noise, inward, e, f, experts),
        down: matrices(noise, outward, f, e, experts),
    };
    // What the shared expert adds is nothing.
    let shared = Ffn {
        gate: matrices(noise, Format::F32, e, f, 1),
        up: matrices(noise, Format::F32, e, f, 1),
        down: matrices(noise, Format::F32, f, e, 1),
    };
    let mut cuda = Setup::HALF.cuda(&shape);
    let load = |w: &Ffn<Tensor>| {
        let load = |tensor| cuda.load_tensor("layers.0.moe.experts", tensor).unwrap();
        Ffn {
            gate: load(&w.gate),
            up: load(&w.up),
            down: load(&w.down),
        }
    };
    let on_card = (load(&routed), load(&shared));
    let plain = Ffn {
        gate: decoded(&routed.gate),
        up: decoded(&routed.up),
        down: decoded(&routed.down),
    };
    let (mut worst, mut unlike) = (0.0f64, f64::INFINITY);
    for n in [2, 3, 7, 16, 33, 64] {
        let x: Vec<f32> = (0..n * e).map(|_| noise.value()).collect();
        // Some experts get many tokens, some one, some none.
        let picks: Vec<(Vec<u32>, Vec<f32>)> = (0..n)
            .map(|_| {
                let first = noise.next() % 2 * (noise.next() % experts as u32);
                let ids = (0..3).map(|k| (first + k) % experts as u32).collect();
                (ids, (0..3).map(|_| noise.value()).collect())
            })
            .collect();
        let found = run(&mut cuda, &x, &picks, &on_card, e);
        let mut truth = Vec::new();
        for (x, (ids, weights)) in x.chunks(e).zip(&picks) {
            truth.extend(mixture(&shape, &plain, x, ids, weights, rounded));
        }
        worst = worst.max(distance(&found, &truth));
        if n == 2 {
            let mut other = Vec::new();
            for (x, (ids, weights)) in x.chunks(e).zip(&picks) {
                other.extend(mixture(&shape, &plain, x, ids, weights, <[f32]>::to_vec));
            }
            unlike = distance(&found, &other);
        }
    }
    println!("  worst {worst:.1e}; from activations that are not rounded {unlike:.1e}");
    // Between two codes a last bit decides; that they are codes at all must be seen.
    assert!(worst < 1e-3 && unlike > 2e-3);
}

/// What the card makes of it.
fn run(
    cuda: &mut Cuda,
    x: &[f32],
    picks: &[(Vec<u32>, Vec<f32>)],
    (routed, shared): &(Ffn<ds4_cuda::Tensor>, Ffn<ds4_cuda::Tensor>),
    width: usize,
) -> Vec<f32> {
    let mut plan = Plan::new();
    plan.push(0, 0, &vec![0; picks.len()], Outputs::None)
        .unwrap();
    cuda.clear_slot(0).unwrap();
    cuda.set_pages(0, &[0]).unwrap();
    cuda.begin(&plan).unwrap();
    let mut rows = cuda.buffer(RowSet::All, width).unwrap();
    let mut y = cuda.buffer(RowSet::All, width).unwrap();
    let mut on_card = cuda.picks(3).unwrap();
    rows.fill(x).unwrap();
    y.poison().unwrap();
    for (row, (ids, weights)) in picks.iter().enumerate() {
        on_card.set(row, ids, weights).unwrap();
    }
    cuda.experts(&mut y, &rows, &on_card, routed, shared)
        .unwrap();
    cuda.read(&y).unwrap().to_vec()
}

/// One token's picks by plain loops.
fn mixture(
    shape: &Shape,
    w: &Ffn<Vec<f32>>,
    x: &[f32],
    ids: &[u32],
    weights: &[f32],
    rounded: impl Fn(&[f32]) -> Vec<f32>,
) -> Vec<f32> {
    let (x, limit) = (rounded(x), shape.swiglu_limit);
    let mut y = vec![0.0; x.len()];
    for (&id, &weight) in ids.iter().zip(weights) {
        let gate = product(&w.gate, id as usize, shape.expert_width, &x);
        let up = product(&w.up, id as usize, shape.expert_width, &x);
        let hidden: Vec<f32> = gate
            .iter()
            .zip(&up)
            .map(|(gate, up)| {
                let gate = gate.min(limit);
                weight * gate / (1.0 + (-gate).exp()) * up.clamp(-limit, limit)
            })
            .collect();
        let down = product(&w.down, id as usize, x.len(), &rounded(&hidden));
        for (y, down) in y.iter_mut().zip(down) {
            *y += down;
        }
    }
    y
}
