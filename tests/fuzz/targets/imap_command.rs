//! Commands: whatever the octets are, the parser says what they mean or what is wrong with them.

#![no_main]

use facteur::mail::mailbox::Separator;
use facteur::protocol::imap::syntax::command::parse_with;
use facteur::protocol::imap::syntax::spelling::Spelling;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    for nesting in [8, 50] {
        for separator in [Separator::Slash, Separator::Dot] {
            for utf8 in [false, true] {
                let read = parse_with(octets, nesting, Spelling { separator, utf8 });
                // A tag is an atom, so it can be said back as it is.
                assert!(read.is_none_or(|(tag, _)| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_graphic())));
            }
        }
    }
});
