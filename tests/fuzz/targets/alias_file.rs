//! Files of aliases and patterns of them: what is read is bounded and leads to addresses alone.

#![no_main]

use facteur::directory::fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| check(octets));
