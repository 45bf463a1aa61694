//! Hyper-connections: how the four residual streams are read, written and mixed.

use ds4_model::Shape;

/// What a sub-layer's mix of 24 values means for one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Weights with which the streams are read.
    pub pre: [f32; 4],
    /// Weights with which the result is written.
    pub post: [f32; 4],
    /// `comb[read][written]`: how streams pass into each other; rows and columns sum to about one.
    pub comb: [[f32; 4]; 4],
}

pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Splits a mix (after its division by the RMS): gates by sigmoid, the matrix by Sinkhorn rounds.
pub fn split(mix: &[f32], scale: &[f32], base: &[f32], shape: &Shape) -> Split {
    let eps = shape.hyper_epsilon;
    let gate = |i: usize, s: usize| sigmoid(mix[i] * scale[s] + base[i]);
    let pre = std::array::from_fn(|i| gate(i, 0) + eps);
    let post = std::array::from_fn(|i| 2.0 * gate(4 + i, 1));
    let mut comb: [[f32; 4]; 4] = std::array::from_fn(|read| {
        softmax(std::array::from_fn(|written| {
            let i = 8 + 4 * read + written;
            mix[i] * scale[2] + base[i]
        }))
        .map(|p| p + eps)
    });
    normalise_columns(&mut comb, eps);
    for _ in 1..shape.sinkhorn_rounds {
        for row in &mut comb {
            let sum = row.iter().sum::<f32>() + eps;
            *row = row.map(|c| c / sum);
        }
        normalise_columns(&mut comb, eps);
    }
    Split { pre, post, comb }
}

fn softmax(x: [f32; 4]) -> [f32; 4] {
    let max = x.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let e = x.map(|x| (x - max).exp());
    let sum: f32 = e.iter().sum();
    e.map(|e| e / sum)
}

fn normalise_columns(comb: &mut [[f32; 4]; 4], eps: f32) {
    for written in 0..4 {
        let sum = comb.iter().map(|row| row[written]).sum::<f32>() + eps;
        for row in comb.iter_mut() {
            row[written] /= sum;
        }
    }
}

/// `x[e] = sum over streams of weights[j] * streams[j][e]`.
pub(crate) fn collapse(x: &mut [f32], streams: &[f32], weights: [f32; 4]) {
    let (a, rest) = streams.split_at(x.len());
    let (b, rest) = rest.split_at(x.len());
    let (c, d) = rest.split_at(x.len());
    for ((((x, a), b), c), d) in x.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *x = weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
    }
}

/// Channels written at a time: several vectors of any machine.
const CHANNELS: usize = 16;

/// `streams[i] = post[i] * y + sum over j of comb[j][i] * streams[j]`, in place.
pub(crate) fn write_back(streams: &mut [f32], y: &[f32], post: [f32; 4], comb: [[f32; 4]; 4]) {
    let (a, rest) = streams.split_at_mut(y.len());
    let (b, rest) = rest.split_at_mut(y.len());
    let (c, d) = rest.split_at_mut(y.len());
    let mut parts = [a, b, c, d].map(|stream| stream.chunks_mut(CHANNELS));
    for y in y.chunks(CHANNELS) {
        let [a, b, c, d] = &mut parts;
        let (Some(a), Some(b), Some(c), Some(d)) = (a.next(), b.next(), c.next(), d.next()) else {
            unreachable!("streams are as wide as what is written");
        };
        let mut streams = [a, b, c, d];
        match <&[f32; CHANNELS]>::try_from(y) {
            Ok(y) => {
                // Of a length the compiler knows.
                let whole = streams.map(|s| <&mut [f32; CHANNELS]>::try_from(s).expect("as long"));
                mix(whole, y, post, comb);
            }
            Err(_) => {
                for at in 0..y.len() {
                    let one = streams.each_mut().map(|s| std::array::from_mut(&mut s[at]));
                    mix(one, &[y[at]], post, comb);
                }
            }
        }
    }
}

#[inline(always)]
fn mix<const N: usize>(
    streams: [&mut [f32; N]; 4],
    y: &[f32; N],
    post: [f32; 4],
    comb: [[f32; 4]; 4],
) {
    let old = streams.each_ref().map(|stream| **stream);
    for (i, stream) in streams.into_iter().enumerate() {
        for (at, new) in stream.iter_mut().enumerate() {
            let mixed = comb[0][i] * old[0][at]
                + comb[1][i] * old[1][at]
                + comb[2][i] * old[2][at]
                + comb[3][i] * old[3][at];
            *new = post[i] * y[at] + mixed;
        }
    }
}
