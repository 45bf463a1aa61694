//! A Responses reply: items, and the events they arrive in.

mod stream;

use std::sync::Arc;

use ds4_engine::sampling::Report;
use ds4_prompt::json::{Grammar, Value as Given, parse};
use serde_json::{Value, json};

use super::items::{Item, Items, Open};
use super::shelf::Kept;
use super::skeleton::{skeleton, usage, user};
use crate::answer::{Answer, Counts, End, Event};
use crate::app::App;
use crate::ask::{Ask, Face};
use crate::dialect::chat::{custom_input, logprob_entries};
use crate::error::{ApiError, Family};
use crate::fields::Fields;
use crate::ids;
use crate::sse::Sse;
use crate::tenant::Tenant;
use crate::voice::Voice;

/// One reply.
pub(crate) struct Reply {
    app: Arc<App>,
    tenant: Tenant,
    /// The reply as it stands.
    reply: Value,
    id: String,
    /// The own input of this request, and what it goes on from.
    input: Vec<Given>,
    before: Option<Arc<Kept>>,
    is_kept: bool,
    items: Items,
    sequence: u64,
    /// Items that are complete.
    output: Vec<Value>,
    open: Option<Open>,
}

impl Reply {
    pub(crate) fn new(
        body: &Fields<'_>,
        ask: &Ask,
        app: &Arc<App>,
        tenant: Tenant,
    ) -> Result<Self, ApiError> {
        let id = ids::fresh("resp_");
        let includes = |what: &str| {
            let items = body.list("include")?.iter();
            Ok::<_, ApiError>(items.into_iter().any(|item| item.as_str() == Some(what)))
        };
        let reasoning = body.object("reasoning")?;
        let summary = reasoning
            .map(|own| own.text("summary"))
            .transpose()?
            .flatten();
        let previous = body.text("previous_response_id")?;
        Ok(Self {
            reply: skeleton(body, ask, &id)?,
            input: match body.get("input") {
                Some(Given::Array(items)) => items.clone(),
                Some(Given::String(text)) => vec![user(text)],
                _ => Vec::new(),
            },
            before: previous.and_then(|id| app.replies.find(tenant, id)),
            is_kept: body.flag("store")?.unwrap_or(true),
            items: Items {
                tools: ask.tools.clone(),
                has_summary: summary.is_some_and(|summary| summary != "none"),
                has_encrypted: includes("reasoning.encrypted_content")?,
                has_logprobs: ask.sampling.report != Report::Nothing,
            },
            app: Arc::clone(app),
            tenant,
            id,
            sequence: 0,
            output: Vec::new(),
            open: None,
        })
    }

    fn event(&mut self, kind: &str, mut data: Value, out: &mut Sse) {
        data["type"] = kind.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        out.event(kind, &data);
    }

    /// An event that shows the whole reply.
    fn state(&mut self, kind: &str, out: &mut Sse) {
        let data = json!({"response": self.reply});
        self.event(kind, data, out);
    }

    /// Closes the reply: how it ended, what it took, and what it says.
    fn conclude(&mut self, answer: &Answer) {
        let (status, details) = match answer.end {
            Some(End::Length) => ("incomplete", json!({"reason": "max_output_tokens"})),
            Some(End::Broken) => ("failed", Value::Null),
            _ => ("completed", Value::Null),
        };
        self.reply["status"] = status.into();
        self.reply["incomplete_details"] = details;
        self.reply["output"] = self.output.clone().into();
        self.reply["usage"] = usage(answer.counts);
        if answer.end == Some(End::Broken) {
            let message = "the model broke off inside a call";
            self.reply["error"] = json!({"code": "server_error", "message": message});
            return;
        }
        if self.is_kept {
            let own = |item: &Value| parse(&item.to_string(), Grammar::Strict).ok();
            let output: Vec<Given> = self.output.iter().filter_map(own).collect();
            let input = std::mem::take(&mut self.input);
            let kept = Kept::new(self.before.take(), input, output, self.reply.clone());
            self.app.keep(self.tenant, &self.id, kept);
        }
    }
}

impl Voice for Reply {
    fn open(&mut self, out: &mut Sse) {
        self.state("response.created", out);
        self.state("response.in_progress", out);
    }

    fn begin(&mut self, _: Counts, _: &mut Sse) {}

    fn alive(&mut self, progress: Option<(u32, u32)>, out: &mut Sse) {
        let mut data = json!({"response": self.reply});
        if let Some((done, total)) = progress {
            data["prefill"] = json!({"done": done, "total": total});
        }
        self.event("response.in_progress", data, out);
    }

    fn say(&mut self, answer: &Answer, event: Event<'_>, out: &mut Sse) {
        match event {
            Event::Thought(text) => {
                self.open_item(Item::Reasoning, answer, out);
                if self.items.has_summary {
                    let kind = "response.reasoning_summary_text.delta";
                    self.delta(kind, "summary_index", text, Value::Null, out);
                }
            }
            Event::Text(text, weighed) => {
                self.open_item(Item::Message, answer, out);
                let logprobs = match self.items.has_logprobs {
                    true => logprob_entries(weighed),
                    false => Vec::new(),
                };
                let kind = "response.output_text.delta";
                self.delta(kind, "content_index", text, logprobs.into(), out);
            }
            Event::CallStart => self.open_item(Item::Call, answer, out),
            Event::CallArgs(part) => {
                let is_custom = answer
                    .calls
                    .last()
                    .is_some_and(|call| self.items.face(call) == Face::Custom);
                if !is_custom {
                    let kind = "response.function_call_arguments.delta";
                    self.delta(kind, "", part, Value::Null, out);
                }
            }
            Event::CallEnd => {
                if let Some(call) = answer.calls.last()
                    && self.items.face(call) == Face::Custom
                {
                    let input = custom_input(&call.arguments);
                    let kind = "response.custom_tool_call_input.delta";
                    self.delta(kind, "", &input, Value::Null, out);
                }
                self.close_item(answer, out);
            }
        }
    }

    fn close(&mut self, answer: &Answer, out: &mut Sse) {
        if answer.end != Some(End::Broken) {
            self.close_item(answer, out);
        }
        self.conclude(answer);
        let kind = match answer.end {
            Some(End::Length) => "response.incomplete",
            Some(End::Broken) => "response.failed",
            _ => "response.completed",
        };
        self.state(kind, out);
    }

    fn end(&mut self, _: &[Answer], _: &mut Sse) {}

    fn fail(&mut self, error: &ApiError, out: &mut Sse) {
        let code = error.code().unwrap_or("server_error");
        let message = error.message(Family::OpenAi);
        self.reply["status"] = "failed".into();
        self.reply["error"] = json!({"code": code, "message": message});
        self.state("response.failed", out);
    }

    fn whole(&mut self, answers: &[Answer]) -> Result<Value, ApiError> {
        // The events of the answer have built the reply; nobody heard them.
        match answers {
            [_] => Ok(self.reply.clone()),
            _ => Err(ApiError::internal("one answer was asked for")),
        }
    }
}
