//! Help, manual pages, completions, and the pages of the documentation made from them.

use std::path::Path;

use crate::command::Home;

#[test]
fn the_first_help_is_as_reviewed() {
    let help = Home::new().run("--help");
    assert_eq!(help.code, 0);
    insta::assert_snapshot!(help.out);
}

#[test]
fn the_reference_is_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    for page in ["commands", "settings", "companions"] {
        let now = Home::new().run(&format!("reference {page}")).out;
        let kept = std::fs::read_to_string(docs.join(format!("{page}.md"))).unwrap_or_default();
        assert!(
            now == kept,
            "docs/reference/{page}.md is stale: ds4 reference {page} > docs/reference/{page}.md"
        );
    }
}

#[test]
fn every_verb_has_a_manual_page() {
    let home = Home::new();
    assert_eq!(home.run("man --install pages").code, 0);
    let names = std::fs::read_dir(home.file("pages")).unwrap();
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.contains(&"ds4.1".to_owned()), "{names:?}");
    assert!(names.contains(&"ds4-run.1".to_owned()), "{names:?}");
    let page = home.run("man inspect");
    assert!(page.out.contains(".TH ds4-inspect 1"), "{}", page.out);
    assert_eq!(home.run("man nothing").code, 2);
}

#[test]
fn shells_complete_verbs() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&format!("completions {shell}"));
        assert!(
            script.code == 0 && script.out.contains("perplexity"),
            "{shell}"
        );
    }
    assert_eq!(home.run("completions csh").code, 2);
}

#[test]
fn errors_look_alike() {
    let home = Home::new();
    for (name, line) in [
        ("no_question", ""),
        ("unknown_verb", "inspct x"),
        ("absent_file", "inspect absent.gguf"),
        ("unknown_flag", "-p hi --sed 4"),
        ("bad_value", "-p hi --ctx 1"),
        ("bad_sampling", "-p hi --temp 200"),
    ] {
        let ran = home.run(line);
        let all = format!("ds4 {line}\ncode {}\n{}{}", ran.code, ran.out, ran.err);
        insta::assert_snapshot!(name, all);
    }
}
