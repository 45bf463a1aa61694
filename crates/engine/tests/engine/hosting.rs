//! A device with memory of its own, played by the CPU.

use std::sync::Arc;

use ds4_cpu::Options as CpuOptions;
use ds4_engine::{Engine, Options};
use ds4_model::HostBlock;

use crate::hooked::Hooked;
use crate::rig::{TOKENIZER, machine, packed};
use crate::tiers;

fn start(pages: usize, options: Options) -> Engine {
    let cpu = CpuOptions { pages, ..packed() };
    let hooked = Hooked {
        inner: machine(cpu),
        after_step: || Ok(()),
        before_save: || {},
        before_load: || {},
        host_memory: Some(Arc::new(|bytes| {
            Some(Box::new(vec![0u8; bytes]) as HostBlock)
        })),
    };
    Engine::start(Box::new(hooked), Some(Arc::clone(&TOKENIZER)), options).unwrap()
}

#[test]
fn cold_warm_and_restored_are_the_same_bits() {
    tiers::cold_warm_and_restored_are_the_same_bits(&start);
}

#[test]
fn the_host_has_what_the_device_has_no_room_for() {
    tiers::the_host_has_what_the_device_has_no_room_for(&start);
}

#[test]
fn what_was_read_once_is_read_from_the_host() {
    tiers::what_was_read_once_is_read_from_the_host(&start);
}
