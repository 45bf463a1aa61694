//! How fast one core multiplies a quantised matrix with one row of activations.
//!
//! `cargo run --release -p ds4-cpu --example dot_speed`
//!
//! Rows of 4096 values. `cached` is a matrix of 1 MiB, read again and again; `memory` one of 256
//! MiB, which no cache holds: there a decoder lives. GB/s count bytes of weights. `of read` is the
//! speed over that of merely adding up the same bytes, `over scalar` over the scalar function;
//! both should mean the same on other machines.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ds4_cpu::dot::{Activations, Dots, Partner, Row, Simd};
use ds4_gguf::Format;
use ds4_gguf::block::encode;

const WIDTH: usize = 4096;
const CACHED: usize = 1 << 20;
const MEMORY: usize = 256 << 20;
const MEASURED_FOR: Duration = Duration::from_millis(150);

/// Gigabytes a second of the best of some runs over `bytes` bytes.
fn speed(bytes: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < MEASURED_FOR || best == Duration::MAX {
        let run = Instant::now();
        work();
        best = best.min(run.elapsed());
    }
    bytes as f64 / best.as_secs_f64() / 1e9
}

fn product(dots: &Dots, format: Format, matrix: &[u8], row: usize, x: Row<'_>) {
    let mut sum = 0.0;
    for row in matrix.chunks_exact(row) {
        sum += dots.dot(format, row, x);
    }
    black_box(sum);
}

fn read(matrix: &[u8]) {
    let words = matrix.as_chunks::<8>().0.iter();
    black_box(words.fold(0u64, |sum, word| {
        sum.wrapping_add(u64::from_le_bytes(*word))
    }));
}

fn main() {
    let x: Vec<f32> = (0..WIDTH).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut row = Vec::new();
    // Not zeros: untouched pages would all be one page of memory.
    let mut matrix = vec![1u8; MEMORY];
    let reading = speed(MEMORY, || read(&matrix));
    println!("reading: {:.1} GB/s cached, {reading:.1} from memory\n", {
        speed(CACHED, || read(&matrix[..CACHED]))
    });
    println!("format   level   cached GB/s  over scalar  memory GB/s  of read");
    for format in Format::all().filter(|format| format.is_weight()) {
        let mut activations = Activations::default();
        activations.fill(
            Partner::of(format).expect("a weight format"),
            WIDTH,
            x.chunks(WIDTH),
        );
        row.clear();
        encode(format, &x, &mut row).expect("whole blocks");
        for place in matrix.chunks_exact_mut(row.len()) {
            place.copy_from_slice(&row);
        }
        let mut scalar = 0.0;
        for dots in Simd::ALL.into_iter().filter_map(Dots::of) {
            let run = |bytes: usize| {
                let bytes = bytes / row.len() * row.len();
                let x = activations.row(0);
                speed(bytes, || {
                    product(&dots, format, &matrix[..bytes], row.len(), x);
                })
            };
            let cached = run(CACHED);
            if dots.simd() == Simd::Scalar {
                scalar = cached;
            }
            // Minutes of scalar loops over memory would say nothing more.
            let memory = if dots.simd() == Simd::Scalar {
                f64::NAN
            } else {
                run(MEMORY)
            };
            let (name, level) = (format.name(), format!("{:?}", dots.simd()));
            println!(
                "{name:<8} {level:<7} {cached:>11.2} {:>12.1} {memory:>12.2} {:>8.2}",
                cached / scalar,
                memory / reading
            );
        }
    }
}
