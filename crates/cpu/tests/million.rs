//! A million tokens of context: what they cost, and when. A process of its own, because it looks at
//! the memory of all of it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use ds4_cpu::{Cpu, Options};
use ds4_model::kv::PAGE_TOKENS;
use ds4_model::{Backend, Shape};

/// Bytes of this process: in memory, and set aside.
fn memory() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["VmRSS:", "VmSize:"].map(|name| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        1024 * kilobytes.parse::<u64>().unwrap()
    })
}

#[test]
fn a_million_tokens_of_flash_take_nothing_before_they_are_used() {
    const MEGABYTE: u64 = 1_000_000;
    let before = memory();
    let options = Options {
        threads: 1,
        pages: (1 << 20) / PAGE_TOKENS,
        ..Options::default()
    };
    let mut cpu = Cpu::new(Shape::flash(), options).unwrap();
    let [used, set_aside] = [0, 1].map(|at| memory()[at] - before[at]);
    assert!(used < 32 * MEGABYTE, "{used} bytes before any token");
    assert!(
        (3600 * MEGABYTE..4000 * MEGABYTE).contains(&set_aside),
        "{set_aside} bytes for all of them"
    );

    // A hundred pages that hold something are in memory, and the others are not.
    let page = cpu.geometry().page_bytes;
    let bytes = vec![1; page];
    (0..100).for_each(|at| cpu.load_page(at, &bytes).unwrap());
    let filled = memory()[0] - before[0] - used;
    let expected = 100 * page as u64;
    assert!(
        (expected..expected + 16 * MEGABYTE).contains(&filled),
        "{filled} bytes for {expected}"
    );
}
