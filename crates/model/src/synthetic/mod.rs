//! Models out of a seed: nothing to download, the same bits on every machine.
//!
//! Two kinds of contents:
//! - [`Contents::Reference`]: the values of the golden test models ([`tiny`], [`mini`], [`wide`])
//!   and of any other small shape, drawn value by value and then encoded. The recipe `float` stores
//!   them exactly.
//! - [`Contents::Noise`]: random blocks for any shape up to PRO, as fast as memory; for speed and
//!   for parity of backends.
//!
//! ```
//! use ds4_model::{Recipe, Weights, synthetic::{Synthetic, tiny}};
//!
//! let model = Synthetic::reference(tiny(), 1, Recipe::FLOAT);
//! let (shape, mut weights) = Weights::bind(&model.model()?)?;
//! weights.bind_draft(&model.draft()?, &shape)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod contents;
mod reference;
mod shapes;
mod vocabulary;

use std::ops::ControlFlow;
use std::path::Path;

use ds4_gguf::block::BlockError;
use ds4_gguf::synth::noise::{Noise, NoiseError};
use ds4_gguf::write::{MetadataBuf, Output, Plan, TensorSpec, Writer};
use ds4_gguf::{Format, Gguf, Progress};

pub use reference::prompt;
pub use shapes::{mini, tiny, wide};

use crate::layout::Slot;
use crate::recipe::Recipe;
use crate::shape::{Profile, Shape, metadata};
use crate::support::mtp;
use crate::weights::{Draft, Weights};

/// What the tensors are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The reference generator's values.
    Reference,
    /// Random blocks.
    Noise {
        /// Layers that hold large tensors of their own; the others share theirs. `None`: all of
        /// them.
        share: Option<usize>,
    },
}

/// A model to be made.
#[derive(Clone, Debug)]
pub struct Synthetic {
    /// Its sizes.
    pub shape: Shape,
    /// Everything follows from it.
    pub seed: u64,
    /// How tensors are stored.
    pub recipe: Recipe,
    /// How they are filled.
    pub contents: Contents,
}

/// Why a synthetic model cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// Rows that are not whole blocks, or no weight format.
    #[error("{tensor}: {cause}")]
    Format {
        /// The tensor.
        tensor: String,
        /// What the encoder said.
        #[source]
        cause: BlockError,
    },
    /// Noise that cannot be made.
    #[error("{tensor}: {cause}")]
    Noise {
        /// The tensor.
        tensor: String,
        /// What the generator said.
        #[source]
        cause: NoiseError,
    },
    /// A vocabulary without room for bytes and special tokens.
    #[error(
        "a vocabulary of {vocab} tokens has no room for 256 bytes and the special tokens; \
        the smallest is {}",
        vocabulary::SMALLEST
    )]
    Vocabulary {
        /// Its size.
        vocab: usize,
    },
    /// The file could not be planned or written.
    #[error(transparent)]
    File(#[from] ds4_gguf::Error),
}

impl Synthetic {
    /// A model of the reference generator.
    pub fn reference(shape: Shape, seed: u64, recipe: Recipe) -> Self {
        Self {
            shape,
            seed,
            recipe,
            contents: Contents::Reference,
        }
    }

    /// A model of random blocks.
    pub fn noise(shape: Shape, seed: u64, recipe: Recipe) -> Self {
        Self {
            shape,
            seed,
            recipe,
            contents: Contents::Noise { share: None },
        }
    }

    /// The main model, in memory.
    pub fn model(&self) -> Result<Gguf, SynthError> {
        self.model_watched(&mut |_, _| ControlFlow::Continue(()))
    }

    /// The main model, in memory, for one large enough to be waited for.
    pub fn model_watched(&self, progress: &mut Progress<'_>) -> Result<Gguf, SynthError> {
        let slots = Weights::layout(&self.shape).slots();
        self.in_memory("synthetic model", &self.metadata()?, &slots, progress)
    }

    /// Its draft (MTP) block, in memory.
    pub fn draft(&self) -> Result<Gguf, SynthError> {
        self.in_memory(
            "synthetic draft",
            &self.draft_metadata(),
            &Draft::layout(&self.shape).slots(),
            &mut |_, _| ControlFlow::Continue(()),
        )
    }

    /// The main model as a file; it appears at `path` when complete.
    pub fn write(&self, path: &Path, progress: &mut Progress<'_>) -> Result<(), SynthError> {
        let slots = Weights::layout(&self.shape).slots();
        self.to_file(path, &self.metadata()?, &slots, progress)
    }

    /// Its draft (MTP) block as a file.
    pub fn write_draft(&self, path: &Path, progress: &mut Progress<'_>) -> Result<(), SynthError> {
        let slots = Draft::layout(&self.shape).slots();
        self.to_file(path, &self.draft_metadata(), &slots, progress)
    }

