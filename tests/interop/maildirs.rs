//! Programs that keep a tree of Maildirs the same as the mailboxes of the server: what is done on one side must come to
//! the other, and then nothing must come any more.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use super::ALICE;
use super::common::imap::Imap;
use super::common::installed;
use super::common::server::PASSWORD;
use super::common::server::Server;
use super::common::server::write_private;
use super::common::wait_for;
use super::count;
use super::file_with;
use super::run;
use super::search;

/// A server, a tree of Maildirs beside it, and the program between them.
struct Pair<'a> {
    server: &'a Server,
    /// INBOX and all other mailboxes, one folder each.
    mail: &'a Path,
    /// Makes them the same; gives what the program said.
    sync: &'a dyn Fn() -> String,
    /// How the program is told to delete a message.
    delete: fn(&Path),
}

impl Pair<'_> {
    fn near(&self, mailbox: &str, what: &str) -> PathBuf {
        file_with(&self.mail.join(mailbox), what)
    }

    /// Whether a file with this text is in the Maildir of the mailbox.
    fn near_has(&self, mailbox: &str, what: &str) -> bool {
        let maildir = self.mail.join(mailbox);
        names(&maildir).iter().any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains(what)))
    }

    fn far(&self, mailbox: &str) -> Imap {
        let mut imap = self.server.imap("alice");
        imap.ok(&format!("SELECT {mailbox}"));
        imap
    }

    /// All that can be done on either side.
    fn both_ways(&self) {
        for n in 0..5 {
            let text = format!("Message-ID: <m{n}@load.example>\nSubject: number {n}\n\ntext {n}\n");
            self.server.deliver(ALICE, &text);
        }
        (self.sync)();
        assert_eq!(self.server.messages("alice", "INBOX").len(), 6);
        for n in 0..5 {
            assert!(self.near("INBOX", &format!("<m{n}@load.example>")).exists());
        }
        for name in ["Archive", "Drafts", "Junk", "Sent", "Trash"] {
            assert!(self.mail.join(name).join("cur").is_dir(), "{name} is listed");
        }
        self.changed_near();
        self.changed_far();
        self.moved_near();
        self.settled();
    }

    /// One read, one flagged and answered, one deleted, one new, one in a new folder.
    fn changed_near(&self) {
        let inbox = self.mail.join("INBOX");
        mark(&self.near("INBOX", "<m0@load.example>"), "S");
        mark(&self.near("INBOX", "<m1@load.example>"), "FR");
        (self.delete)(&self.near("INBOX", "<m2@load.example>"));
        std::fs::write(inbox.join("cur/1700000000.1_1.here:2,S"), "Subject: from here\n\nx\n").expect("written");
        for part in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(self.mail.join("Local").join(part)).expect("made");
        }
        let file = self.mail.join("Local/new/1700000000.2_1.here");
        std::fs::write(file, "Subject: moved in\n\nx\n").expect("written");
        (self.sync)();
        let mut imap = self.far("INBOX");
        assert_eq!(search(&mut imap, "SEEN SUBJECT \"number 0\""), "* SEARCH 2");
        assert_eq!(search(&mut imap, "FLAGGED ANSWERED"), "* SEARCH 3");
        assert_eq!(search(&mut imap, "SUBJECT \"number 2\""), "* SEARCH");
        assert_eq!(search(&mut imap, "SEEN SUBJECT \"from here\""), "* SEARCH 6");
        assert_eq!(count(&self.server.messages("alice", "Local"), "Subject: moved in\r\n"), 1);
    }

    /// The same on the other side, and a move.
    fn changed_far(&self) {
        let mut imap = self.far("INBOX");
        imap.ok("STORE 2 -FLAGS (\\Seen)");
        imap.ok("STORE 3 FLAGS (\\Seen \\Draft)");
        imap.ok("MOVE 4 Archive");
        // Large enough to be sent piece by piece.
        let large = "the text\r\n".repeat(40_000);
        imap.append("INBOX", "(\\Flagged) ", format!("Subject: from there\r\n\r\n{large}").as_bytes());
        imap.ok("CREATE There");
        imap.append("There", "", b"Subject: a new folder\r\n\r\nx\r\n");
        (self.sync)();
        assert_eq!(flags(&self.near("INBOX", "<m0@load.example>")), "");
        assert_eq!(flags(&self.near("INBOX", "<m1@load.example>")), "DS");
        let file = self.near("INBOX", "Subject: from there");
        assert_eq!(flags(&file), "F");
        let text = std::fs::read_to_string(file).expect("it is there").replace("\r\n", "\n");
        assert_eq!(text.split_once("\n\n").map(|(_, body)| body == large.replace("\r\n", "\n")), Some(true));
        assert!(self.near("Archive", "<m3@load.example>").exists());
        assert!(!self.near_has("INBOX", "<m3@load.example>"), "it was moved");
        assert!(self.near("There", "Subject: a new folder").exists());
    }

    /// A mail program moves a file to another folder under a name of its own.
    fn moved_near(&self) {
        let file = self.near("INBOX", "Subject: from here");
        std::fs::rename(file, self.mail.join("Archive/cur/1700000001.3_1.here:2,S")).expect("renamed");
        (self.sync)();
        assert_eq!(search(&mut self.far("INBOX"), "SUBJECT \"from here\""), "* SEARCH");
        assert_eq!(search(&mut self.far("Archive"), "SEEN SUBJECT \"from here\""), "* SEARCH 2");
        assert!(file_with(&self.server.maildir("alice").join(".Archive"), "Subject: from here").exists());
    }

    /// Once more: nothing changes on either side.
    fn settled(&self) {
        let state = || {
            let mut imap = self.far("INBOX");
            let flags = imap.ok("UID FETCH 1:* (FLAGS)").texts();
            let others = ["Local", "Archive", "There"].map(|name| format!("STATUS {name} (MESSAGES UIDNEXT)"));
            (flags, others.map(|status| imap.ok(&status).texts()))
        };
        let (here, there) = (names(self.mail), state());
        let said = (self.sync)();
        assert_eq!(names(self.mail), here, "{said}");
        assert_eq!(state(), there, "{said}");
    }
}

