//! The DSpark support file: a drafter of several tokens at once, from streams captured at some
//! layers of the model.
//!
//! It fits one release of the main model only, which no key states: pair them by hand.

use ds4_gguf::{Format, Gguf, Value};

use crate::bind::{Binder, complete};
use crate::layout::{Namer, Slot, hyper};
use crate::mismatch::{BindError, Mismatch};
use crate::role::Role;
use crate::shape::Shape;
use crate::shape::metadata::check_architecture;
use crate::tensor::Tensor;
use crate::weights::{Hyper, Layer};

/// `general.architecture` of a DSpark support file.
pub const ARCHITECTURE: &str = "deepseek4-dspark";

/// The drafter.
#[derive(Clone, Debug)]
pub struct Dspark<T> {
    /// What its metadata says.
    pub settings: Settings,
    /// Projects the captured streams, `[E, n E]` for n target layers.
    pub main_proj: T,
    /// `[E]`.
    pub main_norm: T,
    /// Its layers of ratio 0, with top-k routers.
    pub stages: Vec<Layer<T>>,
    /// Collapse of the last stage.
    pub hc: Hyper<T>,
    /// `[E]`.
    pub norm: T,
    /// State by previous token, `[V, rank]`.
    pub markov_in: T,
    /// Logits by state, `[V, rank]`.
    pub markov_out: T,
    /// Confidence from the hidden row and the state, `[1, E + rank]`.
    pub confidence: T,
}

/// Sizes of the drafter, within the limits of any sensible file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tokens drafted at once, 1 to 16.
    pub block_size: usize,
    /// Width of the Markov state.
    pub markov_rank: usize,
    /// Token that stands for those yet to be drafted.
    pub noise_token: u32,
    /// Layers of the main model whose streams it reads, 1 to 8.
    pub target_layers: Vec<usize>,
    /// Its own layers, 1 to 8.
    pub stages: usize,
}

impl Dspark<Tensor> {
    /// Checks the support file `file` against the main model's shape and binds it.
    pub fn bind(file: &Gguf, shape: &Shape) -> Result<Self, BindError> {
        check_architecture(file, ARCHITECTURE)?;
        let mut keys = Keys {
            file,
            mismatches: Vec::new(),
        };
        let settings = keys.settings(shape);
        let mut binder = Binder::new(file, shape, widened);
        binder.mismatches = keys.mismatches;
        if !binder.mismatches.is_empty() {
            // The sizes of its tensors follow from the keys.
            binder.finish()?;
        }
        let binder = Binder::new(file, shape, widened);
        Dspark::layout(shape, &settings).bind_slots(binder)
    }
}

impl Dspark<Slot> {
    /// The drafter's slots.
    pub fn layout(shape: &Shape, settings: &Settings) -> Self {
        let (first, last) = (Namer::support(0), Namer::support(settings.stages - 1));
        let (hidden, vocab, rank) = (shape.hidden, shape.vocab, settings.markov_rank);
        let own =
            |name: &Namer, gguf, dims: [usize; 2]| name.slot(gguf, gguf, Role::Drafter, &dims);
        Self {
            settings: settings.clone(),
            main_proj: own(
                &first,
                "main_proj",
                [settings.target_layers.len() * hidden, hidden],
            ),
            main_norm: first.slot("main_norm", "main_norm", Role::Norm, &[hidden]),
            stages: (0..settings.stages)
                .map(|stage| Layer::support_layout(shape, stage))
                .collect(),
            hc: hyper(&last, "hc_head", "hc_head", shape, shape.streams, 1),
            norm: last.slot("norm", "norm", Role::Norm, &[hidden]),
            markov_in: own(&last, "markov_head.markov_w1", [rank, vocab]),
            markov_out: own(&last, "markov_head.markov_w2", [rank, vocab]),
            confidence: own(&last, "confidence_head.proj", [hidden + rank, 1]),
        }
    }

