//! A session in IDLE.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| common::converse(common::State::Idle, octets));
