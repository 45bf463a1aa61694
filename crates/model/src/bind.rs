//! From a file to weights: every tensor found, checked and typed, once.
//!
//! Binding reads the header and the small expert tables, never a matrix. All differences come in
//! one error; whatever the file holds beyond the model is no error but an oddity that `inspect`
//! reports.

use std::collections::HashSet;

use ds4_gguf::{Format, Gguf, TensorInfo};

use crate::layout::Slot;
use crate::mismatch::{BindError, Mismatch};
use crate::role::Role;
use crate::shape::{Profile, Shape};
use crate::tensor::Tensor;
use crate::weights::{Draft, Ffn, Moe, Router, Weights};

impl Weights<Tensor> {
    /// Checks a main model file against its own metadata and binds every tensor.
    pub fn bind(file: &Gguf) -> Result<(Shape, Self), BindError> {
        let shape = Shape::from_metadata(file)?;
        let mut binder = Binder::new(file, &shape, |_| &[]);
        let found = Weights::layout(&shape).map(|_, slot| binder.find(slot));
        for layer in &found.layers {
            binder.check_moe(&layer.moe);
        }
        binder.check_vocabulary();
        binder.finish()?;
        let weights = found.map(|_, tensor| complete(tensor));
        Ok((shape, weights))
    }

    /// Binds the draft block of the support file `file`, made for the model these weights are of.
    pub fn bind_draft(&mut self, file: &Gguf, shape: &Shape) -> Result<(), BindError> {
        self.draft = Some(Draft::bind(file, shape)?);
        Ok(())
    }
}

/// The tensors of `file` that the model of `shape` has no place for.
pub fn unknown_tensors<'f>(file: &'f Gguf, known: &[Slot]) -> Vec<&'f TensorInfo> {
    let known: HashSet<&str> = known.iter().map(|slot| slot.name.as_str()).collect();
    file.tensors()
        .iter()
        .filter(|tensor| !known.contains(tensor.name.as_str()))
        .collect()
}

/// A tensor that [`Binder::finish`] vouches for.
pub(crate) fn complete(tensor: &Option<Tensor>) -> Tensor {
    tensor
        .clone()
        .expect("no mismatch was noted, so every tensor was found")
}

/// Finds the tensors of slots in a file and notes every difference.
pub(crate) struct Binder<'f> {
    file: &'f Gguf,
    shape: &'f Shape,
    pub(crate) mismatches: Vec<Mismatch>,
    /// Formats a role may have besides the published one.
    widened: fn(Role) -> &'static [Format],
}

impl<'f> Binder<'f> {
    pub(crate) fn new(
        file: &'f Gguf,
        shape: &'f Shape,
        widened: fn(Role) -> &'static [Format],
    ) -> Self {
        Self {
            file,
            shape,
            mismatches: Vec::new(),
            widened,
        }
    }

    /// The tensor of a slot, or nothing and a mismatch.
    pub(crate) fn find(&mut self, slot: &Slot) -> Option<Tensor> {
        let Some(info) = self.file.tensor(&slot.name) else {
            let expected = format!("{} {:?}", self.formats(slot.role), slot.dims);
            self.mismatches
                .push(Mismatch::new(&slot.name, expected, "no such tensor"));
            return None;
        };
        let mut fits = true;
        if info.dims[..] != slot.dims[..] {
            self.mismatches.push(Mismatch::new(
                &slot.name,
                format!("{:?}", slot.dims),
                info.dims,
            ));
            fits = false;
        }
        if !self.admits(slot.role, info.format) {
            let expected = self.formats(slot.role);
            self.mismatches
                .push(Mismatch::new(&slot.name, expected, info.format));
            fits = false;
        }
        if !fits {
            return None;
        }
        let payload = self.file.payload(info);
        Some(Tensor::new(&slot.name, info.format, &info.dims, payload))
    }

    /// May `role` be stored as `format`? Known models follow the published recipes; others may use
    /// any weight format.
    fn admits(&self, role: Role, format: Format) -> bool {
        let free = matches!(self.shape.profile, Profile::Mini | Profile::Odd);
        match role.published() {
            Some(published) if role.is_fixed() => format == published,
            _ if free => format.is_weight(),
            Some(published) => format == published || (self.widened)(role).contains(&format),
            None => ROUTED.contains(&format),
        }
    }

    fn formats(&self, role: Role) -> String {
        let free = matches!(self.shape.profile, Profile::Mini | Profile::Odd);
        let any = if role.is_routed() {
            &ROUTED[..]
        } else {
            (self.widened)(role)
        };
        match role.published() {
            Some(published) if role.is_fixed() => published.to_string(),
            _ if free => "a weight format".to_owned(),
            published => {
                let names = published.iter().chain(any).map(|format| format.name());
                names.collect::<Vec<_>>().join(" or ")
            }
        }
    }

    /// What a layer's experts need of each other, and of their token table.
    pub(crate) fn check_moe(&mut self, moe: &Moe<Option<Tensor>>) {
        if let Ffn {
            gate: Some(gate),
            up: Some(up),
            ..
        } = &moe.experts
            && gate.format != up.format
        {
            let expected = format!("{}, the format of {}", gate.format, gate.name);
            self.mismatches
                .push(Mismatch::new(&up.name, expected, up.format));
        }
        if let Router::Hash(Some(table)) = &moe.router {
            self.check_experts_of_tokens(table);
        }
    }

    fn check_experts_of_tokens(&mut self, table: &Tensor) {
        let experts = self.shape.experts;
        let stray = table
            .integers()
            .enumerate()
            .find(|&(_, expert)| usize::try_from(expert).map_or(true, |expert| expert >= experts));
        if let Some((index, expert)) = stray {
            let at = format!("{}, token {}", table.name, index / table.columns);
            self.mismatches.push(Mismatch::new(
                at,
                format!("experts 0 to {}", experts - 1),
                expert,
            ));
        }
    }

    fn check_vocabulary(&mut self) {
        let tokens = self.file.metadata().get("tokenizer.ggml.tokens");
        let Some(tokens) = tokens.and_then(|tokens| tokens.as_array()) else {
            return;
        };
        if tokens.len() != self.shape.vocab {
            let (expected, found) = (self.shape.vocab, tokens.len());
            self.mismatches
                .push(Mismatch::new("tokenizer.ggml.tokens", expected, found));
        }
    }

    /// The error of everything noted, if anything was.
    pub(crate) fn finish(self) -> Result<(), BindError> {
        if self.mismatches.is_empty() {
            return Ok(());
        }
        Err(BindError::Mismatch {
            file: self.file.name().to_owned(),
            model: self.shape.profile.to_string(),
            mismatches: self.mismatches,
        })
    }
}

/// Formats of routed experts in published files.
const ROUTED: [Format; 4] = [Format::Iq2Xxs, Format::Q2K, Format::Q4K, Format::Mxfp4];
