//! A Dovecot of this machine, running on free ports over a tree of mail that the test owns, to be compared with.
//!
//! It needs root, because its processes change their users; the mail belongs to a user without a name.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use tempfile::TempDir;

use super::PATIENCE;
use super::available;
use super::imap::Imap;
use super::installed;
use super::is_root;
use super::pop3::Pop3;
use super::server::PASSWORD;
use super::server::free_port;
use super::wait_for;

/// The number of the user who owns the mail.
const OWNER: u32 = 52_143;

/// How often other ports are tried when some other program was quicker.
const TRIES: usize = 10;

/// A running Dovecot: IMAP and POP3 in clear, every user with the usual password.
pub(crate) struct Dovecot {
    child: Child,
    /// Its configuration, sockets and log.
    home: TempDir,
    imap: u16,
    pop3: u16,
}

/// Whether there is a Dovecot that this test may start.
pub(crate) fn is_there() -> bool {
    installed("dovecot") && available(is_root(), "Dovecot can be started by root only")
}

/// A new folder for mail that Dovecot can reach.
pub(crate) fn tree() -> TempDir {
    let tree = tempfile::Builder::new().prefix("facteur-tree-").tempdir().expect("a temporary folder");
    std::fs::set_permissions(tree.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    tree
}

/// Gives files to the user as whom Dovecot works.
pub(crate) fn give(tree: &Path) {
    let owner = format!("{OWNER}:{OWNER}");
    let status = Command::new("chown").arg("-hR").arg(owner).arg(tree).status().expect("chown runs");
    assert!(status.success(), "{status}");
}

impl Dovecot {
    /// Over the mail at this `mail_location`, with these further settings. The tree is given to it before.
    pub(crate) fn start(location: &str, settings: &str) -> Self {
        for _ in 0..TRIES {
            if let Some(dovecot) = Self::launch(location, settings) {
                return dovecot;
            }
        }
        panic!("{TRIES} times the ports were taken between looking and binding");
    }

    /// `None` where a port is taken.
    fn launch(location: &str, settings: &str) -> Option<Self> {
        let home = tree();
        let (imap, pop3) = (free_port("127.0.0.1"), free_port("127.0.0.1"));
        let config = home.path().join("dovecot.conf");
        std::fs::write(&config, configuration(home.path(), (imap, pop3), location, settings)).expect("written");
        let out = File::create(home.path().join("out")).expect("made");
        let program = ["/usr/sbin/dovecot", "/usr/local/sbin/dovecot"].into_iter().find(|p| Path::new(p).exists());
        let child = Command::new(program.unwrap_or("dovecot"))
            .arg("-F")
            .arg("-c")
            .arg(&config)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("dovecot runs");
        let mut dovecot = Self { child, home, imap, pop3 };
        let up = wait_for("Dovecot", || {
            if let Some(status) = dovecot.child.try_wait().expect("it is our child") {
                return Some(Err(status));
            }
            let answers = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
            (answers(imap) && answers(pop3)).then_some(Ok(()))
        });
        match up {
            Ok(()) => Some(dovecot),
            Err(_) if dovecot.log().contains("in use") => None,
            Err(status) => panic!("Dovecot did not start: {status}\n{}", dovecot.log()),
        }
    }

    /// A session, logged in.
    pub(crate) fn imap(&self, user: &str) -> Imap {
        let mut imap = Imap::connect(self.imap);
        imap.ok(&format!("LOGIN {user} {PASSWORD}"));
        imap
    }

    /// A session, logged in.
    pub(crate) fn pop3(&self, user: &str) -> Pop3 {
        let mut pop3 = Pop3::connect(self.pop3);
        pop3.ok(&format!("USER {user}"));
        pop3.ok(&format!("PASS {PASSWORD}"));
        pop3
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
        read("out") + &read("log")
    }

    /// Ends it; all it has to write is written then.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::TERM).ok();
        }
        let end = std::time::Instant::now() + PATIENCE;
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if std::time::Instant::now() > end {
                self.child.kill().ok();
            }
            std::thread::sleep(super::PULSE);
        }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            super::say(&format!("--- log of Dovecot\n{}---", self.log()));
        }
    }
}

/// Where the mail of the users of a tree lies, in Dovecot's words.
pub(crate) fn location(tree: &Path) -> String {
    format!("maildir:{}/%n", tree.display())
}

/// The Maildir of a user at such a location.
pub(crate) fn maildir(tree: &Path, user: &str) -> PathBuf {
    tree.join(user)
}

fn configuration(home: &Path, (imap, pop3): (u16, u16), location: &str, settings: &str) -> String {
    let home = home.display();
    format!(
        "base_dir = {home}/run\nstate_dir = {home}/state\ninstance_name = facteur-test-{imap}\n\
         protocols = imap pop3\nlisten = 127.0.0.1\nlog_path = {home}/log\nmail_location = {location}\n\
         first_valid_uid = {OWNER}\nfirst_valid_gid = {OWNER}\nssl = no\ndisable_plaintext_auth = no\n\
         auth_mechanisms = plain\nmail_fsync = never\nmail_max_userip_connections = 1000\n\
         namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
         passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
         userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={home}/home/%n\n}}\n\
         service imap-login {{\n  inet_listener imap {{\n    port = {imap}\n  }}\n\
         inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
         service pop3-login {{\n  inet_listener pop3 {{\n    port = {pop3}\n  }}\n\
         inet_listener pop3s {{\n    port = 0\n  }}\n}}\n{settings}\n"
    )
}
