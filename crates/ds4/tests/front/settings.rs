//! Flag, variable, file, default: in this order.

use crate::command::{Home, model, ran};

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let home = Home::new();
    let model = model();
    let line = ["-m", &model, "-p", "a question of some length"];
    // A context that is too small is named in the error.
    let context = |more: &[&str], variable: Option<&str>| -> String {
        let mut program = home.program();
        program.args(line).args(more);
        if let Some(value) = variable {
            program.env("DS4_CTX", value);
        }
        let ran = ran(&mut program);
        assert_eq!(ran.code, 1, "{}", ran.err);
        let (_, rest) = ran.err.split_once("a context of ").unwrap();
        rest.split(' ').next().unwrap().to_owned()
    };
    home.set("ctx = 5\n");
    assert_eq!(context(&[], None), "5");
    assert_eq!(context(&[], Some("6")), "6");
    assert_eq!(context(&["--ctx", "7"], Some("6")), "7");
}

#[test]
fn every_setting_names_its_origin() {
    let home = Home::new();
    home.set("temp = 0.5\nthink = \"off\"\nexact = true\n");
    let mut program = home.program();
    program
        .args(["config", "show", "--json"])
        .env("DS4_THREADS", "3");
    let all: serde_json::Value = serde_json::from_str(&ran(&mut program).out).unwrap();
    let origin = |key: &str| {
        let setting = &all["settings"][key];
        (setting["value"].clone(), setting["origin"].clone())
    };
    assert_eq!(origin("temp"), ("0.5".into(), "file".into()));
    assert_eq!(origin("exact"), ("true".into(), "file".into()));
    assert_eq!(origin("threads"), ("3".into(), "environment".into()));
    assert_eq!(origin("port"), ("8000".into(), "default".into()));
    let shown = home.run("config show");
    assert!(shown.out.starts_with("# settings file: "), "{}", shown.out);
    let path = home.run("config path");
    assert!(
        path.out.ends_with("config/ds4/config.toml\n"),
        "{}",
        path.out
    );
}

#[test]
fn a_settings_file_that_makes_no_sense_is_refused_with_a_suggestion() {
    let home = Home::new();
    for (file, parts) in [
        ("contxt = 5", ["there is no setting contxt", ""]),
        (
            "thread = 5",
            ["there is no setting thread", "did you mean threads?"],
        ),
        (
            "zzz = 5",
            ["there is no setting zzz", "ds4 config show lists"],
        ),
        ("ctx = 1", ["1 is not in 2..", "config.toml"]),
        (
            "think = \"hard\"",
            ["possible values: off, low, high, max", ""],
        ),
        ("ctx = [1]", ["ctx is a array", "one value"]),
        ("a = 1\nb = = 2", ["line 2", ""]),
    ] {
        home.set(file);
        let ran = home.run("synth mini -o never.gguf");
        assert_eq!(ran.code, 2, "{file}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{file}: {}", ran.err);
        }
    }
    assert!(!home.file("never.gguf").exists());
    // Mending it must stay possible.
    assert_eq!(home.run("config path").code, 0);
    assert_eq!(home.run("--help").code, 0);
    let mut program = home.program();
    let ran = ran(program
        .args(["config", "show"])
        .env("DS4_CONFIG", "absent.toml"));
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("there is no settings file absent.toml"),
        "{}",
        ran.err
    );
}
