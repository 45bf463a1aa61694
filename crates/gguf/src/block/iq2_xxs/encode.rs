//! The plain IQ2_XXS encoder: good enough for test models.
//!
//! Order of decisions: signs first (a run with an odd number of negative values gives up the sign
//! that costs least), then a free scale for each group of 32, then the float16 that makes these
//! scales odd multiples of it, and last the grid words for the scales that came out. Errors are
//! weighted by sqrt(mean(x²) + x²), a stand-in for how much a weight matters. An encoder that knows
//! an importance matrix replaces these weights and searches more scales.

use std::array;
use std::sync::LazyLock;

use super::grid::{LEVELS, MAGNITUDES};
use super::{Group, Iq2Xxs};
use crate::block::F16;
use crate::block::round::{half_even, sane};

/// Levels in units of the smallest, so that a group's scale times a level is a value: 1, 3.125,
/// 5.375.
const UNITS: [f32; 3] = {
    let unit = LEVELS[0] as f32;
    [1.0, LEVELS[1] as f32 / unit, LEVELS[2] as f32 / unit]
};

/// Grid words kept for each of the 6561 wishes.
const NEIGHBOURS: usize = 12;

/// For every word of eight base-3 digits, first value lowest, the grid words nearest to it, nearest
/// first.
static NEAREST: LazyLock<Vec<[u8; NEIGHBOURS]>> = LazyLock::new(|| {
    let wished = |code: usize, k: u32| f32::from(LEVELS[code / 3usize.pow(k) % 3]);
    let nearest = |code: usize| {
        let wish: [f32; 8] = array::from_fn(|k| wished(code, k as u32));
        let mut words: [(u32, u8); 256] = array::from_fn(|w| {
            let off = |(x, m): (&f32, &u8)| (x - f32::from(*m)) * (x - f32::from(*m));
            let distance: f32 = wish.iter().zip(&MAGNITUDES[w]).map(off).sum();
            (distance as u32, w as u8)
        });
        words.select_nth_unstable(NEIGHBOURS);
        words[..NEIGHBOURS].sort_unstable();
        array::from_fn(|n| words[n].1)
    };
    (0..6561).map(nearest).collect()
});

/// The grid in units of the smallest level.
static WORDS: LazyLock<Vec<[f32; 8]>> = LazyLock::new(|| {
    MAGNITUDES
        .iter()
        .map(|word| word.map(|m| f32::from(m) / f32::from(LEVELS[0])))
        .collect()
});

/// Divisors of the largest value that give a group's scale: as if it were of the first level, the
/// second, or near the third.
const DIVISORS: [f32; 12] = [
    1.0, 2.2, UNITS[1], 3.6, 4.0, 4.4, 4.8, 5.1, UNITS[2], 5.7, 6.1, 6.6,
];

/// Eight values with their signs taken off.
#[derive(Clone, Copy)]
struct Run {
    /// Magnitudes; one that had to give up its sign is below zero.
    x: [f32; 8],
    /// How much an error of each counts.
    weight: [f32; 8],
    /// The seven-bit sign index.
    signs: u8,
}

impl Run {
    fn new(values: &[f32; 8], mean_square: f32) -> Self {
        let weight = values.map(|x| (mean_square + x * x).sqrt());
        let mut x = values.map(f32::abs);
        let mut negative = 0;
        for (k, value) in values.iter().enumerate() {
            negative |= u8::from(*value < 0.0) << k;
        }
        if negative.count_ones() % 2 == 1 {
            let mut cheapest = 0;
            for k in 1..8 {
                if weight[k] * x[k] * x[k] < weight[cheapest] * x[cheapest] * x[cheapest] {
                    cheapest = k;
                }
            }
            negative ^= 1 << cheapest;
            x[cheapest] = -x[cheapest];
        }
        Self {
            x,
            weight,
            signs: negative & 127,
        }
    }

    /// The grid words nearest to `x / scale`, nearest first, errors not weighted.
    #[inline]
    fn candidates(&self, inverse: f32) -> &'static [u8; NEIGHBOURS] {
        const LOW: f32 = (UNITS[0] + UNITS[1]) / 2.0;
        const HIGH: f32 = (UNITS[1] + UNITS[2]) / 2.0;
        let mut code = 0;
        for x in self.x.iter().rev() {
            let x = x * inverse;
            code = 3 * code + usize::from(x > LOW) + usize::from(x > HIGH);
        }
        &NEAREST[code]
    }

    /// The candidate with the least weighted error for this scale.
    fn word(&self, scale: f32) -> u8 {
        let mut best = (f32::INFINITY, 0);
        for &word in self.candidates(1.0 / scale) {
            let mut error = 0.0;
            for ((x, weight), unit) in self
                .x
                .iter()
                .zip(&self.weight)
                .zip(&WORDS[usize::from(word)])
            {
                let off = x - scale * unit;
                error += weight * off * off;
            }
            if error < best.0 {
                best = (error, word);
            }
        }
        best.1
    }
}

/// The scale with the least weighted error among those tried, each improved for the words it leads
/// to.
fn scale_of(runs: &[Run; 4]) -> f32 {
    let largest = runs.iter().flat_map(|run| run.x).fold(0.0f32, f32::max);
    // Weights are about as large as values: cubes of anything smaller would vanish.
    if largest < 1e-12 {
        return 0.0;
    }
    let (mut best, mut most) = (0.0, 0.0);
    for divisor in DIVISORS {
        let inverse = divisor / largest;
        let (mut xu, mut uu) = (0.0, 0.0);
        for run in runs {
            let units = &WORDS[usize::from(run.candidates(inverse)[0])];
            for ((x, weight), unit) in run.x.iter().zip(&run.weight).zip(units) {
                xu += weight * x * unit;
                uu += weight * unit * unit;
            }
        }
        // With the scale xu / uu the error falls by xu² / uu.
        if xu > 0.0 && xu * (xu / uu) > most {
            (best, most) = (xu / uu, xu * (xu / uu));
        }
    }
    best
}

pub(super) fn encode(values: &[f32]) -> Iq2Xxs {
    let mut sane_values = [0.0; 256];
    for (to, &from) in sane_values.iter_mut().zip(values) {
        *to = sane(from);
    }
    let mean_square = sane_values.iter().map(|x| x * x).sum::<f32>() / 256.0;
    let (eights, _) = sane_values.as_chunks::<8>();
    let groups: [[Run; 4]; 8] =
        array::from_fn(|g| array::from_fn(|r| Run::new(&eights[4 * g + r], mean_square)));

    let scales = groups.each_ref().map(scale_of);
    let d = F16::saturating(scales.into_iter().fold(0.0, f32::max) / 31.0);
    let unit = d.to_f32();
    if unit == 0.0 {
        return Iq2Xxs::default();
    }
    let groups = array::from_fn(|g| {
        let code = half_even(((scales[g] / unit - 1.0) / 2.0).clamp(0.0, 15.0)) as u32;
        let scale = unit * (2 * code + 1) as f32;
        let runs = &groups[g];
        let signs = (0..4).fold(0, |bits, r| bits | u32::from(runs[r].signs) << (7 * r));
        Group {
            words: array::from_fn(|r| runs[r].word(scale)),
            signs_scale: (signs | code << 28).to_le_bytes(),
        }
    });
    Iq2Xxs { d, groups }
}
