//! Lines of SMTP: what is accepted, printed and parsed again is the same; replies are well formed.

#![no_main]

use facteur::protocol::smtp::fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| check(octets));
