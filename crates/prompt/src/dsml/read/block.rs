//! Inside a tool block: tags, values, and when a call is complete.

use super::Sink;
use super::call::Call;
use super::json_strings::JsonStrings;
use super::mark::{Element, Mark};
use super::output::Output;
use super::tag::{Form, Progress, Tag, is_space};
use crate::dsml::{CLOSING_TAG, ESCAPED_CLOSING_TAG};

/// Structural bytes in a row after which the sampler is let go: greedy decoding loops, and a loop
/// of structure ends only when something else is sampled.
const STRUCTURE_MAX: usize = 512;

/// A tool block being read.
#[derive(Debug)]
pub(super) struct Block {
    mark: Mark,
    /// Its closing tag, without the `>`; none if the block began with an invoke.
    closing: Option<String>,
    place: Place,
    tag: Tag,
    pub(super) call: Call,
    /// A value that is only understood when complete.
    value: String,
    /// How much of a closing tag or of the escape has matched.
    matched: Match,
    strings: JsonStrings,
    /// Structural bytes in a row.
    structure: usize,
}

/// Where in the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before an invoke, or the block's end.
    Invokes,
    /// Inside an invoke: before a parameter, or what may follow the last.
    Parameters,
    /// After the tag of a parameter that does not say what it is: white space or the beginning of a
    /// parameter tag.
    Undecided,
    /// In a string, to the parameter's closing tag.
    StringValue,
    /// In JSON, to the parameter's closing tag.
    JsonValue,
    /// In JSON instead of parameters, to the invoke's closing tag.
    JsonBody,
}

/// How much of a pattern has matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    None,
    /// The tag that closes a value.
    Closing(usize),
    /// What stands for that tag inside a string.
    Escape(usize),
    /// A parameter's tag, up to its name.
    Opening(usize),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Still inside the block.
    Inside,
    /// The block is complete.
    Ends,
    /// The grammar is broken at the first character that was not consumed, or by the value that
    /// ended.
    Broken,
}

/// How many bytes were consumed, and what that came to.
pub(super) type Step = (usize, Event);

impl Block {
    pub(super) fn new(mark: Mark, wrapper: Option<&str>) -> Self {
        Self {
            mark,
            closing: wrapper.map(|name| format!("</{}{name}", mark.text())),
            place: Place::Invokes,
            tag: Tag::default(),
            call: Call::default(),
            value: String::new(),
            matched: Match::None,
            strings: JsonStrings::default(),
            structure: 0,
        }
    }

    /// Whether the block may end here without anything missing: no tag of its own is open, and no
    /// invoke has begun.
    pub(super) fn may_end(&self) -> bool {
        self.closing.is_none() && self.place == Place::Invokes && !self.tag.has_head()
    }

    /// Whether the next byte is structure rather than something the model is free to say.
    pub(super) fn expects_structure(&self) -> bool {
        let marked = "</".len() + self.mark.text().len();
        match (self.place, self.matched) {
            (Place::StringValue | Place::JsonValue | Place::JsonBody, Match::Closing(matched))
                if self.mark != Mark::None && matched >= marked =>
            {
                true
            }
            (Place::StringValue | Place::Undecided, _) => false,
            (Place::JsonValue | Place::JsonBody, _) => {
                !self.strings.is_inside() && self.strings.outside <= STRUCTURE_MAX
            }
            (Place::Invokes | Place::Parameters, _) => self.structure <= STRUCTURE_MAX,
        }
    }

    /// Consumes some of `text`, which is not empty.
    pub(super) fn step(&mut self, text: &str, out: &mut Output, sink: &mut Sink<'_>) -> Step {
        let first = text.chars().next().expect("a step has text");
        let step = match self.place {
            Place::Invokes | Place::Parameters => {
                let step = self.between(first, out, sink);
                self.structure += step.0;
                return step;
            }
            Place::Undecided => self.undecided(first, out, sink),
            Place::StringValue => self.string_value(text, first),
            Place::JsonValue | Place::JsonBody => self.json(text, first, out, sink),
        };
        out.call_grows(&mut self.call, sink);
        self.structure = 0;
        step
    }

    fn enter(&mut self, place: Place) {
        self.place = place;
        self.value.clear();
        self.matched = Match::None;
        self.strings = JsonStrings::default();
    }

