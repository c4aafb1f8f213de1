//! Headers of the PROXY protocol: read whole and nothing behind them, the same wherever the stream is cut.

#![no_main]

use facteur::net::fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| check(octets));
