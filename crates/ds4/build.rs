//! Whether there is a demo model to embed.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(demo)");
    // The folder, not the file: a path that is absent would run this every time.
    println!("cargo::rerun-if-changed=../../models/demo");
    if std::path::Path::new("../../models/demo/demo.gguf").is_file() {
        println!("cargo::rustc-cfg=demo");
    }
}
