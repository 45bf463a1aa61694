//! Clients that leave, stall, flood or send nonsense.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use ds4_server::{Config, Limits, Patience};
use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::{Rig, config, engine};

const CHAT: &str = "/v1/chat/completions";

/// Answers that take longer than any test here.
fn long(stream: bool) -> Value {
    json!({
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 3500, "n": 8, "stream": stream, "logit_bias": {"1": -1000},
    })
}

/// A prompt that takes a while to read.
fn wordy() -> Value {
    let text = "a b c d ".repeat(400);
    json!({"messages": [{"role": "user", "content": text}], "max_tokens": 3, "stream": true})
}

#[track_caller]
fn still_answers(rig: &Rig) {
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2});
    assert_eq!(rig.post(CHAT, &body).ok()["usage"]["completion_tokens"], 2);
}

fn begin(rig: &Rig, body: &Value) -> Client {
    let mut client = rig.client();
    client.send("POST", CHAT, &[], &body.to_string());
    client
}

#[test]
fn a_client_that_leaves_costs_nothing_more() {
    let rig = Rig::new();
    for body in [long(true), wordy()] {
        let mut client = begin(&rig, &body);
        assert_eq!(client.head().status, 200);
        assert!(client.chunk().is_some());
        drop(client);
        rig.wait_idle();
    }
    // A whole reply has no events to fail at; the connection tells.
    let client = begin(&rig, &long(false));
    thread::sleep(Duration::from_millis(100));
    drop(client);
    rig.wait_idle();
    rig.log.wait_for(&["client left"]);
    still_answers(&rig);
    // What was read of the prompt stays.
    let again = json!({
        "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2,
    });
    let usage = rig.post(CHAT, &again).ok()["usage"].clone();
    assert!(
        usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
            > 0,
        "{usage}"
    );
}

#[test]
fn a_half_closed_connection_counts_as_left() {
    let rig = Rig::new();
    let mut client = begin(&rig, &long(true));
    assert_eq!(client.head().status, 200);
    client.stream.shutdown(Shutdown::Write).unwrap();
    rig.wait_idle();
    still_answers(&rig);
}

#[test]
fn a_reader_that_stalls_is_dropped_and_holds_nobody_up() {
    let rig = Rig::with(Config {
        patience: Patience {
            stall: Duration::from_secs(2),
            ..Patience::default()
        },
        ..config()
    });
    let mut body = long(true);
    // Enough bytes to fill what the system buffers between the two.
    body["logprobs"] = true.into();
    body["top_logprobs"] = 20.into();
    let _slow = begin(&rig, &body);
    still_answers(&rig);
    rig.wait_idle();
    still_answers(&rig);
}

#[test]
fn a_full_line_is_refused_with_a_time_to_come_back() {
    let rig = Rig::over(
        engine(1),
        Config {
            limits: Limits {
                waiting: 1,
                ..Limits::default()
            },
            ..config()
        },
    );
    let mut first = begin(&rig, &long(true));
    assert_eq!(first.head().status, 200);
    let mut second = begin(&rig, &long(true));
    assert_eq!(second.head().status, 200, "it waits, and is told so");
    let reply = rig.post(CHAT, &long(true));
    assert_eq!(reply.status(), 429, "{}", reply.body);
    assert!(reply.head.header("retry-after").is_some());
    assert_eq!(reply.json()["error"]["code"], "rate_limit_exceeded");
    let reply = rig.post("/v1/messages", &long(false));
    assert_eq!(reply.status(), 429);
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    // Counting waits for nobody.
    assert_eq!(
        rig.post("/v1/messages/count_tokens", &long(false)).status(),
        200
    );
    drop(first);
    // Its slot goes to the one that waits.
    let mut text = String::new();
    while !text.contains("content\":\"")
        && let Some(chunk) = second.chunk()
    {
        text.push_str(&chunk);
    }
    drop(second);
    rig.wait_idle();
    still_answers(&rig);
}

