//! Recipes: which format each role is stored in.

use std::fmt;

use ds4_gguf::Format;

use crate::role::Role;

/// Formats by role, with the routed experts of the last layers possibly finer than the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What people call it.
    pub name: &'static str,
    /// Token embedding.
    pub embed: Format,
    /// Vocabulary projection.
    pub output: Format,
    /// Dense matrices of attention and of the draft block.
    pub attention: Format,
    /// Shared experts.
    pub shared: Format,
    /// Hyper-connections and compressor position biases.
    pub hyper: Format,
    /// Router, compressors and indexer.
    pub small: Format,
    /// Routed experts.
    pub experts: Experts,
    /// Routed experts of the last layers, where they differ: how many layers, and what.
    pub last: Option<(usize, Experts)>,
}

/// Formats of routed experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// Gate and up matrices.
    pub inward: Format,
    /// Down matrices.
    pub outward: Format,
}

impl Experts {
    /// All three matrices alike.
    pub const fn all(format: Format) -> Self {
        Self {
            inward: format,
            outward: format,
        }
    }
}

const TWO_BIT: Experts = Experts {
    inward: Format::Iq2Xxs,
    outward: Format::Q2K,
};

impl Recipe {
    /// Published: IQ2_XXS and Q2_K experts.
    pub const Q2: Self = Self::published("q2", TWO_BIT);
    /// Published: Q4_K experts.
    pub const Q4: Self = Self::published("q4", Experts::all(Format::Q4K));
    /// Published: as q2, but Q4_K experts in the last six layers.
    pub const Q2Q4: Self = Self {
        name: "q2q4",
        last: Some((6, Experts::all(Format::Q4K))),
        ..Self::Q2
    };
    /// Published: the checkpoint's own four-bit experts.
    pub const MXFP4: Self = Self::published("mxfp4", Experts::all(Format::Mxfp4));
    /// Q8_0 experts, for tests.
    pub const Q8: Self = Self::published("q8", Experts::all(Format::Q8_0));
    /// What checkpoints hold: BF16 matrices, F32 hyper-connections. Synthetic models are exact in
    /// it.
    pub const FLOAT: Self = Self {
        name: "float",
        hyper: Format::F32,
        ..Self::plain("float", Format::BF16)
    };
    /// F32 throughout.
    pub const F32: Self = Self::plain("f32", Format::F32);

    /// The published MTP support file: its small matrices are F32.
    pub const MTP: Self = Self {
        name: "mtp",
        hyper: Format::F32,
        small: Format::F32,
        ..Self::Q4
    };
    /// The published DSpark support files: their routers are Q8_0.
    pub const DSPARK: Self = Self {
        name: "dspark",
        small: Format::Q8_0,
        ..Self::Q2
    };

    /// The recipes of main models one can ask for by name.
    pub const ALL: [Self; 7] = [
        Self::Q2,
        Self::Q2Q4,
        Self::Q4,
        Self::MXFP4,
        Self::Q8,
        Self::FLOAT,
        Self::F32,
    ];

    /// As published files are made: only the experts differ.
    const fn published(name: &'static str, experts: Experts) -> Self {
        Self {
            name,
            embed: Format::F16,
            output: Format::Q8_0,
            attention: Format::Q8_0,
            shared: Format::Q8_0,
            hyper: Format::F16,
            small: Format::F16,
            experts,
            last: None,
        }
    }

    /// One format for every matrix.
    pub const fn plain(name: &'static str, format: Format) -> Self {
        Self {
            name,
            embed: format,
            output: format,
            attention: format,
            shared: format,
            hyper: format,
            small: format,
            experts: Experts::all(format),
            last: None,
        }
    }

    /// The recipe of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| recipe.name == name)
    }

    /// The format of a tensor of `role` in `layer` of `layers`; no layer means a draft block or a
    /// global tensor.
    pub fn format(&self, role: Role, layer: Option<usize>, layers: usize) -> Format {
        let experts = match (self.last, layer) {
            (Some((last, experts)), Some(layer)) if layer + last >= layers => experts,
            _ => self.experts,
        };
        match role {
            Role::Embed => self.embed,
            Role::Output => self.output,
            Role::Projection | Role::AttentionOut | Role::Drafter => self.attention,
            Role::SharedIn | Role::SharedOut => self.shared,
            Role::HyperMix | Role::CompressorApe => self.hyper,
            Role::CompressorKv
            | Role::CompressorGate
            | Role::IndexerQuery
            | Role::IndexerWeights
            | Role::Router => self.small,
            Role::ExpertIn => experts.inward,
            Role::ExpertOut => experts.outward,
            Role::ExpertTable => Format::I32,
            Role::Norm | Role::Sinks | Role::HyperBase | Role::HyperScale | Role::RouterBias => {
                Format::F32
            }
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
