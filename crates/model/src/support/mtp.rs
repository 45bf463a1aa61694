//! The MTP support file: one draft block.
//!
//! Its small matrices (hyper-connections, router) come as F16 or F32: the published file has F32
//! where the main model has F16.

use ds4_gguf::write::MetadataBuf;
use ds4_gguf::{Format, Gguf};

use crate::bind::{Binder, complete};
use crate::mismatch::{BindError, PREFIX};
use crate::role::Role;
use crate::shape::Shape;
use crate::shape::metadata::{Keys, check_architecture};
use crate::tensor::Tensor;
use crate::weights::Draft;

/// `general.architecture` of an MTP support file.
pub const ARCHITECTURE: &str = "deepseek4_mtp_support";

impl Draft<Tensor> {
    /// Checks the support file `file` against the main model's shape and binds its block.
    pub fn bind(file: &Gguf, shape: &Shape) -> Result<Self, BindError> {
        check_architecture(file, ARCHITECTURE)?;
        let mut keys = Keys::new(file);
        keys.exactly("mtp_layer_count", 1);
        keys.exactly("nextn_predict_layers", 1);
        keys.exactly("expert_count", shape.experts);
        let mut binder = Binder::new(file, shape, widened);
        binder.mismatches = keys.mismatches;
        let found = Draft::layout(shape).map(|_, slot| binder.find(slot));
        binder.check_moe(&found.layer.moe);
        binder.finish()?;
        Ok(found.map(|_, tensor| complete(tensor)))
    }
}

fn widened(role: Role) -> &'static [Format] {
    match role {
        Role::HyperMix | Role::Router => &[Format::F32],
        _ => &[],
    }
}

/// Adds the keys of a support file for a model of `shape`.
pub fn to_metadata(shape: &Shape, out: &mut MetadataBuf) {
    for (key, value) in [
        ("mtp_layer_count", 1),
        ("nextn_predict_layers", 1),
        ("expert_count", shape.experts),
    ] {
        out.set(format!("{PREFIX}{key}"), value as u32);
    }
}
