//! The official SDKs against a real server, where a Python that has them is named in
//! `DS4_SDK_PYTHON`. `tests/clients` has the scripts; they run by hand as well.

use std::path::Path;
use std::process::Command;

use crate::rig::saying;

const CALL: &str = "I look.</think>Looking.\n\n<｜DSML｜tool_calls>\n\
    <｜DSML｜invoke name=\"get_weather\">\n\
    <｜DSML｜parameter name=\"city\" string=\"true\">Rome</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n</｜DSML｜tool_calls>";

const LINES: &[(&str, &str)] = &[
    ("say hello<｜Assistant｜></think>", "Hello there."),
    ("weather?<｜Assistant｜><think>", CALL),
    (
        "</tool_result><｜Assistant｜><think>",
        "Warm.</think>It is warm.",
    ),
    ("Once upon", " a time."),
];

#[allow(clippy::print_stdout, reason = "a test that did not run must say so")]
fn run(script: &str, path: &str) {
    let Some(python) = std::env::var_os("DS4_SDK_PYTHON") else {
        println!(
            "NOT RUN: no DS4_SDK_PYTHON names a Python with the openai and anthropic packages"
        );
        return;
    };
    let rig = saying(LINES);
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(script);
    let base = format!("http://{}{path}", rig.address);
    let output = Command::new(python).arg(script).arg(base).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    println!("{said}");
    rig.wait_idle();
}

#[test]
fn openai_python() {
    run("openai_sdk.py", "/v1");
}

#[test]
fn anthropic_python() {
    run("anthropic_sdk.py", "");
}
