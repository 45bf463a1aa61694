//! Cases of the demo model: a conversation, and the calls it asks for.

use std::path::Path;
use std::sync::Arc;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{
    CudaOptions, Engine, Machine, Options, Output, Request, Sampling, load_cpu, load_cuda,
};
use ds4_gguf::Gguf;
use ds4_prompt::chat::{Settings, official, render};
use ds4_prompt::dsml::{Begin, Reading};
use ds4_prompt::json::{Grammar, Value, parse};
use ds4_prompt::{AddedTokens, Effort, Generation, Piece, Thinking, Tokenizer};

/// The longest prompt of the cases has some 17,000 tokens.
const CONTEXT: usize = 32_768;
/// No right answer is longer.
const LONGEST_TURN: u32 = 512;

/// A line of `generate.py cases`.
pub(crate) struct Case {
    /// Its name: kind and number.
    pub(crate) id: String,
    /// What makes it hard.
    pub(crate) kind: String,
    thinking: Thinking,
    messages: Value,
    calls: Vec<Call>,
}

/// A call: the tool's name, and its arguments as an object.
#[derive(Debug)]
pub(crate) struct Call {
    name: String,
    arguments: Value,
}

/// What became of a case.
pub(crate) struct Outcome {
    /// Whether the calls are exactly the expected ones.
    pub(crate) right: bool,
    /// Tokens of the prompt.
    pub(crate) prompt: usize,
    /// What the model wrote.
    pub(crate) written: String,
}

impl Case {
    /// Reads a line.
    pub(crate) fn read(line: &str) -> Self {
        let value = parse(line, Grammar::Python).expect("a case is JSON");
        let text = |key| value.get(key).and_then(Value::as_str).expect("a text");
        let Some(Value::Array(calls)) = value.get("calls") else {
            panic!("a case lists its calls");
        };
        let thinking = match value.get("thinking") {
            Some(Value::Bool(true)) => Thinking::On(Effort::High),
            _ => Thinking::Off,
        };
        Self {
            id: text("id").to_owned(),
            kind: text("kind").to_owned(),
            thinking,
            messages: value.get("messages").expect("messages").clone(),
            calls: calls.iter().map(Call::expected).collect(),
        }
    }
}

impl Call {
    fn expected(value: &Value) -> Self {
        let name = value.get("name").and_then(Value::as_str);
        Self {
            name: name.expect("a name").to_owned(),
            arguments: value.get("arguments").expect("arguments").clone(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.name == other.name && same(&self.arguments, &other.arguments)
    }
}

/// Equal but for the order of keys and the way numbers are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(others)) => {
            let found = |key: &str, value| b.get(key).is_some_and(|other| same(value, other));
            a.len() == others.len() && a.iter().all(|(key, value)| found(key, value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Number(a), Value::Number(b)) => {
            let value = |text: &str| text.parse::<f64>().expect("a number");
            value(a.as_written()) == value(b.as_written())
        }
        _ => a == b,
    }
}

/// The model on the engine.
pub(crate) struct Suite {
    engine: Engine,
    tokenizer: Arc<Tokenizer>,
}

impl Suite {
    /// Loads the model, onto the first NVIDIA card if that is wanted.
    pub(crate) fn load(path: &Path, on_card: bool) -> Self {
        let file = Gguf::open(path).expect("the model file");
        let tokenizer = Arc::new(Tokenizer::from_gguf(&file).expect("its tokenizer"));
        let pages = CONTEXT / 512 + 1;
        let machine: Box<dyn Machine> = if on_card {
            let options = CudaOptions {
                pages,
                ..CudaOptions::default()
            };
            let go_on = &mut |_, _| std::ops::ControlFlow::Continue(());
            Box::new(load_cuda(&file, options, go_on).expect("a sound model and a card"))
        } else {
            let options = CpuOptions {
                pages,
                ..CpuOptions::default()
            };
            Box::new(load_cpu(&file, options).expect("a sound model"))
        };
        let options = Options {
            context: CONTEXT,
            ..Options::default()
        };
        let shared = Some(Arc::clone(&tokenizer));
        let engine = Engine::start(machine, shared, options).expect("the engine starts");
        Self { engine, tokenizer }
    }

    /// Runs a case in a session of its own, greedily.
    pub(crate) fn run(&self, case: &Case) -> Outcome {
        let messages = official::messages_of(&case.messages).expect("well-formed messages");
        let settings = Settings::new(Generation::April, case.thinking);
        let prompt = render(&messages, &settings).expect("a prompt");
        let ids = prompt.encode(&self.tokenizer, AddedTokens::AsText).ids;
        let ids: Vec<u32> = ids.into_iter().map(|id| id.0).collect();
        let begin = match case.thinking {
            Thinking::On(_) => Begin::Reasoning,
            Thinking::Off => Begin::Text,
        };
        let reading = Reading {
            begin,
            ..Reading::default()
        };
        let prompt = ids.len();
        let sampling = Sampling::greedy();
        let request = Request::chat(ids, LONGEST_TURN, sampling, reading, &self.tokenizer);
        let session = self.engine.session().expect("a session");
        let generation = session.generate(request).expect("a generation");
        let mut calls: Vec<(String, String)> = Vec::new();
        let mut written = String::new();
        for output in generation {
            match output {
                Output::Token(token) => written += &String::from_utf8_lossy(&token.bytes),
                Output::Piece(Piece::CallStart { name, .. }) => {
                    calls.push((name.into_owned(), String::new()));
                }
                Output::Piece(Piece::CallArgs { json, .. }) => {
                    calls.last_mut().expect("a call began").1 += &json;
                }
                _ => {}
            }
        }
        let made: Vec<Call> = calls
            .into_iter()
            .filter_map(|(name, json)| {
                let arguments = parse(&json, Grammar::Python).ok()?;
                Some(Call { name, arguments })
            })
            .collect();
        let pairs = || made.iter().zip(&case.calls);
        let right = made.len() == case.calls.len() && pairs().all(|(made, call)| made.is(call));
        Outcome {
            right,
            prompt,
            written,
        }
    }
}
