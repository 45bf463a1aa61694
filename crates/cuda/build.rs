//! Finds nvcc and embeds the kernels; without nvcc the program builds and says at run time what it
//! lacks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Real code for the cards people have, and PTX that the driver compiles for the others.
/// `DS4_CUDA_TARGETS`, a list like `sm_90a`, keeps only those, which builds several times as fast.
const TARGETS: [(&str, &str); 5] = [
    ("compute_80", "sm_80"),
    ("compute_89", "sm_89"),
    ("compute_90a", "sm_90a"),
    ("compute_120f", "sm_120f"),
    ("compute_80", "compute_80"),
];

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names OUT_DIR"));
    let fatbin = out.join("ds4.fatbin");
    match nvcc() {
        Some(nvcc) => compile(&nvcc, &fatbin),
        None => fs::write(&fatbin, []).expect("OUT_DIR is writable"),
    }
}

/// The compiler that `NVCC` names, else that of `CUDA_HOME` or `CUDA_PATH`, of `PATH`, of the usual
/// folder.
fn nvcc() -> Option<PathBuf> {
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "DS4_CUDA_TARGETS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter();
    let homes = homes
        .filter_map(env::var_os)
        .map(|home| PathBuf::from(home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = homes
        .chain(env::split_paths(&path))
        .chain([PathBuf::from("/usr/local/cuda/bin")]);
    let named = env::var_os("NVCC").map(PathBuf::from);
    named
        .into_iter()
        .chain(folders.map(|folder| folder.join("nvcc")))
        .find(|file| file.is_file())
}

fn compile(nvcc: &Path, fatbin: &Path) {
    let mut command = Command::new(nvcc);
    command.args([
        "-std=c++17",
        "-O3",
        "--threads",
        "0",
        "-fatbin",
        "kernels/ds4.cu",
        "-o",
    ]);
    command.arg(fatbin);
    let only = env::var("DS4_CUDA_TARGETS").ok();
    let wanted = |code: &str| {
        let mut named = only.iter().flat_map(|list| list.split([',', ' ']));
        only.is_none() || named.any(|name| name == code)
    };
    for (arch, code) in TARGETS.into_iter().filter(|target| wanted(target.1)) {
        command
            .arg("-gencode")
            .arg(format!("arch={arch},code={code}"));
    }
    let done = command.status();
    let done = done.unwrap_or_else(|cause| panic!("{} does not start: {cause}", nvcc.display()));
    assert!(
        done.success(),
        "{} refused the kernels; CUDA 13.0 or newer knows all targets",
        nvcc.display()
    );
}
