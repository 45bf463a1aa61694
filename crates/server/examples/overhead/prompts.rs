//! Large prompts: read, and found in memory.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::time::Instant;

use ds4_prompt::Tokenizer;
use ds4_server::request_prompt;
use serde_json::Value;

use crate::streams::send;

/// Milliseconds from a body of 4.4 MB to its rendered prompt, the best of several.
pub(crate) fn large() -> f64 {
    let text = "fn main() { println!(\\\"hello\\\"); }\\n".repeat(600);
    let turn = format!(
        r#"{{"role": "assistant", "content": "", "tool_calls": [{{"id": "c", "type": "function",
            "function": {{"name": "read", "arguments": "{{\"path\": \"a\"}}"}}}}]}},
            {{"role": "tool", "tool_call_id": "c", "content": "{text}"}}"#
    );
    let turns = vec![turn; 4_400_000 / 22_000].join(",");
    let body = format!(r#"{{"messages": [{{"role": "user", "content": "go"}}, {turns}]}}"#);
    let times = (0..5).map(|_| {
        let begun = Instant::now();
        request_prompt("/v1/chat/completions", &body).unwrap();
        begun.elapsed().as_secs_f64() * 1e3
    });
    println!("a request of {:.1} MB", body.len() as f64 / 1e6);
    times.fold(f64::INFINITY, f64::min)
}

/// What an answer to a long prompt took.
struct Took {
    milliseconds: f64,
    prompt: u64,
    computed: u64,
}

/// Asks for a few tokens after a text. How far the prompt is read is told now and then.
fn ask(address: SocketAddr, text: &str, most: u32) -> Took {
    let body = format!(
        r#"{{"messages": [{{"role": "user", "content": "{text}"}}], "think": false,
            "max_tokens": {most}, "logit_bias": {{"1": -1000}}, "stream": true,
            "stream_options": {{"include_usage": true}}}}"#
    );
    let (begun, mut told, mut usage) = (Instant::now(), 0, Value::Null);
    for line in BufReader::new(send(address, &body)).lines() {
        let line = line.unwrap();
        let Some(event) = line.strip_prefix("data: {") else {
            assert!(!line.contains("error"), "{line}");
            continue;
        };
        let event: Value = serde_json::from_str(&format!("{{{event}")).unwrap();
        if let Some(done) = event["prefill"]["done"].as_u64()
            && begun.elapsed().as_secs() >= told + 5
        {
            told = begun.elapsed().as_secs();
            println!("  {told} s: {done} of {} tokens", event["prefill"]["total"]);
        }
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
    }
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    let prompt = usage["prompt_tokens"].as_u64().unwrap();
    let found = &usage["prompt_tokens_details"]["cached_tokens"];
    Took {
        milliseconds,
        prompt,
        computed: prompt - found.as_u64().unwrap(),
    }
}

/// A prompt of so many tokens that is in memory: milliseconds of its answer besides the one step of
/// the model that it takes, the best of several.
pub(crate) fn cached(address: SocketAddr, tokenizer: &Tokenizer, long: usize) -> f64 {
    let mut text = String::new();
    let mut tokens = 0;
    for line in 0.. {
        let piece = format!("{line}. The quick brown fox jumps over the lazy dog again.\\n");
        tokens += tokenizer.encode(&piece).len();
        if tokens > long {
            break;
        }
        text.push_str(&piece);
    }
    let took = ask(address, &text, 1);
    println!(
        "{} tokens, {} of them computed: {:.0} ms",
        took.prompt, took.computed, took.milliseconds
    );
    let best = |most| {
        let asked = (0..5).map(|_| ask(address, &text, most));
        let best = asked.min_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
        best.unwrap()
    };
    let (one, nine) = (best(1), best(9));
    let step = (nine.milliseconds - one.milliseconds) / 8.0;
    println!(
        "again, {} computed: {:.1} ms, a step {step:.1} ms",
        one.computed, one.milliseconds
    );
    one.milliseconds - step
}
