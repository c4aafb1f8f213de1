//! Parsing and encoding: what happens to every octet or command. Throughput counts octets of input.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;

use divan::Bencher;
use divan::counter::BytesCount;
use facteur::message::casemap::Needle;
use facteur::message::envelope::HeaderEnvelope;
use facteur::message::mime::Structure;
use facteur::message::text::Finder;
use facteur::message::text::Wanted;
use facteur::protocol::imap::response::Output;
use facteur::protocol::imap::structure::Characters;
use facteur::protocol::imap::structure::Extensions;
use facteur::protocol::imap::structure::push_body;
use facteur::protocol::imap::structure::push_envelope;
use facteur::protocol::imap::syntax::command::parse;
use facteur::protocol::smtp::data::BareNewline;
use facteur::protocol::smtp::data::Incoming;
use facteur::protocol::smtp::data::Outgoing;

fn main() {
    divan::main();
}

/// A message of about a megabyte: text, HTML and an attachment in base64, lines ended by LF.
fn message() -> Vec<u8> {
    let line = format!("{}\n", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0");
    format!(
        "Return-Path: <a@example.com>\nReceived: from mx.example.com by mail.example.test; Sat, 21 Nov 2026 10:00:00 \
         +0000\nFrom: =?utf-8?q?Andr=C3=A9?= <a@example.com>\nTo: b@example.test, \"C\" <c@example.test>\nSubject: \
         minutes\nDate: Sat, 21 Nov 2026 10:00:00 +0000\nMessage-ID: <1@example.com>\nMIME-Version: 1.0\nContent-Type: \
         multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n--inner\n\
         Content-Type: text/plain; charset=utf-8\n\n{}--inner\nContent-Type: text/html; charset=utf-8\n\n{}--inner--\n\
         --outer\nContent-Type: application/pdf; name=\"minutes.pdf\"\nContent-Disposition: attachment; \
         filename=\"minutes.pdf\"\nContent-Transfer-Encoding: base64\n\n{}--outer--\n",
        "A line of text, as people write them.\n".repeat(50),
        "<p>A line of text, as programs write them.</p>\n".repeat(50),
        line.repeat(13_500)
    )
    .into_bytes()
}

/// As SMTP carries it, the last line included.
fn on_the_wire(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut outgoing = Outgoing::new();
    outgoing.feed(message, &mut wire);
    outgoing.finish(&mut wire);
    wire
}

#[divan::bench]
fn smtp_data_in(bencher: Bencher<'_, '_>) {
    let wire = on_the_wire(&message());
    bencher.counter(BytesCount::new(wire.len())).bench_local(|| {
        let mut incoming = Incoming::new(BareNewline::Reject, u64::MAX);
        let mut out = Vec::with_capacity(wire.len());
        for piece in wire.chunks(65_536) {
            assert_eq!(incoming.feed(piece, &mut out).used, piece.len());
        }
        out
    });
}

#[divan::bench]
fn smtp_data_out(bencher: Bencher<'_, '_>) {
    let message = message();
    bencher.counter(BytesCount::new(message.len())).bench_local(|| on_the_wire(&message));
}

#[divan::bench(args = [
    "a1 UID FETCH 1:* (FLAGS)",
    "a2 UID FETCH 4711,4712,4720:4800 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date)])",
    "a3 UID SEARCH CHARSET UTF-8 OR (FROM \"anna\" SINCE 1-Jan-2026) NOT SUBJECT \"hello\"",
    "a4 UID STORE 1:100 +FLAGS.SILENT (\\Seen $Forwarded)",
])]
fn imap_command(bencher: Bencher<'_, '_>, command: &str) {
    bencher.bench_local(|| assert!(parse(black_box(command.as_bytes()), 50).is_some_and(|(_, c)| c.is_ok())));
}

#[divan::bench]
fn mime_structure(bencher: Bencher<'_, '_>) {
    let message = message();
    bencher.counter(BytesCount::new(message.len())).bench_local(|| Structure::scan(black_box(&message)));
}

#[divan::bench]
fn imap_fetch_structure_and_envelope(bencher: Bencher<'_, '_>) {
    let message = message();
    let structure = Structure::scan(&message);
    bencher.bench_local(|| {
        let mut out = Output::new();
        push_envelope(&mut out, &HeaderEnvelope::read(black_box(&message)), Characters::SevenBit);
        push_body(&mut out, &structure, &message, Extensions::With, Characters::SevenBit);
        out.take()
    });
}

#[divan::bench]
fn imap_fetch_whole(bencher: Bencher<'_, '_>) {
    let message = message();
    bencher.counter(BytesCount::new(message.len())).bench_local(|| {
        let mut out = Output::new();
        out.text_literal(black_box(&message), 0, u64::MAX);
        out.take()
    });
}

/// What SEARCH BODY does with a message that does not have the text.
fn search(bencher: Bencher<'_, '_>, message: &[u8]) {
    let wanted = [Wanted { needle: Needle::new("xylophonist"), in_header: false }];
    let (mut finder, never) = (Finder::default(), AtomicBool::new(false));
    bencher.counter(BytesCount::new(message.len())).bench_local(|| finder.find(black_box(message), &wanted, &never));
}

fn text(charset: &str, encoding: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n");
    [header.as_bytes(), body].concat()
}

#[divan::bench]
fn search_attachment(bencher: Bencher<'_, '_>) {
    search(bencher, &message());
}

#[divan::bench]
fn search_ascii(bencher: Bencher<'_, '_>) {
    search(bencher, &text("utf-8", "7bit", "A line of text, as people write them.\n".repeat(10_000).as_bytes()));
}

#[divan::bench]
fn search_german(bencher: Bencher<'_, '_>) {
    let line = "Eine Zeile, wie man sie für gewöhnlich schreibt.\n";
    search(bencher, &text("utf-8", "8bit", line.repeat(10_000).as_bytes()));
}

#[divan::bench]
fn search_russian_in_base64(bencher: Bencher<'_, '_>) {
    // A line of capitals and small letters in KOI8-R.
    let line = data_encoding::BASE64.encode(&(0..57).map(|n| 0xc0 | (n % 64)).collect::<Vec<u8>>()) + "\n";
    search(bencher, &text("koi8-r", "base64", line.repeat(5_000).as_bytes()));
}

#[divan::bench]
fn search_chinese(bencher: Bencher<'_, '_>) {
    search(bencher, &text("utf-8", "8bit", "我们在这里写一行普通的文字。\n".repeat(10_000).as_bytes()));
}
