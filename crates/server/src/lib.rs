//! HTTP: four dialects over one stream of pieces.

#![forbid(unsafe_code)]
