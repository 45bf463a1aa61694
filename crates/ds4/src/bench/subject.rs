//! What is measured: a weight file, or a model made in memory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ds4_engine::{CpuOptions, Engine, Identity, Options, PAGE_TOKENS, load_cpu};
use ds4_gguf::Gguf;
use ds4_model::inventory::Inventory;
use ds4_model::{KvGeometry, RowFormat, Shape, Weights};

use super::report::Model;
use super::synthetic::Named;
use crate::computing::ComputingArgs;
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
    /// Threads to compute with [default: one a physical core].
    #[arg(short, long, value_name = "N", env = "DS4_THREADS",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
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
}

/// How much room measuring takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Most tokens of a session.
    pub(super) context: u32,
    /// Tokens that each session writes.
    pub(super) generated: u32,
    /// Sessions at once.
    pub(super) sessions: u32,
}

impl Room {
    /// Pages of the context, and of what every session writes after it.
    fn pages(self) -> usize {
        let own = (self.generated as usize + 2).div_ceil(PAGE_TOKENS) + 1;
        (self.context as usize).div_ceil(PAGE_TOKENS) + (self.sessions as usize + 1) * own
    }
}

impl SubjectArgs {
    /// Opens the file, or makes the model.
    pub(super) fn open(&self, room: Room) -> Result<Subject> {
        let memory = hardware::memory();
        let (file, name) = match &self.synthetic {
            Some(named) => (self.make(named, room, memory)?, named.name.clone()),
            None => {
                let file = loading::open(self.model.as_deref())?;
                let name = Path::new(file.name())
                    .file_name()
                    .map(|name| name.to_string_lossy());
                let name = name.map_or_else(|| file.name().to_owned(), |name| name.into_owned());
                (file, name)
            }
        };
        let shown = file.name().to_owned();
        let (shape, weights) =
            Weights::bind(&file).with_context(|| format!("cannot run {shown}"))?;
        let inventory = Inventory::of(&shape, &weights);
        let geometry = KvGeometry::new(&shape, RowFormat::Packed, false);
        if self.synthetic.is_none() {
            let sessions = session_bytes(&geometry, room);
            fits("the context's memory", sessions, memory)?;
            if let Some(memory) = memory
                && file.file_bytes() + sessions > memory.total
            {
                manners::say(&format!(
                    "note: {} and {} of context exceed {} of memory: this measures the disk",
                    Bytes(file.file_bytes()),
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
            file_bytes: file.file_bytes(),
        };
        Ok(Subject {
            file,
            shape,
            inventory,
            geometry,
            model,
        })
    }

    fn make(&self, named: &Named, room: Room, memory: Option<Memory>) -> Result<Gguf> {
        let model = named.model(self.seed);
        let name = &named.name;
        let cannot = || format!("cannot make {name}");
        let bytes = model.plan().with_context(cannot)?.file_bytes();
        let geometry = KvGeometry::new(&model.shape, RowFormat::Packed, false);
        let needed = bytes + session_bytes(&geometry, room);
        fits(name, needed, memory)?;
        manners::say(&format!("making {name}: {} of memory", Bytes(needed)));
        let made = progress::bytes(|progress| model.model_watched(progress))?.0;
        made.with_context(cannot)
    }

    /// Loads the model for as many sessions and as much context as are measured.
    pub(super) fn load(&self, subject: &Subject, room: Room) -> Result<Engine> {
        let slots = room.sessions as usize;
        let defaults = CpuOptions::default();
        let cpu = CpuOptions {
            threads: self.threads(),
            arithmetic: self.computing.arithmetic(defaults.arithmetic),
            slots,
            pages: room.pages(),
            max_outputs: slots.max(defaults.max_outputs),
            max_rows: slots.max(defaults.max_rows),
            ..defaults
        };
        let options = Options {
            context: room.context as usize,
            sessions: slots + 1,
            ..Options::default()
        };
        let cannot = || format!("cannot run {}", subject.model.name);
        let machine = load_cpu(&subject.file, cpu).with_context(cannot)?;
        Engine::start(Box::new(machine), None, options).with_context(cannot)
    }

    /// Threads that compute.
    pub(super) fn threads(&self) -> usize {
        let usual = CpuOptions::default().threads;
        self.threads.map_or(usual, usize::from)
    }

    /// What activations are multiplied as.
    pub(super) fn arithmetic(&self) -> &'static str {
        match self.computing.exact {
            true => "floats",
            false => "eight-bit codes",
        }
    }
}

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
        "fewer layers (--synthetic flash-q2:4), a shorter context, or fewer sessions",
    ))
}
