//! How long opening a weight file takes, and what it costs in memory: `cargo run --release
//! --example open_time FILE`.

use std::path::PathBuf;
use std::time::Instant;

use ds4_gguf::{Array, Gguf};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = PathBuf::from(std::env::args().nth(1).ok_or("which file?")?);
    for round in ["first", "again", "again"] {
        let start = Instant::now();
        let gguf = Gguf::open(&path)?;
        let opened = start.elapsed();
        let tokens = gguf.metadata().array("tokenizer.ggml.tokens").ok();
        let characters: usize = tokens
            .as_ref()
            .and_then(Array::strs)
            .map_or(0, |all| all.map(str::len).sum());
        println!(
            "{round}: opened in {opened:.1?}, {} tensors, {} keys, {} shared payloads, \
             {characters} bytes of tokens read {:.1?} after",
            gguf.tensors().len(),
            gguf.metadata().len(),
            gguf.aliases().count(),
            start.elapsed() - opened,
        );
        gguf.check()?;
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status
            .lines()
            .filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon"))
            .for_each(|line| println!("{line}"));
    }
    Ok(())
}
