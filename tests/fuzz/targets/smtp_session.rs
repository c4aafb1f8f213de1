//! Whole sessions with the machine of the server, whose questions are answered from the input.

#![no_main]

use facteur::protocol::smtp::server::fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| check(octets));
