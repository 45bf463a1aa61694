//! Small floats: the formats of checkpoint weights, block scales and KV rows.
