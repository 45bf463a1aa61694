//! What the program says about the machine it runs on.

use crate::command::Home;

#[test]
fn the_doctor_describes_this_machine_to_people_and_programs() {
    let home = Home::new();
    let shown = home.run("doctor");
    assert_eq!(shown.code, 0, "{}{}", shown.out, shown.err);
    for part in ["processor", "memory", "flash q2", "pro q4", "32,768 tokens"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let object = home.run("doctor --json").out;
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["models"].as_array().unwrap().len(), 6);
    // 81 GiB, as published.
    assert_eq!(
        object["models"][0]["weight_bytes"].as_u64().unwrap() >> 30,
        80
    );
    assert!(object["workers"].as_u64() >= Some(1));
    let cuda = &object["cuda"];
    assert!(
        cuda["absent"].is_string() || cuda["name"].is_string(),
        "{cuda}"
    );
    let row = shown.out.lines().find(|line| line.starts_with("CUDA"));
    assert!(
        row.is_some_and(|row| row.contains("absent: ") || row.contains("computes on")),
        "{}",
        shown.out
    );
}

#[test]
fn the_doctor_finds_a_broken_settings_file() {
    let home = Home::new();
    home.set("contxt = 5");
    let shown = home.run("doctor");
    assert_eq!(shown.code, 1);
    assert!(
        shown.out.contains("there is no setting contxt"),
        "{}",
        shown.out
    );
    assert!(shown.err.contains("one thing is wrong"), "{}", shown.err);
}

#[test]
fn every_level_of_this_machine_passes_the_selftest() {
    let home = Home::new();
    let ran = home.run("selftest --json");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let object: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let all = object["comparisons"].as_array().unwrap();
    // Either a card is compared, or it is said why none is.
    let card = &object["card"];
    assert!(
        card["absent"].is_string() || card["comparisons"].is_array(),
        "{card}"
    );
    if all.is_empty() {
        return;
    }
    for (weights, operation) in [
        ("q2", "experts"),
        ("q4", "matmul"),
        ("mxfp4", "experts"),
        ("f16", "output_groups"),
        ("q2 exact", "attend"),
    ] {
        let is =
            |one: &&serde_json::Value| one["weights"] == weights && one["operation"] == operation;
        assert!(all.iter().any(|one| is(&one)), "{weights} {operation}");
    }
    assert!(all.iter().all(|one| one["good"] == true));
}