    /// Offsets and sizes of the main model's file, without making any of it.
    pub fn plan(&self) -> Result<Plan, SynthError> {
        let slots = Weights::layout(&self.shape).slots();
        Ok(Plan::new(&self.metadata()?, &self.specs(&slots))?)
    }

    fn in_memory(
        &self,
        name: &str,
        metadata: &MetadataBuf,
        slots: &[Slot],
        progress: &mut Progress<'_>,
    ) -> Result<Gguf, SynthError> {
        let plan = Plan::new(metadata, &self.specs(slots))?;
        let mut writer = Writer::to_memory(plan).on_progress(progress);
        self.put_all(&mut writer, slots)?;
        Ok(Gguf::from_bytes(name, writer.finish()?)?)
    }

    fn to_file(
        &self,
        path: &Path,
        metadata: &MetadataBuf,
        slots: &[Slot],
        progress: &mut Progress<'_>,
    ) -> Result<(), SynthError> {
        let plan = Plan::new(metadata, &self.specs(slots))?;
        let mut writer = Writer::create(path, plan)?.on_progress(progress);
        self.put_all(&mut writer, slots)?;
        Ok(writer.finish()?)
    }

    fn put_all<O: Output>(
        &self,
        writer: &mut Writer<'_, O>,
        slots: &[Slot],
    ) -> Result<(), SynthError> {
        let owners: Vec<String> = writer
            .plan()
            .payloads()
            .map(|info| info.name.clone())
            .collect();
        let by_name: std::collections::HashMap<&str, &Slot> = slots
            .iter()
            .map(|slot| (slot.name.as_str(), slot))
            .collect();
        for name in &owners {
            contents::put(self, by_name[name.as_str()], writer)?;
        }
        Ok(())
    }

    /// The noise of one tensor, of which any byte range can be had alone: for backends that fill
    /// their own memory.
    ///
    /// It is what [`Self::write`] writes where no layers share payloads, and `contents` is
    /// [`Contents::Noise`].
    pub fn tensor(&self, slot: &Slot) -> Result<Noise, SynthError> {
        contents::noise(self, slot)
    }

    /// The format a slot is stored in.
    pub fn format(&self, slot: &Slot) -> Format {
        self.recipe
            .format(slot.role, slot.layer, self.shape.layers())
    }

    fn specs(&self, slots: &[Slot]) -> Vec<TensorSpec> {
        let owners = contents::owners(self, slots);
        let spec = |(slot, owner): (&Slot, Option<String>)| {
            let spec = TensorSpec::new(&*slot.name, &slot.dims, self.format(slot));
            match owner {
                Some(owner) => spec.sharing(owner),
                None => spec,
            }
        };
        slots.iter().zip(owners).map(spec).collect()
    }

    fn metadata(&self) -> Result<MetadataBuf, SynthError> {
        let vocab = self.shape.vocab;
        if vocab < vocabulary::SMALLEST {
            return Err(SynthError::Vocabulary { vocab });
        }
        let mut out = self.general(metadata::ARCHITECTURE);
        self.shape.to_metadata(&mut out);
        let vocabulary = vocabulary::make(vocab);
        out.set("tokenizer.ggml.model", "gpt2");
        out.set("tokenizer.ggml.pre", "joyai-llm");
        out.set("tokenizer.ggml.tokens", vocabulary.tokens);
        out.set("tokenizer.ggml.token_type", vocabulary.types);
        out.set("tokenizer.ggml.merges", vocabulary.merges);
        out.set("tokenizer.ggml.bos_token_id", 0u32);
        out.set("tokenizer.ggml.eos_token_id", 1u32);
        out.set("tokenizer.ggml.padding_token_id", 2u32);
        out.set("tokenizer.ggml.add_bos_token", false);
        out.set("tokenizer.ggml.add_eos_token", false);
        Ok(out)
    }

    fn draft_metadata(&self) -> MetadataBuf {
        let mut out = self.general(mtp::ARCHITECTURE);
        mtp::to_metadata(&self.shape, &mut out);
        out
    }

    fn general(&self, architecture: &str) -> MetadataBuf {
        let model = match self.shape.profile {
            Profile::Flash => "Flash",
            Profile::Pro => "PRO",
            Profile::Mini => "mini",
            Profile::Odd => "odd",
        };
        let Self { seed, recipe, .. } = self;
        let mut out = MetadataBuf::new();
        out.set("general.architecture", architecture);
        out.set("general.type", "model");
        out.set(
            "general.name",
            format!("synthetic {model} {recipe}, seed {seed}: no text in here"),
        );
        out.set("general.quantization_version", 2u32);
        out
    }
}
