//! One walk over a model, in a fixed order, with a stable path for every tensor.
//!
//! A path follows the fields of [`Weights`] (`layers.2.attention.indexer.query`); it names a tensor
//! in traces and errors whatever its file calls it. Every other traversal (`for_each`, binding,
//! synthesis, a backend's upload) is this walk.

use std::convert::Infallible;

use super::{
    Attention, Compressor, Csa, Draft, Ffn, Head, Hyper, Indexer, Latent, Layer, Moe, Output,
    Query, Router, Weights,
};

/// The path so far and what to do at each tensor.
struct Walk<'f, F> {
    path: String,
    visit: &'f mut F,
}

impl<F> Walk<'_, F> {
    /// Runs `step` one field deeper.
    fn at<R>(&mut self, field: &str, step: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(field);
        let result = step(self);
        self.path.truncate(outer);
        result
    }

    fn tensor<T, U, E>(&mut self, field: &str, tensor: &T) -> Result<U, E>
    where
        F: FnMut(&str, &T) -> Result<U, E>,
    {
        self.at(field, |walk| (walk.visit)(&walk.path, tensor))
    }
}

/// The three public forms of a walk: fallible, infallible, and for its effect alone.
macro_rules! forms {
    ($name:ident, $root:literal) => {
        impl<T> $name<T> {
            /// The same structure with every tensor turned into something else, such as a backend's
            /// handle.
            ///
            /// `visit` gets each tensor's path and the tensor, always in the same order; the first
            /// error ends the walk.
            pub fn try_map<U, E>(
                &self,
                mut visit: impl FnMut(&str, &T) -> Result<U, E>,
            ) -> Result<$name<U>, E> {
                self.walk(&mut Walk {
                    path: $root.to_owned(),
                    visit: &mut visit,
                })
            }

            /// [`Self::try_map`] where nothing can fail.
            pub fn map<U>(&self, mut visit: impl FnMut(&str, &T) -> U) -> $name<U> {
                let mapped = self.try_map(|path, tensor| Ok::<U, Infallible>(visit(path, tensor)));
                match mapped {
                    Ok(mapped) => mapped,
                    Err(never) => match never {},
                }
            }

            /// Calls `visit` with every tensor and its path, always in the same order.
            pub fn for_each(&self, visit: impl FnMut(&str, &T)) {
                self.map(visit);
            }
        }
    };
}

forms!(Weights, "");
forms!(Layer, "layer");
forms!(Draft, "draft");
forms!(Hyper, "hc");

impl<T> Weights<T> {
    fn walk<U, E, F>(&self, walk: &mut Walk<'_, F>) -> Result<Weights<U>, E>
    where
        F: FnMut(&str, &T) -> Result<U, E>,
    {
        let embed = walk.tensor("embed", &self.embed)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            layers.push(walk.at(&format!("layers.{number}"), |walk| layer.walk(walk))?);
        }
        let head = walk.at("head", |walk| self.head.walk(walk))?;
        let draft = match &self.draft {
            Some(draft) => Some(walk.at("draft", |walk| draft.walk(walk))?),
            None => None,
        };
        Ok(Weights {
            embed,
            layers,
            head,
            draft,
        })
    }
}

/// `walk` of a struct whose listed fields are tensors, or parts with a `walk` of their own.
macro_rules! walk {
    ($name:ident { $($tensor:ident),* ; $($part:ident),* }) => {
        impl<T> $name<T> {
            fn walk<U, E, F>(&self, walk: &mut Walk<'_, F>) -> Result<$name<U>, E>
            where
                F: FnMut(&str, &T) -> Result<U, E>,
            {
                Ok($name {
                    $($tensor: walk.tensor(stringify!($tensor), &self.$tensor)?,)*
                    $($part: walk.at(stringify!($part), |walk| self.$part.walk(walk))?,)*
                })
            }
        }
    };
}

walk!(Hyper { mix, base, scale; });
walk!(Query { a, norm, b; });
walk!(Latent { kv, norm; });
walk!(Csa { ; compressor, indexer });
walk!(Compressor { kv, gate, ape, norm; });
walk!(Indexer { query, weights; compressor });
walk!(Output { a, b; });
walk!(Moe { gate; router, experts, shared });
walk!(Ffn { gate, up, down; });
walk!(Head { norm, output; hc });
walk!(Draft { embed_proj, stream_proj, embed_norm, stream_norm, norm; layer, hc });
walk!(Layer { attn_norm, sinks, moe_norm; attn_hc, query, latent, attention, output, moe_hc, moe });

impl<T> Attention<T> {
    fn walk<U, E, F>(&self, walk: &mut Walk<'_, F>) -> Result<Attention<U>, E>
    where
        F: FnMut(&str, &T) -> Result<U, E>,
    {
        Ok(match self {
            Self::Window => Attention::Window,
            Self::Csa(csa) => Attention::Csa(csa.walk(walk)?),
            Self::Hca(compressor) => Attention::Hca(compressor.walk(walk)?),
        })
    }
}

impl<T> Router<T> {
    fn walk<U, E, F>(&self, walk: &mut Walk<'_, F>) -> Result<Router<U>, E>
    where
        F: FnMut(&str, &T) -> Result<U, E>,
    {
        Ok(match self {
            Self::Hash(table) => Router::Hash(walk.tensor("experts_of_token", table)?),
            Self::TopK(bias) => Router::TopK(walk.tensor("bias", bias)?),
        })
    }
}
