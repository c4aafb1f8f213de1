//! The faults of the reliability tables on the built binary: a wrong configuration, a full disk, kill -9.
//!
//! The disk is a small tmpfs in a mount namespace of its own, where the machine allows that.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use common::available;
use common::client::Line;
use common::installed;
use common::is_root;
use common::random;
use common::server::PASSWORD;
use common::server::Server;
use common::server::facteur;
use common::server::free_base;
use common::server::password_hash;
use common::server::write_private;
use common::sink::Script;
use common::sink::Sink;
use common::smtp::Smtp;
use common::smtp::wire;
use common::wait_for;

/// `EX_CONFIG` and `EX_UNAVAILABLE` of sysexits.
const CONFIG: Option<i32> = Some(78);
const UNAVAILABLE: Option<i32> = Some(69);

/// Runs a command on a configuration; it must end by itself.
fn run_on(command: &str, file: &Path) -> Output {
    let mut child = facteur()
        .arg(command)
        .arg("--config")
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let ended = wait_or_kill(&mut child);
    let output = child.wait_with_output().expect("it has ended");
    assert!(ended, "{command} did not end: {output:?}");
    output
}

fn wait_or_kill(child: &mut std::process::Child) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if child.try_wait().expect("our child").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("it is running");
    false
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A small configuration that is right, on high ports, and where it was written.
fn good(folder: &Path, base: u16) -> String {
    let hash = password_hash();
    let mut text = format!(
        "hostname = \"mail.example.test\"\n[[domain]]\nname = \"example.test\"\n\
         [[account]]\naddress = \"alice@example.test\"\npassword = \"{hash}\"\n\
         [storage]\nfolder = \"{}\"\n[listen]\n",
        folder.join("data").display()
    );
    for (_, key, usual) in common::server::PORTS {
        text += &format!("{key} = [\"127.0.0.1:{}\"]\n", base + usual);
    }
    text
}

#[test]
fn bad_configuration_is_told_at_once_with_line_and_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bad.toml");
    let text = "\
hostname = \"mail.example.test\"
colour = \"red\"
[[domain]]
name = \"example.test\"
[[account]]
address = \"alice@example.test\"
password = \"secret\"
[[account]]
address = \"alice@example.test\"
[[account]]
address = \"bob@elsewhere.test\"
[aliases]
\"a@example.test\" = [\"b@example.test\"]
\"b@example.test\" = [\"a@example.test\"]
[smtp]
max_message_size = 7.5
[queue]
retry_min = \"soon\"
[relay]
trusted_networks = [\"0.0.0.0/0\"]
[listen]
imap = [\"127.0.0.1:1143\"]
pop3 = [\"127.0.0.1:1143\"]
";
    write_private(&file, text);
    for command in ["check", "serve"] {
        let output = run_on(command, &file);
        assert_eq!(output.status.code(), CONFIG, "{command}: {output:?}");
        let said = complaint(&output);
        for (line, key) in [
            (2, "colour"),
            (7, "account.password"),
            (9, "account.address"),
            (11, "account.address"),
            (13, "aliases"),
            (14, "aliases"),
            (16, "smtp.max_message_size"),
            (18, "queue.retry_min"),
            (20, "relay.trusted_networks"),
            (23, "listen.pop3"),
        ] {
            let place = format!("bad.toml:{line}:");
            let told = said.lines().any(|l| l.contains(&place) && l.contains(key));
            assert!(told, "{command}: line {line}, {key} is not told:\n{said}");
        }
        assert!(!said.contains("secret"), "a password in the log: {said}");
    }
}

#[test]
fn bad_configuration_files_that_are_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("facteur.toml");
    for command in ["check", "serve"] {
        let output = run_on(command, &file);
        assert_eq!(output.status.code(), CONFIG);
        assert!(complaint(&output).contains("facteur.toml"), "{output:?}");
    }
    for (text, line) in [("hostname = \n", 1), ("hostname = \"a.example\"\n[smtp\n", 2), ("a = 1\na = 2\n", 2)] {
        write_private(&file, text);
        let output = run_on("check", &file);
        assert_eq!(output.status.code(), CONFIG);
        assert!(complaint(&output).contains(&format!("facteur.toml:{line}:")), "{text:?}: {output:?}");
    }
}

#[test]
fn bad_configuration_port_in_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("facteur.toml");
    let base = free_base();
    write_private(&file, &good(folder.path(), base));
    let _imap = TcpListener::bind(("127.0.0.1", base + 143)).expect("free a moment ago");
    let _smtp = TcpListener::bind(("127.0.0.1", base + 25)).expect("free a moment ago");
    let output = run_on("serve", &file);
    assert_eq!(output.status.code(), UNAVAILABLE, "{output:?}");
    let said = complaint(&output);
    for (key, usual) in [("listen.smtp", 25), ("listen.imap", 143)] {
        let told = said.lines().any(|l| l.contains(key) && l.contains(&format!("127.0.0.1:{}", base + usual)));
        assert!(told, "{key}: {said}");
    }
}

