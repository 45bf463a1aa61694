//! What the documentation shows works, and what it lists is there.

use std::path::Path;
use std::process::Command;

use ds4_engine::Store;
use serde_json::{Value, json};

use crate::rig::{Rig, config, engine_with, until};

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// Every `sh` block of docs/server.md that talks to a server is run against one.
#[test]
#[allow(clippy::print_stdout, reason = "a test that did not run must say so")]
fn the_examples_of_the_page_run() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("NOT RUN: there is no curl");
        return;
    }
    let rig = Rig::new();
    let page = file("docs/server.md");
    let blocks = page
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let blocks: Vec<&str> = blocks.filter(|block| block.contains("curl")).collect();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    for block in blocks {
        let block = block.replace("localhost:8000", &rig.address.to_string());
        let mut bash = Command::new("bash");
        let output = bash
            .args(["-euo", "pipefail", "-c", &block])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !said.is_empty(),
            "{block}\n{said}{complained}"
        );
    }
}

#[test]
fn the_description_lists_every_route_and_every_route_is_there() {
    let rig = Rig::new();
    let described = rig.get("/openapi.json").ok();
    let paths = described["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
        {
            let mut client = rig.client();
            let body = if method == "post" { "{}" } else { "" };
            client.send(
                &method.to_uppercase(),
                &path.replace("{id}", "x"),
                &[],
                body,
            );
            let reply = client.reply();
            let is_known = reply.status() != 405 && !reply.body.contains("see /openapi.json");
            assert!(is_known, "{method} {path}: {}", reply.body);
        }
    }
    let page = file("docs/server.md");
    for path in paths.keys() {
        assert!(
            page.contains(&format!("`{path}`")),
            "docs/server.md does not tell of {path}"
        );
    }
}

/// Every field the description lists for a dialect is looked at: nonsense in it is refused by name.
#[test]
fn every_field_of_the_description_is_read() {
    let rig = Rig::new();
    let described = rig.get("/openapi.json").ok();
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
    ] {
        let schema = &described["paths"][path]["post"]["requestBody"]["content"];
        let fields = schema["application/json"]["schema"]["properties"]
            .as_object()
            .unwrap();
        for field in fields.keys() {
            let mut body = json!({
                "messages": [{"role": "user", "content": "a"}], "prompt": "a", "input": "a",
                "max_tokens": 1, "max_output_tokens": 1,
            });
            if path == "/v1/responses" {
                body.as_object_mut().unwrap().remove("prompt");
            }
            // Of no type that any field has.
            body[field] = json!([[{"nonsense": [[]]}]]);
            let reply = rig.post(path, &body);
            let param = match path {
                "/v1/messages" => reply.json()["error"]["message"].clone(),
                _ => reply.json()["error"]["param"].clone(),
            };
            let named = param
                .as_str()
                .is_some_and(|param| param.starts_with(field.as_str()));
            // Lists of names of what to include, which others may know.
            let is_list = ["include"].contains(&field.as_str());
            assert!(
                named && reply.status() == 400 || is_list,
                "{path} {field}: {}",
                reply.body
            );
        }
    }
}

#[test]
fn the_board_shows_what_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store {
        dir: folder.path().to_owned(),
        bytes: 10_000_000,
        free: 0,
    };
    let rig = Rig::over(engine_with(1, Some(store)), config());
    let body = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 2});
    rig.post("/v1/chat/completions", &body).ok();
    // It is written behind the answer's back.
    let is_kept = |metrics: &String| {
        let line = metrics.lines().find_map(|line| {
            let kept = line.strip_prefix("ds4_tier_places{tier=\"disk\"} ")?;
            kept.parse::<u64>().ok()
        });
        line > Some(0)
    };
    let metrics = until(|| Some(rig.get("/metrics").body).filter(is_kept));
    let metrics = metrics.unwrap();
    assert!(!metrics.contains("tier=\"host\""), "there is none");
    let board: Value = serde_json::from_str(&file("tools/grafana/ds4.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let queries = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    for query in queries {
        let text = query["expr"].as_str().unwrap();
        for part in text.split("ds4_").skip(1) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name: String = part.chars().take_while(|&c| is_name(c)).collect();
            assert!(
                metrics.contains(&format!("\nds4_{name}")),
                "{name} is not in {metrics}"
            );
        }
    }
}
