//! Libraries that we did not write, driven by scripts that take turns with us: the script does something and says so,
//! we look at it in the Maildir and in a session of our own, do our part as the other program, and say `go`.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::ALICE;
use super::common::available;
use super::common::server::PASSWORD;
use super::common::server::PORTS;
use super::common::server::Server;
use super::file_with;
use super::search;

/// A script waits a minute at most for anything; so it is the script that says what it missed.
const PATIENCE: Duration = Duration::from_secs(90);

/// The folder with the libraries that come from package registries: `python` is a virtual environment, `node` has the
/// `node_modules`.
fn libraries() -> Option<PathBuf> {
    let folder = std::env::var_os("FACTEUR_CLIENTS").map(PathBuf::from);
    let present = folder.as_ref().is_some_and(|folder| folder.is_dir());
    available(present, "FACTEUR_CLIENTS names no folder with client libraries").then_some(folder).flatten()
}

/// A running script; ended with the test.
struct Script {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Script {
    fn start(server: &Server, mut command: Command) -> Self {
        command.env("PASSWORD", PASSWORD).env("DOMAIN", "example.test").env("CA", server.ca());
        for (name, _, _) in PORTS {
            command.env(name, server.value(name));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is installed");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        // Ends with the script, whose end of the pipe closes then.
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, input, lines }
    }

    /// Waits for the script to have done this.
    fn has(&self, done: &str) {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => assert_eq!(line, done),
            Err(error) => panic!("before \"{done}\": {error}"),
        }
    }

    fn go(&mut self) {
        self.input.write_all(b"go\n").expect("the script reads");
    }

    fn end(mut self) {
        self.has("done");
        self.go();
        assert!(self.child.wait().expect("it is our child").success());
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended already, which is no error here.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a mail program does in a day, with another one beside it.
fn day(command: Command) {
    let server = Server::try_out(&["--unlimited"]);
    let maildir = server.maildir("alice");
    let mut script = Script::start(&server, command);
    let mut imap = server.imap("alice");
    let flags = |what: &str| {
        let file = file_with(&maildir, what);
        file.to_string_lossy().rsplit_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default()
    };

    // A message of theirs, and one of ours.
    script.has("appended");
    imap.ok("SELECT INBOX");
    assert_eq!(search(&mut imap, "SEEN SUBJECT \"from the client\""), "* SEARCH 2");
    assert_eq!(flags("Subject: from the client\n\nits text\n"), "S");
    // Large enough to be sent piece by piece.
    let text = format!("Subject: from the other side\r\n\r\n{}", "the text\r\n".repeat(40_000));
    imap.append("INBOX", "", text.as_bytes());
    script.go();

    // Flags of theirs, and ours.
    script.has("flagged");
    imap.ok("NOOP");
    assert_eq!(search(&mut imap, "FLAGGED KEYWORD $Label1"), "* SEARCH 3");
    let now = flags("Subject: from the other side\n");
    assert!(now.starts_with('F') && now.len() == 2, "{now}: flagged, and one keyword");
    imap.ok("STORE 3 -FLAGS (\\Flagged)");
    imap.ok("STORE 3 +FLAGS (\\Answered)");
    script.go();

    // A move of theirs.
    script.has("moved");
    imap.ok("NOOP");
    assert_eq!(search(&mut imap, "SUBJECT \"from the other side\""), "* SEARCH");
    assert!(file_with(&maildir.join(".Archive"), "Subject: from the other side\n").exists());
    imap.ok("SELECT Archive");
    assert_eq!(search(&mut imap, "ANSWERED KEYWORD $Label1 UNFLAGGED"), "* SEARCH 1");
    script.go();

    // Mail while they wait, and a move of ours.
    script.has("idling");
    server.deliver(ALICE, "Subject: while idle\n\nx\n");
    script.go();
    script.has("told");
    imap.ok("MOVE 1 Trash");
    script.go();
    script.end();
    assert!(maildir.join(".Gr&APw-n").is_dir(), "a name beyond ASCII");
}

fn python(script: &str) {
    let Some(folder) = libraries() else { return };
    let interop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let mut command = Command::new(folder.join("python/bin/python3"));
    command.arg("-B").arg(interop.join(script));
    day(command);
}

#[test]
fn imapclient() {
    python("imapclient_day.py");
}

#[test]
fn imap_tools() {
    python("imap_tools_day.py");
}

#[test]
fn imapflow() {
    let Some(folder) = libraries() else { return };
    if !super::installed("node") {
        return;
    }
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/imapflow_day.mjs"));
    command.env("NODE_PATH", folder.join("node/node_modules"));
    day(command);
}