#[test]
fn bad_configuration_certificates() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("facteur.toml");
    let path = |name: &str| folder.path().join(name);
    for name in ["one", "two"] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(path(&format!("{name}.cert")), made.cert.pem()).expect("written");
        std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).expect("written");
    }
    std::fs::write(path("junk"), "no PEM\n").expect("written");
    for (cert, key, guilty) in [
        ("missing.cert", "one.key", "missing.cert"),
        ("one.cert", "missing.key", "missing.key"),
        ("one.cert", "two.key", "two.key"),
        ("junk", "one.key", "junk"),
        ("one.cert", "junk", "junk"),
    ] {
        let base = free_base();
        let tls = format!("[tls]\ncert = \"{}\"\nkey = \"{}\"\n", path(cert).display(), path(key).display());
        write_private(&file, &(good(folder.path(), base) + &tls));
        let output = run_on("serve", &file);
        assert_eq!(output.status.code(), CONFIG, "{cert}, {key}: {output:?}");
        let said = complaint(&output);
        assert!(said.contains(guilty) || said.contains(cert), "{cert}, {key}: {said}");
        assert!(TcpStream::connect(("127.0.0.1", base + 25)).is_err(), "nothing may listen");
    }
}

#[test]
fn bad_configuration_hashes_that_everybody_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("facteur.toml");
    write_private(&file, &good(folder.path(), free_base()));
    let output = run_on("check", &file);
    assert!(output.status.success(), "{output:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("ours");
    for command in ["check", "serve"] {
        let output = run_on(command, &file);
        assert_eq!(output.status.code(), CONFIG, "{command}: {output:?}");
        let said = complaint(&output);
        assert!(
            said.contains("facteur.toml:6:") && said.contains("chmod") && said.contains("account.password"),
            "{said}"
        );
    }
}

#[test]
fn two_servers_on_one_folder() {
    let server = Server::try_out(&[]);
    let folder = server.config().parent().expect("a folder").to_owned();
    let base = free_base().to_string();
    let output = facteur().args(["try", "--base-port", &base, "--dir"]).arg(&folder).output().expect("the binary runs");
    assert_eq!(output.status.code(), UNAVAILABLE, "{output:?}");
    assert!(complaint(&output).contains(&server.pid().to_string()), "{output:?}");
}

