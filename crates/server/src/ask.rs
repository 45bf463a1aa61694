//! [`Ask`]: what a request wants, in no dialect. Every dialect reads its body into one, and nothing
//! behind it knows which dialect that was.

use std::sync::Arc;

use ds4_engine::SamplingFields;
use ds4_engine::sampling::{MAX_TOP_LOGPROBS, Report};
use ds4_prompt::chat::Message;
use ds4_prompt::dsml::Begin;
use ds4_prompt::json::Value;
use ds4_prompt::{Generation, Thinking};

use crate::config::Limits;
use crate::conversation::Read;
use crate::error::ApiError;
use crate::fields::{Fields, number};
use crate::replay::Said;

/// A turn to be made.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// What the client calls the model. Echoed; the loaded model answers.
    pub(crate) model: String,
    pub(crate) source: Source,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: ToolChoice,
    /// At most one call a turn.
    pub(crate) is_one_call: bool,
    pub(crate) format: Format,
    pub(crate) budget: Option<u32>,
    pub(crate) sampling: SamplingFields,
    /// Whether the client gave a seed: its choices are then its own business.
    pub(crate) is_seeded: bool,
    pub(crate) stops: Vec<String>,
    /// How many answers.
    pub(crate) choices: u32,
    pub(crate) is_streamed: bool,
}

/// What the model goes on from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A conversation.
    Chat {
        messages: Vec<Message>,
        thinking: Thinking,
        /// For each assistant message, the turn it repeats.
        found: Vec<Option<Arc<Said>>>,
        /// Whether the model goes on from a text of its own.
        goes_on: bool,
    },
    /// Bare text, or the two ends of one.
    Raw {
        prompt: RawPrompt,
        suffix: Option<String>,
    },
}

/// A prompt that is no conversation.
#[derive(Clone, Debug)]
pub(crate) enum RawPrompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// A tool the model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// What the model calls it.
    pub(crate) name: String,
    /// What the prompt says about it.
    pub(crate) line: Value,
    /// Its arguments' schema.
    pub(crate) parameters: Option<Value>,
    /// Whether its arguments must match the schema.
    pub(crate) is_strict: bool,
    pub(crate) face: Face,
}

/// What a tool is to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Function,
    /// One text argument, `input`.
    Custom,
    /// A function of a namespace; the model sees `NAMESPACE__NAME`.
    Namespaced {
        namespace: String,
        name: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    None,
    #[default]
    Auto,
    Required,
    Named(String),
}

/// What the visible text must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema(Value),
}

impl Source {
    /// A conversation that was read. A text to go on from leaves no room to think first.
    pub(crate) fn chat(read: Read, wish: Wish, serving: Serving) -> Self {
        Self::Chat {
            messages: read.messages,
            thinking: match read.goes_on {
                true => Thinking::Off,
                false => wish.thinking(serving),
            },
            found: read.found,
            goes_on: read.goes_on,
        }
    }
}

impl Ask {
    pub(crate) fn new(model: &str, source: Source) -> Self {
        Self {
            model: model.to_owned(),
            source,
            tools: Vec::new(),
            choice: ToolChoice::Auto,
            is_one_call: false,
            format: Format::Text,
            budget: None,
            sampling: default_sampling(),
            is_seeded: false,
            stops: Vec::new(),
            choices: 1,
            is_streamed: false,
        }
    }

    /// Whether the turn begins inside reasoning.
    pub(crate) fn begin(&self) -> Begin {
        match &self.source {
            Source::Chat { thinking, .. } if thinking.is_on() => Begin::Reasoning,
            _ => Begin::Text,
        }
    }
}

/// How tokens are chosen unless a request says otherwise: as published, and the tail cut a little.
pub(crate) fn default_sampling() -> SamplingFields {
    SamplingFields {
        min_p: 0.05,
        ..SamplingFields::default()
    }
}

/// The fields of sampling that are called the same everywhere.
pub(crate) fn sampling(body: &Fields<'_>, ask: &mut Ask) -> Result<(), ApiError> {
    let own = &mut ask.sampling;
    set(&mut own.temperature, body.number("temperature")?);
    set(&mut own.top_p, body.number("top_p")?);
    // Several clients write 0, some -1, for "all".
    if let Some(top_k) = body.number("top_k")? {
        own.top_k = top_k.max(0.0) as u32;
    }
    set(&mut own.min_p, body.number("min_p")?);
    set(
        &mut own.frequency_penalty,
        body.number("frequency_penalty")?,
    );
    set(&mut own.presence_penalty, body.number("presence_penalty")?);
    if let Some(seed) = body.seed("seed")? {
        own.seed = seed;
        ask.is_seeded = true;
    }
    if let Some(bias) = body.object("logit_bias")? {
        own.logit_bias = logit_bias(&bias)?;
    }
    Ok(())
}

