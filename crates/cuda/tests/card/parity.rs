//! Every operation against the CPU, in step (see `twin`): all formats, odd numbers of rows, two
//! sessions in one plan.

use ds4_gguf::{Format, Payload};
use ds4_model::{Outputs, Recipe, RowFormat, Shape, Tensor, Weights, synthetic};
use ds4_truth::Rig;

use crate::Check;
use crate::rigs::{Setup, bound};
use crate::twin::Twin;

pub(crate) const CHECKS: &[Check] = &[
    ("parity float exact", || hold(Recipe::FLOAT, Setup::EXACT)),
    ("parity f32 exact", || hold(Recipe::F32, Setup::EXACT)),
    ("parity float rounded", || {
        hold(
            Recipe::FLOAT,
            Setup {
                rows: RowFormat::F32,
                ..Setup::PACKED
            },
        );
    }),
    ("parity float packed", || hold(Recipe::FLOAT, Setup::PACKED)),
    ("parity q2", || hold(Recipe::Q2, Setup::PACKED)),
    ("parity q4", || hold(Recipe::Q4, Setup::PACKED)),
    ("parity mxfp4", || hold(Recipe::MXFP4, Setup::PACKED)),
    ("parity q8_0", || {
        hold(Recipe::plain("q8_0", Format::Q8_0), Setup::PACKED);
    }),
    ("parity f16", || {
        hold(Recipe::plain("f16", Format::F16), Setup::EXACT);
    }),
    ("parity q2 half", || hold(Recipe::Q2, Setup::HALF)),
    ("parity q4 half", || hold(Recipe::Q4, Setup::HALF)),
    ("parity mxfp4 half", || hold(Recipe::MXFP4, Setup::HALF)),
    ("parity float half", || hold(Recipe::FLOAT, Setup::HALF)),
    ("parity f16 half", || {
        hold(Recipe::plain("f16", Format::F16), Setup::HALF);
    }),
    ("parity q8_0 half, F32 rows", || {
        hold(
            Recipe::plain("q8_0", Format::Q8_0),
            Setup {
                rows: RowFormat::F32,
                ..Setup::HALF
            },
        );
    }),
    ("parity q2 wide half", || {
        hold_model(&bound(&synthetic::wide(), Recipe::Q2), Setup::HALF);
    }),
    ("parity q4 wide", || {
        hold_model(&bound(&synthetic::wide(), Recipe::Q4), Setup::PACKED);
    }),
    ("parity fails on other data", mutated),
];

/// A model on both, in step.
fn twin(model: &(Shape, Weights<Tensor>), on_card: &Weights<Tensor>, setup: Setup) -> Rig<Twin> {
    let (shape, weights) = model;
    let (cpu, cuda) = (setup.cpu(shape), setup.cuda(shape));
    let mut loaded = Vec::new();
    on_card.for_each(|path, tensor| loaded.push(cuda.load_tensor(path, tensor).unwrap()));
    let mut loaded = loaded.into_iter();
    let both = weights.map(|_, tensor| (ds4_cpu::Tensor::bound(tensor), loaded.next().unwrap()));
    Rig::new(Twin::new(cpu, cuda), shape, both)
}

/// Steps of many sizes, then the draft block, then both sessions at once.
fn run(rig: &mut Rig<Twin>, seed: u64) {
    let vocab = rig.shape().vocab;
    let prompt = synthetic::prompt(vocab, 1200, seed);
    let other = synthetic::prompt(vocab, 200, seed + 1);
    let mut at = 0;
    let mut alone = |rig: &mut Rig<Twin>, rows: usize| {
        rig.step(&[(0, at as u32, &prompt[at..at + rows], Outputs::Last)]);
        let pages = (at + rows).div_ceil(512) as u32;
        rig.backend.compare_memory(pages).unwrap();
        at += rows;
        at
    };
    for rows in [1, 2, 3, 5, 8, 9, 33, 70, 6, 129, 1, 479] {
        alone(rig, rows);
    }
    // Two prompts in one step, one of them behind a long past.
    let at = alone(rig, 1);
    rig.step(&[
        (0, at as u32, &prompt[at..at + 40], Outputs::Last),
        (1, 0, &other[..70], Outputs::All),
    ]);
    rig.backend.compare_memory(3).unwrap();
    let at = at + 340;
    rig.step(&[(0, at as u32 - 300, &prompt[at - 300..at], Outputs::Last)]);
    rig.backend.compare_memory(3).unwrap();
    rig.draft(0, at as u32 - 300, &prompt[at - 299..at + 1]);
    rig.step(&[
        (1, 70, &other[70..131], Outputs::All),
        (0, at as u32, &prompt[at..at + 7], Outputs::Last),
    ]);
    rig.backend.compare_memory(3).unwrap();
    rig.step(&[
        (0, at as u32 + 7, &prompt[at + 7..at + 8], Outputs::Last),
        (1, 131, &other[131..132], Outputs::Last),
    ]);
    rig.draft(1, 131, &other[132..133]);
    rig.backend.compare_memory(3).unwrap();
}

