//! One tag of a block, character by character.

/// Longest tag; a longer one breaks the block.
pub(super) const TAG_MAX: usize = 16 << 10;

/// A tag being read. It begins with its `<`.
#[derive(Debug, Default)]
pub(super) struct Tag {
    /// `<`, mark, name; with a `/` for a closing tag.
    head: String,
    part: Part,
    attribute: String,
    value: String,
    bytes: usize,
    name: Option<String>,
    string: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// Between attributes.
    Space,
    /// In the name of an attribute.
    Attribute,
    /// After its `=`.
    Equals,
    /// Between the quotes.
    Value,
    /// After a quote that ends the value, if white space, `/` or `>` follows.
    Quote,
    /// After a `/` that must be the tag's last but one character.
    Slash,
}

/// What a character made of the tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Open,
    /// It is complete.
    Complete(Form),
    /// It is no tag.
    Broken,
}

/// How a tag ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `>`
    Plain,
    /// `/>`
    SelfClosing,
}

impl Tag {
    pub(super) fn is_begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// `<`, mark, name.
    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// Whether the head is complete.
    pub(super) fn has_head(&self) -> bool {
        self.part != Part::Head
    }

    /// The value of `name`.
    pub(super) fn take_name(&mut self) -> Option<String> {
        self.name.take()
    }

    /// The value of `string`.
    pub(super) fn string(&self) -> Option<&str> {
        self.string.as_deref()
    }

    /// Ready for the next tag.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn push(&mut self, c: char) -> Progress {
        self.bytes += c.len_utf8();
        if self.bytes > TAG_MAX {
            return Progress::Broken;
        }
        match self.part {
            Part::Head => match c {
                '>' => return Progress::Complete(Form::Plain),
                // The slash of a closing tag belongs to its head.
                '/' if self.head != "<" => self.part = Part::Slash,
                c if is_space(c) => self.part = Part::Space,
                c => self.head.push(c),
            },
            Part::Space => return self.between_attributes(c),
            Part::Attribute => match c {
                '=' => self.part = Part::Equals,
                '"' | '<' | '>' | '/' => return Progress::Broken,
                c if is_space(c) => return Progress::Broken,
                c => self.attribute.push(c),
            },
            Part::Equals => match c {
                '"' => self.part = Part::Value,
                _ => return Progress::Broken,
            },
            Part::Value => self.in_value(c),
            Part::Quote if c == '>' || c == '/' || is_space(c) => {
                self.end_attribute();
                return self.between_attributes(c);
            }
            Part::Quote => {
                self.value.push('"');
                self.part = Part::Value;
                self.in_value(c);
            }
            Part::Slash => match c {
                '>' => return Progress::Complete(Form::SelfClosing),
                _ => return Progress::Broken,
            },
        }
        Progress::Open
    }

    fn between_attributes(&mut self, c: char) -> Progress {
        self.part = match c {
            '>' => return Progress::Complete(Form::Plain),
            '/' => Part::Slash,
            '=' | '"' | '<' => return Progress::Broken,
            c if is_space(c) => Part::Space,
            c => {
                self.attribute.push(c);
                Part::Attribute
            }
        };
        Progress::Open
    }

    fn in_value(&mut self, c: char) {
        match c {
            '"' => self.part = Part::Quote,
            c => self.value.push(c),
        }
    }

    /// Keeps the attributes that mean something; of several with one name, the first.
    fn end_attribute(&mut self) {
        let value = std::mem::take(&mut self.value);
        match self.attribute.as_str() {
            "name" => _ = self.name.get_or_insert(value),
            "string" => _ = self.string.get_or_insert(value),
            _ => {}
        }
        self.attribute.clear();
    }
}

/// White space of the markup.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
