//! Rotary embedding: frequencies and angles (model.md 6.1 in the paper's terms: plain RoPE, and RoPE with YaRN).
//!
//! The power is rounded to f32 and every later operation is f32, as in the released code; angles reach a million
//! radians, so their sine and cosine are taken in f64.

use crate::shape::Rope;

/// Which of the two tables a layer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeTable {
    /// Layers without compression.
    Window,
    /// Ratio-4 and ratio-128 layers: another base, stretched by YaRN.
    Compressed,
}

/// Frequencies of both tables, one per channel pair.
#[derive(Clone, Debug)]
pub struct Frequencies {
    window: Vec<f32>,
    compressed: Vec<f32>,
}

impl Frequencies {
    /// The tables for `rotary` channels.
    pub fn new(rope: &Rope, rotary: usize) -> Self {
        Self {
            window: plain(f64::from(rope.base), rotary),
            compressed: yarn(rope, rotary),
        }
    }

    /// Frequencies of `table`.
    pub fn of(&self, table: RopeTable) -> &[f32] {
        match table {
            RopeTable::Window => &self.window,
            RopeTable::Compressed => &self.compressed,
        }
    }

    /// Writes (cos, sin) of each pair at `pos`.
    pub fn angles(&self, table: RopeTable, pos: u32, out: &mut [(f32, f32)]) {
        for (out, &f) in out.iter_mut().zip(self.of(table)) {
            let (sin, cos) = f64::from(pos as f32 * f).sin_cos();
            *out = (cos as f32, sin as f32);
        }
    }
}

fn plain(base: f64, rotary: usize) -> Vec<f32> {
    (0..rotary)
        .step_by(2)
        .map(|k| 1.0 / base.powf(k as f64 / rotary as f64) as f32)
        .collect()
}

fn yarn(rope: &Rope, rotary: usize) -> Vec<f32> {
    let base = f64::from(rope.compressed_base);
    let pairs_turned = |rotations: f32| {
        let turns = f64::from(rope.yarn_original) / (f64::from(rotations) * std::f64::consts::TAU);
        rotary as f64 * turns.ln() / (2.0 * base.ln())
    };
    let low = pairs_turned(rope.yarn_beta_fast).floor().max(0.0);
    let mut high = pairs_turned(rope.yarn_beta_slow)
        .ceil()
        .min(rotary as f64 - 1.0);
    if low == high {
        high += 0.001;
    }
    plain(base, rotary)
        .into_iter()
        .enumerate()
        .map(|(pair, f)| {
            let ramp = (pair as f32 - low as f32) / (high - low) as f32;
            let keep = 1.0 - ramp.clamp(0.0, 1.0);
            f / rope.yarn_factor * (1.0 - keep) + f * keep
        })
        .collect()
}

/// Rotates the last `2 * angles.len()` channels of `head` forward; adjacent channels form a pair.
pub fn rotate(head: &mut [f32], angles: &[(f32, f32)]) {
    let start = head.len() - 2 * angles.len();
    for (pair, &(cos, sin)) in head[start..].chunks_exact_mut(2).zip(angles) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * cos - b * sin;
        pair[1] = a * sin + b * cos;
    }
}

/// Rotates back.
pub fn unrotate(head: &mut [f32], angles: &[(f32, f32)]) {
    let start = head.len() - 2 * angles.len();
    for (pair, &(cos, sin)) in head[start..].chunks_exact_mut(2).zip(angles) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * cos + b * sin;
        pair[1] = b * cos - a * sin;
    }
}
