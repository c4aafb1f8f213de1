//! A session with a mailbox of two messages selected.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| common::converse(common::State::Selected, octets));
