//! How fast noise is made, per format and core, beside copying as much memory.
//!
//! Run with `cargo run --release -p ds4-gguf --example synth_speed`.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use ds4_gguf::Format;
use ds4_gguf::synth::noise::{Fill, Noise};

const BYTES: usize = 64 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut buffer = vec![1; BYTES];
    let source = vec![2; BYTES];
    let copy = best(|| buffer.copy_from_slice(black_box(&source)));
    println!("{:8} {:>10} {:>14}", "format", "GB/s", "times a copy");
    println!("{:8} {copy:10.2} {:14.2}", "copy", 1.0);
    for format in [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q8_0,
        Format::Q2K,
        Format::Q4K,
        Format::Iq2Xxs,
        Format::Mxfp4,
    ] {
        let noise = Noise::new(1, "tensor", format, &Fill::Spread { std: 1.0 / 64.0 })?;
        let speed = best(|| noise.fill(0, black_box(&mut buffer)));
        println!("{format:8} {speed:10.2} {:14.2}", speed / copy);
    }
    Ok(())
}

/// The best of three runs over the buffer, in GB/s.
fn best(mut run: impl FnMut()) -> f64 {
    let seconds = (0..3).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    BYTES as f64 / 1e9 / seconds.fold(f64::INFINITY, f64::min)
}
