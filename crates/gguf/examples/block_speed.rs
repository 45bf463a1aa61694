//! How fast blocks decode and encode, on one thread, and how well they encode.
//!
//! `cargo run --release -p ds4-gguf --example block_speed`
//!
//! GB/s count float32 values, 4 bytes each, whatever the format's own size, so that rows can be
//! compared; `of copy` is the decode speed over that of copying the same float32 array on the same
//! machine. `error` is the root mean square error over the root mean square of normally distributed
//! values.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::time::{Duration, Instant};

use ds4_gguf::Format;
use ds4_gguf::block::{BlockError, Q8K, decode, encode};

/// 4 MiB of float32: out of the first cache levels, but no test of the memory.
const VALUES: usize = 1 << 20;
const MEASURED_FOR: Duration = Duration::from_millis(400);

/// Normally distributed values: sums of twelve uniform ones, from a 64-bit congruential generator.
fn normal_values() -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..VALUES)
        .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
        .collect()
}

/// Float32 gigabytes a second of the best of some runs.
fn speed(mut work: impl FnMut()) -> f64 {
    work();
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < MEASURED_FOR || best == Duration::MAX {
        let run = Instant::now();
        work();
        best = best.min(run.elapsed());
    }
    (VALUES * 4) as f64 / best.as_secs_f64() / 1e9
}

fn main() -> Result<(), BlockError> {
    let values = normal_values();
    let mut out = vec![0.0f32; VALUES];
    let copy = speed(|| std::hint::black_box(&mut out).copy_from_slice(&values));
    println!("copying float32: {copy:.1} GB/s\n");
    println!("format    bits  decode GB/s  of copy  encode GB/s   error");
    for format in Format::all().filter(|format| format.is_weight()) {
        let mut bytes = Vec::new();
        let encoded = speed(|| {
            bytes.clear();
            encode(format, &values, &mut bytes).expect("whole blocks of a weight format");
        });
        let decoded = speed(|| {
            decode(format, &bytes, std::hint::black_box(&mut out)).expect("what encode wrote");
        });
        let bits = bytes.len() as f64 * 8.0 / VALUES as f64;
        row(
            format.name(),
            bits,
            decoded,
            copy,
            encoded,
            error(&values, &out),
        );
    }

    let (blocks, _) = values.as_chunks::<256>();
    let mut rows = Vec::with_capacity(blocks.len());
    let encoded = speed(|| {
        rows.clear();
        rows.extend(blocks.iter().map(Q8K::quantise));
    });
    let decoded = speed(|| {
        for (row, out) in rows.iter().zip(out.as_chunks_mut().0) {
            row.decode(out);
        }
    });
    row(
        "Q8_K",
        292.0 / 32.0,
        decoded,
        copy,
        encoded,
        error(&values, &out),
    );
    Ok(())
}

fn row(name: &str, bits: f64, decoded: f64, copy: f64, encoded: f64, error: f64) {
    let of_copy = decoded / copy;
    println!(
        "{name:<8} {bits:>5.2}  {decoded:>11.2}  {of_copy:>7.2}  {encoded:>11.3}  {error:>6.4}"
    );
}

/// Root mean square of the differences over that of the values.
fn error(values: &[f32], decoded: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = values.iter().zip(decoded).map(|(x, y)| square(x - y)).sum();
    (off / values.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}