/// As a mail program does it: into cur/, with these flags.
fn mark(file: &Path, flags: &str) {
    let name = file.file_name().expect("a file").to_string_lossy();
    let stem = name.split(":2,").next().unwrap_or_default();
    let cur = file.parent().and_then(Path::parent).expect("in a Maildir").join("cur");
    std::fs::rename(file, cur.join(format!("{stem}:2,{flags}"))).expect("renamed");
}

/// The flags in the name of a file.
fn flags(file: &Path) -> String {
    file.to_string_lossy().rsplit_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default()
}

/// Every message file below a folder.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("readable").path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            match path.is_dir() {
                true => open.push(path),
                false if !hidden => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// The mbsync configuration of one account, by TLS or STARTTLS.
fn mbsync_config(server: &Server, folder: &Path, security: &str) -> PathBuf {
    let port = server.value(if security == "IMAPS" { "IMAPS" } else { "IMAP" });
    let text = format!(
        "IMAPAccount facteur\nHost localhost\nPort {port}\nUser {ALICE}\nPass {PASSWORD}\nSSLType {security}\n\
         SystemCertificates no\nCertificateFile {ca}\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount facteur\n\n\
         MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        ca = server.value("CA"),
        mail = folder.join("mail").display(),
    );
    let file = folder.join("mbsyncrc");
    write_private(&file, &text);
    file
}

#[test]
fn mbsync() {
    if !installed("mbsync") {
        return;
    }
    for security in ["IMAPS", "STARTTLS"] {
        let server = Server::try_out(&["--unlimited"]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mail = folder.path().join("mail");
        std::fs::create_dir(&mail).expect("made");
        let config = mbsync_config(&server, folder.path(), security);
        let sync = || run(Command::new("mbsync").arg("--config").arg(&config).args(["--all", "--verbose"]));
        Pair { server: &server, mail: &mail, sync: &sync, delete: |file| mark(file, "T") }.both_ways();
    }
}

/// The OfflineIMAP configurations of one account: `rc`, and `idlerc` that waits for news of the inbox.
fn offlineimap_config(server: &Server, folder: &Path) {
    let text = format!(
        "[general]\naccounts = facteur\nmetadata = {folder}/metadata\n\
         [Account facteur]\nlocalrepository = near\nremoterepository = far\n@ACCOUNT\n\
         [Repository near]\ntype = Maildir\nlocalfolders = {folder}/mail\nsep = /\n\
         [Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {port}\nremoteuser = {ALICE}\n\
         remotepass = {PASSWORD}\nssl = yes\nsslcacertfile = {ca}\n@FAR\n",
        folder = folder.display(),
        port = server.value("IMAPS"),
        ca = server.value("CA"),
    );
    write_private(&folder.join("rc"), &text.replace("@ACCOUNT", "").replace("@FAR", ""));
    // Looking without being told is an hour away.
    let text = text.replace("@ACCOUNT", "autorefresh = 60");
    let text = text.replace("@FAR", "idlefolders = ['INBOX']\nkeepalive = 60\nholdconnectionopen = yes");
    write_private(&folder.join("idlerc"), &text);
}

/// By TLS alone: with STARTTLS its imaplib2 reads and writes one OpenSSL session from two threads at once, and often
/// the first command never leaves it.
#[test]
fn offlineimap() {
    if !installed("offlineimap") {
        return;
    }
    let server = Server::try_out(&["--unlimited"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mail = folder.path().join("mail");
    std::fs::create_dir(&mail).expect("made");
    offlineimap_config(&server, folder.path());
    let rc = folder.path().join("rc");
    let sync = || run(Command::new("offlineimap").arg("-c").arg(&rc).args(["-o", "-u", "basic"]));
    // A flag T comes over as \Deleted, which it leaves to others to expunge.
    let delete = |file: &Path| std::fs::remove_file(file).expect("it is there");
    let pair = Pair { server: &server, mail: &mail, sync: &sync, delete };
    pair.both_ways();
    let _idling = idling(folder.path());
    server.deliver(ALICE, "Subject: while idle\n\nx\n");
    wait_for("the message that IDLE told of", || pair.near_has("INBOX", "Subject: while idle").then_some(()));
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is no error here.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// OfflineIMAP once it waits for news of the inbox.
fn idling(folder: &Path) -> Running {
    let output = folder.join("output");
    let out = File::create(&output).expect("made");
    let child = Command::new("offlineimap")
        .arg("-c")
        .arg(folder.join("idlerc"))
        .args(["-u", "basic", "-d", "imap"])
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a second handle"))
        .stderr(out)
        .spawn()
        .expect("it is installed");
    let running = Running(child);
    wait_for("IDLE", || {
        let said = std::fs::read(&output).expect("made above");
        memchr::memmem::find(&said, b"server IDLE started").map(drop)
    });
    running
}
