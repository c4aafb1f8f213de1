//! Conversations with a milter whose side is the input: they end, and what becomes of the message is a message.

#![no_main]

use facteur::milter::fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| check(octets));
