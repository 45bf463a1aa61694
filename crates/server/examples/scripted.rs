//! A real server whose answers are written beforehand: for tests of clients and of the page.
//!
//! A model small enough for a test cannot be trusted to call a tool. Here a script forces the
//! tokens of an answer through the engine's sampler; prompts, memory, prefix reuse, text, and speed
//! are those of any other answer.
//!
//! ```sh
//! cargo run -p ds4-server --example scripted -- --model mini.gguf --script script.json
//! ```
//!
//! The script is a list of lines, `{"when": ["words", ...], "turn": ["words", ...], "say": text}`.
//! The first is taken whose `when` all stand in the prompt and whose `turn` all stand in its last
//! turn, the user's. It is everything the model writes after the prompt: with thinking on, that
//! begins with the thought and `</think>`. Where `say` begins with `</think>` and the prompt does
//! not think, that is left out. What no line fits is left to the model, whose weights are noise.
//!
//! The first line on stdout is the address; then it serves until its stdin is closed.

use std::error::Error;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, Options, PAGE_TOKENS, load_cpu};
use ds4_gguf::Gguf;
use ds4_prompt::{Special, Tokenizer};
use ds4_server::{Config, Model, Script, Server};
use serde_json::Value;

/// What was asked for on the command line.
struct Args {
    model: PathBuf,
    script: Option<PathBuf>,
    context: usize,
    sessions: usize,
    port: u16,
    keys: Vec<String>,
    nothink: bool,
}

const USAGE: &str = "scripted --model FILE [--script FILE] [--ctx TOKENS] [--sessions N] \
    [--port PORT] [--api-key KEY]... [--nothink]";

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::read(std::env::args().skip(1))?;
    let script = args.script.as_deref().map(std::fs::read_to_string);
    let script = script.transpose()?.as_deref().map(read).transpose()?;
    let config = Config {
        address: ([127, 0, 0, 1], args.port).into(),
        keys: args.keys.clone(),
        thinking: !args.nothink,
        script,
        ..Config::default()
    };
    let server = Server::bind(config, Box::new(io::stderr()))?;
    let file = Gguf::open(&args.model)?;
    server
        .loading()
        .ready(Model::new(args.engine(&file)?, "Scripted 1")?);
    writeln!(io::stdout(), "http://{}", server.address())?;
    io::stdout().flush()?;
    let stop = Arc::new(AtomicBool::new(false));
    let closed = Arc::clone(&stop);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        closed.store(true, Ordering::Relaxed);
    });
    server.run(&stop)?;
    Ok(())
}

impl Args {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut args = Self {
            model: PathBuf::new(),
            script: None,
            context: 65_536,
            sessions: 4,
            port: 0,
            keys: Vec::new(),
            nothink: false,
        };
        while let Some(flag) = words.next() {
            if flag == "--nothink" {
                args.nothink = true;
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{flag} needs a value; {USAGE}"))?;
            match flag.as_str() {
                "--model" => args.model = value.into(),
                "--script" => args.script = Some(value.into()),
                "--ctx" => args.context = value.parse()?,
                "--sessions" => args.sessions = value.parse()?,
                "--port" => args.port = value.parse()?,
                "--api-key" => args.keys.push(value),
                _ => return Err(format!("there is no {flag}; {USAGE}").into()),
            }
        }
        if args.model.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        Ok(args)
    }

    fn engine(&self, file: &Gguf) -> Result<Engine, Box<dyn Error>> {
        let cpu = CpuOptions {
            // Tests share their machine with the clients they start.
            threads: 1,
            slots: self.sessions,
            pages: self.sessions * self.context.div_ceil(PAGE_TOKENS),
            max_outputs: self.sessions,
            ..CpuOptions::default()
        };
        let options = Options {
            context: self.context,
            sessions: 2 * self.sessions,
            ..Options::default()
        };
        let tokenizer = Arc::new(Tokenizer::from_gguf(file)?);
        let machine = Box::new(load_cpu(file, cpu)?);
        Ok(Engine::start(machine, Some(tokenizer), options)?)
    }
}

/// One line of a script.
struct Line {
    when: Vec<String>,
    turn: Vec<String>,
    say: String,
}

fn read(text: &str) -> Result<Script, Box<dyn Error>> {
    let lines: Value = serde_json::from_str(text)?;
    let lines = lines.as_array().ok_or("a script is a list")?;
    let lines: Vec<Line> = lines.iter().map(line).collect::<Result<_, _>>()?;
    Ok(Script::new(move |prompt| {
        let turn = prompt.rsplit(Special::User.text()).next();
        let turn = turn.unwrap_or(prompt);
        let fits = |line: &&Line| {
            line.when
                .iter()
                .all(|words| prompt.contains(words.as_str()))
                && line.turn.iter().all(|words| turn.contains(words.as_str()))
        };
        let line = lines.iter().find(fits)?;
        let thinks = prompt.ends_with(Special::ThinkBegin.text());
        Some(match line.say.split_once(Special::ThinkEnd.text()) {
            Some((_, said)) if !thinks => said.to_owned(),
            None if thinks => format!("{}{}", Special::ThinkEnd.text(), line.say),
            _ => line.say.clone(),
        })
    }))
}

fn line(line: &Value) -> Result<Line, Box<dyn Error>> {
    let words = |field: &str| -> Result<Vec<String>, Box<dyn Error>> {
        let text = |word: &Value| {
            let word = word.as_str().map(str::to_owned);
            word.ok_or_else(|| format!("{field} may hold strings only: {line}").into())
        };
        let words = line.get(field).and_then(Value::as_array);
        words.into_iter().flatten().map(text).collect()
    };
    let say = line.get("say").and_then(Value::as_str);
    Ok(Line {
        when: words("when")?,
        turn: words("turn")?,
        say: say
            .ok_or_else(|| format!("say is missing: {line}"))?
            .to_owned(),
    })
}
