//! Shared with the fuzz targets.

pub(crate) mod bodies;