    /// White space and tags.
    fn between(&mut self, c: char, out: &mut Output, sink: &mut Sink<'_>) -> Step {
        let len = c.len_utf8();
        if self.tag.is_begun() {
            let event = match self.tag.push(c) {
                Progress::Open if self.head_may_fit() => Event::Inside,
                Progress::Open | Progress::Broken => Event::Broken,
                Progress::Complete(form) => {
                    let event = self.tag_complete(form, out, sink);
                    self.tag.clear();
                    out.call_grows(&mut self.call, sink);
                    event
                }
            };
            return (if event == Event::Broken { 0 } else { len }, event);
        }
        match c {
            c if is_space(c) => (len, Event::Inside),
            '<' => {
                self.tag.push(c);
                (len, Event::Inside)
            }
            '{' if self.place == Place::Parameters && self.call.is_fresh() => {
                self.enter(Place::JsonBody);
                (0, Event::Inside)
            }
            _ => (0, Event::Broken),
        }
    }

    /// Whether the tag's head is, or may become, one of a block's tags.
    fn head_may_fit(&self) -> bool {
        let head = self.tag.head();
        let fits = |whole: &str| match self.tag.has_head() {
            true => whole == head,
            false => whole.starts_with(head),
        };
        let closing = |element| self.mark.closing(element).trim_end_matches('>');
        [Element::Invoke, Element::Parameter]
            .into_iter()
            .any(|element| fits(self.mark.opening(element)) || fits(closing(element)))
            || self.closing.as_deref().is_some_and(fits)
    }

    fn tag_complete(&mut self, form: Form, out: &mut Output, sink: &mut Sink<'_>) -> Event {
        let head = self.tag.head();
        let closes = |element| self.mark.closing(element).strip_suffix('>') == Some(head);
        let in_call = self.place == Place::Parameters;
        let nested = in_call && self.call.is_nested();
        if in_call && head == self.mark.opening(Element::Parameter) {
            self.parameter(form)
        } else if nested && closes(Element::Parameter) {
            self.call.close_object();
            Event::Inside
        } else if nested {
            Event::Broken
        } else if head == self.mark.opening(Element::Invoke) {
            self.invoke(form, out, sink)
        } else if in_call && closes(Element::Invoke) {
            self.end_call(out, sink);
            Event::Inside
        } else if self.closing.as_deref() == Some(head) {
            if in_call {
                self.end_call(out, sink);
            }
            Event::Ends
        } else {
            Event::Broken
        }
    }

    /// An invoke's tag. A call that is open ends here: all its parameters are closed.
    fn invoke(&mut self, form: Form, out: &mut Output, sink: &mut Sink<'_>) -> Event {
        let Some(name) = self.tag.take_name() else {
            return Event::Broken;
        };
        if self.place == Place::Parameters {
            self.end_call(out, sink);
        }
        self.call.begin(name);
        out.call_begins(&mut self.call, sink);
        match form {
            Form::Plain => self.enter(Place::Parameters),
            Form::SelfClosing => self.end_call(out, sink),
        }
        Event::Inside
    }

    fn end_call(&mut self, out: &mut Output, sink: &mut Sink<'_>) {
        self.call.end();
        out.call_ends(&mut self.call, sink);
        self.enter(Place::Invokes);
    }

    /// A parameter's tag.
    fn parameter(&mut self, form: Form) -> Event {
        let Some(key) = self.tag.take_name() else {
            return Event::Broken;
        };
        self.call.key(key);
        match (form, self.tag.string()) {
            (Form::SelfClosing, _) => {
                self.call.open_string();
                self.call.close_string();
            }
            (Form::Plain, Some("false")) => self.enter(Place::JsonValue),
            (Form::Plain, Some(_)) => self.begin_string(),
            (Form::Plain, None) => self.enter(Place::Undecided),
        }
        Event::Inside
    }

    fn begin_string(&mut self) {
        self.enter(Place::StringValue);
        self.call.open_string();
    }

