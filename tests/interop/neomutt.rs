//! NeoMutt in a terminal of its own, driven by keys; what it saw is piped into files, what it did is looked for on the
//! server.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use super::ALICE;
use super::common::installed;
use super::common::say;
use super::common::server::PASSWORD;
use super::common::server::Server;
use super::common::server::write_private;
use super::common::wait_for;
use super::file_with;
use super::search;

/// NeoMutt on a screen; ended with the test.
struct Screen {
    child: Child,
    shown: PathBuf,
}

impl Screen {
    /// Starts it with these further settings and arguments.
    fn open(server: &Server, folder: &Path, security: &str, settings: &str, arguments: &str) -> Self {
        let rc = folder.join("rc");
        let (scheme, port) = if security == "IMAPS" { ("imaps", "IMAPS") } else { ("imap", "IMAP") };
        let text = format!(
            "set imap_user={ALICE} imap_pass={PASSWORD} smtp_pass={PASSWORD} smtp_authenticators=plain\n\
             set folder={scheme}://localhost:{imap}/ spoolfile=+INBOX record=+Sent\n\
             set smtp_url=smtps://alice%40example.test@localhost:{smtps}/\n\
             set certificate_file={ca} ssl_verify_host=yes ssl_starttls=yes ssl_force_tls=yes\n\
             set from={ALICE} editor=true abort_unmodified=no quit=yes delete=yes move=no mark_old=no\n\
             set confirmappend=no confirmcreate=no wait_key=no pipe_split=no sleep_time=0\n\
             # News by IDLE or not at all.\n\
             set imap_idle=yes mail_check=600 timeout=1\n{settings}\n",
            imap = server.value(port),
            smtps = server.value("SMTPS"),
            ca = server.value("CA"),
        );
        write_private(&rc, &text);
        let shown = folder.join("screen");
        let screen = File::create(&shown).expect("made");
        let child = Command::new("script")
            .arg("-qec")
            .arg(format!("neomutt -n -F {} {arguments}", rc.display()))
            .arg("/dev/null")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(screen.try_clone().expect("a second handle"))
            .stderr(screen)
            .spawn()
            .expect("it is installed");
        Self { child, shown }
    }

    fn keys(&mut self, keys: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(keys.as_bytes()).expect("it reads");
    }

    fn says(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.shown).expect("made above")).into_owned()
    }

    /// Waits for this to be seen.
    fn shows(&self, text: &str) {
        wait_for(&format!("{text} on the screen"), || self.says().contains(text).then_some(()));
    }

    /// Waits until the keys that were set up have ended it.
    fn end(mut self) {
        let status = wait_for("the end of NeoMutt", || self.child.try_wait().expect("it is our child"));
        assert!(status.success(), "{status}");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended already, which is no error here.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            say(&format!("--- screen of NeoMutt\n{:?}\n---", self.says()));
        }
    }
}

#[test]
fn neomutt() {
    if !installed("neomutt") || !installed("script") {
        return;
    }
    for security in ["IMAPS", "STARTTLS"] {
        let server = Server::try_out(&["--unlimited"]);
        for n in 0..3 {
            let text = format!("Message-ID: <m{n}@load.example>\nSubject: number {n}\n\ntext {n}\n");
            server.deliver(ALICE, &text);
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let start =
            |settings: &str, arguments: &str| Screen::open(&server, folder.path(), security, settings, arguments);
        changed_near(&server, &start);
        changed_far(&server, folder.path(), &start);
        listed_and_told(&server, &folder.path().join("told"), &start);
    }
}

/// Flags one, moves one, sends one with a copy in Sent.
fn changed_near(server: &Server, start: &dyn Fn(&str, &str) -> Screen) {
    start(
        "push '<limit>~s \"number 1\"<enter><flag-message><limit>~s \"number 2\"<enter><save-message>+Archive<enter>\
         <limit>all<enter><sync-mailbox><quit>'",
        "",
    )
    .end();
    let maildir = server.maildir("alice");
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    assert_eq!(search(&mut imap, "FLAGGED SUBJECT \"number 1\""), "* SEARCH 3");
    assert!(file_with(&maildir, "Subject: number 1\n").to_string_lossy().ends_with(":2,F"));
    assert_eq!(search(&mut imap, "SUBJECT \"number 2\""), "* SEARCH");
    assert!(file_with(&maildir.join(".Archive"), "Subject: number 2\n").exists());

    let mut screen = start("", &format!("-s 'from the client' {ALICE}"));
    for (question, answer) in [("To: ", "\r"), ("Subject: ", "\r"), ("Security:", "y")] {
        screen.shows(question);
        screen.keys(answer);
    }
    screen.end();
    imap.ok("NOOP");
    assert_eq!(search(&mut imap, "SUBJECT \"from the client\""), "* SEARCH 4");
    imap.ok("SELECT Sent");
    assert_eq!(search(&mut imap, "SEEN SUBJECT \"from the client\""), "* SEARCH 1");
}

/// What another program did is seen: a new message, flags, a move.
fn changed_far(server: &Server, folder: &Path, start: &dyn Fn(&str, &str) -> Screen) {
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    imap.append("INBOX", "(\\Flagged) ", b"Subject: from the other side\r\n\r\nthe text\r\n");
    imap.ok("STORE 3 -FLAGS (\\Flagged)");
    imap.ok("STORE 3 +FLAGS (\\Answered)");
    imap.ok("MOVE 2 Archive");
    let seen = |pattern: &str, name: &str| {
        format!(
            "<tag-pattern>{pattern}<enter><tag-prefix><pipe-message>cat >{}<enter><untag-pattern>~A<enter>",
            folder.join(name).display()
        )
    };
    let keys = [
        seen("~F", "flagged"),
        seen("~Q", "answered"),
        "<change-folder>+Archive<enter>".to_owned(),
        seen("~A", "archive"),
    ];
    start(&format!("push '{}<quit>'", keys.concat()), "").end();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("piped");
    let has = |name: &str, what: &str| read(name).matches(what).count();
    assert_eq!((has("flagged", "Subject: "), has("flagged", "Subject: from the other side\n\nthe text\n")), (1, 1));
    assert_eq!((has("answered", "Subject: "), has("answered", "Subject: number 1\n")), (1, 1));
    assert_eq!((has("archive", "Subject: "), has("archive", "Subject: number 0\n")), (2, 1));
}

/// The list of mailboxes, and mail that comes while it looks at the inbox.
fn listed_and_told(server: &Server, told: &Path, start: &dyn Fn(&str, &str) -> Screen) {
    let mut screen = start(&format!("set new_mail_command='touch {}'", told.display()), "");
    screen.shows("from the other side");
    // Of all mailboxes, not of those that were named to it.
    screen.keys("c?\t");
    for name in ["Archive", "Drafts", "Junk", "Sent", "Trash"] {
        screen.shows(name);
    }
    screen.keys("q");
    server.deliver(ALICE, "Subject: while idle\n\nx\n");
    wait_for("mail that IDLE tells of", || told.exists().then_some(()));
    screen.shows("while idle");
    screen.keys("q");
    screen.end();
}
