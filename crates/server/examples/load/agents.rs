//! What agents do, and what they must hear.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::talk::{Dialect, Talk, Turn};

/// Questions whose answers are the model's own.
pub(crate) const QUESTIONS: u64 = 12;

/// What all agents of a kind begin with: found in memory, not read again.
const SYSTEM: &str = "You read files and say what is in them, in as few words as it takes. ";

/// What the model says to a prompt: a task is looked up with two calls, results are concluded from,
/// a story is long. All else is up to the model.
pub(crate) fn script(prompt: &str) -> Option<String> {
    let turn = prompt.rsplit("<｜User｜>").next()?;
    let word_after = |marker: &str| {
        let (_, rest) = turn.split_once(marker)?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        Some(&rest[..end.unwrap_or(rest.len())])
    };
    if let Some(name) = word_after("content of ") {
        return Some(format!("Both of {name}.</think>Done with {name}."));
    }
    if let Some(name) = word_after("task ") {
        let call = |part: &str| {
            format!(
                "<｜DSML｜invoke name=\"read\">\n<｜DSML｜parameter name=\"path\" string=\"true\">\
                 {name}/{part}</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
            )
        };
        return Some(format!(
            "Two files of {name}.</think>I look at {name}.\n\n<｜DSML｜tool_calls>\n{}{}\
             </｜DSML｜tool_calls>",
            call("a"),
            call("b")
        ));
    }
    if let Some(name) = word_after("thanks for ") {
        return Some(format!("Polite.</think>Gladly, {name}."));
    }
    let is_story = turn.contains("a long story");
    is_story.then(|| format!("</think>{}", story()))
}

fn story() -> String {
    let words: Vec<String> = (0..300).map(|at| format!("word{at}")).collect();
    words.join(" ")
}

/// What the model says by itself to one of the questions.
pub(crate) fn noise(address: SocketAddr, question: u64) -> String {
    let filler = "the same long words ".repeat(20 + 7 * (question as usize % 3));
    let body = json!({
        "messages": [
            {"role": "system", "content": filler},
            {"role": "user", "content": format!("question {question}")},
        ],
        "temperature": 0, "max_tokens": 24, "think": false, "logit_bias": {"1": -1000},
    });
    loop {
        let mut client = Client::new(address);
        client.send("POST", "/v1/chat/completions", &[], &body.to_string());
        let reply = client.reply();
        if reply.status() != 429 {
            let choice = &reply.ok()["choices"][0];
            return choice["message"]["content"].as_str().unwrap().to_owned();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// What agents have done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    conversations: u64,
    turns: u64,
    noises: u64,
    left: u64,
    slow: u64,
    /// Tokens that were in memory when they were asked for again, and how many could have been.
    found: u64,
    findable: u64,
}

impl Tally {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            conversations: self.conversations + other.conversations,
            turns: self.turns + other.turns,
            noises: self.noises + other.noises,
            left: self.left + other.left,
            slow: self.slow + other.slow,
            found: self.found + other.found,
            findable: self.findable + other.findable,
        }
    }

    /// Memory is small here, and what is only kept gives way to what runs.
    pub(crate) fn is_good(&self) -> bool {
        2 * self.found > self.findable
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} conversations, {} turns, {} answers of the model's own, {} left in the middle, {} \
             read slowly: every answer right; {:.1} % of what was said before found in memory",
            self.conversations,
            self.turns,
            self.noises,
            self.left,
            self.slow,
            100.0 * self.found as f64 / self.findable.max(1) as f64
        )
    }
}

/// One agent after the other, of all kinds.
pub(crate) struct Agent<'a> {
    address: SocketAddr,
    state: u64,
    truth: &'a [String],
    tally: Tally,
}

impl<'a> Agent<'a> {
    pub(crate) fn new(address: SocketAddr, seed: u64, truth: &'a [String]) -> Self {
        Self {
            address,
            state: seed,
            truth,
            tally: Tally::default(),
        }
    }

