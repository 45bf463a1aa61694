//! How fast generated text is read: `cargo run --release -p ds4-prompt --example dsml_speed`.
//!
//! Prints megabytes per second on this machine, and the same as a share of checking that the bytes
//! are UTF-8, which any reader must do at least. The hostile inputs show that no text costs much
//! more than another.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::time::Instant;

use ds4_prompt::Piece;
use ds4_prompt::dsml::{Begin, Delivery, End, Reader, Reading, ToolCall, to_markup};

const PROSE: &str = "The window holds the last 128 positions; everything older is read \
    through compressed rows. \
    That is why a long prompt costs little to keep.\n\n";
const CODE: &str = "fn rms_norm(x: &mut [f32], w: &[f32]) {\n    let ss: f32 = x.iter()\
    .map(|v| v * v).sum();\n    \
    for (v, w) in x.iter_mut().zip(w) {\n        *v *= w / (ss / n as f32).sqrt();\n    }\n}\n";
const HTML: &str = "<table><tr><td class=\"a\">1 &lt; 2</td><td>&amp;</td></tr></table>\n";
const CJK: &str = "模型把旧的位置压缩成行，因此长上下文几乎不占内存。これはテストです。\n";

/// One turn of about `bytes`: reasoning, text, and calls with large arguments.
fn mixed(bytes: usize) -> String {
    let unit = [PROSE, CODE, HTML, CJK, PROSE, CODE].concat();
    let part = unit.repeat(bytes / 3 / unit.len());
    let file = json_string(&unit.repeat(40));
    let call = ToolCall {
        id: None,
        name: "write".to_owned(),
        arguments: format!("{{\"path\": \"a.rs\", \"lines\": [1, 2, 3], \"content\": {file}}}"),
    };
    let calls = vec![call; bytes / 3 / file.len()];
    format!("{part}</think>{part}\n\n{}", to_markup(&calls))
}

/// The text as JSON.
fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// Seconds of the fastest of three runs.
fn fastest(mut run: impl FnMut()) -> f64 {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn read(text: &[u8], reading: &Reading, chunk: usize) -> usize {
    let mut reader = Reader::new(reading);
    let mut pieces = 0;
    let mut sink = |piece: Piece<'_>| {
        black_box(&piece);
        pieces += 1;
    };
    for chunk in text.chunks(chunk) {
        reader.push(chunk, &mut sink);
    }
    reader.finish(End::Turn, &mut sink);
    pieces
}

fn report(name: &str, text: &[u8], reading: &Reading, chunk: usize) {
    let megabytes = text.len() as f64 / 1e6;
    let check = megabytes
        / fastest(|| {
            let _ = black_box(std::str::from_utf8(black_box(text)));
        });
    let speed = megabytes
        / fastest(|| {
            black_box(read(text, reading, chunk));
        });
    let share = 100.0 * speed / check;
    println!("{name:<44} {speed:>8.0} MB/s {share:>8.2} % of checking UTF-8");
}

fn main() {
    let thinking = Reading {
        begin: Begin::Reasoning,
        ..Reading::default()
    };
    let live = Reading {
        delivery: Delivery::Live,
        ..thinking.clone()
    };
    let text = mixed(48 << 20);
    let text = text.as_bytes();
    report("mixed turn, chunks of 64 KiB", text, &thinking, 64 << 10);
    report("mixed turn, chunks of 5 bytes (tokens)", text, &thinking, 5);
    report(
        "mixed turn, live calls, chunks of 64 KiB",
        text,
        &live,
        64 << 10,
    );
    let hostile = [
        ("only `<`", "<"),
        ("only `<D`", "<D"),
        ("blocks that never come", "<｜DSML｜x>\n<｜DSML｜inv"),
        (
            "names that never end",
            "<｜DSML｜aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        ("only white space", "\n"),
        ("only `</think`", "</think"),
    ];
    for (name, unit) in hostile {
        let text = unit.repeat((8 << 20) / unit.len());
        report(name, text.as_bytes(), &Reading::default(), 64 << 10);
    }
    let value = "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\">\
        <｜DSML｜parameter name=\"a\" string=\"true\">";
    let text = format!("{value}{}", "</｜DSML｜paramete&lt;/".repeat(200_000));
    report(
        "value full of almost closing tags",
        text.as_bytes(),
        &Reading::default(),
        64 << 10,
    );
    let undecided = "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\">";
    let text = format!("{undecided}{}", " ".repeat(4 << 20));
    report(
        "parameter that does not say what it is",
        text.as_bytes(),
        &Reading::default(),
        64 << 10,
    );
}
