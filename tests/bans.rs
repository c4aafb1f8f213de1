//! Who guesses passwords, at all three services: refused at the door, over a restart, while the owner stays in.

mod common;

use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::net::TcpStream;

use common::client::Line;
use common::server::PASSWORD;
use common::server::Server;
use rustix::net::AddressFamily;
use rustix::net::SocketType;

/// Three failures are enough; passwords in clear, so that what is said at the door can be seen.
const SECTIONS: &str = "[auth]\nplaintext_login = true\n[limits]\nfailed_logins = 3\nsmtp_connections_per_minute = 0\n";

const OWNER: u8 = 20;

/// A connection from 127.0.0.`host` to a port of the server.
fn line(server: &Server, host: u8, port: &str) -> Line {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0))
        .expect("an address of this machine");
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.port(port));
    rustix::net::connect(&socket, &to).expect("the port answers");
    Line::over(TcpStream::from(socket))
}

/// What the server says first.
fn greeting(server: &Server, host: u8, port: &str) -> String {
    line(server, host, port).text()
}

/// The last line of the answer to a login.
fn login(server: &Server, host: u8, port: &str, user: &str, password: &str) -> String {
    let mut line = line(server, host, port);
    line.text();
    let user = format!("{user}@example.test");
    match port {
        "IMAP" => line.send(format!("a LOGIN {user} {password}\r\n").as_bytes()),
        "POP3" => {
            line.send(format!("USER {user}\r\n").as_bytes());
            line.text();
            line.send(format!("PASS {password}\r\n").as_bytes());
        }
        _ => {
            line.send(b"EHLO client.example\r\n");
            while line.text().starts_with("250-") {}
            let response = data_encoding::BASE64.encode(format!("\0{user}\0{password}").as_bytes());
            line.send(format!("AUTH PLAIN {response}\r\n").as_bytes());
        }
    }
    line.text()
}

const DOORS: [(&str, u8, &str, &str); 3] = [
    ("IMAP", 11, "a NO [AUTHENTICATIONFAILED]", "* BYE logins from this network are refused for now"),
    ("POP3", 12, "-ERR [AUTH]", "-ERR [SYS/TEMP] logins from this network are refused for now"),
    ("SUBM", 13, "535 5.7.8", "421 4.7.0 logins from this network are refused for now"),
];

