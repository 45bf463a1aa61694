//! The `ds4` binary: one verb a file.

fn main() {}
