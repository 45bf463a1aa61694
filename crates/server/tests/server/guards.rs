//! Who may come in, and what is at the door.

use std::io::Write;
use std::time::Duration;

use ds4_server::{Config, Limits, ServeError, Server};
use serde_json::json;

use crate::rig::{Rig, config, engine};

const CHAT: &str = "/v1/chat/completions";

fn hello() -> String {
    json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}).to_string()
}

#[test]
fn a_key_is_asked_for_and_either_header_carries_it() {
    let rig = Rig::with(Config {
        keys: vec!["first".to_owned(), "second".to_owned()],
        ..config()
    });
    for headers in [
        &[("Authorization", "Bearer first")][..],
        &[("authorization", "bearer second")],
        &[("x-api-key", "second")],
        &[("Authorization", "Bearer nonsense"), ("X-Api-Key", "first")],
    ] {
        assert_eq!(
            rig.post_text(CHAT, headers, &hello()).status(),
            200,
            "{headers:?}"
        );
    }
    for headers in [
        &[][..],
        &[("Authorization", "Bearer firs")],
        &[("Authorization", "first")],
    ] {
        let reply = rig.post_text(CHAT, headers, &hello());
        assert_eq!(reply.status(), 401, "{headers:?}");
        assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
    }
    let reply = rig.post_text("/v1/messages", &[], "{}");
    assert_eq!(reply.json()["error"]["type"], "authentication_error");
    assert_eq!(rig.get("/metrics").status(), 401);
    assert_eq!(rig.get("/v1/models").status(), 401);
    assert_eq!(rig.get("/health").status(), 200);
    let log = rig.log.text();
    assert!(
        !log.contains("first") && !log.contains("second"),
        "keys are not logged: {log}"
    );
}

