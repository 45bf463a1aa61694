//! `/v1/completions`: text goes on, without roles or turns.

use ds4_engine::sampling::Report;
use ds4_prompt::json::Value as Given;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Counts, End, Event};
use crate::ask::{self, Ask, RawPrompt, Source};
use crate::clock;
use crate::config::Limits;
use crate::dialect::chat::{end, fail, usage};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::ids;
use crate::ledger::Weighed;
use crate::sse::Sse;
use crate::voice::{Voice, total};

/// Tokens of an answer when nothing is said: what this interface has always meant.
const USUAL_TOKENS: u32 = 16;

/// What a body asks for.
pub(crate) fn read(body: &Fields<'_>, limits: &Limits) -> Result<Ask, ApiError> {
    let prompt = prompt(body)?;
    let suffix = body.text("suffix")?.filter(|suffix| !suffix.is_empty());
    let suffix = suffix.map(str::to_owned);
    let is_echoed = body.flag("echo")?.unwrap_or(false);
    if is_echoed && matches!(prompt, RawPrompt::Tokens(_)) {
        return Err(ApiError::field("echo", "needs a prompt that is text"));
    }
    let model = body.text("model")?.unwrap_or_default();
    let mut ask = Ask::new(model, Source::Raw { prompt, suffix });
    ask::sampling(body, &mut ask)?;
    let top = body.count("logprobs", 0, 20)?;
    if is_echoed && top.is_some() {
        return Err(ApiError::field("echo", "cannot be combined with logprobs"));
    }
    ask::report(top.is_some(), top, &mut ask);
    ask.budget = body
        .count("max_tokens", 1, u32::MAX)?
        .or(Some(USUAL_TOKENS));
    ask.stops = ask::stops(body, "stop", limits)?;
    ask.choices = body.count("n", 1, limits.choices)?.unwrap_or(1);
    if body
        .count("best_of", 1, u32::MAX)?
        .is_some_and(|best| best > ask.choices)
    {
        let problem = "is more than n; answers are not ranked here";
        return Err(ApiError::field("best_of", problem));
    }
    ask.is_streamed = body.flag("stream")?.unwrap_or(false);
    Ok(ask)
}

/// One prompt: a text, or tokens, either of which may stand in a list of its own.
fn prompt(body: &Fields<'_>) -> Result<RawPrompt, ApiError> {
    let path = body.path("prompt");
    let wrong = || ApiError::field(&path, "must be one text, or one array of token ids");
    let tokens = |items: &[Given]| {
        let id = |item: &Given| match item {
            Given::Number(number) => number.as_written().parse().ok(),
            _ => None,
        };
        let ids: Option<Vec<u32>> = items.iter().map(id).collect();
        ids.map(RawPrompt::Tokens).ok_or_else(wrong)
    };
    match body.get("prompt") {
        None => Ok(RawPrompt::Text(String::new())),
        Some(Given::String(text)) => Ok(RawPrompt::Text(text.clone())),
        Some(Given::Array(items)) => match items.as_slice() {
            [Given::String(text)] => Ok(RawPrompt::Text(text.clone())),
            [Given::Array(ids)] => tokens(ids),
            [Given::String(_) | Given::Array(_), ..] => Err(ApiError::field(
                &path,
                "holds several prompts; send one a request",
            )),
            ids => tokens(ids),
        },
        Some(_) => Err(wrong()),
    }
}

/// One reply.
pub(crate) struct Reply {
    id: String,
    created: u64,
    model: String,
    has_usage: bool,
    has_logprobs: bool,
    /// What stands before every answer.
    echo: String,
    /// Characters of each answer that were sent, for the offsets of its tokens.
    sent: usize,
}

