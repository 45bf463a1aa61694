//! What is measured: a weight file, or a model made in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ds4_engine::{Card, Engine, Identity, Options, PAGE_TOKENS};
use ds4_gguf::Gguf;
use ds4_model::inventory::Inventory;
use ds4_model::{KvGeometry, RowFormat, Shape, Weights};

use super::report::Model;
use super::synthetic::Named;
use crate::computing::{self, ComputingArgs, Device};
use crate::hardware::{self, Memory};
use crate::units::Bytes;
use crate::{loading, manners, progress};

/// Which model, and how it is computed.
#[derive(Debug, clap::Args)]
pub(super) struct SubjectArgs {
    /// The weight file [default: ds4flash.gguf in this folder, else the demo model].
    #[arg(short, long, value_name = "FILE", env = "DS4_MODEL")]
    model: Option<PathBuf>,
    /// Make a model in memory instead: flash, pro, mini or wide, with a recipe (flash-q2q4,
    /// flash-mxfp4, mini-q2) and, after a colon, only so many layers (flash-q2:4).
    ///
    /// Its weights are random, so it writes nonsense as fast as the real one writes sense.
    #[arg(long, value_name = "MODEL")]
    synthetic: Option<Named>,
    /// What random weights, tokens and memory follow from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    #[command(flatten)]
    computing: ComputingArgs,
}

/// An opened model.
pub(super) struct Subject {
    pub(super) file: Gguf,
    pub(super) shape: Shape,
    pub(super) inventory: Inventory,
    pub(super) geometry: KvGeometry,
    pub(super) model: Model,
    /// The card it is computed on, if it is not the CPU.
    pub(super) card: Option<Arc<Card>>,
}

/// Layers of a synthetic model that are made for a card; the others repeat them in the host's memory
/// and have their own place in the card's.
const MADE: usize = 2;

/// Longer than any step takes.
const A_LONG_TIME: Duration = Duration::from_secs(1000);

/// Bytes of a card that are neither weights nor sessions: what a step works in, and the driver's.
const CARD_SPARE: u64 = 6 << 30;

/// How much room measuring takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Most tokens of a session.
    pub(super) context: u32,
    /// Tokens that each session writes in the company of all.
    pub(super) generated: u32,
    /// Sessions at once.
    pub(super) sessions: u32,
}

impl Room {
    /// Pages of the context, and of what every session writes after it.
    fn pages(self) -> usize {
        let most = self.generated as usize + self.sessions as usize + 1;
        let own = most.div_ceil(PAGE_TOKENS) + 1;
        (self.context as usize).div_ceil(PAGE_TOKENS) + (self.sessions as usize + 1) * own
    }
}

impl SubjectArgs {
    /// Opens the file, or makes the model.
    pub(super) fn open(&self, room: Room) -> Result<Subject> {
        let memory = hardware::memory();
        let mut card = self.computing.card()?;
        let (file, name, bytes) = match &self.synthetic {
            Some(named) => {
                let whole = named.model(self.seed, None);
                let planned = whole.plan();
                let cannot = || format!("cannot make {}", named.name);
                let bytes = planned.with_context(cannot)?.file_bytes();
                let geometry = KvGeometry::new(&whole.shape, RowFormat::Packed, false);
                card = self.fitting(card, bytes, &geometry, room)?;
                let made = self.make(named, room, memory, card.is_some())?;
                (made, named.name.clone(), bytes)
            }
            None => {
                let file = loading::open(self.model.as_deref())?;
                let name = Path::new(file.name())
                    .file_name()
                    .map(|name| name.to_string_lossy());
                let name = name.map_or_else(|| file.name().to_owned(), |name| name.into_owned());
                let bytes = file.file_bytes();
                (file, name, bytes)
            }
        };
        let shown = file.name().to_owned();
        let (shape, weights) =
            Weights::bind(&file).with_context(|| format!("cannot run {shown}"))?;
        let inventory = Inventory::of(&shape, &weights);
        let geometry = KvGeometry::new(&shape, RowFormat::Packed, false);
        if self.synthetic.is_none() {
            card = self.fitting(card, bytes, &geometry, room)?;
        }
        if self.synthetic.is_none() && card.is_none() {
            let sessions = session_bytes(&geometry, room);
            fits("the context's memory", sessions, memory)?;
            if let Some(memory) = memory
                && bytes + sessions > memory.total
            {
                manners::say(&format!(
                    "note: {} and {} of context exceed {} of memory: this measures the disk",
                    Bytes(bytes),
                    Bytes(sessions),
                    Bytes(memory.total)
                ));
            }
        }
        self.computing.warm(&file)?;
        let recipe = inventory.recipe.as_ref().map(ToString::to_string);
        let model = Model {
            name,
            identity: Identity::of(&file).to_string(),
            profile: shape.profile.to_string(),
            recipe: recipe.unwrap_or_else(|| "mixed formats".into()),
            layers: shape.layers(),
            file_bytes: bytes,
        };
        Ok(Subject {
            file,
            shape,
            inventory,
            geometry,
            model,
            card,
        })
    }

