//! A Messages reply.

use serde_json::{Value, json};

use crate::answer::{Answer, Counts, End, Event};
use crate::ask::Ask;
use crate::error::{ApiError, Family, Kind};
use crate::fields::Fields;
use crate::ids;
use crate::sse::Sse;
use crate::voice::Voice;

/// One reply.
pub(crate) struct Reply {
    id: String,
    model: String,
    /// Thinking is told to have happened, but not what was thought.
    hides_thought: bool,
    counts: Counts,
    /// The block that is open, and how many there were before it.
    open: Option<Block>,
    blocks: u32,
    is_begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    Call,
}

impl Reply {
    pub(crate) fn new(body: &Fields<'_>, ask: &Ask) -> Result<Self, ApiError> {
        let thinking = body.object("thinking")?;
        let display = thinking
            .map(|thinking| thinking.text("display"))
            .transpose()?;
        Ok(Self {
            id: ids::fresh("msg_"),
            model: ask.model.clone(),
            hides_thought: display.flatten() == Some("omitted"),
            counts: Counts::default(),
            open: None,
            blocks: 0,
            is_begun: false,
        })
    }

    fn start(&mut self, out: &mut Sse) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let message = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(self.counts),
        });
        out.event(
            "message_start",
            &json!({"type": "message_start", "message": message}),
        );
    }

    /// Opens a block unless one of its kind is open.
    fn block(&mut self, block: Block, content: Value, answer: &Answer, out: &mut Sse) {
        self.start(out);
        if self.open == Some(block) && block != Block::Call {
            return;
        }
        self.close_block(answer, out);
        self.open = Some(block);
        let event = json!({
            "type": "content_block_start",
            "index": self.blocks,
            "content_block": content,
        });
        out.event("content_block_start", &event);
    }

    fn delta(&self, delta: Value, out: &mut Sse) {
        let index = self.blocks;
        let event = json!({"type": "content_block_delta", "index": index, "delta": delta});
        out.event("content_block_delta", &event);
    }

    fn close_block(&mut self, answer: &Answer, out: &mut Sse) {
        let Some(open) = self.open.take() else {
            return;
        };
        if open == Block::Thinking {
            let signature = &answer.signature;
            self.delta(
                json!({"type": "signature_delta", "signature": signature}),
                out,
            );
        }
        let event = json!({"type": "content_block_stop", "index": self.blocks});
        out.event("content_block_stop", &event);
        self.blocks += 1;
    }

    fn thinking(&self, text: &str, signature: &str) -> Value {
        let text = if self.hides_thought { "" } else { text };
        json!({"type": "thinking", "thinking": text, "signature": signature})
    }
}

impl Voice for Reply {
    fn open(&mut self, out: &mut Sse) {
        out.event("ping", &json!({"type": "ping"}));
    }

    fn begin(&mut self, counts: Counts, out: &mut Sse) {
        self.counts = counts;
        self.start(out);
    }

    fn alive(&mut self, progress: Option<(u32, u32)>, out: &mut Sse) {
        let mut ping = json!({"type": "ping"});
        if let Some((done, total)) = progress {
            ping["prefill"] = json!({"done": done, "total": total});
        }
        out.event("ping", &ping);
    }

    fn say(&mut self, answer: &Answer, event: Event<'_>, out: &mut Sse) {
        match event {
            Event::Thought(text) => {
                let block = self.thinking("", "");
                self.block(Block::Thinking, block, answer, out);
                if !self.hides_thought {
                    self.delta(json!({"type": "thinking_delta", "thinking": text}), out);
                }
            }
            Event::Text(text, _) => {
                let block = json!({"type": "text", "text": ""});
                self.block(Block::Text, block, answer, out);
                self.delta(json!({"type": "text_delta", "text": text}), out);
            }
            Event::CallStart => {
                let Some(call) = answer.calls.last() else {
                    return;
                };
                let (id, name) = (&call.id, &call.name);
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.block(Block::Call, block, answer, out);
            }
            Event::CallArgs(part) => {
                self.delta(
                    json!({"type": "input_json_delta", "partial_json": part}),
                    out,
                );
            }
            Event::CallEnd => self.close_block(answer, out),
        }
    }

    fn close(&mut self, answer: &Answer, out: &mut Sse) {
        if answer.end == Some(End::Broken) {
            return self.fail(&broken(), out);
        }
        if answer.text.is_empty() && answer.calls.is_empty() {
            // A message of thinking alone is none.
            self.block(
                Block::Text,
                json!({"type": "text", "text": ""}),
                answer,
                out,
            );
        }
        self.close_block(answer, out);
        let (reason, sequence) = stop_reason(answer);
        let event = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": usage(answer.counts),
        });
        out.event("message_delta", &event);
    }

    fn end(&mut self, answers: &[Answer], out: &mut Sse) {
        if answers.iter().all(|answer| answer.end != Some(End::Broken)) {
            out.event("message_stop", &json!({"type": "message_stop"}));
        }
    }

    fn fail(&mut self, error: &ApiError, out: &mut Sse) {
        out.event("error", &error.body(Family::Anthropic));
    }

    fn whole(&mut self, answers: &[Answer]) -> Result<Value, ApiError> {
        let [answer] = answers else {
            return Err(ApiError::internal("one answer was asked for"));
        };
        let mut content = Vec::new();
        if !answer.thought.is_empty() {
            content.push(self.thinking(&answer.thought, &answer.signature));
        }
        if !answer.text.is_empty() || answer.calls.is_empty() {
            content.push(json!({"type": "text", "text": answer.text}));
        }
        for call in &answer.calls {
            let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
            let (id, name) = (&call.id, &call.name);
            content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
        }
        let (reason, sequence) = stop_reason(answer);
        Ok(json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage(answer.counts),
        }))
    }
}

/// A call broke off after the client was told that it began.
fn broken() -> ApiError {
    ApiError::new(Kind::Internal, "the model broke off inside a call")
}

fn stop_reason(answer: &Answer) -> (&'static str, Option<&str>) {
    match &answer.end {
        Some(End::Calls) => ("tool_use", None),
        Some(End::Length) => ("max_tokens", None),
        Some(End::StopString(stop)) => ("stop_sequence", Some(stop)),
        _ => ("end_turn", None),
    }
}

fn usage(counts: Counts) -> Value {
    json!({
        "input_tokens": counts.prompt - counts.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.generated,
    })
}
