//! What clients do that no RFC foresees: that each row of `src/manual/quirks.rs` has its test, that no quirk of the
//! mission is missing there, and those tests that need more than a dialog.

mod common;

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use common::PATIENCE;
use common::imap::Imap;
use common::say;
use common::server::Server;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;

/// The ports that begin with TLS.
const TLS_PORTS: [&str; 3] = ["IMAPS", "SMTPS", "POP3S"];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(repository(path)).ok()
}

/// The rows of a Markdown table's text, without head and rule.
fn rows<'a>(text: &'a str, start: &'a str) -> Vec<Vec<&'a str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix(start)?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .filter(|row| !matches!(row[0], "client" | "---" | "Who"))
        .collect()
}

/// The two tables of the manual: what is of IMAP, and what is not.
fn manual() -> (String, String) {
    let text = read("src/manual/quirks.rs").expect("the table is there");
    let (imap, others) = text.split_once("//! # Not of IMAP\n").expect("two tables");
    (imap.to_owned(), others.to_owned())
}

/// Whether a test is there: `imap/x.txt` is a dialog, `x::y` the test `y` of `tests/x.rs`.
fn is_there(test: &str) -> bool {
    match test.split_once("::") {
        Some((program, name)) => {
            let text = read(&format!("tests/{program}.rs")).unwrap_or_default();
            text.contains(&format!("#[test]\nfn {name}() {{"))
        }
        None => read(&format!("tests/dialogs/{test}")).is_some_and(|text| text.contains("\nC: ")),
    }
}

#[test]
fn every_quirk_has_its_test() {
    let (imap, _) = manual();
    let rows = rows(&imap, "//! | ");
    assert!(rows.len() > 20, "the table is no longer found: {}", rows.len());
    for row in rows {
        let [client, quirk, _, tests] = row.as_slice() else { panic!("{row:?}") };
        for test in tests.split(", ") {
            let test = test.strip_prefix('`').and_then(|t| t.strip_suffix('`')).expect("a name in back quotes");
            assert!(is_there(test), "{client}, {quirk}: there is no {test}");
        }
    }
}

#[test]
fn every_dialog_of_a_quirk_is_in_the_table() {
    let (imap, _) = manual();
    let folder = std::fs::read_dir(repository("tests/dialogs/imap")).expect("the folder is there");
    let names = folder.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let missing: Vec<String> =
        names.filter(|name| name.starts_with("quirk-") && !imap.contains(&format!("`imap/{name}`"))).collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// As many rows for each client as the mission has quirks of it, several of which may stand in one row.
#[test]
fn no_quirk_of_the_mission_is_missing() {
    let shared = std::env::var_os("FACTEUR_SHARED").map_or_else(|| repository("../shared"), PathBuf::from);
    let Ok(mission) = std::fs::read_to_string(shared.join("mission.md")) else {
        say("SKIPPED: no mission.md beside the repository (FACTEUR_SHARED names another folder)");
        return;
    };
    let part = mission.split("\n# Part 3.").nth(1).expect("a third part");
    let part = part.split("\n# ").next().expect("its text");
    let (imap, others) = manual();
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    let quirks = rows(part, "| ");
    assert!(quirks.len() > 20, "the quirks are no longer found: {}", quirks.len());
    for row in quirks {
        *wanted.entry(row[0].replace(['`', '\\'], "")).or_default() += row[1].split("; ").count();
    }
    let of_imap = rows(&imap, "//! | ");
    let not_of_imap = rows(&others, "//! | ");
    for (client, count) in wanted {
        let ours = of_imap.iter().filter(|row| row[0].replace('\\', "") == client).count();
        let elsewhere = not_of_imap.iter().any(|row| row[0] == client);
        assert!(ours >= count || elsewhere, "{client}: {ours} of {count} quirks are in the table");
    }
}

/// A client that trusts the server's authority.
fn trusting(server: &Server) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.ca()).expect("a certificate in PEM")).expect("an authority");
    roots
}

/// The handshake and the greeting behind it.
fn greeted(server: &Server, port: &str, config: ClientConfig) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port(port))).expect("the port answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into().expect("a name")).expect("settings");
    let mut stream = rustls::Stream::new(&mut tls, &mut stream);
    let mut heard = [0; 512];
    match stream.read(&mut heard) {
        Ok(count) => String::from_utf8_lossy(&heard[..count]).into_owned(),
        Err(error) => error.to_string(),
    }
}