#[test]
fn whoever_waits_hears_that_the_server_lives() {
    let rig = Rig::over(
        engine(1),
        Config {
            patience: Patience {
                alive: Duration::from_millis(20),
                ..Patience::default()
            },
            ..config()
        },
    );
    let mut first = begin(&rig, &long(true));
    assert_eq!(first.head().status, 200);
    for (path, sign) in [
        (CHAT, "\"delta\":{\"content\":\"\"}"),
        ("/v1/messages", "event: ping"),
        ("/v1/responses", "event: response.in_progress"),
    ] {
        let mut body = long(true);
        body["input"] = "hello".into();
        let mut client = rig.client();
        client.send("POST", path, &[], &body.to_string());
        assert_eq!(client.head().status, 200);
        let mut text = String::new();
        while text.matches(sign).count() < 4 {
            text.push_str(&client.chunk().unwrap());
        }
    }
}

#[test]
fn two_hundred_connections() {
    let rig = Rig::new();
    let idle: Vec<Client> = (0..100).map(|_| rig.client()).collect();
    let body =
        json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "stream": true});
    let mut busy: Vec<Client> = (0..100).map(|_| begin(&rig, &body)).collect();
    let (mut answered, mut refused) = (0, 0);
    for client in &mut busy {
        match client.reply() {
            reply if reply.status() == 200 => {
                assert!(reply.body.ends_with("data: [DONE]\n\n"), "{}", reply.body);
                answered += 1;
            }
            reply => {
                assert_eq!(reply.status(), 429);
                refused += 1;
            }
        }
    }
    assert!(
        answered >= 67 && answered + refused == 100,
        "{answered} and {refused}"
    );
    drop(idle);
    still_answers(&rig);
}

#[test]
fn nonsense_does_no_harm() {
    let rig = Rig::new();
    let parts: [&[u8]; 8] = [
        b"\0\0\0\0",
        b"GET\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{",
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in parts {
        let mut client = rig.client();
        client.stream.write_all(bytes).unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        while client.more() > 0 {}
    }
    still_answers(&rig);
}

/// Two agents with one history: the second reads nothing that the first has read.
#[test]
fn one_history_is_read_once() {
    let rig = Rig::new();
    let text = "the same long words ".repeat(40);
    let body = json!({
        "model": "m", "max_tokens": 2, "system": text,
        "messages": [{"role": "user", "content": "go"}],
    });
    let asked: Vec<Value> = thread::scope(|scope| {
        let ask = || scope.spawn(|| rig.post("/v1/messages", &body).ok()["usage"].clone());
        let both = [ask(), ask()];
        both.into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    let cached: Vec<u64> = asked
        .iter()
        .map(|usage| usage["cache_read_input_tokens"].as_u64().unwrap())
        .collect();
    let all = asked[0]["input_tokens"].as_u64().unwrap() + cached[0];
    assert!(
        cached.iter().any(|&cached| cached + 10 > all),
        "{cached:?} of {all}"
    );
}

/// The first event does not wait for anything.
#[test]
fn the_first_event_comes_at_once() {
    let rig = Rig::over(engine(1), config());
    let mut first = begin(&rig, &wordy());
    assert_eq!(first.head().status, 200);
    let begun = Instant::now();
    let mut client = begin(&rig, &long(true));
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().unwrap().contains("\"role\":\"assistant\""));
    // Far less than the prompt before it takes; how much less is for a benchmark to say.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// A server that is told to stop while it reads a prompt: the answer comes if there is patience, and
/// breaks off if there is none. Either way it is over.
#[test]
fn a_stop_while_a_prompt_is_read() {
    for (drain, comes) in [(30_000, true), (0, false)] {
        let rig = Rig::with(Config {
            patience: Patience {
                drain: Duration::from_millis(drain),
                ..Patience::default()
            },
            ..config()
        });
        let mut body = wordy();
        // Without patience it must still be at it when it is told.
        body["max_tokens"] = if comes { 3 } else { 900 }.into();
        body["logit_bias"] = json!({"1": -1000});
        let mut client = begin(&rig, &body);
        assert_eq!(client.head().status, 200);
        let mut text = client.chunk().unwrap();
        assert!(rig.engine.status().unwrap().running <= 1);
        let begun = Instant::now();
        assert_eq!(rig.end(), comes);
        assert!(begun.elapsed() < Duration::from_secs(25));
        while let Some(chunk) = client.chunk() {
            text.push_str(&chunk);
        }
        assert_eq!(text.ends_with("data: [DONE]\n\n"), comes, "{text}");
    }
}
