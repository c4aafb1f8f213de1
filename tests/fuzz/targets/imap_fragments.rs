//! The stream of a client: what it says does not depend on how the network cuts it.

#![no_main]

use facteur::protocol::imap::fragment::Fragment;
use facteur::protocol::imap::fragment::Fragments;
use facteur::protocol::imap::fragment::Limits;
use libfuzzer_sys::fuzz_target;

/// Above what is kept of a dropped command, of which only the tag counts.
const SMALL: Limits = Limits { line: 200, command: 300, swallow: 400 };

/// Pieces of one streamed literal are one, and a lack of bytes is none; the size of a literal decides what becomes of it.
fn fed<'a>(limits: Limits, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Fragment> {
    let mut fragments = Fragments::new(limits);
    let mut heard: Vec<Fragment> = Vec::new();
    for piece in pieces {
        fragments.push(piece);
        loop {
            let fragment = fragments.next_fragment();
            match fragment {
                Fragment::More => break,
                Fragment::Overrun => {
                    heard.push(Fragment::Overrun);
                    return heard;
                }
                Fragment::Literal { size, .. } => match size % 3 {
                    0 => drop(fragments.accept()),
                    1 => fragments.stream(),
                    _ => fragments.refuse(),
                },
                _ => {}
            }
            match (heard.last_mut(), fragment) {
                (Some(Fragment::Piece(before)), Fragment::Piece(more)) => before.extend(more),
                (_, fragment) => heard.push(fragment),
            }
        }
    }
    heard
}

fuzz_target!(|input: &[u8]| {
    let Some((step, octets)) = input.split_first() else { return };
    for limits in [SMALL, Limits::BEFORE_LOGIN, Limits::AFTER_LOGIN] {
        let whole = fed(limits, std::iter::once(octets));
        for step in [1, usize::from(*step).max(1)] {
            assert_eq!(fed(limits, octets.chunks(step)), whole, "in pieces of {step}, {limits:?}");
        }
    }
});
