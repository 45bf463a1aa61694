//! `ds4 pull`, `ls` and `rm` against a hub that throttles, drops, lies and changes its mind.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, not their helpers"
)]

mod hub;
mod ways;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hub::{Asked, Hub, Reply, noise, sha256};

const FILE: &str = "owner/name/weights.bin";
/// More than two pieces.
const LONG: usize = (70 << 20) + 12_345;

/// A folder for models, and the program with nothing of whoever runs the tests.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, endpoint: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ds4"));
        command.env_clear().args(words).current_dir(self.0.path());
        command
            .env("HOME", self.0.path())
            .env("DS4_MODELS", self.path("models"));
        command.env("HF_ENDPOINT", endpoint).stdin(Stdio::null());
        command
    }

    fn pull(&self, hub: &Hub, more: &[&str]) -> Output {
        let mut words = vec!["pull", FILE, "--patience", "3", "--idle", "2"];
        words.extend(more);
        self.command(&format!("http://{}", hub.address), &words)
            .output()
            .unwrap()
    }

    fn model(&self, name: &str) -> PathBuf {
        self.path("models").join(name)
    }

    /// Pulls, and looks at what came.
    fn pulls(&self, hub: &Hub, file: &[u8]) {
        let output = self.pull(hub, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let path = self.model("weights.bin");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            path.display().to_string()
        );
        assert!(
            std::fs::read(path).unwrap() == file,
            "other bytes than the hub has"
        );
        assert!(
            !self.model("weights.bin.part").exists(),
            "nothing is left over"
        );
        assert!(!self.model("weights.bin.part.state").exists());
    }

    /// Pulls in vain; what was said.
    fn fails(&self, hub: &Hub) -> String {
        let output = self.pull(hub, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(output.stdout.is_empty());
        assert!(!self.model("weights.bin").exists());
        said(&output)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An honest hub's answer: where the file is, its hash, and its bytes.
fn honest(file: &[u8], asked: &Asked) -> Reply {
    let reply = Reply::part(file, asked);
    reply.with("X-Linked-ETag", format!("\"{}\"", sha256(file)))
}

#[test]
fn a_file_comes_in_ranges_and_is_checked() {
    let file = Arc::new(noise(1, LONG));
    let (served, hash) = (Arc::clone(&file), sha256(&file));
    let hub = Hub::new(move |asked| {
        Reply::part(&served, asked).with("X-Linked-ETag", format!("\"{hash}\""))
    });
    let home = Home::new();
    home.pulls(&hub, &file);
    let paths: Vec<String> = hub.asked().into_iter().map(|asked| asked.path).collect();
    assert!(
        paths
            .iter()
            .all(|path| path == "/owner/name/resolve/main/weights.bin"),
        "{paths:?}"
    );
    assert_eq!(paths.len(), 4, "the question, and three pieces");
    // It is here: nothing is asked again.
    let again = home.pull(&hub, &[]);
    assert!(said(&again).contains("already here"), "{}", said(&again));
    assert_eq!(hub.asked().len(), 4);
}

#[test]
fn what_breaks_off_goes_on_where_it_broke() {
    let file = Arc::new(noise(2, 3_000_000));
    let served = Arc::clone(&file);
    // Every answer ends after 700,000 bytes, whatever was announced.
    let hub = Hub::new(move |asked| {
        let mut reply = honest(&served, asked);
        reply.length = Some(reply.body.len());
        reply.body.truncate(700_000);
        reply
    });
    Home::new().pulls(&hub, &file);
    let starts: Vec<usize> = hub.asked().iter().map(|asked| asked.range().0).collect();
    assert!(
        starts.windows(2).all(|pair| pair[0] <= pair[1]),
        "{starts:?}"
    );
    assert_eq!(starts[2], 700_000);
}

#[test]
fn errors_that_pass_are_waited_out_and_others_said() {
    let file = Arc::new(noise(3, 100_000));
    for status in [429, 500, 502, 503, 408] {
        let served = Arc::clone(&file);
        let hub = Hub::new(move |asked| match asked.number {
            0 | 2 => Reply::status(status).with("Retry-After", "0"),
            _ => honest(&served, asked),
        });
        Home::new().pulls(&hub, &file);
    }
    for (status, part) in [
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (404, "there is no weights.bin"),
        (400, "makes no sense"),
        (503, "503"),
    ] {
        let hub = Hub::new(move |_| Reply::status(status).with("Retry-After", "0"));
        let said = Home::new().fails(&hub);
        assert!(said.contains(part), "{status}: {said}");
        assert!(said.contains("127.0.0.1") || status == 503, "{said}");
    }
}

#[test]
fn lies_about_lengths_are_caught() {
    let file = Arc::new(noise(4, 50_000));
    type Lie = fn(&[u8], &Asked) -> Reply;
    let lies: [(Lie, &str); 5] = [
        (
            |file, asked| match asked.is_first() {
                true => honest(file, asked),
                false => Reply {
                    body: Vec::new(),
                    length: Some(90_000_000),
                    ..honest(file, asked)
                },
            },
            "broke off",
        ),
        (
            |file, asked| match asked.is_first() {
                true => honest(file, asked).with("X-Linked-Size", "77"),
                false => honest(file, asked),
            },
            "77 bytes",
        ),
        (
            |file, asked| match asked.is_first() {
                true => honest(file, asked),
                false => Reply {
                    body: file.to_vec(),
                    ..Reply::status(206)
                }
                .with("Content-Range", "bytes 0-49999/60000"),
            },
            "of 60000",
        ),
        (
            |file, asked| match asked.is_first() {
                true => honest(file, asked),
                false => Reply {
                    body: file.to_vec(),
                    ..Reply::status(206)
                }
                .with("Content-Range", "bytes 5-49999/50000"),
            },
            "offered byte 5",
        ),
        // Fewer bytes than announced, with a connection that ends well.
        (
            |_, asked| honest(&[7; 10], asked).with("X-Linked-Size", "0"),
            "0 bytes",
        ),
    ];
    for (lie, part) in lies {
        let served = Arc::clone(&file);
        let hub = Hub::new(move |asked| lie(&served, asked));
        let said = Home::new().fails(&hub);
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn damage_is_found_by_the_hash_and_nothing_is_kept() {
    let file = Arc::new(noise(5, 80_000));
    let served = Arc::clone(&file);
    let hub = Hub::new(move |asked| {
        let mut reply = honest(&served, asked);
        if !asked.is_first() {
            reply.body[40_000] ^= 1;
        }
        reply
    });
    let home = Home::new();
    let said = home.fails(&hub);
    assert!(
        said.contains("SHA-256") && said.contains(&sha256(&file)),
        "{said}"
    );
    assert!(!home.model("weights.bin.part").exists());
}

#[test]
fn a_server_without_ranges_serves_from_the_beginning() {
    let file = Arc::new(noise(6, 2_000_000));
    let served = Arc::clone(&file);
    let hub = Hub::new(move |asked| {
        let mut reply = Reply {
            body: served.to_vec(),
            length: Some(served.len()),
            ..Reply::status(200)
        };
        // Breaks off once; what is there is read past the second time.
        if asked.number == 1 {
            reply.body.truncate(1_200_000);
        }
        reply
    });
    Home::new().pulls(&hub, &file);
    assert_eq!(hub.asked().len(), 3);
}

#[test]
fn ranges_that_are_ignored_later_are_an_error() {
    let file = Arc::new(noise(7, LONG));
    let served = Arc::clone(&file);
    let hash = sha256(&file);
    let hub = Hub::new(move |asked| {
        let reply = match asked.range().0 {
            0 => Reply::part(&served, asked),
            _ => Reply {
                body: served[..1000].to_vec(),
                length: Some(served.len()),
                ..Reply::status(200)
            },
        };
        reply.with("X-Linked-ETag", hash.clone())
    });
    let said = Home::new().fails(&hub);
    assert!(said.contains("ignored the range"), "{said}");
}

#[test]
fn a_file_that_changes_between_ranges_is_never_mixed() {
    let (old, new) = (Arc::new(noise(8, LONG)), Arc::new(noise(9, LONG)));
    let (first, second) = (Arc::clone(&old), Arc::clone(&new));
    let pieces = AtomicUsize::new(0);
    // No hash is announced: the ETag alone tells.
    let hub = Hub::new(move |asked| {
        let is_new = !asked.is_first() && pieces.fetch_add(1, Ordering::SeqCst) > 0;
        let changed = is_new || pieces.load(Ordering::SeqCst) > 1;
        Reply::part(if changed { &second } else { &first }, asked)
    });
    let home = Home::new();
    let output = home.pull(&hub, &["--connections", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("was replaced"), "{}", said(&output));
    assert!(
        !home.model("weights.bin.part").exists(),
        "the old bytes are useless"
    );
    home.pulls(&hub, &new);
}

#[test]
fn the_token_goes_to_the_endpoint_and_no_further() {
    let file = Arc::new(noise(10, 60_000));
    let (served, hash) = (Arc::clone(&file), sha256(&file));
    let store = Arc::new(Hub::new(move |asked| Reply::part(&served, asked)));
    let (to, expired) = (store.address.clone(), Arc::new(AtomicUsize::new(0)));
    let endpoint = Hub::new(move |asked| {
        if asked.header("authorization") != Some("Bearer hf_secret") {
            return Reply::status(401);
        }
        let signature = expired.fetch_add(1, Ordering::SeqCst);
        Reply::status(302)
            .with(
                "Location",
                format!("http://{to}/blob?signature={signature}"),
            )
            .with("X-Linked-ETag", format!("\"{hash}\""))
            .with("X-Linked-Size", "60000")
            .with("X-Repo-Commit", "abc123")
    });
    let home = Home::new();
    let mut command = home.command(&format!("http://{}", endpoint.address), &["pull", FILE]);
    let output = command.env("HF_TOKEN", "hf_secret").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(std::fs::read(home.model("weights.bin")).unwrap() == *file);
    assert!(!store.asked().is_empty());
    for asked in store.asked() {
        assert_eq!(asked.header("authorization"), None, "{asked:?}");
    }
    // Said or written nowhere.
    let receipt = std::fs::read_to_string(home.model("weights.bin.pulled")).unwrap();
    assert!(receipt.contains("commit abc123"), "{receipt}");
    assert!(!receipt.contains("hf_secret") && !said(&output).contains("hf_secret"));
    let output = home.pull(&endpoint, &[]);
    assert_eq!(output.status.code(), Some(0), "it is here: no token needed");
}

#[test]
fn an_address_that_expires_is_asked_for_again() {
    let file = Arc::new(noise(11, 90_000));
    let (served, hash) = (Arc::clone(&file), sha256(&file));
    let store = Hub::new(move |asked| match asked.path.as_str() {
        "/blob?1" if !asked.is_first() => Reply::status(403),
        _ => Reply::part(&served, asked),
    });
    let to = store.address.clone();
    let endpoint = Hub::new(move |asked| {
        Reply::status(307)
            .with("Location", format!("http://{to}/blob?{}", asked.number + 1))
            .with("X-Linked-ETag", hash.clone())
    });
    Home::new().pulls(&endpoint, &file);
    assert_eq!(endpoint.asked().len(), 2);
}

#[test]
fn redirects_have_an_end() {
    let hub = Hub::new(|asked| Reply::status(302).with("Location", format!("{}x", asked.path)));
    let said = Home::new().fails(&hub);
    assert!(said.contains("redirects"), "{said}");
    let hub = Hub::new(|_| Reply::status(302).with("Location", "file:///etc/passwd"));
    let said = Home::new().fails(&hub);
    assert!(said.contains("file:///etc/passwd"), "{said}");
}

#[test]
fn a_stalled_connection_is_given_up() {
    let file = Arc::new(noise(12, 400_000));
    let served = Arc::clone(&file);
    let hub = Hub::new(move |asked| {
        let mut reply = honest(&served, asked);
        if asked.number == 1 {
            // A thousand bytes, then silence.
            reply.slow = Some((1000, Duration::from_secs(600)));
        }
        reply
    });
    Home::new().pulls(&hub, &file);
    assert_eq!(hub.asked()[2].range().0, 1000);
}

/// Waits until something is so.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited for {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn state_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn ctrl_c_keeps_what_is_there_and_a_kill_nearly_all() {
    for signal in ["INT", "KILL"] {
        let file = Arc::new(noise(13, 4_000_000));
        let (served, quick) = (Arc::clone(&file), Arc::new(AtomicUsize::new(0)));
        let is_quick = Arc::clone(&quick);
        let hub = Hub::new(move |asked| {
            let mut reply = honest(&served, asked);
            if is_quick.load(Ordering::SeqCst) == 0 {
                reply.slow = Some((50_000, Duration::from_millis(150)));
            }
            reply
        });
        let home = Home::new();
        let mut command = home.command(&format!("http://{}", hub.address), &["pull", FILE]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let state = home.model("weights.bin.part.state");
        match signal {
            "INT" => thread::sleep(Duration::from_secs(1)),
            // The state is written every few seconds.
            _ => wait_for("a state", || state_of(&state).contains("have 0-")),
        }
        wait_for("bytes", || hub.asked().len() > 1);
        let id = child.id().to_string();
        let killed = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        if signal == "INT" {
            assert_eq!(output.status.code(), Some(130), "{}", said(&output));
            assert!(said(&output).contains("are kept"), "{}", said(&output));
        }
        assert!(state_of(&state).contains("have 0-"), "{}", state_of(&state));
        let listed = home.command("", &["ls"]).output().unwrap();
        assert!(String::from_utf8_lossy(&listed.stdout).contains("% pulled"));
        quick.store(1, Ordering::SeqCst);
        let before = hub.asked().len();
        home.pulls(&hub, &file);
        let first = hub.asked()[before + 1].range().0;
        assert!(first > 0, "it went on at {first}");
    }
}

#[test]
fn a_damaged_state_costs_the_download_and_nothing_else() {
    let file = Arc::new(noise(14, 30_000));
    let served = Arc::clone(&file);
    let hub = Hub::new(move |asked| honest(&served, asked));
    let home = Home::new();
    std::fs::create_dir_all(home.path("models")).unwrap();
    std::fs::write(home.model("weights.bin.part"), noise(1, 30_000)).unwrap();
    std::fs::write(
        home.model("weights.bin.part.state"),
        "ds4-pull 1\nhave 0-30000\n",
    )
    .unwrap();
    home.pulls(&hub, &file);
}

#[test]
fn a_model_is_listed_and_removed_and_nothing_else_is() {
    let file = Arc::new(noise(15, 20_000));
    let served = Arc::clone(&file);
    let hub = Hub::new(move |asked| honest(&served, asked));
    let home = Home::new();
    home.pulls(&hub, &file);
    std::fs::write(home.model("own.gguf"), "mine").unwrap();
    let run = |words: &[&str]| home.command("", words).output().unwrap();
    let listed = String::from_utf8(run(&["ls"]).stdout).unwrap();
    assert!(
        listed.contains("pulled") && listed.contains("weights.bin"),
        "{listed}"
    );
    assert!(
        listed.contains("not pulled") && listed.contains("own.gguf"),
        "{listed}"
    );
    let listed = run(&["ls", "--json"]).stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    for (words, part) in [
        (["rm", "weights.bin", "-q"], "was not removed"),
        (["rm", "own.gguf", "--yes"], "did not make it"),
        (["rm", "q2-imatrix", "--yes"], "ds4 ls"),
    ] {
        let output = run(&words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains(part), "{}", said(&output));
    }
    assert_eq!(run(&["rm", "weights.bin", "--yes"]).status.code(), Some(0));
    let left: Vec<_> = std::fs::read_dir(home.path("models"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let taken = home.pull(&hub, &["--folder", "elsewhere"]);
    assert_eq!(taken.status.code(), Some(0));
    // A file of that name that is not ours stays.
    std::fs::write(home.model("weights.bin"), "mine").unwrap();
    let output = home.pull(&hub, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read(home.model("weights.bin")).unwrap(), b"mine");
}

#[test]
fn nothing_is_downloaded_unasked() {
    let hub = Hub::new(|_| Reply::status(500));
    let home = Home::new();
    let endpoint = format!("http://{}", hub.address);
    for (words, code) in [
        (&["pull"][..], 1),
        (&["pull", "--list"], 0),
        (&["pull", "q3"], 2),
        (&["pull", "owner/name/../../x"], 2),
        (&["ls"], 0),
    ] {
        let output = home.command(&endpoint, words).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {}",
            said(&output)
        );
    }
    assert!(hub.asked().is_empty(), "{:?}", hub.asked());
    assert!(!home.path("models").exists());
}

#[test]
fn the_known_variant_must_be_the_one_known() {
    // Right name, wrong file.
    let file = noise(16, 1000);
    let hub = Hub::new(move |asked| honest(&file, asked));
    let home = Home::new();
    let endpoint = format!("http://{}", hub.address);
    let output = home
        .command(&endpoint, &["pull", "q2-imatrix"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--newer"), "{}", said(&output));
    assert_eq!(hub.asked().len(), 1);
}

#[test]
fn the_hugging_face_cache_is_used() {
    let hub = Hub::new(|_| Reply::status(500));
    let home = Home::new();
    let snapshot = home.path("cache/models--owner--name/snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join("weights.bin"), "weights").unwrap();
    let mut command = home.command(&format!("http://{}", hub.address), &["pull", FILE]);
    let output = command
        .env("HF_HUB_CACHE", home.path("cache"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let path = String::from_utf8(output.stdout).unwrap();
    assert_eq!(std::fs::read_to_string(path.trim()).unwrap(), "weights");
    assert!(hub.asked().is_empty());
}

#[test]
fn a_file_that_has_become_shorter_is_no_file() {
    let file = Arc::new(noise(21, 200_000));
    let (served, hash) = (Arc::clone(&file), sha256(&file));
    // Announced whole; then there is nothing where the bytes should be.
    let hub = Hub::new(move |asked| match asked.is_first() {
        true => Reply::part(&served, asked).with("X-Linked-ETag", format!("\"{hash}\"")),
        false => Reply::status(416),
    });
    let home = Home::new();
    let said = home.fails(&hub);
    assert!(said.contains("shorter than announced"), "{said}");
    assert!(hub.asked().len() < 30, "it gives up");
    // Once it is back, the same command gets it.
    let served = Arc::clone(&file);
    home.pulls(&Hub::new(move |asked| honest(&served, asked)), &file);
}