/// The same prompt of another key is computed anew.
#[test]
fn tenants_do_not_see_each_others_prefixes() {
    let body = json!({
        "messages": [{"role": "user", "content": "a secret that takes a while to read"}],
        "max_tokens": 3,
    });
    let ask = |rig: &Rig, key: &str| {
        let bearer = format!("Bearer {key}");
        let reply = rig.post_text(CHAT, &[("Authorization", &bearer)], &body.to_string());
        reply.ok()["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    let mut config = Config {
        keys: vec!["one".to_owned(), "two".to_owned()],
        ..config()
    };
    let rig = Rig::with(config.clone());
    assert_eq!(ask(&rig, "one"), 0);
    assert!(ask(&rig, "one") > 10);
    assert_eq!(ask(&rig, "two"), 0);
    drop(rig);
    config.share_prefixes = true;
    let rig = Rig::with(config);
    assert_eq!(ask(&rig, "one"), 0);
    assert!(ask(&rig, "two") > 10, "sharing is switched on");
}

#[test]
fn strange_hosts_and_pages_are_kept_out() {
    let rig = Rig::new();
    let with = |headers: &[(&str, &str)]| rig.post_text(CHAT, headers, &hello()).status();
    assert_eq!(with(&[("Host", "evil.example:8000")]), 403);
    assert_eq!(with(&[("Origin", "https://evil.example")]), 403);
    assert_eq!(with(&[("Origin", "http://localhost")]), 200);
    let mut client = rig.client();
    let ask = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    client.send("OPTIONS", CHAT, &ask, "");
    assert_eq!(client.reply().status(), 403);
    drop(rig);
    let rig = Rig::with(Config {
        origins: vec!["https://app.example".to_owned()],
        keys: vec!["k".to_owned()],
        ..config()
    });
    let mut client = rig.client();
    let ask = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    client.send("OPTIONS", CHAT, &ask, "");
    let reply = client.reply();
    assert_eq!(reply.status(), 204);
    let allowed = reply.head.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.example"));
}

#[test]
fn beyond_this_machine_only_with_a_key() {
    let bind = |config| Server::bind(config, Box::new(std::io::sink()));
    let mut config = Config {
        address: "0.0.0.0:0".parse().unwrap(),
        ..Config::default()
    };
    let refused = bind(config.clone()).err().unwrap();
    assert!(matches!(refused, ServeError::Exposed { .. }), "{refused}");
    config.open_to_all = true;
    assert!(bind(config.clone()).is_ok());
    config.open_to_all = false;
    config.keys = vec!["k".to_owned()];
    assert!(bind(config).is_ok());
}

#[test]
fn bodies_have_bounds() {
    let rig = Rig::with(Config {
        limits: Limits {
            body_bytes: 4096,
            messages: 10,
            tools: 2,
            ..Limits::default()
        },
        ..config()
    });
    let status = |body: &str| {
        let reply = rig.post_text(CHAT, &[], body);
        (
            reply.status(),
            reply.json()["error"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    let (code, message) = status(&" ".repeat(5000));
    assert_eq!(code, 413, "{message}");
    let (code, message) = status(&("[".repeat(200) + &"]".repeat(200)));
    assert_eq!(code, 400);
    assert!(message.contains("nested deeper than 128"), "{message}");
    for bad in [
        "",
        "null",
        "[]",
        "{\"messages\"",
        "{\"messages\": [}",
        "\u{0}",
    ] {
        assert_eq!(status(bad).0, 400, "{bad:?}");
    }
    let message = json!({"role": "user", "content": "a"});
    let many = json!({"messages": vec![message.clone(); 11]}).to_string();
    assert!(status(&many).1.contains("at most 10"));
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let many = json!({"messages": [message], "tools": vec![tool; 3]}).to_string();
    assert!(status(&many).1.contains("at most 2"));
    // In chunks, nobody says how long it will be.
    let mut client = rig.client();
    client.send("POST", CHAT, &[("Transfer-Encoding", "chunked")], "");
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    for _ in 0..5 {
        let _ = client.stream.write_all(chunk.as_bytes());
    }
    assert_eq!(client.head().status, 413);
    assert_eq!(rig.get("/health").status(), 200);
}

#[test]
fn headers_have_bounds() {
    let rig = Rig::new();
    let long = "x".repeat(70 << 10);
    assert_eq!(
        rig.post_text(CHAT, &[("X-Long", &long)], &hello()).status(),
        431
    );
    let names: Vec<String> = (0..150).map(|i| format!("X-{i}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(rig.post_text(CHAT, &many, &hello()).status(), 431);
}

#[test]
fn models_health_and_paths_that_are_not_there() {
    let rig = Rig::unloaded(engine(1), config());
    let reply = rig.get("/health");
    assert_eq!(
        (reply.status(), reply.json()["status"].as_str()),
        (503, Some("loading"))
    );
    rig.loading().progress(30, 120);
    assert_eq!(rig.get("/health").json()["loaded"], 30);
    let reply = rig.post_text(CHAT, &[], &hello());
    assert_eq!(reply.status(), 503);
    assert!(reply.head.header("retry-after").is_some());
    assert!(reply.body.contains("25 %"), "{}", reply.body);
    rig.load();
    assert_eq!(rig.get("/health").ok()["status"], "ok");
    let models = rig.get("/v1/models").ok();
    assert_eq!(
        (&models["object"], &models["has_more"]),
        (&json!("list"), &json!(false))
    );
    let model = &models["data"][0];
    assert_eq!(model["id"], "noise-1");
    assert_eq!(model["context_length"], 4096);
    assert_eq!(
        (&model["object"], &model["type"]),
        (&json!("model"), &json!("model"))
    );
    assert!(model["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(rig.get("/v1/models/some/claude").ok()["id"], "some/claude");
    let reply = rig.get("/v1/nothing");
    assert_eq!(
        (reply.status(), reply.json()["error"]["code"].as_str()),
        (404, Some("not_found"))
    );
    let reply = rig.get(CHAT);
    assert_eq!(reply.status(), 405);
    let mut client = rig.client();
    client.send("HEAD", "/", &[], "");
    assert_eq!(client.head().status, 200);
    let metrics = {
        rig.post_text(CHAT, &[], &hello());
        rig.get("/metrics").body
    };
    let line = "ds4_requests_total{path=\"/v1/chat/completions\",status=\"200\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert!(
        metrics.contains("ds4_tokens_total{kind=\"generated\"} 3"),
        "{metrics}"
    );
}

#[test]
fn a_server_that_stops_lets_answers_end() {
    let rig = Rig::new();
    let body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 400, "stream": true});
    let mut client = rig.client();
    client.send("POST", CHAT, &[], &body.to_string());
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().is_some());
    rig.stop();
    std::thread::sleep(Duration::from_millis(300));
    let mut rest = String::new();
    while let Some(chunk) = client.chunk() {
        rest.push_str(&chunk);
    }
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert!(rig.end(), "it was drained");
}
