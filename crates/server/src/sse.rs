//! Server-sent events, written.

use serde_json::Value;

/// Events on their way.
#[derive(Debug, Default)]
pub(crate) struct Sse(String);

impl Sse {
    /// An event without a name.
    pub(crate) fn data(&mut self, data: &Value) {
        self.0.push_str("data: ");
        self.json(data);
        self.0.push_str("\n\n");
    }

    /// An event with a name.
    pub(crate) fn event(&mut self, name: &str, data: &Value) {
        self.0.push_str("event: ");
        self.0.push_str(name);
        self.0.push('\n');
        self.data(data);
    }

    /// The end of a stream of the OpenAI family.
    pub(crate) fn done(&mut self) {
        self.0.push_str("data: [DONE]\n\n");
    }

    /// What was written since.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// JSON as `serde_json` writes it has no line breaks, which is what an event needs.
    fn json(&mut self, data: &Value) {
        self.0.push_str(&data.to_string());
    }
}