fn banned(server: &Server) -> Vec<String> {
    let listed = server.command(&["ban", "list", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let network = |line: &str| {
        let ban: serde_json::Value = serde_json::from_str(line).expect("JSON");
        ban["network"].as_str().expect("a network").to_owned()
    };
    let mut networks: Vec<String> = String::from_utf8_lossy(&listed.stdout).lines().map(network).collect();
    networks.sort();
    networks
}

/// Fails three times at each service, each from an address of its own, at the same time.
fn guess(server: &Server) {
    std::thread::scope(|scope| {
        for ((port, host, refused, _), user) in DOORS.into_iter().zip(["alice", "nobody", "bob"]) {
            scope.spawn(move || {
                for _ in 0..3 {
                    let answer = login(server, host, port, user, "wrong");
                    assert!(answer.starts_with(refused), "{port}: {answer}");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..3 {
                login(server, OWNER, "IMAP", "bob", "wrong");
            }
        });
    });
}

fn ban(server: &Server, args: &[&str]) -> String {
    let done = server.command(&[&["ban"], args].concat());
    assert!(done.status.success(), "{done:?}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn who_guesses_is_shut_out_and_the_owner_is_not() {
    let mut server = Server::serve(SECTIONS);
    assert!(login(&server, OWNER, "IMAP", "alice", PASSWORD).starts_with("a OK"));
    guess(&server);
    let all = ["127.0.0.11/32", "127.0.0.12/32", "127.0.0.13/32", "127.0.0.20/32"];
    assert_eq!(banned(&server), all);
    for (port, host, _, door) in DOORS {
        for other in [11, 12, 13] {
            assert_eq!(greeting(&server, other, port), door);
        }
        assert!(greeting(&server, host, "SMTP").starts_with("220 "), "mail is taken from everybody");
    }
    // The owner's address has a ban too, and lets in him alone.
    assert!(login(&server, OWNER, "IMAP", "alice", PASSWORD).starts_with("a OK"));
    assert!(login(&server, OWNER, "POP3", "alice", PASSWORD).starts_with("+OK"));
    assert!(login(&server, OWNER, "SUBM", "alice", PASSWORD).starts_with("235"));
    assert_eq!(login(&server, OWNER, "IMAP", "bob", PASSWORD), "a NO [UNAVAILABLE] too many failed logins");
    assert!(login(&server, 21, "IMAP", "bob", PASSWORD).starts_with("a OK"), "from another address he may");
    for line in [
        "auth failed user=\"alice@example.test\" rip=127.0.0.11 proto=imap",
        "auth failed user=\"nobody@example.test\" rip=127.0.0.12 proto=pop3",
        "auth failed user=\"bob@example.test\" rip=127.0.0.13 proto=submission",
        "banned network=127.0.0.11/32 seconds=600",
    ] {
        assert!(server.log().contains(line), "{line}");
    }

    // All that outlives the process.
    assert!(server.terminate().success());
    let mut server = server.restart();
    assert_eq!(banned(&server), all);
    assert_eq!(greeting(&server, 11, "IMAP"), DOORS[0].3);
    assert!(login(&server, OWNER, "IMAP", "alice", PASSWORD).starts_with("a OK"));
    assert_eq!(login(&server, OWNER, "IMAP", "bob", PASSWORD), "a NO [UNAVAILABLE] too many failed logins");

    // The operator has the last word, with the server and without.
    assert!(ban(&server, &["remove", "127.0.0.11"]).contains("may log in again"));
    assert!(login(&server, 11, "IMAP", "bob", PASSWORD).starts_with("a OK"));
    ban(&server, &["add", "127.0.0.20/31", "--for", "2h", "--reason", "too curious"]);
    assert_eq!(greeting(&server, OWNER, "IMAP"), DOORS[0].3, "a ban by hand is for everybody");
    assert_eq!(greeting(&server, 21, "POP3"), DOORS[1].3);
    let table = ban(&server, &["list"]);
    assert!(table.contains("too curious") && table.contains("3 failed logins") && table.contains("4 bans"), "{table}");
    assert_eq!(server.command(&["ban", "remove", "192.0.2.1"]).status.code(), Some(1));
    assert_eq!(server.command(&["ban", "add", "everybody"]).status.code(), Some(65));

    assert!(server.terminate().success());
    assert_eq!(banned(&server), ["127.0.0.12/32", "127.0.0.13/32", "127.0.0.20/31", "127.0.0.20/32"]);
    ban(&server, &["remove", "127.0.0.20/31"]);
    ban(&server, &["add", "127.0.0.30"]);
    let server = server.restart();
    assert!(login(&server, OWNER, "IMAP", "alice", PASSWORD).starts_with("a OK"));
    assert_eq!(greeting(&server, 30, "IMAP"), DOORS[0].3);
}

#[test]
fn one_try_on_each_of_many_accounts_from_many_addresses_counts() {
    let server = Server::serve(SECTIONS);
    std::thread::scope(|scope| {
        for host in 101..110 {
            let server = &server;
            scope.spawn(move || login(server, host, "IMAP", &format!("user{host}"), "summer"));
        }
    });
    assert_eq!(banned(&server), ["127.0.0.0/24"]);
    assert_eq!(greeting(&server, 200, "IMAP"), DOORS[0].3);
}

#[test]
fn networks_of_the_allow_list_are_never_banned() {
    let server = Server::serve(&format!("{SECTIONS}[bans]\nallow = [\"127.0.0.40/32\"]\n"));
    for _ in 0..4 {
        assert!(login(&server, 40, "IMAP", "alice", "wrong").starts_with("a NO [AUTHENTICATIONFAILED]"));
    }
    assert!(login(&server, 40, "IMAP", "alice", PASSWORD).starts_with("a OK"));
    assert!(banned(&server).is_empty());
}

#[test]
fn a_file_that_cannot_be_read_keeps_nobody_from_his_mail() {
    let mut server = Server::serve(SECTIONS);
    assert!(server.terminate().success());
    let file = server.home().join("data/auth/bans");
    std::fs::remove_file(&file).ok();
    // No user may read a folder as a file, not even root.
    std::fs::create_dir_all(&file).expect("a folder of that name");
    assert_eq!(server.command(&["ban", "list"]).status.code(), Some(74));
    assert!(file.is_dir(), "a look changes nothing");
    let server = server.restart();
    assert!(server.log().contains("bans cannot be read"), "{}", server.log());
    assert!(login(&server, OWNER, "IMAP", "alice", PASSWORD).starts_with("a OK"));
    ban(&server, &["add", "::ffff:127.0.0.30"]);
    assert_eq!(banned(&server), ["127.0.0.30/32"]);
    assert_eq!(greeting(&server, 30, "IMAP"), DOORS[0].3);
    assert!(file.is_file());
}