/// A server whose folder is a file system of 32 MiB, and the way to that from outside of its mount namespace.
fn on_a_small_disk(options: &str) -> Option<(Server, PathBuf)> {
    if !installed("unshare") {
        return None;
    }
    // Who is not root may be it in a user namespace of his own, where the machine allows that.
    let flags = if is_root() { "-m" } else { "-rm" };
    let mount = format!("mount -t tmpfs -o {options} tmpfs /tmp");
    let probe = Command::new("unshare").args([flags, "sh", "-c", &mount]).output().expect("it is installed");
    if !available(probe.status.success(), "this machine allows no mount namespace with a tmpfs") {
        return None;
    }
    let script = format!("mkdir -p @HOME/store && mount -t tmpfs -o {options} tmpfs @HOME/store && exec \"$@\"");
    let server = Server::try_out_behind(&["unshare", flags, "sh", "-c", &script, "sh"], &["--unlimited"]);
    let inside = format!("/proc/{}/root{}/store", server.pid(), server.home().display());
    Some((server, PathBuf::from(inside)))
}

/// A message of about so many octets, and its Message-ID.
fn letter(name: &str, octets: usize) -> String {
    let line = format!("{}\n", "y".repeat(70));
    format!("Message-ID: <{name}@load.example>\nSubject: x\n\n{}", line.repeat(octets / 71 + 1))
}

/// Tries to deliver; the code of the first refusal or of the end.
fn offer(server: &Server, name: &str, octets: usize) -> String {
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.send_message("s@load.example", &["alice@example.test"], &letter(name, octets)).text().to_owned()
}

