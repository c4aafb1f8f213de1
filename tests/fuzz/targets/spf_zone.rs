//! SPF over names that the input holds: it ends, within the look-ups that it may do, and says what can be printed.

#![no_main]

use facteur::sender_auth::spf::fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| check(octets));
