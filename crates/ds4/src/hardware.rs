//! The machine: processor, memory, graphics cards, as far as the system tells.

use std::fs::read_to_string;
use std::process::{Command, Stdio};

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What this process could have if nobody else had any.
    pub(crate) total: u64,
    /// What is free, or can be made free at once.
    pub(crate) available: u64,
}

/// A graphics card with memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gpu {
    pub(crate) name: String,
    pub(crate) memory: u64,
}

/// The processor's name.
pub(crate) fn cpu_name() -> String {
    let linux = || {
        let text = read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    linux()
        .or_else(|| ask("sysctl", &["-n", "machdep.cpu.brand_string"]))
        .unwrap_or_else(|| format!("unknown {} processor", std::env::consts::ARCH))
}

/// The memory, if the system tells.
pub(crate) fn memory() -> Option<Memory> {
    if let Ok(text) = read_to_string("/proc/meminfo") {
        let memory = parse_meminfo(&text)?;
        let group = |file: &str| read_to_string(format!("/sys/fs/cgroup/{file}")).ok();
        let limit = group("memory.max").and_then(|text| text.trim().parse().ok());
        let used = group("memory.current").and_then(|text| text.trim().parse().ok());
        return Some(memory.within(limit, used));
    }
    let total = ask("sysctl", &["-n", "hw.memsize"])?.parse().ok()?;
    // What a Mac calls free says little: it keeps files in memory until somebody needs the room.
    Some(Memory {
        total,
        available: total / 10 * 9,
    })
}

impl Memory {
    /// What a control group leaves of it.
    fn within(self, limit: Option<u64>, used: Option<u64>) -> Self {
        match limit {
            Some(limit) if limit < self.total => Self {
                total: limit,
                available: self.available.min(limit.saturating_sub(used.unwrap_or(0))),
            },
            _ => self,
        }
    }
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Memory {
        total: field("MemTotal:")?,
        available: field("MemAvailable:")?,
    })
}

/// The NVIDIA cards, as their own tool lists them; none without it.
pub(crate) fn gpus() -> Vec<Gpu> {
    let query = [
        "--query-gpu=name,memory.total",
        "--format=csv,noheader,nounits",
    ];
    ask("nvidia-smi", &query).map_or_else(Vec::new, |text| parse_gpus(&text))
}

/// The version of the NVIDIA driver, as the kernel or its own tool tells it.
pub(crate) fn gpu_driver() -> Option<String> {
    let kernel = read_to_string("/proc/driver/nvidia/version").ok();
    let kernel = kernel.and_then(|text| parse_driver(&text));
    kernel.or_else(|| {
        let query = ["--query-gpu=driver_version", "--format=csv,noheader"];
        Some(ask("nvidia-smi", &query)?.lines().next()?.to_owned())
    })
}

/// The version among the words of the driver's first line.
fn parse_driver(text: &str) -> Option<String> {
    let line = text.lines().next()?;
    let is_version =
        |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    line.split_whitespace().find(is_version).map(str::to_owned)
}

fn parse_gpus(text: &str) -> Vec<Gpu> {
    let card = |line: &str| {
        let (name, mib) = line.rsplit_once(',')?;
        let mib: u64 = mib.trim().parse().ok()?;
        Some(Gpu {
            name: name.trim().to_owned(),
            memory: mib.checked_mul(1 << 20)?,
        })
    };
    text.lines().filter_map(card).collect()
}

/// What a program of the system prints, if it is there and content.
fn ask(program: &str, args: &[&str]) -> Option<String> {
    let command = &mut Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_as_linux_tells_it() {
        let text = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n";
        let memory = parse_meminfo(text).expect("both fields");
        assert_eq!(memory.total, 24_000_000 * 1024);
        assert_eq!(memory.available, 20_000_000 * 1024);
        assert_eq!(parse_meminfo("MemTotal: 5 kB\n"), None);
        let gib = 1 << 30;
        let inside = memory.within(Some(4 * gib), Some(gib));
        assert_eq!((inside.total, inside.available), (4 * gib, 3 * gib));
        assert_eq!(memory.within(Some(u64::MAX), Some(7)), memory);
        assert_eq!(memory.within(None, None), memory);
    }

    #[test]
    fn cards_as_their_tool_lists_them() {
        let cards = parse_gpus("NVIDIA H200, 143771\nodd line\nNVIDIA GB10, [N/A]\nA, B, 2\n");
        assert_eq!(cards.len(), 2);
        assert_eq!(cards[0].memory, 143_771 << 20);
        assert_eq!(cards[1].name, "A, B");
        let version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  \
                       Release Build\n";
        assert_eq!(parse_driver(version).as_deref(), Some("580.95.05"));
    }
}
