//! What stands in for the kernels on other machines, where [`super::pays`] says no.

use ds4_gguf::Format;
use ds4_gguf::block::Q8K;

use super::panel::Panel;
use super::{FLOAT_ROWS, FLOAT_TOKENS, ROWS, TOKENS};
use crate::dot::Q8;

pub(super) fn unpack(_: &mut Panel, _: Format, _: &[&[u8]; ROWS]) {
    unreachable!("tiles of another machine")
}

pub(super) fn unpack_index(_: &mut Panel, _: &[&[u8]; ROWS]) {
    unreachable!("tiles of another machine")
}

pub(super) fn small_blocks(_: &Panel, _: &[&[Q8]; TOKENS], _: &mut [[f32; ROWS]]) {
    unreachable!("tiles of another machine")
}

pub(super) fn super_blocks(_: &Panel, _: &[&[Q8K]; TOKENS], _: &mut [[f32; ROWS]]) {
    unreachable!("tiles of another machine")
}

pub(super) fn float_tile(
    _: Format,
    _: &[&[u8]; FLOAT_ROWS],
    _: &[&[f32]; FLOAT_TOKENS],
    _: &mut [[f32; FLOAT_ROWS]],
) {
    unreachable!("tiles of another machine")
}
