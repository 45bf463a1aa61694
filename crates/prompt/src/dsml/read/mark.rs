//! The mark inside the tags of a block. The model writes one; tired models write others.

/// What stands between `<` and the name of a tag. A block keeps to the mark it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// `｜DSML｜`, as trained.
    Dsml,
    /// `｜｜DSML｜｜`
    Doubled,
    /// `DSML｜`
    Short,
    /// Nothing.
    None,
}

/// What a tag is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A call.
    Invoke,
    /// One of its arguments.
    Parameter,
}

/// A text with the mark in its middle.
macro_rules! marked {
    ($mark:expr, $before:literal, $after:literal) => {
        match $mark {
            Mark::Dsml => concat!($before, "｜DSML｜", $after),
            Mark::Doubled => concat!($before, "｜｜DSML｜｜", $after),
            Mark::Short => concat!($before, "DSML｜", $after),
            Mark::None => concat!($before, $after),
        }
    };
}

impl Mark {
    /// All that are something.
    pub(super) const ALL: [Self; 3] = [Self::Dsml, Self::Doubled, Self::Short];

    /// The mark itself.
    pub(super) fn text(self) -> &'static str {
        marked!(self, "", "")
    }

    /// The beginning of an opening tag, up to its name.
    pub(super) fn opening(self, element: Element) -> &'static str {
        match element {
            Element::Invoke => marked!(self, "<", "invoke"),
            Element::Parameter => marked!(self, "<", "parameter"),
        }
    }

    /// A closing tag.
    pub(super) fn closing(self, element: Element) -> &'static str {
        match element {
            Element::Invoke => marked!(self, "</", "invoke>"),
            Element::Parameter => marked!(self, "</", "parameter>"),
        }
    }
}