fn client(server: &Server) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(trusting(server))
        .with_no_client_auth()
}

/// HTTP and nothing else is a browser that was led here, and is refused (`net/connection.rs`).
#[test]
fn no_alpn_and_any_alpn_will_do() {
    let server = Server::try_out(&[]);
    let offers: [&[&[u8]]; 4] = [&[], &[b"http/1.1", b"\x08odd mail"], &[b"imap"], &[b"\0\xff odd"]];
    for port in TLS_PORTS {
        for offer in offers {
            let mut config = client(&server);
            config.alpn_protocols = offer.iter().map(|name| name.to_vec()).collect();
            let greeting = greeted(&server, port, config);
            let said = ["* OK ", "220 ", "+OK "].iter().any(|start| greeting.starts_with(start));
            assert!(said, "{port}, {offer:?}: {greeting:?}");
        }
    }
}

/// Notes whether the server wanted a certificate.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn no_client_is_asked_for_a_certificate() {
    let server = Server::try_out(&[]);
    for port in TLS_PORTS {
        let asked = Arc::new(Asked::default());
        let mut config = client(&server);
        config.client_auth_cert_resolver = Arc::<Asked>::clone(&asked);
        greeted(&server, port, config);
        assert!(!asked.0.load(Ordering::Relaxed), "{port}");
    }
}

/// No library says such a name, so it is written over another one of its length. The handshake cannot be finished then;
/// in TLS 1.2 the certificate comes in clear, before that is noticed.
#[test]
fn a_server_name_with_a_dot_at_its_end_gets_the_certificate() {
    let server = Server::try_out(&[]);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("the provider has it")
        .with_root_certificates(trusting(&server))
        .with_no_client_auth();
    let config = Arc::new(config);
    for port in TLS_PORTS {
        let certificate = common::client::Line::connect_tls(server.port(port), server.ca()).certificate();
        let name = "mail.example.testx".try_into().expect("a name");
        let mut tls = ClientConnection::new(Arc::clone(&config), name).expect("valid settings");
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).expect("it is memory");
        let at = memchr::memmem::find(&hello, b"mail.example.testx").expect("the name is in clear");
        hello[at + "mail.example.test".len()] = b'.';
        let mut stream = TcpStream::connect(("127.0.0.1", server.port(port))).expect("the port answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.write_all(&hello).expect("it is small");
        let mut heard = Vec::new();
        while memchr::memmem::find(&heard, &certificate).is_none() {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).expect("the server answers");
            assert!(count > 0 && heard.len() < 65_536, "{port}: no certificate in {heard:?}");
            heard.extend_from_slice(&piece[..count]);
        }
    }
}

#[test]
fn quotas_are_told_as_in_rfc_2087() {
    let server = Server::serve("[smtp]\nmax_message_size = \"10KiB\"\n[quota]\nstorage = \"20KiB\"\nmessages = 7\n");
    server.deliver("alice@example.test", "Subject: x\n\ny\n");
    let mut imap = server.imap("alice");
    let capabilities = imap.ok("CAPABILITY").texts().concat();
    assert!(capabilities.split_ascii_whitespace().any(|name| name == "QUOTA"), "{capabilities}");
    let quota = "* QUOTA \"account\" (STORAGE 1 20 MESSAGE 1 7)";
    let answer = imap.ok("getquotaroot INBOX").texts();
    assert_eq!(answer, ["* QUOTAROOT \"INBOX\" \"account\"", quota]);
    assert_eq!(imap.ok("GETQUOTA \"account\"").texts(), [quota]);
    imap.ok("SELECT INBOX");
    assert_eq!(imap.ok("GETQUOTAROOT Sent").texts(), ["* QUOTAROOT \"Sent\" \"account\"", quota]);
}

/// Within the limits as they are when nobody has touched them.
#[test]
fn a_user_has_twenty_connections_from_one_address() {
    let server = Server::serve("");
    let mut sessions: Vec<Imap> = (0..20).map(|_| server.imap("alice")).collect();
    for imap in &mut sessions {
        imap.ok("SELECT INBOX");
    }
    for imap in &mut sessions {
        imap.ok("NOOP");
    }
}
