//! Modified UTF-7: one spelling for each name, and one name for each spelling.

#![no_main]

use facteur::mail::utf7::decode;
use facteur::mail::utf7::encode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Some(name) = decode(text) {
        assert_eq!(encode(&name), text);
    }
    let encoded = encode(text);
    assert!(encoded.bytes().all(|b| (b' '..=b'~').contains(&b)), "{encoded:?}");
    assert_eq!(decode(&encoded).as_deref(), Some(text));
});