    /// Works until it is over.
    pub(crate) fn work(mut self, over: &AtomicBool) -> Tally {
        while !over.load(Ordering::Relaxed) {
            match self.any(10) {
                0 => self.leave(),
                1 => self.dawdle(),
                2 | 3 => self.wonder(),
                _ => self.converse(),
            }
            let pause = self.any(100);
            thread::sleep(Duration::from_millis(pause));
        }
        self.tally
    }

    /// A number below `end` (splitmix64).
    fn any(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    fn converse(&mut self) {
        let dialect = match self.any(3) {
            0 => Dialect::Chat,
            1 => Dialect::Messages,
            _ => Dialect::Responses,
        };
        let streams = self.any(4) > 0;
        let mut talk = Talk::new(self.address, dialect, &SYSTEM.repeat(3), streams);
        let mut before = 0;
        for _ in 0..1 + self.any(3) {
            let name = format!("n{:x}", self.any(u64::MAX));
            talk.user(&format!("task {name}"));
            let turn = self.heard(talk.turn(), &mut before);
            assert_eq!(turn.thought, format!("Two files of {name}."), "{turn:?}");
            assert_eq!(turn.text, format!("I look at {name}."), "{turn:?}");
            let paths: Vec<&str> = turn.calls.iter().map(|(_, path)| path.as_str()).collect();
            assert_eq!(
                paths,
                [format!("{name}/a"), format!("{name}/b")],
                "{turn:?}"
            );
            let result = |(id, _): &(String, String)| (id.clone(), format!("content of {name}"));
            let results: Vec<_> = turn.calls.iter().map(result).collect();
            talk.results(&results);
            let turn = self.heard(talk.turn(), &mut before);
            assert_eq!(turn.text, format!("Done with {name}."), "{turn:?}");
            assert!(turn.calls.is_empty(), "{turn:?}");
            talk.user(&format!("thanks for {name}"));
            let turn = self.heard(talk.turn(), &mut before);
            assert_eq!(turn.text, format!("Gladly, {name}."), "{turn:?}");
        }
        self.tally.conversations += 1;
    }

    /// Counts what was found of what was said before.
    fn heard(&mut self, turn: Turn, before: &mut u64) -> Turn {
        assert!(
            turn.prompt > *before,
            "a prompt of {} after {before}",
            turn.prompt
        );
        self.tally.turns += 1;
        self.tally.findable += *before;
        self.tally.found += turn.cached.min(*before);
        *before = turn.prompt + turn.generated;
        turn
    }

    /// Asks what the model says by itself.
    fn wonder(&mut self) {
        let question = self.any(QUESTIONS);
        let answer = noise(self.address, question);
        assert_eq!(answer, self.truth[question as usize], "question {question}");
        self.tally.noises += 1;
    }

    fn story(&self) -> Client {
        let body = json!({
            "messages": [{"role": "user", "content": "Tell me a long story"}], "stream": true,
        });
        let mut client = Client::new(self.address);
        client.send("POST", "/v1/chat/completions", &[], &body.to_string());
        client
    }

    /// Leaves in the middle.
    fn leave(&mut self) {
        let mut client = self.story();
        if client.head().status == 200 {
            for _ in 0..self.any(20) {
                client.chunk().unwrap();
            }
            self.tally.left += 1;
        }
    }

    /// Reads slowly, but reads.
    fn dawdle(&mut self) {
        let mut client = self.story();
        if client.head().status != 200 {
            return;
        }
        thread::sleep(Duration::from_millis(500));
        let mut text = String::new();
        while let Some(part) = client.chunk() {
            text.push_str(&part);
            thread::sleep(Duration::from_millis(1));
        }
        let events = text.lines().filter_map(|line| line.strip_prefix("data: {"));
        let parts = events.filter_map(|event| {
            let event: Value = serde_json::from_str(&format!("{{{event}")).unwrap();
            let part = event["choices"][0]["delta"]["content"].as_str();
            part.map(str::to_owned)
        });
        assert_eq!(parts.collect::<String>(), story());
        self.tally.slow += 1;
    }
}
