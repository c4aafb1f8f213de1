//! The trace fields of RFC 5321 §4.4: `Return-Path` and `Received`.
//!
//! Lines are ended by LF and folded. What the client said of itself is made harmless first: it can hold no line end,
//! no parenthesis and no semicolon that would make another field or another clause of it.

use std::net::IpAddr;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::ids::QueueId;
use crate::mail::limits::JUNK_REASON_CHARS;
use crate::mail::limits::JUNK_REASONS;
use crate::message::date;
use crate::protocol::session::TlsActive;

/// What a client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// SMTP, greeted by HELO.
    Smtp,
    /// SMTP, greeted by EHLO.
    Esmtp,
    /// LMTP (RFC 2033).
    Lmtp,
}

/// What a trace tells.
#[derive(Debug, Clone, Copy)]
pub struct Trace<'a> {
    /// What the client called itself.
    pub greeting: &'a str,
    /// Its confirmed name, where it has one.
    pub client_name: Option<&'a str>,
    /// How it spoke to us.
    pub spoken: Spoken,
    /// Whether the envelope was international (RFC 6531).
    pub international: bool,
    /// Whether it logged in.
    pub authenticated: bool,
    /// TLS, where it was active.
    pub tls: Option<&'a TlsActive>,
    /// Where it connected from.
    pub peer: IpAddr,
    /// Our name.
    pub hostname: &'a str,
    /// The message's id.
    pub id: &'a QueueId,
    /// The envelope's sender.
    pub sender: &'a ReversePath,
    /// The envelope's recipients. One is named; of several none is, since they need not know of each other
    /// (RFC 5321 §7.6).
    pub recipients: &'a [Address],
}

/// `Return-Path: <sender>`.
#[must_use]
pub fn return_path(sender: &ReversePath) -> Vec<u8> {
    format!("Return-Path: <{sender}>\n").into_bytes()
}

/// `X-Junk-Reason: ...`, by which the owner of a Junk folder sees why; empty without a reason.
#[must_use]
pub fn junk_reason(reasons: &[String]) -> Vec<u8> {
    if reasons.is_empty() {
        return Vec::new();
    }
    let clean = |text: &String| -> String {
        text.chars().take(JUNK_REASON_CHARS).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
    };
    let reasons: Vec<String> = reasons.iter().take(JUNK_REASONS).map(clean).collect();
    format!("X-Junk-Reason: {}\n", reasons.join(";\n\t")).into_bytes()
}

/// `Received: from ... by ... with ... id ... for ...; date`.
#[must_use]
pub fn received(trace: &Trace<'_>, zone: &TimeZone, now: SystemTime) -> Vec<u8> {
    let greeting = harmless(trace.greeting);
    let peer = match trace.peer {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("IPv6:{v6}"),
    };
    let name = trace.client_name.map_or_else(String::new, |name| format!("{} ", harmless(name)));
    let mut field = format!("Received: from {greeting} ({name}[{peer}])\n");
    if let Some(tls) = trace.tls {
        let (version, cipher) = (harmless(tls.version()), harmless(tls.cipher()));
        field.push_str(&format!("\t(version={version} cipher={cipher})\n"));
    }
    field.push_str(&format!("\tby {} with {} id {}", trace.hostname, protocol(trace), trace.id));
    if let [recipient] = trace.recipients {
        field.push_str(&format!("\n\tfor <{recipient}>"));
    }
    field.push_str(&format!(";\n\t{}\n", date::format(now, zone)));
    field.into_bytes()
}

/// The `with` clause (RFC 3848, RFC 6531 §3.7.3).
fn protocol(trace: &Trace<'_>) -> String {
    let spoken = match (trace.spoken, trace.international) {
        (Spoken::Smtp, _) => return "SMTP".to_owned(),
        (Spoken::Esmtp, false) => "ESMTP",
        (Spoken::Esmtp, true) => "UTF8SMTP",
        (Spoken::Lmtp, false) => "LMTP",
        (Spoken::Lmtp, true) => "UTF8LMTP",
    };
    let tls = if trace.tls.is_some() { "S" } else { "" };
    let login = if trace.authenticated { "A" } else { "" };
    format!("{spoken}{tls}{login}")
}

/// The characters that names and address literals have; anything else becomes a question mark.
fn harmless(text: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let text: String = text.chars().map(|c| if fine(c) { c } else { '?' }).collect();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stay_in_their_field() {
        assert!(junk_reason(&[]).is_empty());
        let reasons = ["dmarc: fail".to_owned(), "x\r\nSubject: y\u{e9}".to_owned()];
        assert_eq!(junk_reason(&reasons), b"X-Junk-Reason: dmarc: fail;\n\tx??Subject: y?\n");
        let many = vec!["y".repeat(10_000); 1000];
        assert!(junk_reason(&many).len() < 10_000);
    }

    #[test]
    fn traces() {
        let id = QueueId::parse("id-1").expect("valid");
        let one = [Address::parse("a@b.example").expect("valid")];
        let tls = TlsActive::after_handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256");
        let base = Trace {
            greeting: "c.example",
            client_name: None,
            spoken: Spoken::Smtp,
            international: false,
            authenticated: false,
            tls: None,
            peer: "2001:db8::1".parse().expect("an address"),
            hostname: "mx.example",
            id: &id,
            sender: &ReversePath::Null,
            recipients: &[],
        };
        let text = |trace: &Trace<'_>| {
            String::from_utf8(received(trace, &TimeZone::UTC, SystemTime::UNIX_EPOCH)).expect("ASCII")
        };
        let wanted = "Received: from c.example ([IPv6:2001:db8::1])\n\tby mx.example with SMTP id id-1;\n\
            \tThu, 01 Jan 1970 00:00:00 +0000\n";
        assert_eq!(text(&base), wanted);
        for (spoken, international, wanted) in [
            (Spoken::Esmtp, false, "ESMTP"),
            (Spoken::Esmtp, true, "UTF8SMTP"),
            (Spoken::Lmtp, false, "LMTP"),
            (Spoken::Lmtp, true, "UTF8LMTP"),
        ] {
            let trace = Trace { spoken, international, client_name: Some("a(b.example"), ..base };
            let start = "Received: from c.example (a?b.example [IPv6:2001:db8::1])\n\tby mx.example with";
            assert!(text(&trace).starts_with(&format!("{start} {wanted} id id-1;")), "{}", text(&trace));
        }
        let full = Trace { spoken: Spoken::Esmtp, authenticated: true, tls: Some(&tls), recipients: &one, ..base };
        let wanted = "Received: from c.example ([IPv6:2001:db8::1])\n\
            \t(version=TLSv1.3 cipher=TLS_AES_128_GCM_SHA256)\n\tby mx.example with ESMTPSA id id-1\n\
            \tfor <a@b.example>;\n\tThu, 01 Jan 1970 00:00:00 +0000\n";
        assert_eq!(text(&full), wanted);
        let forged = Trace { greeting: "x);by(y\r\nSubject:z\u{e9}", ..base };
        assert!(text(&forged).starts_with("Received: from x??by?y??Subject:z? ("), "{}", text(&forged));
    }
}
