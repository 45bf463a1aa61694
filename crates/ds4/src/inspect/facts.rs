//! What there is to say about a file, before it is put into words.

use std::collections::BTreeMap;

use ds4_gguf::{Format, Gguf};
use ds4_model::inventory::{Inventory, Share, row_bytes};
use ds4_model::kv::{KvGeometry, RowFormat};
use ds4_model::layout::Slot;
use ds4_model::support::dspark::{self, Dspark};
use ds4_model::support::mtp;
use ds4_model::weights::Draft;
use ds4_model::{BindError, Shape, Weights};

use super::oddities;
use super::tokenizer::TokenizerFacts;

/// Everything about one file.
pub(super) struct Facts {
    pub(super) path: String,
    pub(super) name: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) file_bytes: u64,
    pub(super) data_start: u64,
    pub(super) alignment: u64,
    pub(super) keys: usize,
    pub(super) tensors: usize,
    pub(super) formats: BTreeMap<Format, Share>,
    pub(super) content: Content,
    pub(super) tokenizer: Option<TokenizerFacts>,
    pub(super) odd: Vec<String>,
}

/// What kind of file it is.
pub(super) enum Content {
    /// A model this program runs.
    Model(Box<ModelFacts>),
    /// A drafter's file, and the model it fits.
    Support {
        kind: &'static str,
        fits: Option<String>,
    },
    /// Something this program does not run.
    Other,
}

/// About a main model.
pub(super) struct ModelFacts {
    pub(super) shape: Shape,
    pub(super) inventory: Inventory,
    pub(super) conversations: Vec<Conversation>,
}

/// What a conversation takes.
pub(super) struct Conversation {
    pub(super) tokens: u64,
    /// Its rows.
    pub(super) rows: u64,
    /// What the engine sets aside: whole pages, rings with room for drafts, running sums.
    pub(super) allocated: u64,
}

impl Facts {
    /// Looks at everything; the error is why the file cannot be run, if so.
    pub(super) fn gather(
        file: &Gguf,
        main: Option<&Shape>,
        contexts: &[u32],
    ) -> (Self, Option<BindError>) {
        let text = |key: &str| {
            let value = file.metadata().get(key)?;
            value.as_str().map(printable)
        };
        let architecture = text("general.architecture");
        let (content, known, refused) = match architecture.as_deref() {
            Some(mtp::ARCHITECTURE) => draft(file, main),
            Some(dspark::ARCHITECTURE) => drafter(file, main),
            _ => model(file, contexts),
        };
        let tokenizer = TokenizerFacts::of(file);
        let mut odd = oddities::of(file, known.as_deref());
        odd.extend(tokenizer.iter().flat_map(|tokenizer| tokenizer.odd.clone()));
        let facts = Self {
            path: file.name().to_owned(),
            name: text("general.name"),
            architecture,
            file_bytes: file.file_bytes(),
            data_start: file.data_start(),
            alignment: file.alignment(),
            keys: file.metadata().len(),
            tensors: file.tensors().len(),
            formats: formats(file),
            content,
            tokenizer,
            odd,
        };
        (facts, refused)
    }
}

impl Facts {
    /// A drafter's file?
    pub(super) fn is_support(&self) -> bool {
        matches!(self.content, Content::Support { .. })
    }
}

/// Content, the slots that are known, and why the file is refused.
type Found = (Content, Option<Vec<Slot>>, Option<BindError>);

fn model(file: &Gguf, contexts: &[u32]) -> Found {
    match Weights::bind(file) {
        Ok((shape, weights)) => {
            let inventory = Inventory::of(&shape, &weights);
            let slots = Weights::layout(&shape).slots();
            let conversations = contexts.iter().map(|&n| conversation(&shape, n as usize));
            let conversations = conversations.collect();
            let model = ModelFacts {
                shape,
                inventory,
                conversations,
            };
            (Content::Model(Box::new(model)), Some(slots), None)
        }
        Err(error) => (Content::Other, None, Some(error)),
    }
}

fn conversation(shape: &Shape, tokens: usize) -> Conversation {
    let geometry = KvGeometry::new(shape, RowFormat::Packed, false);
    Conversation {
        tokens: tokens as u64,
        rows: row_bytes(shape, tokens, RowFormat::Packed),
        allocated: geometry.session_bytes(tokens) as u64,
    }
}

fn draft(file: &Gguf, main: Option<&Shape>) -> Found {
    support("MTP draft block", main, |shape| {
        Draft::bind(file, shape).map(|_| Draft::layout(shape).slots())
    })
}

fn drafter(file: &Gguf, main: Option<&Shape>) -> Found {
    support("DSpark drafter", main, |shape| {
        Dspark::bind(file, shape).map(|drafter| Dspark::layout(shape, &drafter.settings).slots())
    })
}

/// Tries the main model given, or those we know.
fn support(
    kind: &'static str,
    main: Option<&Shape>,
    bind: impl Fn(&Shape) -> Result<Vec<Slot>, BindError>,
) -> Found {
    let known = [Shape::flash(), Shape::pro()];
    let candidates: Vec<&Shape> = main.map_or_else(|| known.iter().collect(), |main| vec![main]);
    let mut refused = None;
    for shape in candidates {
        match bind(shape) {
            Ok(slots) => {
                let fits = Some(shape.profile.to_string());
                return (Content::Support { kind, fits }, Some(slots), None);
            }
            Err(error) => _ = refused.get_or_insert(error),
        }
    }
    (Content::Support { kind, fits: None }, None, refused)
}

fn formats(file: &Gguf) -> BTreeMap<Format, Share> {
    let mut formats: BTreeMap<Format, Share> = BTreeMap::new();
    for tensor in file.tensors() {
        let share = formats.entry(tensor.format).or_default();
        share.tensors += 1;
        share.bytes += tensor.bytes;
    }
    formats
}

/// Text from a file, on one line and without control characters: it goes to a terminal.
pub(super) fn printable(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(120).is_some() {
        line.push('…');
    }
    line
}
