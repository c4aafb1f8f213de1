//! SEARCH in large mailboxes: given up when the client goes away, and without a second look at what was read.

mod common;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use common::server::Server;
use common::wait_for;
use common::wait_within;

/// Enough text for a minute of all cores in a fast build.
const LONG_SEARCH: usize = 20_000;

/// A message of half a megabyte whose characters must all be looked at one by one.
fn dear() -> Vec<u8> {
    let line = "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442} ".repeat(6) + "\n";
    format!("Subject: dear\nContent-Type: text/plain; charset=utf-8\n\n{}", line.repeat(6500)).into_bytes()
}

/// Puts a message so many times into a Maildir; all are one file.
fn fill(cur: &Path, message: &[u8], times: usize) {
    let first = cur.join("1800000000.M0P1.host:2,S");
    fs::write(&first, message).expect("written");
    for n in 1..times {
        fs::hard_link(&first, cur.join(format!("18{n:08}.M{n}P1.host:2,S"))).expect("linked");
    }
}

fn cur(server: &Server, user: &str) -> PathBuf {
    drop(server.imap(user));
    server.maildir(user).join("cur")
}

/// CPU time of a process so far, in hundredths of a second.
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_search_ends_with_its_client_and_keeps_nobody_waiting() {
    let server = Server::serve("");
    fill(&cur(&server, "alice"), &dear(), LONG_SEARCH);
    let mut searcher = server.imap("alice");
    assert!(searcher.ok("SELECT INBOX").has(&format!("{LONG_SEARCH} EXISTS")));
    let idle = cpu(server.pid());
    searcher.line.send(b"s SEARCH BODY needle\r\n");
    wait_for("the search to begin", || (cpu(server.pid()) > idle + 30).then_some(()));

    // Another user, and another session of the same one.
    let start = Instant::now();
    let mut bob = server.imap("bob");
    bob.ok("SELECT INBOX");
    bob.append("INBOX", "", b"Subject: small\r\n\r\nneedle\r\n");
    assert!(bob.ok("SEARCH BODY needle").has("SEARCH 1"));
    let mut alice = server.imap("alice");
    alice.ok("SELECT INBOX");
    assert!(alice.ok("SEARCH 7 BODY привет").has("SEARCH 7"));
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    let busy = cpu(server.pid());
    wait_for("the search to go on", || (cpu(server.pid()) > busy + 30).then_some(()));

    drop(searcher);
    wait_within(Duration::from_secs(5), "the search to end", || {
        let before = cpu(server.pid());
        std::thread::sleep(Duration::from_millis(300));
        (cpu(server.pid()) <= before + 2).then_some(())
    });
    alice.ok("NOOP");
}

#[test]
fn the_second_search_of_a_header_opens_no_file() {
    let server = Server::serve("");
    let cur = cur(&server, "alice");
    for n in 0..20 {
        fs::write(cur.join(format!("18{n:08}.M{n}P1.host:2,S")), format!("Subject: number {n}.\n\nbody\n"))
            .expect("written");
    }
    let mut alice = server.imap("alice");
    alice.ok("SELECT INBOX");
    assert!(alice.ok("SEARCH SUBJECT \"NUMBER 7.\"").has("SEARCH 8"));
    // A file that is written over keeps its name, so only who reads it again can see that.
    for n in 0..20 {
        fs::write(cur.join(format!("18{n:08}.M{n}P1.host:2,S")), "Subject: other\n\nthing\n").expect("written");
    }
    assert!(alice.ok("SEARCH SUBJECT \"NUMBER 7.\"").has("SEARCH 8"));
    assert_eq!(alice.ok("SEARCH SUBJECT number NOT SUBJECT .").texts(), ["* SEARCH"]);
    assert!(alice.ok("SEARCH 3 BODY thing").has("SEARCH 3"));
}

/// The most memory that a process has had at once, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("on Linux");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn messages_without_an_empty_line_are_in_memory_one_at_a_time() {
    let server = Server::serve("");
    let header = format!("A: {}\n", "y".repeat(76)).repeat((40 << 20) / 80);
    fill(&cur(&server, "alice"), header.as_bytes(), 3);
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let before = peak(server.pid());
    assert!(imap.ok("SEARCH HEADER B x").has("SEARCH"));
    let grown = (peak(server.pid()) - before) >> 10;
    // Room for one is 64 MiB.
    assert!(grown < 75, "{grown} MiB");
    // The header first, and then the same message whole.
    let found = imap.ok("SEARCH OR HEADER B x BODY needle");
    assert!(found.has("SEARCH"), "{found:?}");
}
