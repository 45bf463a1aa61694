//! Items as events: opened, grown, closed.

use serde_json::{Value, json};

use super::super::items::{Item, Open, output_text};
use super::Reply;
use crate::answer::Answer;
use crate::ids;
use crate::sse::Sse;

impl Reply {
    /// Where the open item is.
    fn place(&self) -> usize {
        self.output.len()
    }

    pub(super) fn open_item(&mut self, kind: Item, answer: &Answer, out: &mut Sse) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.kind == kind && kind != Item::Call)
        {
            return;
        }
        self.close_item(answer, out);
        let id = match kind {
            Item::Reasoning => answer.signature.clone(),
            Item::Message => ids::fresh("msg_"),
            Item::Call => ids::fresh("fc_"),
        };
        let text = String::new();
        self.open = Some(Open { kind, id, text });
        let item = self.item(answer, false);
        let place = self.place();
        let added = json!({"output_index": place, "item": item});
        self.event("response.output_item.added", added, out);
        let Some(id) = self.open.as_ref().map(|open| open.id.clone()) else {
            return;
        };
        match kind {
            Item::Reasoning if self.items.has_summary => {
                let part = json!({"type": "summary_text", "text": ""});
                let data = json!({
                    "item_id": id, "output_index": place, "summary_index": 0, "part": part,
                });
                self.event("response.reasoning_summary_part.added", data, out);
            }
            Item::Message => {
                let data = json!({
                    "item_id": id, "output_index": place, "content_index": 0,
                    "part": output_text("", &[]),
                });
                self.event("response.content_part.added", data, out);
            }
            _ => {}
        }
    }

    /// The open item, as it is or done.
    fn item(&self, answer: &Answer, is_done: bool) -> Value {
        let open = self.open.as_ref();
        open.map_or(Value::Null, |open| self.items.item(open, answer, is_done))
    }

    pub(super) fn close_item(&mut self, answer: &Answer, out: &mut Sse) {
        let item = self.item(answer, true);
        let place = self.place();
        let Some(Open { kind, id, text }) = self.open.take() else {
            return;
        };
        match kind {
            Item::Reasoning if self.items.has_summary => {
                let data = json!({
                    "item_id": id, "output_index": place, "summary_index": 0, "text": text,
                });
                self.event("response.reasoning_summary_text.done", data, out);
                let data = json!({
                    "item_id": id, "output_index": place, "summary_index": 0,
                    "part": {"type": "summary_text", "text": text},
                });
                self.event("response.reasoning_summary_part.done", data, out);
            }
            Item::Reasoning => {}
            Item::Message => {
                let part = item["content"][0].clone();
                let data = json!({
                    "item_id": id, "output_index": place, "content_index": 0, "text": text,
                    "logprobs": part["logprobs"],
                });
                self.event("response.output_text.done", data, out);
                let data = json!({
                    "item_id": id, "output_index": place, "content_index": 0, "part": part,
                });
                self.event("response.content_part.done", data, out);
            }
            Item::Call if item["type"] == "custom_tool_call" => {
                let data = json!({"item_id": id, "output_index": place, "input": item["input"]});
                self.event("response.custom_tool_call_input.done", data, out);
            }
            Item::Call => {
                let data = json!({
                    "item_id": id, "output_index": place, "name": item["name"],
                    "arguments": item["arguments"],
                });
                self.event("response.function_call_arguments.done", data, out);
            }
        }
        let done = json!({"output_index": place, "item": item});
        self.event("response.output_item.done", done, out);
        self.output.push(item);
    }

    /// Takes what an event adds to the open item.
    pub(super) fn delta(
        &mut self,
        kind: &str,
        place_field: &str,
        text: &str,
        extra: Value,
        out: &mut Sse,
    ) {
        let place = self.place();
        let Some(open) = &mut self.open else {
            return;
        };
        open.text.push_str(text);
        let mut data = json!({"item_id": open.id, "output_index": place, "delta": text});
        if !place_field.is_empty() {
            data[place_field] = 0.into();
        }
        if !extra.is_null() {
            data["logprobs"] = extra;
        }
        self.event(kind, data, out);
    }
}
