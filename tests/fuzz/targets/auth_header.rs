//! Headers of strangers: signatures, chains, authors and results of others are read or refused; fields that are cut out
//! are whole; dates and addresses end.

#![no_main]

use facteur::intake::clean::Dispatch;
use facteur::intake::clean::unwanted;
use facteur::message::addresses::addresses;
use facteur::message::header;
use facteur::message::sent;
use facteur::sender_auth::arc::Chain;
use facteur::sender_auth::canon::Canon;
use facteur::sender_auth::canon::without_signature;
use facteur::sender_auth::dkim::Signatures;
use facteur::sender_auth::dmarc::Author;
use facteur::sender_auth::results::claims;
use facteur::sender_auth::results::claims_to_be;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(header) = header::read(octets) else { return };
    let mut at = header.fields.first().map_or(0, |field| field.range.start);
    for field in &header.fields {
        assert_eq!(field.range.start, at);
        at = field.range.end;
        let raw = &octets[field.range.clone()];
        for form in [Canon::Simple, Canon::Relaxed] {
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            form.field(raw, &mut once);
            form.field(&once, &mut twice);
            assert_eq!(once, twice, "a form has one form");
        }
        assert!(without_signature(raw).len() <= raw.len());
        drop((claims(field.value), addresses(field.value), sent::sent_time(field.value)));
        std::hint::black_box(claims_to_be(field.value, "mx.example"));
    }
    let author = Author::of(&header);
    std::hint::black_box(Signatures::of(&header, author.one(), 1).forms());
    std::hint::black_box(Chain::of(&header, 1).form());
    let mut end = 0;
    for range in unwanted(&header, Dispatch::Reception, "mx.example") {
        assert!(end <= range.start && range.start < range.end && range.end <= octets.len());
        end = range.end;
    }
});