    /// The card, if the model and its sessions fit; where the choice is ours, the CPU if not.
    fn fitting(
        &self,
        card: Option<Arc<Card>>,
        weights: u64,
        geometry: &KvGeometry,
        room: Room,
    ) -> Result<Option<Arc<Card>>> {
        let Some(card) = card else {
            return Ok(None);
        };
        let (name, free) = (card.name()?, card.memory()?.0 as u64);
        let needed = weights + session_bytes(geometry, room) + CARD_SPARE;
        if needed <= free {
            return Ok(Some(card));
        }
        let lacks = format!(
            "{} of weights and context do not fit the {name}: {} are free",
            Bytes(needed),
            Bytes(free)
        );
        if self.computing.device == Device::Auto {
            manners::say(&format!("{lacks}; computing on the CPU"));
            return Ok(None);
        }
        Err(manners::Hinted::failure(lacks, LESS))
    }

    /// Makes the model in this machine's memory: all of it, or as much as a card is to copy.
    fn make(
        &self,
        named: &Named,
        room: Room,
        memory: Option<Memory>,
        for_card: bool,
    ) -> Result<Gguf> {
        let model = named.model(self.seed, for_card.then_some(MADE));
        let name = &named.name;
        let cannot = || format!("cannot make {name}");
        let mut needed = model.plan().with_context(cannot)?.file_bytes();
        if !for_card {
            let geometry = KvGeometry::new(&model.shape, RowFormat::Packed, false);
            needed += session_bytes(&geometry, room);
        }
        fits(name, needed, memory)?;
        manners::say(&format!("making {name}: {} of memory", Bytes(needed)));
        let made = progress::bytes(|progress| model.model_watched(progress))?.0;
        made.with_context(cannot)
    }

    /// Loads the model for as many sessions and as much context as are measured.
    pub(super) fn load(&self, subject: &Subject, room: Room) -> Result<Engine> {
        let slots = room.sessions as usize;
        let mut options = Options {
            context: room.context as usize,
            sessions: slots + 1,
            ..Options::default()
        };
        if subject.card.is_some() {
            // A card's sums depend on how a prompt is cut into steps: it is cut by size alone, not
            // by what steps before it took, so that all runs compute the same.
            options.longest_step = A_LONG_TIME;
        }
        let room = computing::Room {
            slots,
            pages: room.pages(),
            outputs: slots.max(16),
        };
        let cannot = || format!("cannot run {}", subject.model.name);
        let machine = match &subject.card {
            Some(card) => self.computing.on_card(card, &subject.file, room)?,
            None => self.computing.on_cpu(&subject.file, room),
        };
        let machine = machine.with_context(cannot)?;
        Engine::start(machine, None, options).with_context(cannot)
    }

    /// Threads that compute.
    pub(super) fn threads(&self) -> usize {
        self.computing.threads()
    }

    /// Whether so many sessions at once write the same in every run. On a card what a session
    /// writes depends on who shares its steps, which is a matter of time.
    pub(super) fn is_determined(&self, subject: &Subject, sessions: u32) -> bool {
        sessions == 1 || self.computing.exact || subject.card.is_none()
    }

    /// What activations are multiplied as.
    pub(super) fn arithmetic(&self, subject: &Subject) -> &'static str {
        match (self.computing.exact, &subject.card) {
            (true, _) => "floats",
            (false, None) => "eight-bit codes",
            (false, Some(_)) => "binary16",
        }
    }
}

/// What helps where there is too little memory.
const LESS: &str = "fewer layers (--synthetic flash-q2:4), a shorter context, or fewer sessions";

/// Bytes of all that sessions remember.
fn session_bytes(geometry: &KvGeometry, room: Room) -> u64 {
    let slots = geometry.session_bytes(0) * (room.sessions as usize + 1);
    (slots + room.pages() * geometry.page_bytes) as u64
}

/// Refuses what has no room in memory.
fn fits(what: &str, needed: u64, memory: Option<Memory>) -> Result<()> {
    let Some(memory) = memory.filter(|memory| needed > memory.available) else {
        return Ok(());
    };
    let available = Bytes(memory.available);
    Err(manners::Hinted::failure(
        format!(
            "{what} needs {} of memory; {available} is free",
            Bytes(needed)
        ),
        LESS,
    ))
}
