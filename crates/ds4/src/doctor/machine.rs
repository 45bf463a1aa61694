//! What the system says about this machine. What it does not say is unknown, never guessed.

use std::fs::read_to_string;
use std::path::Path;
use std::thread::available_parallelism;

use ds4_engine::{Card, CardError, CpuOptions, selftest};

use crate::hardware::{self, Gpu, Memory};

/// What was found.
pub(super) struct Machine {
    /// Operating system and architecture.
    pub(super) system: String,
    pub(super) processor: String,
    /// Vector instructions, the best last.
    pub(super) levels: Vec<String>,
    /// Workers that would compute.
    pub(super) workers: usize,
    /// Hardware threads of this process.
    pub(super) threads: usize,
    pub(super) memory: Option<Memory>,
    /// How much memory may be locked.
    pub(super) locked: Option<String>,
    pub(super) huge_pages: Option<String>,
    /// Free bytes where we are.
    pub(super) disk: Option<u64>,
    pub(super) gpus: Vec<Gpu>,
    pub(super) gpu_driver: Option<String>,
    /// The card that models are computed on, or why there is none.
    pub(super) cuda: Result<Cuda, CardError>,
}

/// A card that this program can compute on.
pub(super) struct Cuda {
    pub(super) name: String,
    pub(super) memory: Memory,
    /// Its compute capability.
    pub(super) capability: String,
    /// The newest CUDA that the driver knows.
    pub(super) version: String,
}

impl Machine {
    /// Looks around.
    pub(super) fn look() -> Self {
        let limits = read_to_string("/proc/self/limits").unwrap_or_default();
        let pages = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        Self {
            system: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: hardware::cpu_name(),
            levels: selftest::levels()
                .map(|level| format!("{level:?}"))
                .collect(),
            workers: CpuOptions::default().threads,
            threads: available_parallelism().map_or(1, usize::from),
            memory: hardware::memory(),
            locked: locked(&limits),
            huge_pages: pages.ok().and_then(|text| chosen(&text)),
            disk: free(Path::new(".")),
            gpus: hardware::gpus(),
            gpu_driver: hardware::gpu_driver(),
            cuda: card(),
        }
    }
}

/// The limit on locked memory.
fn locked(limits: &str) -> Option<String> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    let soft = line.split_whitespace().next()?;
    Some(match soft.parse() {
        Ok(bytes) => format!(
            "up to {}; --lock-weights needs as much as the weights (ulimit -l)",
            crate::units::Bytes(bytes)
        ),
        Err(_) => soft.to_owned(),
    })
}

/// The word in brackets.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn free(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What the first card says about itself.
fn card() -> Result<Cuda, CardError> {
    let card = Card::open(0)?;
    let ((free, total), (major, minor)) = (card.memory()?, card.capability()?);
    let cuda = card.driver_cuda()?;
    Ok(Cuda {
        name: card.name()?,
        memory: Memory {
            total: total as u64,
            available: free as u64,
        },
        capability: format!("{major}.{minor}"),
        version: format!("{}.{}", cuda.0, cuda.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read_as_they_are_written() {
        assert_eq!(
            chosen("always [madvise] never\n").as_deref(),
            Some("madvise")
        );
        assert_eq!(chosen("always"), None);
        let limits = "Max locked memory         8388608              unlimited   bytes\n";
        assert!(locked(limits).is_some_and(|text| text.starts_with("up to 8.39 MB")));
        let limits = "Max locked memory         unlimited            unlimited   bytes\n";
        assert_eq!(locked(limits).as_deref(), Some("unlimited"));
    }
}
