//! Tool markup as a grammar, in the Lark form of the library.
//!
//! Tags and names are literal. A strict tool's parameters come in the order of its schema, required
//! ones always; texts run to their closing tag, anything else is JSON of its schema. A tool that is
//! not strict takes any parameters.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{json_of, spacing};
use crate::ask::Tool;

const BLOCK: &str = "\n\n<｜DSML｜tool_calls>\n";
const CLOSE: &str = "</｜DSML｜tool_calls>";
const END_VALUE: &str = "</｜DSML｜parameter>\n";

/// Calls and nothing else: of any tool, or of one.
pub(super) fn forced(tools: &[Tool], only: Option<&str>, is_one_call: bool) -> String {
    let tools: Vec<&Tool> = tools
        .iter()
        .filter(|tool| only.is_none_or(|name| tool.name == name))
        .collect();
    let mut rules = Rules::default();
    let calls = rules.calls(&tools, is_one_call || only.is_some());
    rules.end(&format!("{} {calls}", literal(BLOCK)))
}

/// An answer of a schema, or calls if there are tools.
pub(super) fn schema_or_calls(schema: Value, tools: &[Tool], is_one_call: bool) -> String {
    let mut rules = Rules::default();
    let value = rules.json(schema);
    if tools.is_empty() {
        return rules.end(&value);
    }
    let tools: Vec<&Tool> = tools.iter().collect();
    let calls = rules.calls(&tools, is_one_call);
    rules.end(&format!("{value} | {} {calls}", literal(BLOCK)))
}

/// What may follow the first mark of a tool block.
pub(super) fn after_mark(tools: &[Tool], is_one_call: bool) -> String {
    let tools: Vec<&Tool> = tools.iter().collect();
    let mut rules = Rules::default();
    let calls = rules.calls(&tools, is_one_call);
    rules.end(&format!("{} {calls}", literal("tool_calls>\n")))
}

/// A grammar as it grows.
#[derive(Default)]
struct Rules {
    text: String,
    count: usize,
}

impl Rules {
    /// The grammar that begins with `start`.
    fn end(self, start: &str) -> String {
        format!("start: {start}\n{}", self.text)
    }

    /// A new rule; its name.
    fn rule(&mut self, body: &str) -> String {
        self.attributed("", body)
    }

    fn attributed(&mut self, attributes: &str, body: &str) -> String {
        let name = format!("r{}", self.count);
        self.count += 1;
        let _ = writeln!(self.text, "{name}{attributes}: {body}");
        name
    }

    /// JSON of a schema.
    fn json(&mut self, mut schema: Value) -> String {
        if let Value::Object(members) = &mut schema {
            members.entry("x-guidance").or_insert_with(spacing);
        }
        self.rule(&format!("%json {schema}"))
    }

    /// Calls to the end of their block.
    fn calls(&mut self, tools: &[&Tool], is_one_call: bool) -> String {
        let calls: Vec<String> = tools.iter().map(|tool| self.call(tool)).collect();
        let call = self.rule(&calls.join(" | "));
        let many = if is_one_call { "" } else { "+" };
        self.rule(&format!("({call}){many} {}", literal(CLOSE)))
    }

    fn call(&mut self, tool: &Tool) -> String {
        let open = literal(&format!("<｜DSML｜invoke name=\"{}\">\n", tool.name));
        let close = literal("</｜DSML｜invoke>\n");
        let parameters = match (tool.is_strict, &tool.parameters) {
            (true, Some(schema)) => self.strict(&json_of(schema)),
            _ => self.free(),
        };
        self.rule(&format!("{open} {parameters} {close}"))
    }

    /// Any parameters.
    fn free(&mut self) -> String {
        let text = self.attributed(&suffix(END_VALUE), "/(.|\\n)*/");
        let head = literal("<｜DSML｜parameter name=\"");
        let tail = "(\"\\\" string=\\\"true\\\">\" | \"\\\" string=\\\"false\\\">\")";
        let one = self.rule(&format!("{head} /[^\"<>\\n]+/ {tail} {text}"));
        self.rule(&format!("({one})+ | \"\\n\""))
    }