fn set(own: &mut f32, given: Option<f32>) {
    if let Some(given) = given {
        *own = given;
    }
}

/// Most tokens that may be biased.
const MAX_BIASES: usize = 1024;

fn logit_bias(bias: &Fields<'_>) -> Result<Vec<(u32, f32)>, ApiError> {
    let names: Vec<&str> = bias.names().collect();
    if names.len() > MAX_BIASES {
        let problem = format!(
            "has {} entries; at most {MAX_BIASES} are taken",
            names.len()
        );
        return Err(ApiError::field(bias.here(), problem));
    }
    let entry = |name: &str| {
        let path = bias.path(name);
        let token = name.parse();
        let token = token.map_err(|_| ApiError::field(&path, "is not the id of a token"))?;
        Ok((token, bias.get(name).map_or(Ok(0.0), |v| number(v, &path))?))
    };
    names.into_iter().map(entry).collect()
}

/// How many log-probabilities, if any.
pub(crate) fn report(wanted: bool, top: Option<u32>, ask: &mut Ask) {
    if wanted {
        let top = top.unwrap_or(0).min(MAX_TOP_LOGPROBS as u32);
        ask.sampling.report = Report::Logprobs(top as u8);
    }
}

/// Stop strings: one or several.
pub(crate) fn stops(
    body: &Fields<'_>,
    field: &str,
    limits: &Limits,
) -> Result<Vec<String>, ApiError> {
    let stops = match body.get(field) {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(items)) => {
            let text = |item: &Value| item.as_str().map(str::to_owned);
            let texts: Option<Vec<String>> = items.iter().map(text).collect();
            texts.ok_or_else(|| ApiError::field(&body.path(field), "may hold strings only"))?
        }
        Some(other) => return Err(body.wrong(field, "a string or an array of strings", other)),
    };
    if stops.len() > limits.stops || stops.iter().any(|stop| stop.len() > limits.stop_bytes) {
        let problem = format!(
            "at most {} strings of at most {} bytes are taken",
            limits.stops, limits.stop_bytes
        );
        return Err(ApiError::field(&body.path(field), problem));
    }
    // An empty one would end every answer at once; clients send it for "none".
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
}

/// What requests say about thinking, most specific first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// Off or on, said as such.
    pub(crate) is_on: Option<bool>,
    /// How hard.
    pub(crate) effort: Option<Thinking>,
    /// What the model's name implies.
    pub(crate) of_name: Option<bool>,
}

impl Wish {
    /// An effort by its name.
    pub(crate) fn effort(&mut self, fields: &Fields<'_>, field: &str) -> Result<(), ApiError> {
        if let Some(name) = fields.text(field)? {
            let known = Thinking::of_effort_name(name);
            self.effort = Some(known.ok_or_else(|| {
                let problem = format!(
                    "is {name:?}; it must be none, minimal, low, medium, high, xhigh or max"
                );
                ApiError::field(&fields.path(field), problem)
            })?);
        }
        Ok(())
    }

    /// What it comes to.
    pub(crate) fn thinking(self, server: Serving) -> Thinking {
        let ordinary = Thinking::On(server.generation.ordinary_effort());
        let effort = self.effort.filter(|effort| effort.is_on());
        let wanted = match (self.is_on, self.effort) {
            (Some(false), _) | (None, Some(Thinking::Off)) => Thinking::Off,
            (Some(true), _) | (None, Some(_)) => effort.unwrap_or(ordinary),
            (None, None) if self.of_name.unwrap_or(server.is_thinking) => ordinary,
            (None, None) => Thinking::Off,
        };
        wanted.within(server.context as u64).0
    }
}

/// What the server itself brings to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    /// Which checkpoints are served.
    pub(crate) generation: Generation,
    /// Tokens of context.
    pub(crate) context: usize,
    /// Whether the model thinks when nothing is said.
    pub(crate) is_thinking: bool,
}
