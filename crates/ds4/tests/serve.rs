//! The server, as a user starts and stops it.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::LazyLock;

/// A model of noise, made once for all tests of this file.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let words = ["synth", "mini", "-o", "mini.gguf"];
    assert!(ds4(folder.path(), &words).status().unwrap().success());
    folder
});

fn ds4(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ds4"));
    command.current_dir(folder).args(words).stdin(Stdio::null());
    command
}

#[allow(
    clippy::zombie_processes,
    reason = "`stop` waits for it, and the test is over if it never was ready"
)]
/// A server that is ready, the rest of what it says, and its address.
fn serve(more: &[&str]) -> (Child, BufReader<ChildStderr>, String) {
    let words = ["serve", "-m", "mini.gguf", "--port", "0", "--threads", "1"];
    let mut command = ds4(FOLDER.path(), &[&words, more].concat());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut address = None;
    loop {
        let mut line = String::new();
        assert!(talk.read_line(&mut line).unwrap() > 0, "it ended early");
        if let Some(found) = line.trim_end().strip_prefix("listening on http://") {
            address = Some(found.to_owned());
        }
        if line.contains("is ready") {
            return (child, talk, address.unwrap());
        }
    }
}

fn exchange(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn stop(mut child: Child, mut talk: BufReader<ChildStderr>) -> String {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    talk.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn it_answers_traces_and_stops_when_told() {
    let traces = tempfile::tempdir().unwrap();
    let folder = traces.path().join("traces");
    let (child, talk, address) = serve(&["--trace", folder.to_str().unwrap(), "-n", "5"]);
    // The end of a turn is no token of it: noise must not end by itself.
    let body = r#"{"messages": [{"role": "user", "content": "Good morning"}],
        "logit_bias": {"1": -1000}}"#;
    let reply = exchange(&address, "POST /v1/chat/completions HTTP/1.1", body);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let (_, json) = reply.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["usage"]["completion_tokens"], 5);
    let files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1);
    let trace: serde_json::Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    assert_eq!(trace["request"]["messages"][0]["content"], "Good morning");
    assert!(
        trace["prompt"]
            .as_str()
            .unwrap()
            .ends_with("<｜Assistant｜><think>")
    );
    assert_eq!(trace["answers"][0]["tokens"].as_array().unwrap().len(), 5);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&files[0]).unwrap().mode() & 0o777, 0o600);
    }
    let talk = stop(child, talk);
    assert!(talk.contains("POST /v1/chat/completions 200"), "{talk}");
    assert!(
        talk.contains("stopped; every answer came to its end"),
        "{talk}"
    );
}

/// What one server has read, the next one finds.
#[test]
fn conversations_outlive_the_server() {
    let kept = tempfile::tempdir().unwrap();
    let flags = ["--kv-disk-dir", kept.path().to_str().unwrap(), "-n", "2"];
    let text = "Tell me the same story again and again. ".repeat(10);
    let body = format!(r#"{{"messages": [{{"role": "user", "content": "{text}"}}]}}"#);
    let ask = || {
        let (child, talk, address) = serve(&flags);
        let reply = exchange(&address, "POST /v1/chat/completions HTTP/1.1", &body);
        stop(child, talk);
        let (_, json) = reply.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        json["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(ask(), 0);
    assert!(ask() > 50);
}

/// What it said is there as well, and `ds4 kv clear` leaves nothing of it.
#[test]
fn replies_outlive_the_server() {
    let kept = tempfile::tempdir().unwrap();
    // Files are meant from the folder it goes to, the model's as well.
    fs::copy(
        FOLDER.path().join("mini.gguf"),
        kept.path().join("mini.gguf"),
    )
    .unwrap();
    let flags = [
        "--chdir",
        kept.path().to_str().unwrap(),
        "--kv-disk-dir",
        "kv",
        "-n",
        "2",
    ];
    let (child, talk, address) = serve(&flags);
    let head = "POST /v1/responses HTTP/1.1";
    let reply = exchange(&address, head, r#"{"input": "Good morning"}"#);
    let (_, json) = reply.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    stop(child, talk);
    let (child, talk, address) = serve(&flags);
    let head = format!(
        "GET /v1/responses/{} HTTP/1.1",
        json["id"].as_str().unwrap()
    );
    let again = exchange(&address, &head, "");
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    assert!(again.contains(json["id"].as_str().unwrap()), "{again}");
    stop(child, talk);
    let turns = || fs::read_dir(kept.path().join("kv/turns")).unwrap().count();
    assert!(turns() > 1);
    let clear = ["kv", "clear", "--kv-disk-dir", "kv"];
    assert!(ds4(kept.path(), &clear).status().unwrap().success());
    assert_eq!(turns(), 1, "its lock alone");
}

#[test]
fn keys_come_from_a_file() {
    fs::write(FOLDER.path().join("keys"), "# mine\nopen-sesame\n\n").unwrap();
    let (child, talk, address) = serve(&["--api-key-file", "keys"]);
    let head = "GET /v1/models HTTP/1.1";
    assert!(exchange(&address, head, "").starts_with("HTTP/1.1 401"));
    let head = "GET /v1/models HTTP/1.1\r\nAuthorization: Bearer open-sesame";
    assert!(exchange(&address, head, "").starts_with("HTTP/1.1 200"));
    stop(child, talk);
}

#[test]
fn what_cannot_be_served_is_explained() {
    let fails = |words: &[&str]| {
        let output = ds4(FOLDER.path(), words).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let open = fails(&[
        "serve",
        "-m",
        "mini.gguf",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
    ]);
    assert!(
        open.contains("no key is asked for") && open.contains("--without-key"),
        "{open}"
    );
    let none = fails(&["serve", "-m", "none.gguf", "--port", "0"]);
    assert!(none.contains("none.gguf"), "{none}");
    fs::write(FOLDER.path().join("no-keys"), "# none\n").unwrap();
    let empty = fails(&[
        "serve",
        "-m",
        "mini.gguf",
        "--api-key-file",
        "no-keys",
        "--port",
        "0",
    ]);
    assert!(empty.contains("there is no key in no-keys"), "{empty}");
}