fn full_disk(server: &Server, fill: impl FnOnce(), free: impl FnOnce()) {
    for n in 0..3 {
        assert!(offer(server, &format!("before-{n}"), 2000).starts_with("250"));
    }
    let mut reader = server.imap("alice");
    reader.ok("SELECT INBOX");
    fill();
    for n in 0..6 {
        let began = Instant::now();
        let said = offer(server, &format!("full-{n}"), if n % 2 == 0 { 500 } else { 20_000 });
        let took = began.elapsed();
        assert!(said.starts_with("452 4.3.1"), "{said}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    let reply = smtp.send_message("alice@example.test", &["far@elsewhere.example"], &letter("out", 500));
    assert!(reply.text().starts_with("452 4.3.1"), "mail for the queue: {reply:?}");
    let texts = reader.fetch_all("BODY.PEEK[]");
    assert_eq!(texts.len(), 4, "what is there can be read");
    let appended = reader.append("INBOX", "", letter("appended", 200_000).replace('\n', "\r\n").as_bytes());
    assert!(appended.tagged.starts_with("NO"), "{appended:?}");
    reader.ok("STORE 1 +FLAGS (\\Flagged)");
    reader.ok("NOOP");
    let mut other = server.imap("alice");
    assert!(other.ok("SELECT INBOX").has("* 4 EXISTS"));
    free();
    let began = Instant::now();
    wait_for("service after space was freed", || offer(server, "after", 500).starts_with("250").then_some(()));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let found = server.messages("alice", "INBOX");
    let with = |name: &str| found.iter().filter(|(_, text)| contains(text, &format!("<{name}@load.example>"))).count();
    assert_eq!(found.len(), 5);
    for name in ["before-0", "before-1", "before-2", "after"] {
        assert_eq!(with(name), 1, "{name}");
    }
}

fn contains(text: &[u8], what: &str) -> bool {
    memchr::memmem::find(text, what.as_bytes()).is_some()
}

#[test]
fn disk_full() {
    let Some((server, disk)) = on_a_small_disk("size=32m") else { return };
    let ballast = disk.join("ballast");
    let fill = || {
        let mut file = std::fs::File::create(&ballast).expect("there is room yet");
        let block = vec![0; 65_536];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    };
    full_disk(&server, fill, || std::fs::remove_file(&ballast).expect("it is there"));
}

#[test]
fn disk_full_of_files() {
    let Some((server, disk)) = on_a_small_disk("size=64m,nr_inodes=400") else { return };
    let ballast = disk.join("ballast");
    let fill = || {
        std::fs::create_dir(&ballast).expect("there is room yet");
        let made = (0..1000).take_while(|n| std::fs::File::create(ballast.join(n.to_string())).is_ok()).count();
        assert!(made < 1000, "the file system is not full");
    };
    full_disk(&server, fill, || std::fs::remove_dir_all(&ballast).expect("it is there"));
}

/// What clients have been told about the messages they sent.
#[derive(Default)]
struct Told {
    /// Message-ID and recipients of everything that got its 250.
    acknowledged: Mutex<Vec<(String, Vec<&'static str>)>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

const USERS: [&str; 3] = ["user1", "user2", "user3"];

/// How a client loads.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// As a stranger on port 25, to one or three inboxes.
    Smtp(u16),
    /// As user1, to somebody elsewhere.
    Submission(u16),
    /// As user1, by APPEND.
    Append(u16),
}

/// Starts clients that send messages until they are told to stop; a broken connection is what this is about.
fn load(told: &Arc<Told>, ways: &[Way]) -> Vec<std::thread::JoinHandle<()>> {
    let client = |way: &Way| {
        let (told, way) = (Arc::clone(told), *way);
        std::thread::spawn(move || {
            while !told.stop.load(Ordering::Relaxed) {
                let done = match way {
                    Way::Smtp(port) | Way::Submission(port) => smtp_session(port, way, &told),
                    Way::Append(port) => append_session(port, &told),
                };
                // A server that is down refuses at once; do not spin.
                if done.is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        })
    };
    ways.iter().map(client).collect()
}

impl Told {
    /// A name for the next message.
    fn next(&self) -> String {
        format!("k9-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    fn acknowledge(&self, name: String, recipients: Vec<&'static str>) {
        self.acknowledged.lock().expect("nobody panics with it").push((name, recipients));
    }

    /// Waits for more mail, and then until any moment.
    fn more(&self) {
        let count = || self.acknowledged.lock().expect("nobody panics with it").len();
        let before = count();
        wait_for("mail in this life", || (count() > before + 10).then_some(()));
        std::thread::sleep(Duration::from_millis(u64::from(random(300))));
    }

    /// Stops the clients; what they were told.
    fn end(&self, clients: Vec<std::thread::JoinHandle<()>>) -> Vec<(String, Vec<&'static str>)> {
        self.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no client fails");
        }
        self.acknowledged.lock().expect("nobody panics with it").clone()
    }
}

fn smtp_session(port: u16, way: Way, told: &Told) -> Option<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut smtp = Smtp(Line::over(stream));
    smtp.next_reply()?;
    smtp.0.send(b"EHLO load.example\r\n");
    smtp.next_reply()?;
    if matches!(way, Way::Submission(_)) {
        let login = data_encoding::BASE64.encode(format!("\0user1@example.test\0{PASSWORD}").as_bytes());
        smtp.0.send(format!("AUTH PLAIN {login}\r\n").as_bytes());
        assert_eq!(smtp.next_reply()?.code, 235);
    }
    while !told.stop.load(Ordering::Relaxed) {
        let name = told.next();
        let recipients: Vec<&'static str> = match (way, random(3)) {
            (Way::Submission(_), _) => vec!["far@elsewhere.example"],
            (_, 0) => USERS.to_vec(),
            (_, one) => vec![USERS[usize::try_from(one).ok()?]],
        };
        let mut envelope = String::from("MAIL FROM:<user1@example.test>\r\n");
        for user in &recipients {
            let domain = if user.contains('@') { "" } else { "@example.test" };
            envelope += &format!("RCPT TO:<{user}{domain}>\r\n");
        }
        smtp.0.send(format!("{envelope}DATA\r\n").as_bytes());
        for _ in 0..recipients.len() + 2 {
            assert!(smtp.next_reply()?.code < 400, "nothing is refused here");
        }
        smtp.0.send(&wire(&letter(&name, 200 + usize::try_from(random(20_000)).ok()?)));
        if smtp.next_reply()?.code == 250 {
            told.acknowledge(name, recipients);
        }
    }
    Some(())
}

fn append_session(port: u16, told: &Told) -> Option<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut line = Line::over(stream);
    line.line()?;
    line.send(format!("a LOGIN user1@example.test {PASSWORD}\r\n").as_bytes());
    until(&mut line, "a OK")?;
    while !told.stop.load(Ordering::Relaxed) {
        let name = told.next();
        let text = letter(&name, 2000).replace('\n', "\r\n");
        line.send(format!("b APPEND INBOX {{{}}}\r\n", text.len()).as_bytes());
        until(&mut line, "+")?;
        line.send(format!("{text}\r\n").as_bytes());
        until(&mut line, "b OK")?;
        told.acknowledge(name, vec!["user1"]);
    }
    Some(())
}

/// Lines until one that begins so; no other may be an answer.
fn until(line: &mut Line, beginning: &str) -> Option<()> {
    loop {
        let text = String::from_utf8_lossy(&line.line()?).into_owned();
        if text.starts_with(beginning) {
            return Some(());
        }
        assert!(text.starts_with("* "), "{text}");
    }
}

#[test]
fn kill_9() {
    let mut server =
        Server::try_out(&["--unlimited", "--plaintext-login", "--accounts", "user1..user3,other1..other10"]);
    let told = Arc::new(Told::default());
    let (smtp, imap) = (Way::Smtp(server.port("SMTP")), Way::Append(server.port("IMAP")));
    let clients = load(&told, &[smtp, smtp, smtp, smtp, imap]);
    let mut uids: HashMap<(&str, u32), String> = HashMap::new();
    for cycle in 0..4 {
        told.more();
        server.kill_9();
        server = server.restart();
        for user in USERS {
            for (uid, name) in names(&server, user) {
                let before = uids.entry((user, uid)).or_insert_with(|| name.clone());
                assert_eq!(*before, name, "cycle {cycle}: UID {uid} of {user} names another message");
            }
        }
    }
    let acknowledged = told.end(clients);
    for user in USERS {
        let mut found: HashMap<String, usize> = HashMap::new();
        for (_, name) in names(&server, user) {
            *found.entry(name).or_default() += 1;
        }
        for (name, _) in acknowledged.iter().filter(|(_, to)| to.contains(&user)) {
            assert_eq!(found.get(name).copied(), Some(1), "{name} for {user}");
        }
    }
    common::say(&format!("kill -9: 4 times, {} acknowledged messages, each there once", acknowledged.len()));
}

#[test]
fn kill_9_with_mail_on_its_way_out() {
    let mut server = Server::try_out(&["--unlimited", "--plaintext-login", "--accounts", "user1..user12"]);
    let sink = Sink::start("127.0.0.1", server.port("SINK"), Script::default());
    let told = Arc::new(Told::default());
    let clients = load(&told, &[Way::Submission(server.port("SUBM")); 3]);
    for _ in 0..3 {
        told.more();
        server.kill_9();
        server = server.restart();
    }
    let acknowledged = told.end(clients);
    wait_for("an empty queue", || {
        assert!(server.command(&["queue", "flush"]).status.success());
        server.command(&["queue", "list", "--json"]).stdout.is_empty().then_some(())
    });
    let mut found: HashMap<String, usize> = HashMap::new();
    for taken in sink.taken() {
        *found.entry(name_of(&taken.data)).or_default() += 1;
    }
    for (name, _) in &acknowledged {
        assert!(found.contains_key(name), "{name} is lost");
    }
    // What was under way when the server died is sent again (RFC 5321 section 4.5.4.1 knows no other way).
    let again = found.values().filter(|count| **count > 1).count();
    assert!(again <= 3 * 100, "{again} messages came more than once");
    common::say(&format!("kill -9: 3 times, {} messages sent out, {again} of them twice", acknowledged.len()));
}

/// The UIDs of an inbox with the name in the Message-ID, every message complete.
fn names(server: &Server, user: &str) -> Vec<(u32, String)> {
    let messages = server.messages(user, "INBOX");
    messages.into_iter().map(|(uid, text)| (uid, name_of(&text))).collect()
}

/// The name in the Message-ID of a message, which must be complete.
fn name_of(text: &[u8]) -> String {
    assert!(text.ends_with(b"y\r\n"), "a part of a message: {:?}", String::from_utf8_lossy(text));
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once("Message-ID: <").expect("all have one");
    rest.split('@').next().unwrap_or_default().to_owned()
}

/// The folder with the project's shared tools, where it is on this machine.
fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("FACTEUR_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = named.unwrap_or(beside);
    if !folder.join("faults").is_dir() {
        common::say("SKIPPED: the shared fault tools are not on this machine (FACTEUR_SHARED)");
        return None;
    }
    installed("python3").then_some(folder)
}

fn passed(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", complaint(&output));
    common::say(said.lines().last().unwrap_or_default());
}

#[test]
fn kill_9_by_the_shared_loop() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = free_base();
    let start = format!(
        "exec {} try --base-port {base} --accounts user1..user8 --password {PASSWORD} --unlimited --plaintext-login --dir {}",
        env!("CARGO_BIN_EXE_facteur"),
        folder.path().join("d").display()
    );
    let mut command = Command::new("python3");
    command.arg(shared.join("faults/kill9-loop.py")).args(["--start", &start]);
    command.args(["--smtp", &format!("127.0.0.1:{}", base + 25), "--imap", &format!("127.0.0.1:{}", base + 143)]);
    command.args(["--user", "user%d@example.test", "--first-user", "1", "--password", PASSWORD]);
    command.args(["--cycles", "3", "--max-dup", "3"]);
    passed(command);
}

