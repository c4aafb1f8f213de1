//! Records of SPF, DKIM and DMARC: what strangers put into DNS is read or refused, and what was expanded is bounded.

#![no_main]

use facteur::mail::limits::SPF_EXPANDED_OCTETS;
use facteur::mail::limits::SPF_TERMS;
use facteur::sender_auth::dmarc;
use facteur::sender_auth::key::Key;
use facteur::sender_auth::key::Method;
use facteur::sender_auth::spf::macros::MacroString;
use facteur::sender_auth::spf::macros::Values;
use facteur::sender_auth::spf::record;
use facteur::sender_auth::tags::Tags;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    if let Ok(record) = record::parse(octets) {
        assert!(record.directives.len() <= SPF_TERMS);
        assert!(octets.is_ascii());
    }
    if let Ok(text) = std::str::from_utf8(octets)
        && let Some(parsed) = MacroString::parse(text, true)
    {
        let values = Values {
            sender: text,
            local: "l",
            sender_domain: text,
            domain: "d.example",
            ip: "2001:db8::1".parse().expect("an address"),
            client_name: "unknown",
            helo: text,
            receiver: "r.example",
            now: 1,
        };
        assert!(parsed.expand(&values).len() <= SPF_EXPANDED_OCTETS);
        assert!(parsed.expand_name(&values).len() <= 253);
    }
    drop(dmarc::Record::parse(octets));
    assert!(Tags::strict(octets).is_none() || Tags::lenient(octets).is_some());
    for method in [Method::Rsa, Method::Ed25519] {
        if let Ok(key) = Key::parse(octets, method) {
            assert!(!key.verifies(b"text", b"signature"));
        }
    }
});
