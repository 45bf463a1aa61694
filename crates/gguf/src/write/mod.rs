//! Writing GGUF files.
//!
//! A file is planned before it is written: a [`Plan`] is made from a [`MetadataBuf`] and a list of
//! [`TensorSpec`]s, checks them by the reader's rules, and knows every offset and the size of the
//! file. A [`Writer`] then takes the payloads in the plan's order, to a file that appears under its
//! name only when complete, or to memory.
//!
//! ```
//! use ds4_gguf::write::{MetadataBuf, Plan, TensorSpec, Writer};
//! use ds4_gguf::{Format, Gguf};
//!
//! let mut metadata = MetadataBuf::new();
//! metadata.set("general.architecture", "example");
//! let plan = Plan::new(&metadata, &[TensorSpec::new("ones", &[4], Format::I8)])?;
//! let mut writer = Writer::to_memory(plan);
//! writer.payload("ones", &[1, 1, 1, 1])?;
//! let gguf = Gguf::from_bytes("example", writer.finish()?)?;
//! assert_eq!(*gguf.payload(&gguf.tensors()[0]), [1, 1, 1, 1]);
//! # Ok::<(), ds4_gguf::Error>(())
//! ```

mod aside;
mod plan;
mod value_buf;
mod writer;

pub use aside::Aside;
pub use plan::{Plan, TensorSpec};
pub use value_buf::{MetadataBuf, ValueBuf};
pub use writer::{Output, Sink, Writer};