#[test]
fn battery_of_the_shared_tools() {
    let Some(shared) = shared() else { return };
    let server = Server::try_out(&["--unlimited", "--plaintext-login"]);
    let mut command = Command::new("python3");
    command.arg(shared.join("faults/smtp-battery.py"));
    command.args([&format!("127.0.0.1:{}", server.port("SMTP")), "--local", "alice@example.test"]);
    command.args(["--imap", &format!("127.0.0.1:{}", server.port("IMAP")), "--password", PASSWORD]);
    passed(command);
}

/// Out of file descriptors: whoever is inside is served, the process does not spin, and goes on when there are some.
#[test]
fn out_of_descriptors() {
    if !installed("prlimit") {
        return;
    }
    let server = Server::try_out_behind(&["prlimit", "--nofile=80"], &["--unlimited", "--plaintext-login"]);
    let mut inside = server.smtp();
    let crowd: Vec<TcpStream> = (0..150)
        .map(|_| TcpStream::connect(("127.0.0.1", server.port("SMTP"))).expect("the kernel takes it"))
        .collect();
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("it runs");
        let times = stat.rsplit(')').next().expect("a name").split_whitespace().skip(11).take(2);
        times.map(|t| t.parse::<u64>().expect("a number")).sum::<u64>()
    };
    wait_for("the log to say so", || server.log().contains("cannot accept connections").then_some(()));
    let (before, since) = (ticks(), Instant::now());
    wait_for("two seconds at the limit", || (since.elapsed() > Duration::from_secs(2)).then_some(()));
    // A hundred ticks are a second; a loop that spins takes all of both.
    assert!(ticks() - before < 50, "{} ticks in two seconds", ticks() - before);
    assert_eq!(inside.command("NOOP").text().split(' ').next(), Some("250"));
    drop(crowd);
    wait_for("a place", || {
        let mut line = Line::connect(server.port("SMTP"));
        line.line().filter(|banner| banner.starts_with(b"220")).map(drop)
    });
    let mut smtp = server.smtp();
    smtp.ehlo();
    let reply = smtp.send_message("s@load.example", &["alice@example.test"], "Subject: x\n\nhi\n");
    assert!(reply.text().starts_with("250"), "{reply:?}");
}
