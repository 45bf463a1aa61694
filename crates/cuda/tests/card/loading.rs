//! Weights on their way to the card, and a card without room for them.

use std::ops::ControlFlow;

use ds4_cuda::{Cuda, Error};
use ds4_gguf::{Format, Payload};
use ds4_model::{KvGeometry, Recipe, RowFormat, Tensor, synthetic};

use crate::Check;
use crate::rigs::{Setup, bound};

pub(crate) const CHECKS: &[Check] = &[
    ("loading in pieces", in_pieces),
    ("loading that is ended", ended),
    ("room for what fits", room),
];

/// Bytes without a pattern.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words = (0..bytes.div_ceil(8)).flat_map(|_| next().to_le_bytes());
    words.take(bytes).collect()
}

fn tensor(format: Format, rows: usize, bytes: Vec<u8>) -> Tensor {
    Tensor::new("t", format, &[1024, rows as u64], Payload::from(bytes))
}

/// More than all stages hold, so that each is used again; each part of it is what it is alone.
fn in_pieces() {
    let cuda = Setup::HALF.cuda(&synthetic::mini());
    for (number, format) in (0..).zip([
        Format::Q8_0,
        Format::Q2K,
        Format::Q4K,
        Format::Iq2Xxs,
        Format::Mxfp4,
        Format::F16,
    ]) {
        let row = 1024 / format.block_values() * format.block_bytes();
        let rows = (300 << 20) / row + 3;
        let bytes = noise(rows * row, 7 + number);
        let whole = tensor(format, rows, bytes.clone());
        let whole = cuda.load_tensor("w", &whole).unwrap();
        let whole = whole.planes().unwrap();
        let part = 1000;
        for first in [0, rows / 3, rows / 2 + 1, rows - part] {
            let own = bytes[first * row..(first + part) * row].to_vec();
            let alone = cuda.load_tensor("w", &tensor(format, part, own.clone()));
            let alone = alone.unwrap().planes().unwrap();
            for (whole, alone) in whole.iter().zip(&alone) {
                let (from, bytes) = (alone.len() / part * first, alone.len());
                assert!(
                    whole[from..from + bytes] == alone[..],
                    "{format} from row {first}"
                );
            }
            match format {
                Format::F16 => assert!(alone[0] == own),
                Format::Q8_0 => {
                    let codes = own.chunks_exact(34).flat_map(|block| &block[2..]);
                    assert!(codes.eq(&alone[0]), "codes of row {first}");
                    let scales = own.chunks_exact(34).flat_map(|block| &block[..2]);
                    assert!(scales.eq(&alone[1]), "scales of row {first}");
                }
                _ => {}
            }
        }
    }
}

/// Ended at any piece, the card has what it had before, and loads the next time.
fn ended() {
    let (shape, weights) = bound(&synthetic::mini(), Recipe::FLOAT);
    let cuda = Setup::HALF.cuda(&shape);
    drop(cuda.load(&weights).unwrap());
    let free = cuda.device().memory().unwrap().0;
    for most in [1, 2, 5, 11] {
        let (mut calls, mut last) = (0, 0);
        let loaded = cuda.load_with(&weights, &mut |done, all| {
            assert!(last <= done && done <= all);
            (calls, last) = (calls + 1, done);
            if calls == most {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        assert!(matches!(loaded, Err(Error::Interrupted)));
        assert_eq!(calls, most, "nothing is told to one who ended it");
    }
    let after = cuda.device().memory().unwrap().0;
    assert!(after + (64 << 20) >= free, "{after} of {free} free");
    drop(cuda.load(&weights).unwrap());
}

/// More than there is is refused with what would fit, which then does, weights included.
fn room() {
    let (shape, weights) = bound(&synthetic::mini(), Recipe::FLOAT);
    let geometry = KvGeometry::new(&shape, RowFormat::Packed, true);
    let device = ds4_cuda::Device::open(0).unwrap();
    let total = device.memory().unwrap().1;
    let with = |pages| {
        let setup = Setup {
            pages,
            ..Setup::HALF
        };
        Cuda::with_room_for(&weights, shape.clone(), setup.options())
    };
    let refused = with(total / geometry.page_bytes + 1);
    let Err(Error::Room(room)) = refused else {
        panic!("there is no room for more than there is");
    };
    println!("  {room}");
    let fit = room.pages_that_fit();
    assert!(fit > 0 && fit * geometry.page_bytes < room.free);
    let cuda = with(fit).unwrap();
    let loaded = cuda.load(&weights).unwrap();
    let left = device.memory().unwrap().0;
    println!("  {fit} pages fit and leave {:.2} GB", left as f64 * 1e-9);
    drop((loaded, cuda));
}
