//! `ds4 launch` with agents that only say how they were started, and a server that says one thing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use crate::command::{Home, Ran, ran};

const MODEL: &str = r#"{"data":[{"id":"flash-1","context_length":100000}]}"#;

/// A server with one reply to whoever has the key, at a free port. Its thread ends with the tests.
fn server(key: Option<&'static str>, status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            let wanted = key.map(|key| format!("Authorization: Bearer {key}"));
            let is_known = wanted.is_none_or(|wanted| head.contains(&wanted));
            let is_right = head[0].starts_with("GET /v1/models ");
            let (status, body) = match is_known && is_right {
                true => (status, body),
                false => (401, "{}"),
            };
            write!(stream, "HTTP/1.0 {status} X\r\n\r\n{body}").unwrap();
        }
    });
    url
}

/// A program of this name that tells its arguments, its variables, and the file it was given.
fn agent(home: &Home, name: &str) {
    let folder = home.file("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let script = "#!/bin/sh\nprintf 'arg:%s\\n' \"$@\"\nenv | sed 's/^/env:/'\n\
                  [ \"$1\" = --extension ] && cat \"$2\"\nexit 7\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn launch(home: &Home, key: Option<&str>, words: &[&str]) -> Ran {
    let mut command = home.program();
    let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
    command.arg("launch").args(words).env("PATH", path);
    if let Some(key) = key {
        command.env("DS4_API_KEY", key);
    }
    ran(&mut command)
}

#[track_caller]
fn has(ran: &Ran, lines: &[&str]) {
    for line in lines {
        let there = ran.out.lines().any(|own| own == *line);
        assert!(there, "no {line} in\n{}\n{}", ran.out, ran.err);
    }
}

#[test]
fn claude_gets_variables() {
    let home = Home::new();
    let url = server(Some("secret"), 200, MODEL);
    agent(&home, "claude");
    let ran = launch(
        &home,
        Some("secret"),
        &["claude", "--url", &url, "--", "-p", "a b"],
    );
    assert_eq!(ran.code, 7, "the agent's own code: {}", ran.err);
    let base = format!("env:ANTHROPIC_BASE_URL={url}");
    has(
        &ran,
        &[
            "arg:-p",
            "arg:a b",
            &base,
            "env:ANTHROPIC_AUTH_TOKEN=secret",
            "env:ANTHROPIC_MODEL=flash-1",
            "env:ANTHROPIC_DEFAULT_HAIKU_MODEL=flash-1-haiku",
            "env:CLAUDE_CODE_MAX_CONTEXT_TOKENS=100000",
        ],
    );
    assert!(ran.err.contains("flash-1, 100000 tokens"), "{}", ran.err);
}

#[test]
fn codex_gets_flags() {
    let home = Home::new();
    let url = server(None, 200, MODEL);
    agent(&home, "codex");
    let ran = launch(&home, None, &["codex", "--url", &url, "--", "exec", "Hi"]);
    let base = format!("arg:model_providers.ds4.base_url=\"{url}/v1\"");
    has(
        &ran,
        &[
            &base,
            "arg:model=\"flash-1\"",
            "arg:model_context_window=100000",
            "arg:model_providers.ds4.env_key=\"DS4_API_KEY\"",
            "env:DS4_API_KEY=none",
            "arg:exec",
            "arg:Hi",
        ],
    );
}

#[test]
fn opencode_gets_a_text_and_pi_a_file() {
    let home = Home::new();
    let url = server(None, 200, MODEL);
    agent(&home, "opencode");
    agent(&home, "pi");
    let ran = launch(&home, None, &["opencode", "--url", &url]);
    let mut lines = ran.out.lines();
    let settings = lines.find_map(|line| line.strip_prefix("env:OPENCODE_CONFIG_CONTENT="));
    let settings: serde_json::Value = serde_json::from_str(settings.unwrap()).unwrap();
    assert_eq!(settings["model"], "ds4/flash-1");
    let options = &settings["provider"]["ds4"]["options"];
    assert_eq!(options["baseURL"], format!("{url}/v1"));
    assert_eq!(options["apiKey"], "{env:DS4_API_KEY}");
    let ran = launch(&home, None, &["pi", "--url", &url]);
    let base = format!("  \"baseUrl\": \"{url}/v1\",");
    has(&ran, &["arg:--provider", "arg:ds4", &base]);
    let file = ran
        .out
        .lines()
        .nth(1)
        .unwrap()
        .strip_prefix("arg:")
        .unwrap();
    assert!(!Path::new(file).exists(), "{file} is left behind");
}

#[test]
fn nothing_is_written_and_no_key_is_printed() {
    let home = Home::new();
    let url = server(Some("secret"), 200, MODEL);
    for name in ["claude", "codex", "opencode", "pi"] {
        let ran = launch(&home, Some("secret"), &[name, "--url", &url, "--print"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.out.contains("flash-1") && ran.out.contains(&url),
            "{}",
            ran.out
        );
        assert!(!ran.out.contains("secret"), "{}", ran.out);
        // What is printed starts the agent as `launch` does.
        agent(&home, name);
        let mut shell = std::process::Command::new("/bin/sh");
        let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
        let folder = tempfile::tempdir().unwrap();
        shell.args(["-c", &ran.out]).env_clear().env("PATH", path);
        let printed = crate::command::ran(shell.current_dir(folder.path()));
        assert_eq!(printed.code, 7, "{}", printed.err);
        assert!(printed.out.contains("flash-1"), "{}", printed.out);
    }
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "the agents alone: {left:?}");
}

#[test]
fn what_is_missing_is_said_with_its_cure() {
    let home = Home::new();
    let keyed = server(Some("secret"), 200, MODEL);
    let open = server(None, 200, MODEL);
    let loading = server(None, 200, r#"{"data":[]}"#);
    let strange = server(None, 200, "<html>");
    let evil = server(None, 200, r#"{"data":[{"id":"a$(b)","context_length":1}]}"#);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for (url, key, words, cure) in [
        (keyed.as_str(), None, "asks for a key", "--api-key-file"),
        (
            &keyed,
            Some("wrong"),
            "does not know this key",
            "DS4_API_KEY",
        ),
        (&loading, None, "still loading", "/health"),
        (&strange, None, "no server of models", "--url"),
        (&evil, None, "does not say what its model", "ds4 serve"),
        (&gone, None, "no server answers", "ds4 serve -m FILE"),
        (
            &open,
            None,
            "claude is not",
            "npm install -g @anthropic-ai/claude-code",
        ),
    ] {
        let ran = launch(&home, key, &["claude", "--url", url]);
        let words = words.replace("claude is not", "Claude Code is not installed");
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(
            ran.err.contains(&words) && ran.err.contains(cure),
            "{words}: {}",
            ran.err
        );
    }
    let ran = launch(&home, None, &["claude", "--url", "https://x.example/v1"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    home.set("");
    std::fs::write(home.file("empty"), "# none\n").unwrap();
    let ran = launch(
        &home,
        None,
        &["claude", "--url", &keyed, "--api-key-file", "empty"],
    );
    assert!(
        ran.code == 2 && ran.err.contains("no key in empty"),
        "{}",
        ran.err
    );
    std::fs::write(home.file("key"), "# mine\nsecret # it\n").unwrap();
    let words = [
        "claude",
        "--url",
        &keyed,
        "--api-key-file",
        "key",
        "--print",
    ];
    assert_eq!(launch(&home, None, &words).code, 0);
}
