//! Facts in words and aligned columns. No colour: what it says must survive a pipe.

use std::fmt::Write;

use ds4_gguf::TensorInfo;
use ds4_model::inventory::RoutedRun;
use ds4_model::{Ratio, Shape};

use super::facts::{Content, Facts, ModelFacts};
use super::tokenizer::TokenizerFacts;
use crate::units::{Bytes, grouped, parameters};

/// The page for a person.
pub(super) fn render(facts: &Facts, tensors: &[TensorInfo]) -> String {
    let mut page = Page(String::new());
    page.line(&facts.path);
    page.head(facts);
    page.weights(facts);
    if let Content::Model(model) = &facts.content {
        page.reading(model);
        page.conversations(model);
    }
    if let Some(tokenizer) = &facts.tokenizer {
        page.tokenizer(tokenizer);
    }
    page.odd(&facts.odd);
    page.tensors(tensors);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, text: impl AsRef<str>) {
        self.0.push_str(text.as_ref().trim_end());
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.line(format!("  {name:<11}{}", value.as_ref()));
    }

    fn head(&mut self, facts: &Facts) {
        match &facts.content {
            Content::Model(model) => {
                let shape = &model.shape;
                let parameters = parameters(model.inventory.parameters);
                self.field(
                    "model",
                    format!("{}, {parameters} parameters", shape.profile),
                );
                self.field("layers", layers(shape));
                self.field("sizes", sizes(shape));
                self.field("recipe", recipe(model));
            }
            Content::Support { kind, fits } => {
                self.field("support", *kind);
                self.field(
                    "for",
                    fits.as_deref().unwrap_or("no model it was compared with"),
                );
            }
            Content::Other => {
                let architecture = facts.architecture.as_deref().unwrap_or("not stated");
                self.field(
                    "model",
                    format!("none that ds4 runs (architecture: {architecture})"),
                );
            }
        }
        if let Some(name) = &facts.name {
            self.field("name", name);
        }
        let (bytes, exact) = (Bytes(facts.file_bytes), grouped(facts.file_bytes));
        self.field("file", format!("{bytes} ({exact} bytes)"));
        self.field(
            "header",
            format!(
                "{} tensors, {} keys, data from byte {} on, alignment {}",
                grouped(facts.tensors as u64),
                facts.keys,
                grouped(facts.data_start),
                facts.alignment
            ),
        );
    }

    fn weights(&mut self, facts: &Facts) {
        self.section("Weights");
        let total: u64 = facts.formats.values().map(|share| share.bytes).sum();
        let mut row = |name: &str, tensors: usize, bytes: u64| {
            let share = 100.0 * bytes as f64 / total.max(1) as f64;
            let (tensors, size) = (grouped(tensors as u64), Bytes(bytes).to_string());
            let exact = grouped(bytes);
            self.line(format!(
                "  {name:<11}{tensors:>7} {size:>10} {share:>6.1} % {exact:>19} bytes"
            ));
        };
        let mut formats: Vec<_> = facts.formats.iter().collect();
        formats.sort_by_key(|(_, share)| std::cmp::Reverse(share.bytes));
        for (format, share) in formats {
            row(format.name(), share.tensors, share.bytes);
        }
        row("in all", facts.tensors, total);
    }

    fn reading(&mut self, model: &ModelFacts) {
        let (shape, reading) = (&model.shape, model.inventory.reading);
        self.section("A decoded token reads");
        let routed = format!(
            "{} of {} experts in {} layers",
            shape.experts_used,
            shape.experts,
            shape.layers()
        );
        for (what, bytes) in [
            ("what every token needs", reading.always),
            (routed.as_str(), reading.routed),
            ("in all", reading.total()),
        ] {
            self.line(format!("  {what:<32}{:>10}", Bytes(bytes).to_string()));
        }
    }

    fn conversations(&mut self, model: &ModelFacts) {
        self.section("A conversation takes");
        self.line(format!(
            "  {:>9} {:>12} {:>14}",
            "tokens", "rows", "set aside"
        ));
        for conversation in &model.conversations {
            let (rows, allocated) = (Bytes(conversation.rows), Bytes(conversation.allocated));
            let tokens = grouped(conversation.tokens);
            self.line(format!(
                "  {tokens:>9} {:>12} {:>14}",
                rows.to_string(),
                allocated.to_string()
            ));
        }
    }

    fn tokenizer(&mut self, tokenizer: &TokenizerFacts) {
        self.section("Tokenizer");
        self.field("kind", &tokenizer.kind);
        let (tokens, added) = (
            grouped(tokenizer.tokens as u64),
            grouped(tokenizer.added as u64),
        );
        let merges = grouped(tokenizer.merges as u64);
        self.field(
            "size",
            format!("{tokens} tokens, {added} of them added; {merges} merges"),
        );
        for (index, (text, id)) in tokenizer.special.iter().enumerate() {
            let label = if index == 0 { "special" } else { "" };
            self.field(label, format!("{id:>6}  {text}"));
        }
    }

    fn odd(&mut self, odd: &[String]) {
        self.section("Odd");
        if odd.is_empty() {
            self.line("  nothing");
        }
        for oddity in odd {
            self.line(format!("  {oddity}"));
        }
    }

    fn tensors(&mut self, tensors: &[TensorInfo]) {
        if tensors.is_empty() {
            return;
        }
        self.section("Tensors");
        let width = tensors
            .iter()
            .map(|tensor| tensor.name.chars().count())
            .max()
            .unwrap_or(0);
        for tensor in tensors {
            let name = super::facts::printable(&tensor.name);
            let dims = tensor.dims.to_string();
            self.line(format!(
                "  {name:<width$}  {:<8} {dims:<20} {:>16} {:>15} bytes",
                tensor.format,
                format!("at {}", grouped(tensor.offset)),
                grouped(tensor.bytes)
            ));
        }
    }
}

fn layers(shape: &Shape) -> String {
    let count = |ratio| shape.ratios.iter().filter(|&&found| found == ratio).count();
    let mut text = shape.layers().to_string();
    for (ratio, name) in [
        (Ratio::None, "window only"),
        (Ratio::Four, "compressed by 4 (CSA)"),
        (Ratio::OneTwentyEight, "by 128 (HCA)"),
    ] {
        let count = count(ratio);
        if count > 0 {
            let separator = if text.contains(':') { "," } else { ":" };
            let _ = write!(text, "{separator} {count} {name}");
        }
    }
    let _ = write!(text, "; {} routed by token id", shape.hash_layers);
    text
}

fn sizes(shape: &Shape) -> String {
    format!(
        "width {}, {} heads of {}, {} experts of {} ({} a token), {} tokens",
        shape.hidden,
        shape.heads,
        shape.head_width,
        shape.experts,
        shape.expert_width,
        shape.experts_used,
        grouped(shape.vocab as u64)
    )
}

fn recipe(model: &ModelFacts) -> String {
    let name = match &model.inventory.recipe {
        Some(recipe) => recipe.name,
        None => "none of the known ones",
    };
    let runs: Vec<String> = model.inventory.routed.iter().map(run).collect();
    format!("{name}; routed experts {}", runs.join(", "))
}

fn run(run: &RoutedRun) -> String {
    let RoutedRun {
        layers,
        inward,
        outward,
    } = run;
    let formats = if inward == outward {
        inward.to_string()
    } else {
        format!("{inward} (gate, up) and {outward} (down)")
    };
    format!("{formats} in layers {} to {}", layers.start(), layers.end())
}