/// The worst error of each operation, and whether all are within its limits.
fn within(rig: &Rig<Twin>, setup: Setup) -> bool {
    let exact = setup.rounding == Setup::EXACT.rounding;
    let half = setup.arithmetic == Setup::HALF.arithmetic;
    let mut all = true;
    for (op, worst) in &rig.backend.worst {
        // A code that falls to its other neighbour is a step of one in 8 or 16, in one channel of
        // many; of rows, the share of bytes that differ is counted.
        let limit = match *op {
            "index_heads" | "attend" | "window rows" | "page" if !exact => 5e-3,
            // Where all rows are of long runs they are left as binary16.
            "query_heads" if half => 3e-4,
            // Eleven bits of both factors: a quarter of a thousandth each, two products deep.
            "matmul" | "output_groups" if half => 6e-4,
            // Eight bits of activations, of a group of 32 the largest in full: half a hundredth.
            "matmul, few rows" | "output_groups, few rows" if half => 1e-2,
            // Eight bits of activations, in steps of few rows; `coded` looks closer.
            "experts" if half => 2e-2,
            _ => 2e-5,
        };
        let good = *worst < limit;
        println!(
            "  {:<16} {worst:.1e}{}",
            op,
            if good { "" } else { "  TOO FAR" }
        );
        all &= good;
    }
    for (op, (picked, apart)) in &rig.backend.picked {
        let good = *apart as f64 <= 1e-3 * *picked as f64;
        println!(
            "  {:<16} {apart} of {picked} ids apart{}",
            op,
            if good { "" } else { "  TOO MANY" }
        );
        all &= good && *picked > 0;
    }
    all
}

fn hold(recipe: Recipe, setup: Setup) {
    hold_model(&bound(&synthetic::mini(), recipe), setup);
}

fn hold_model(model: &(Shape, Weights<Tensor>), setup: Setup) {
    let mut rig = twin(model, &model.1, setup);
    let seed = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .subsec_nanos()
        .into();
    println!("  seed {seed}");
    run(&mut rig, seed);
    assert!(within(&rig, setup));
}

/// One byte of one weight changed on the card: the comparison must see it.
fn mutated() {
    for (recipe, path, op) in [
        (Recipe::FLOAT, "head.output", "matmul"),
        (Recipe::Q2, "layers.1.attn_norm", "rms_norm"),
        (Recipe::Q2, "layers.2.output.a", "output_groups"),
        (Recipe::MXFP4, "layers.3.moe.experts.down", "experts"),
    ] {
        let model = bound(&synthetic::mini(), recipe);
        let changed = model.1.map(|at, tensor| {
            if at != path {
                return tensor.clone();
            }
            let mut bytes = tensor.bytes().to_vec();
            for byte in bytes.iter_mut().skip(3).step_by(4096) {
                *byte ^= 0x11;
            }
            let dims = [
                tensor.columns as u64,
                tensor.rows as u64,
                tensor.slabs as u64,
            ];
            Tensor::new(&tensor.name, tensor.format, &dims, Payload::from(bytes))
        });
        let mut rig = twin(&model, &changed, Setup::PACKED);
        run(&mut rig, 5);
        let seen = rig.backend.worst[op];
        println!("  {path} changed: {op} {seen:.1e}");
        assert!(seen > 1e-3);
    }
}
