//! `ds4 bench` on a model made in memory. What it measures is not looked at: how fast a machine is
//! proves nothing.

use serde_json::Value;

use crate::command::{Home, Ran};

const SMALL: &str = "bench --synthetic mini-q2:3 -n 4 --threads 1";

fn bench(home: &Home, more: &str) -> Ran {
    let ran = home.run(&format!("{SMALL} {more}"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran
}

/// A point's numbers.
fn series(point: &Value, field: &str) -> Vec<f64> {
    let all = point[field]["all"].as_array();
    let numbers = all.into_iter().flatten().map(|rate| rate.as_f64().unwrap());
    numbers.collect()
}

#[test]
fn frontiers_and_sessions_are_measured_as_often_as_asked() {
    let home = Home::new();
    let sweep = "--ctx-start 64 --ctx-max 160 --step-incr 64 --sessions 1,3 --repeat 2";
    let ran = bench(
        &home,
        &format!("{sweep} --json - --csv points.csv --svg chart.svg"),
    );
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["ds4_bench"], 1);
    assert_eq!(report["complete"], true);
    assert_eq!(report["model"]["layers"], 3);
    assert_eq!(report["environment"]["threads"], 1);
    assert!(
        report["environment"]["bandwidth_bytes_per_second"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    let points = report["points"].as_array().unwrap();
    let places: Vec<(u64, u64, u64)> = points
        .iter()
        .map(|point| {
            let number = |field: &str| point[field].as_u64().unwrap();
            (
                number("ctx_tokens"),
                number("sessions"),
                number("prefill_tokens"),
            )
        })
        .collect();
    let wanted = [
        (64, 1, 64),
        (64, 3, 64),
        (128, 1, 64),
        (128, 3, 64),
        (160, 1, 32),
        (160, 3, 32),
    ];
    assert_eq!(places, wanted);
    for point in points {
        assert_eq!(point["repeatable"], true, "{point}");
        for field in ["prefill_tps", "gen_tps"] {
            let rates = series(point, field);
            assert_eq!(rates.len(), 2, "{point}");
            assert!(rates.iter().all(|rate| rate.is_finite() && *rate > 0.0));
        }
        assert_eq!(point["bandwidth_share"].is_null(), point["sessions"] == 3);
    }
    // Whoever reads the original's output finds its columns first.
    let csv = std::fs::read_to_string(home.file("points.csv")).unwrap();
    let head = "ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes,";
    assert!(csv.starts_with(head), "{csv}");
    assert_eq!(csv.lines().count(), 7);
    let columns = csv.lines().map(|line| line.split(',').count());
    assert!(
        columns
            .clone()
            .all(|count| Some(count) == columns.clone().next())
    );
    let chart = std::fs::read_to_string(home.file("chart.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.ends_with("</svg>\n"));
}

#[test]
fn a_report_is_compared_with_an_older_one() {
    let home = Home::new();
    let sweep = "--ctx-start 64 --ctx-max 64 --repeat 1";
    bench(&home, &format!("{sweep} --json old.json"));
    let ran = bench(&home, &format!("{sweep} --exact --compare old.json"));
    assert!(ran.out.contains("write x"), "{}", ran.out);
    assert!(
        ran.out.contains("arithmetic"),
        "what differs is named: {}",
        ran.out
    );
    std::fs::write(home.file("foreign.json"), "{}").unwrap();
    let ran = home.run(&format!("{SMALL} {sweep} --compare foreign.json"));
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("foreign.json") && ran.err.contains("ds4_bench"),
        "{}",
        ran.err
    );
}

#[test]
fn a_filled_context_is_decoded_after_and_not_read() {
    let home = Home::new();
    let ran = bench(&home, "--fill-kv 70000,600 --repeat 2 --json -");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["settings"]["kv_filled_at_random"], true);
    let points = report["points"].as_array().unwrap();
    let contexts: Vec<u64> = points
        .iter()
        .map(|point| point["ctx_tokens"].as_u64().unwrap())
        .collect();
    assert_eq!(contexts, [600, 70_000]);
    for point in points {
        assert!(point["prefill_tps"].is_null());
        assert_eq!(point["prefill_tokens"], 0);
        assert_eq!(series(point, "gen_tps").len(), 2);
        assert_eq!(point["repeatable"], true);
    }
    let bytes = |at: usize| points[at]["kvcache_bytes"].as_u64().unwrap();
    assert!(bytes(1) > 20 * bytes(0), "{} and {}", bytes(0), bytes(1));
}

#[test]
fn texts_are_read_as_they_are_or_as_a_question() {
    let home = Home::new();
    std::fs::write(
        home.file("text"),
        "a few words, again and again. ".repeat(20),
    )
    .unwrap();
    let sweep = "--ctx-start 100 --ctx-max 100 --repeat 1";
    for prompt in ["--prompt-file text", "--chat-prompt-file text --system Hm."] {
        let ran = bench(&home, &format!("{sweep} {prompt}"));
        assert!(ran.out.contains("tokens of text"), "{}", ran.out);
    }
    let ran = home.run(&format!("{SMALL} --ctx-max 9000 --prompt-file text"));
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("tokens; --ctx-max wants 9000"),
        "{}",
        ran.err
    );
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    let home = Home::new();
    for (line, code, part) in [
        ("bench --synthetic flash-q9", 2, "no recipe q9"),
        ("bench --synthetic flash:99", 2, "1 to 43 layers"),
        (
            "bench --synthetic mini --ctx-start 9 --ctx-max 8",
            2,
            "beyond --ctx-max",
        ),
        (
            "bench --synthetic mini --step-mul 0.5",
            2,
            "--step-mul is 0.5",
        ),
        ("bench --synthetic mini --ctx-alloc 100", 2, "needs 32898"),
        (
            "bench --synthetic mini --fill-kv 9 --ctx-max 9",
            2,
            "cannot be used with",
        ),
        ("bench --synthetic mini --fill-kv 1048576", 1, "has 1048576"),
        ("bench --synthetic pro-mxfp4", 1, "of memory"),
        ("bench -m absent.gguf", 1, "absent.gguf"),
    ] {
        let ran = home.run(line);
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert!(ran.err.contains(part), "{line}: {}", ran.err);
        assert_eq!(ran.out, "", "{line}");
    }
}