    /// The parameters of a schema, in its order.
    fn strict(&mut self, schema: &Value) -> String {
        let none = serde_json::Map::new();
        let properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&none);
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|own| own.as_str() == Some(name)))
        };
        let mut parts = Vec::new();
        for (name, property) in properties {
            let part = self.parameter(name, &with_definitions(property, schema));
            parts.push(match is_required(name) {
                true => part,
                false => format!("({part})?"),
            });
        }
        let parts = parts.join(" ");
        match properties.keys().any(|name| is_required(name)) {
            true => parts,
            // An empty line where there are none.
            false if parts.is_empty() => "\"\\n\"".to_owned(),
            false => format!("({parts} | \"\\n\")"),
        }
    }

    fn parameter(&mut self, name: &str, schema: &Value) -> String {
        let mut values = Vec::new();
        for form in forms(schema, 0) {
            values.push(match form {
                Form::Text => {
                    let text = self.attributed(&suffix(END_VALUE), "/(.|\\n)*/");
                    format!("\"\\\" string=\\\"true\\\">\" {text}")
                }
                Form::Words(words) => {
                    let words: Vec<String> = words.iter().map(|word| literal(word)).collect();
                    let end = literal(END_VALUE);
                    format!(
                        "\"\\\" string=\\\"true\\\">\" ({}) {end}",
                        words.join(" | ")
                    )
                }
                Form::Json(schema) => {
                    let json = self.json(schema);
                    format!(
                        "\"\\\" string=\\\"false\\\">\" {json} {}",
                        literal(END_VALUE)
                    )
                }
            });
        }
        let head = literal(&format!("<｜DSML｜parameter name=\"{name}"));
        self.rule(&format!("{head} ({})", values.join(" | ")))
    }
}

/// How a value may be written.
enum Form {
    /// Any text.
    Text,
    /// One of these texts.
    Words(Vec<String>),
    /// JSON that is no text.
    Json(Value),
}

/// Branches of a schema that are looked into.
const MAX_DEPTH: usize = 8;

/// The ways a value of `schema` may be written. Texts are written raw, all else as JSON.
fn forms(schema: &Value, depth: usize) -> Vec<Form> {
    let any_of = schema
        .get("anyOf")
        .or_else(|| schema.get("oneOf"))
        .and_then(Value::as_array);
    if let Some(branches) = any_of.filter(|_| depth < MAX_DEPTH) {
        let branches = branches
            .iter()
            .map(|branch| with_definitions(branch, schema));
        return branches
            .flat_map(|branch| forms(&branch, depth + 1))
            .collect();
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let texts: Vec<String> = words
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let others: Vec<Value> = words
            .iter()
            .filter(|word| !word.is_string())
            .cloned()
            .collect();
        let mut forms = Vec::new();
        if !texts.is_empty() {
            forms.push(Form::Words(texts));
        }
        if !others.is_empty() {
            forms.push(Form::Json(json!({"enum": others})));
        }
        return forms;
    }
    match schema.get("const") {
        Some(Value::String(word)) => return vec![Form::Words(vec![word.clone()])],
        Some(_) => return vec![Form::Json(schema.clone())],
        None => {}
    }
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "string" => vec![Form::Text],
        Some(Value::Array(kinds)) if kinds.iter().any(|kind| kind == "string") => {
            let others: Vec<Value> = kinds
                .iter()
                .filter(|kind| *kind != "string")
                .cloned()
                .collect();
            let mut forms = vec![Form::Text];
            if !others.is_empty() {
                let mut schema = schema.clone();
                schema["type"] = others.into();
                forms.push(Form::Json(schema));
            }
            forms
        }
        _ => vec![Form::Json(schema.clone())],
    }
}

/// A part of a schema that still finds what it refers to.
fn with_definitions(part: &Value, whole: &Value) -> Value {
    let mut part = part.clone();
    if let Value::Object(members) = &mut part {
        for key in ["$defs", "definitions"] {
            if let Some(definitions) = whole.get(key) {
                members.entry(key).or_insert_with(|| definitions.clone());
            }
        }
    }
    part
}

fn suffix(text: &str) -> String {
    format!("[suffix={}]", literal(text))
}

/// A literal: Lark's strings are JSON's.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