    /// Every slot.
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![self.main_proj.clone(), self.main_norm.clone()];
        for stage in &self.stages {
            stage.for_each(|_, slot| slots.push(slot.clone()));
        }
        self.hc.for_each(|_, slot| slots.push(slot.clone()));
        slots.extend(
            [
                &self.norm,
                &self.markov_in,
                &self.markov_out,
                &self.confidence,
            ]
            .map(Clone::clone),
        );
        slots
    }

    fn bind_slots(&self, mut binder: Binder<'_>) -> Result<Dspark<Tensor>, BindError> {
        let found = Dspark {
            settings: self.settings.clone(),
            main_proj: binder.find(&self.main_proj),
            main_norm: binder.find(&self.main_norm),
            stages: self
                .stages
                .iter()
                .map(|stage| stage.map(|_, slot| binder.find(slot)))
                .collect(),
            hc: self.hc.map(|_, slot| binder.find(slot)),
            norm: binder.find(&self.norm),
            markov_in: binder.find(&self.markov_in),
            markov_out: binder.find(&self.markov_out),
            confidence: binder.find(&self.confidence),
        };
        for stage in &found.stages {
            binder.check_moe(&stage.moe);
        }
        binder.finish()?;
        Ok(Dspark {
            settings: found.settings,
            main_proj: complete(&found.main_proj),
            main_norm: complete(&found.main_norm),
            stages: found
                .stages
                .iter()
                .map(|stage| stage.map(|_, t| complete(t)))
                .collect(),
            hc: found.hc.map(|_, tensor| complete(tensor)),
            norm: complete(&found.norm),
            markov_in: complete(&found.markov_in),
            markov_out: complete(&found.markov_out),
            confidence: complete(&found.confidence),
        })
    }
}

fn widened(role: Role) -> &'static [Format] {
    match role {
        Role::HyperMix | Role::Router | Role::Drafter => &[Format::F32, Format::F16, Format::Q8_0],
        _ => &[],
    }
}

/// Reads the drafter's keys, which files spell in three ways.
struct Keys<'f> {
    file: &'f Gguf,
    mismatches: Vec<Mismatch>,
}

impl<'f> Keys<'f> {
    fn find(&self, key: &str) -> Option<Value<'f>> {
        ["dspark.", "deepseek4.dspark.", "deepseek4.dspark_"]
            .iter()
            .find_map(|prefix| self.file.metadata().get(&format!("{prefix}{key}")))
    }

    /// The number at `key`, which lies between `least` and `greatest`.
    fn size(&mut self, key: &str, least: usize, greatest: usize) -> usize {
        let found = self.find(key).map(|value| value.as_u32());
        match found {
            Some(Some(size)) if (least..=greatest).contains(&(size as usize)) => {
                return size as usize;
            }
            _ => {}
        }
        let found = match found {
            Some(Some(size)) => size.to_string(),
            Some(None) => "another value".to_owned(),
            None => "nothing".to_owned(),
        };
        let expected = format!("{least} to {greatest}");
        self.mismatches
            .push(Mismatch::new(format!("dspark.{key}"), expected, found));
        least
    }

    fn settings(&mut self, shape: &Shape) -> Settings {
        let stages = self.size("stage_count", 1, 8);
        let layers = self.size("n_layers", 1, 8);
        if layers != stages {
            self.mismatches
                .push(Mismatch::new("dspark.n_layers", stages, layers));
        }
        Settings {
            block_size: self.size("block_size", 1, 16),
            markov_rank: self.size("markov_rank", 1, 4096),
            noise_token: self.size("noise_token_id", 0, shape.vocab - 1) as u32,
            target_layers: self.target_layers(shape.layers()),
            stages,
        }
    }

    fn target_layers(&mut self, layers: usize) -> Vec<usize> {
        let targets = self.find("target_layer_ids").and_then(|value| {
            let array = value
                .as_array()
                .filter(|array| (1..=8).contains(&array.len()))?;
            let layer = |value: Value<'_>| value.as_u32().map(|layer| layer as usize);
            array
                .values()
                .map(|value| layer(value).filter(|&layer| layer < layers))
                .collect()
        });
        targets.unwrap_or_else(|| {
            let expected = format!("1 to 8 layers below {layers}");
            self.mismatches
                .push(Mismatch::new("dspark.target_layer_ids", expected, "others"));
            Vec::new()
        })
    }
}