    /// A parameter that does not say what it is holds parameters if it begins with one, and a
    /// string otherwise.
    fn undecided(&mut self, c: char, out: &mut Output, sink: &mut Sink<'_>) -> Step {
        let opening = self.mark.opening(Element::Parameter);
        let matched = match self.matched {
            Match::Opening(matched) => matched,
            _ => 0,
        };
        if opening[matched..].starts_with(c) || (matched == 0 && is_space(c)) {
            if !is_space(c) {
                self.matched = Match::Opening(matched + c.len_utf8());
            }
            self.value.push(c);
            return (c.len_utf8(), Event::Inside);
        }
        let held = std::mem::take(&mut self.value);
        if matched < opening.len() || !(is_space(c) || c == '>' || c == '/') {
            self.begin_string();
        } else {
            self.enter(Place::Parameters);
            if !self.call.open_object() {
                return (0, Event::Broken);
            }
        }
        self.again(&held, out, sink)
    }

    /// Reads what was held for the place that was decided on; it was counted as consumed before.
    fn again(&mut self, mut held: &str, out: &mut Output, sink: &mut Sink<'_>) -> Step {
        while !held.is_empty() {
            let (used, event) = self.step(held, out, sink);
            if event != Event::Inside {
                return (0, event);
            }
            held = &held[used..];
        }
        (0, Event::Inside)
    }

    /// A string: everything up to the closing tag, the one escape undone.
    fn string_value(&mut self, text: &str, first: char) -> Step {
        let len = first.len_utf8();
        let (pattern, matched) = match self.matched {
            Match::None | Match::Opening(_) => {
                let run = text.bytes().position(|b| b == b'<' || b == b'&');
                let run = run.unwrap_or(text.len());
                self.call.push_string(&text[..run]);
                match text.as_bytes().get(run) {
                    None => return (run, Event::Inside),
                    Some(b'<') => self.matched = Match::Closing(1),
                    Some(_) => self.matched = Match::Escape(1),
                }
                return (run + 1, Event::Inside);
            }
            Match::Closing(matched) => (self.mark.closing(Element::Parameter), matched),
            Match::Escape(matched) => (ESCAPED_CLOSING_TAG, matched),
        };
        if !pattern[matched..].starts_with(first) {
            // Neither pattern holds its first character again, so nothing before this one can begin
            // a match.
            self.call.push_string(&pattern[..matched]);
            self.matched = Match::None;
            return (0, Event::Inside);
        }
        let complete = matched + len == pattern.len();
        self.matched = match self.matched {
            Match::Closing(_) if complete => {
                self.call.close_string();
                self.place = Place::Parameters;
                Match::None
            }
            Match::Escape(_) if complete => {
                self.call.push_string(CLOSING_TAG);
                Match::None
            }
            Match::Closing(matched) => Match::Closing(matched + len),
            Match::Escape(matched) => Match::Escape(matched + len),
            Match::None | Match::Opening(_) => Match::None,
        };
        (len, Event::Inside)
    }

    /// JSON: kept until its closing tag, for only then it is known to be JSON.
    fn json(&mut self, text: &str, first: char, out: &mut Output, sink: &mut Sink<'_>) -> Step {
        let element = match self.place {
            Place::JsonBody => Element::Invoke,
            _ => Element::Parameter,
        };
        let pattern = self.mark.closing(element);
        let len = first.len_utf8();
        match self.matched {
            Match::Closing(matched) if pattern[matched..].starts_with(first) => {
                self.matched = Match::Closing(matched + len);
                if matched + len < pattern.len() {
                    return (len, Event::Inside);
                }
                (len, self.json_complete(element, out, sink))
            }
            Match::Closing(matched) => {
                self.keep_json(&pattern[..matched]);
                self.matched = Match::None;
                (0, Event::Inside)
            }
            _ => {
                let run = text.find('<').unwrap_or(text.len());
                self.keep_json(&text[..run]);
                let begins = usize::from(run < text.len());
                self.matched = if begins > 0 {
                    Match::Closing(1)
                } else {
                    Match::None
                };
                (run + begins, Event::Inside)
            }
        }
    }

    fn keep_json(&mut self, text: &str) {
        self.strings.push(text);
        self.value.push_str(text);
    }

    fn json_complete(&mut self, element: Element, out: &mut Output, sink: &mut Sink<'_>) -> Event {
        let text = std::mem::take(&mut self.value);
        match element {
            Element::Parameter => {
                self.call.value(&text);
                self.enter(Place::Parameters);
            }
            Element::Invoke => {
                if !self.call.all_arguments(&text) {
                    return Event::Broken;
                }
                self.end_call(out, sink);
            }
        }
        Event::Inside
    }
}