impl Reply {
    pub(crate) fn new(body: &Fields<'_>, ask: &Ask) -> Result<Self, ApiError> {
        let options = body.object("stream_options")?;
        let has_usage = options
            .map(|options| options.flag("include_usage"))
            .transpose()?;
        let echo = match (body.flag("echo")?, &ask.source) {
            (
                Some(true),
                Source::Raw {
                    prompt: RawPrompt::Text(text),
                    ..
                },
            ) => text.clone(),
            _ => String::new(),
        };
        Ok(Self {
            id: ids::fresh("cmpl-"),
            created: clock::seconds(),
            model: ask.model.clone(),
            has_usage: has_usage.flatten().unwrap_or(false),
            has_logprobs: ask.sampling.report != Report::Nothing,
            echo,
            sent: 0,
        })
    }

    fn head(&self, choices: Vec<Value>) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".into(), self.id.clone().into());
        head.insert("object".into(), "text_completion".into());
        head.insert("created".into(), self.created.into());
        head.insert("model".into(), self.model.clone().into());
        head.insert("choices".into(), choices.into());
        head
    }

    fn logprobs(&self, weighed: &[Weighed], offset: usize) -> Value {
        match self.has_logprobs {
            true => logprobs(weighed, offset),
            false => Value::Null,
        }
    }

    fn part(&self, index: u32, text: &str, logprobs: Value, out: &mut Sse) {
        let choice = json!({
            "text": text,
            "index": index,
            "logprobs": logprobs,
            "finish_reason": null,
        });
        out.data(&Value::Object(self.head(vec![choice])));
    }
}

impl Voice for Reply {
    fn open(&mut self, out: &mut Sse) {
        self.part(0, "", Value::Null, out);
    }

    fn begin(&mut self, _: Counts, _: &mut Sse) {}

    fn alive(&mut self, _: Option<(u32, u32)>, out: &mut Sse) {
        self.part(0, "", Value::Null, out);
    }

    fn say(&mut self, answer: &Answer, event: Event<'_>, out: &mut Sse) {
        let Event::Text(text, weighed) = event else {
            return;
        };
        let before = answer.text.len() - text.len();
        if before == 0 {
            self.sent = 0;
            if !self.echo.is_empty() {
                self.part(answer.index, &self.echo, Value::Null, out);
            }
        }
        let logprobs = self.logprobs(weighed, self.sent);
        self.sent += text.chars().count();
        self.part(answer.index, text, logprobs, out);
    }

    fn close(&mut self, answer: &Answer, out: &mut Sse) {
        let choice = json!({
            "text": "",
            "index": answer.index,
            "logprobs": null,
            "finish_reason": finish_reason(answer),
        });
        out.data(&Value::Object(self.head(vec![choice])));
    }

    fn end(&mut self, answers: &[Answer], out: &mut Sse) {
        end(self.head(Vec::new()), self.has_usage, answers, out);
    }

    fn fail(&mut self, error: &ApiError, out: &mut Sse) {
        fail(error, out);
    }

    fn whole(&mut self, answers: &[Answer]) -> Result<Value, ApiError> {
        let choice = |answer: &Answer| {
            json!({
                "text": format!("{}{}", self.echo, answer.text),
                "index": answer.index,
                "logprobs": self.logprobs(&answer.weighed, 0),
                "finish_reason": finish_reason(answer),
            })
        };
        let mut reply = self.head(answers.iter().map(choice).collect());
        reply.insert("usage".into(), usage(total(answers)));
        Ok(Value::Object(reply))
    }
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.end {
        Some(End::Length) => "length",
        _ => "stop",
    }
}

/// Parallel lists, one entry a token; offsets count characters.
fn logprobs(weighed: &[Weighed], mut offset: usize) -> Value {
    let (mut tokens, mut own, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
    for token in weighed {
        let text = String::from_utf8_lossy(&token.bytes);
        offsets.push(offset);
        offset += text.chars().count();
        tokens.push(text.into_owned());
        own.push(token.logprob);
        let top = token.top.iter();
        let top = top.map(|(bytes, logprob)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            (text, Value::from(*logprob))
        });
        tops.push(top.collect::<Map<String, Value>>());
    }
    json!({
        "tokens": tokens,
        "token_logprobs": own,
        "top_logprobs": tops,
        "text_offset": offsets,
    })
}
