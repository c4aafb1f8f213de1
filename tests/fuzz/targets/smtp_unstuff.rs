//! The data of a message: only CRLF.CRLF ends it, wherever the stream is cut, and what is sent on has one end.

#![no_main]

use facteur::protocol::smtp::data::BareNewline;
use facteur::protocol::smtp::data::Incoming;
use facteur::protocol::smtp::data::Outgoing;
use libfuzzer_sys::fuzz_target;

/// Longer ones are not cut at every octet.
const MOST: usize = 200;

/// What a piece of data says: text, whether a CR or LF stood alone, and the octets of the longest line.
type Said = (Vec<u8>, bool, u64);

/// The same, the slow way: lines end by CRLF, and the first that is a dot alone ends the data. With the octets used.
fn slowly(input: &[u8]) -> Option<(Said, usize)> {
    let all = [b"\r\n", input].concat();
    let end = all.windows(5).position(|w| w == b"\r\n.\r\n")?;
    let (mut text, mut alone, mut longest, mut line) = (Vec::new(), false, 0, 0);
    let (mut at, mut at_start) = (0, true);
    while at < end {
        let crlf = input[at..].starts_with(b"\r\n");
        match input[at] {
            b'.' if at_start => {}
            b'\r' | b'\n' => {
                alone |= !crlf;
                text.push(b'\n');
                line = 0;
            }
            other => {
                text.push(other);
                line += 1;
            }
        }
        longest = longest.max(line);
        at_start = crlf;
        at += if crlf { 2 } else { 1 };
    }
    Some(((text, alone, longest), end + 3))
}

fn fed<'a>(bare: BareNewline, pieces: impl Iterator<Item = &'a [u8]>) -> Option<(Said, usize)> {
    let mut incoming = Incoming::new(bare, 1 << 20);
    let (mut text, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let fed = incoming.feed(piece, &mut text);
        assert!(fed.ended || fed.used == piece.len(), "octets are left");
        used += fed.used;
        if fed.ended {
            assert_eq!(incoming.octets(), used as u64);
            assert!(!incoming.is_too_big());
            return Some(((text, incoming.has_refused_newline(), incoming.longest_line()), used));
        }
    }
    None
}

fn is_same(bare: BareNewline, found: &Option<(Said, usize)>, wanted: &Option<(Said, usize)>) -> bool {
    match (found, wanted) {
        (None, None) => true,
        (Some(((text, refused, longest), used)), Some(((wanted, alone, line), octets))) => {
            let refuses = *alone && bare == BareNewline::Reject;
            used == octets && longest == line && *refused == refuses && (refuses || text == wanted)
        }
        _ => false,
    }
}

/// What is kept goes out again, however it is cut, and comes in at the other side.
fn sent_on(text: &[u8], step: usize) {
    let mut wire = Vec::new();
    let mut outgoing = Outgoing::new();
    for piece in text.chunks(step) {
        outgoing.feed(piece, &mut wire);
    }
    outgoing.finish(&mut wire);
    assert_eq!(
        slowly(&wire).map(|((text, alone, _), used)| (text, alone, used)),
        Some((text.to_vec(), false, wire.len()))
    );
}

fuzz_target!(|octets: &[u8]| {
    let Some((step, input)) = octets.split_first() else { return };
    let step = usize::from(*step).max(1);
    for input in [input.to_vec(), [input, b"\r\n.\r\nQUIT\r\n"].concat()] {
        let wanted = slowly(&input);
        for bare in [BareNewline::Reject, BareNewline::Normalise] {
            for step in [1, step, input.len().max(1)] {
                let found = fed(bare, input.chunks(step));
                assert!(is_same(bare, &found, &wanted), "{found:?} {wanted:?} {bare:?} in pieces of {step}");
            }
            for cut in 0..=input.len().min(MOST) {
                let found = fed(bare, [&input[..cut], &input[cut..]].into_iter());
                assert!(is_same(bare, &found, &wanted), "{found:?} {wanted:?} {bare:?} cut at {cut}");
            }
        }
        if let Some(((text, ..), _)) = wanted {
            for step in [1, step, text.len().max(1)] {
                sent_on(&text, step);
            }
        }
    }
});
