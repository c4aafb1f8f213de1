//! The built binary, running on free ports in a temporary folder; its log is printed when a test fails.

use std::collections::HashMap;
use std::fs::File;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Output;
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::process::Pid;
use rustix::process::Signal;
use tempfile::TempDir;

use super::imap::Imap;
use super::pop3::Pop3;
use super::random;
use super::smtp::Smtp;
use super::wait_for;

/// The names of the ports in the env file, with the usual number of each.
pub(crate) const PORTS: [(&str, &str, u16); 7] = [
    ("SMTP", "smtp", 25),
    ("SMTPS", "submissions", 465),
    ("SUBM", "submission", 587),
    ("IMAP", "imap", 143),
    ("IMAPS", "imaps", 993),
    ("POP3", "pop3", 110),
    ("POP3S", "pop3s", 995),
];

/// Ports are taken from below the range that the kernel gives to outgoing connections.
const BASES: std::ops::Range<u16> = 11_000..31_000;

/// How often another base port is tried when some other program was quicker.
const TRIES: usize = 20;

/// The password of all accounts.
pub(crate) const PASSWORD: &str = "secret";

/// A running server.
pub(crate) struct Server {
    child: Child,
    recipe: Recipe,
    env: HashMap<String, String>,
    log: PathBuf,
}

/// How to start it, and where; enough to start it again.
struct Recipe {
    /// Removed with the server.
    home: TempDir,
    base: u16,
    kind: Kind,
}

enum Kind {
    /// `facteur try` with these arguments, the command line put behind the prefix.
    Try { prefix: Vec<String>, args: Vec<String> },
    /// `facteur serve` with these keys in `[storage]`, and these sections behind the usual ones.
    Serve { storage: String, sections: String },
}

/// The binary under test.
pub(crate) fn facteur() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facteur"));
    command.env_remove("FACTEUR_CONFIG").stdin(Stdio::null());
    command
}

/// A base port on which all ports of a try-out are free now.
pub(crate) fn free_base() -> u16 {
    for _ in 0..1000 {
        let span = u32::from(BASES.end - BASES.start);
        let base = BASES.start + u16::try_from(random(span)).expect("less than the span");
        let all = PORTS.iter().map(|(_, _, usual)| *usual).chain([925]);
        if all.into_iter().all(|usual| TcpListener::bind(("127.0.0.1", base + usual)).is_ok()) {
            return base;
        }
    }
    panic!("no free ports between {} and {}", BASES.start, BASES.end);
}

/// A free port on an address of this machine.
pub(crate) fn free_port(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("an address of this machine");
    listener.local_addr().expect("it is bound").port()
}

impl Server {
    /// `facteur try` with these arguments and a folder of its own.
    pub(crate) fn try_out(args: &[&str]) -> Self {
        Self::try_out_behind(&[], args)
    }

    /// As [`Server::try_out`], where the command line is given to another program. `@HOME` in the prefix stands for
    /// the temporary folder.
    pub(crate) fn try_out_behind(prefix: &[&str], args: &[&str]) -> Self {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Self::start(Kind::Try { prefix: owned(prefix), args: owned(args) })
    }

    /// `facteur serve` with accounts alice and bob of example.test, loopback untrusted, and these further sections.
    pub(crate) fn serve(sections: &str) -> Self {
        Self::serve_stored("", sections)
    }

    /// As [`Server::serve`], with these keys in `[storage]`.
    pub(crate) fn serve_stored(storage: &str, sections: &str) -> Self {
        Self::start(Kind::Serve { storage: storage.to_owned(), sections: sections.to_owned() })
    }

    fn start(kind: Kind) -> Self {
        let home = tempfile::Builder::new().prefix("facteur-test-").tempdir().expect("a temporary folder");
        let mut recipe = Recipe { home, base: 0, kind };
        for _ in 0..TRIES {
            recipe.base = free_base();
            match launch(recipe) {
                Ok(server) => return server,
                Err(failed) if failed.log.contains("in use by another program") => recipe = failed.recipe,
                Err(failed) => panic!("the server did not start: {}\n{}", failed.status, failed.log),
            }
        }
        panic!("{TRIES} times the ports were taken between looking and binding");
    }

    /// Starts it again as before, on the same folder and ports. It must have ended.
    pub(crate) fn restart(self) -> Self {
        let mut this = self;
        this.child.wait().expect("it has ended or will");
        // The recipe moves on to the new server, so that the folder stays.
        let nothing = Recipe {
            home: tempfile::tempdir().expect("a temporary folder"),
            base: 0,
            kind: Kind::Serve { storage: String::new(), sections: String::new() },
        };
        let recipe = std::mem::replace(&mut this.recipe, nothing);
        match launch(recipe) {
            Ok(server) => server,
            Err(failed) => panic!("the server did not start again: {}\n{}", failed.status, failed.log),
        }
    }

    /// The base port.
    pub(crate) fn base(&self) -> u16 {
        self.recipe.base
    }

    /// A value of the env file; for `serve` those that have a meaning there.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("{name} is not in the env file"))
    }

    /// A port by its name in the env file.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.value(name).parse().expect("a port")
    }

    /// The certificate authority of the server.
    pub(crate) fn ca(&self) -> &Path {
        Path::new(self.value("CA"))
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> &Path {
        Path::new(self.value("CONFIG"))
    }

    /// The env file.
    pub(crate) fn env_file(&self) -> PathBuf {
        self.home().join("env")
    }

    /// The temporary folder, in which the test may keep things of its own.
    pub(crate) fn home(&self) -> &Path {
        self.recipe.home.path()
    }

    /// The Maildir of an account.
    pub(crate) fn maildir(&self, user: &str) -> PathBuf {
        Path::new(self.value("VHOSTS")).join(user)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a command of the binary; `--config` is added.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        facteur().args(args).arg("--config").arg(self.config()).output().expect("the binary runs")
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it is running");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("the kernel tells");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("it is running");
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("it is running");
        self.child.wait().expect("it has ended");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the server", || self.child.try_wait().expect("it is our child"))
    }

    /// SIGTERM, and its end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// A connection to port 25.
    pub(crate) fn smtp(&self) -> Smtp {
        Smtp::connect(self.port("SMTP"))
    }

    /// A connection over TLS to the port for submission, not logged in.
    pub(crate) fn submissions(&self) -> Smtp {
        Smtp::connect_tls(self.port("SMTPS"), self.ca())
    }

    /// A session over TLS, logged in.
    pub(crate) fn imap(&self, user: &str) -> Imap {
        let mut imap = Imap::connect_tls(self.port("IMAPS"), self.ca());
        imap.ok(&format!("LOGIN {user}@{} {PASSWORD}", self.value("DOMAIN")));
        imap
    }

    /// A session over TLS, logged in.
    pub(crate) fn pop3(&self, user: &str) -> Pop3 {
        let mut pop3 = Pop3::connect_tls(self.port("POP3S"), self.ca());
        pop3.ok(&format!("USER {user}@{}", self.value("DOMAIN")));
        pop3.ok(&format!("PASS {PASSWORD}"));
        pop3
    }

    /// The messages of a mailbox, each with its UID, in order.
    pub(crate) fn messages(&self, user: &str, mailbox: &str) -> Vec<(u32, Vec<u8>)> {
        let mut imap = self.imap(user);
        imap.ok(&format!("EXAMINE {mailbox}"));
        imap.fetch_all("BODY.PEEK[]")
    }

    /// Delivers a message on port 25 and asserts that it was taken.
    pub(crate) fn deliver(&self, to: &str, message: &str) {
        let mut smtp = self.smtp();
        smtp.ehlo();
        let reply = smtp.send_message("stranger@load.example", &[to], message);
        assert_eq!(reply.code, 250, "{reply:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is no error here.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            super::say(&format!("--- log of the server on base port {}\n{}---", self.recipe.base, self.log()));
        }
    }
}

struct Failed {
    recipe: Recipe,
    status: String,
    log: String,
}

fn launch(recipe: Recipe) -> Result<Server, Box<Failed>> {
    let home = recipe.home.path();
    let log = home.join("log");
    let mut command = match &recipe.kind {
        Kind::Try { prefix, args } => try_command(prefix, args, &recipe),
        Kind::Serve { storage, sections } => {
            write_config(home, recipe.base, storage, sections);
            let mut command = facteur();
            command.arg("serve").arg("--config").arg(home.join("facteur.toml"));
            command
        }
    };
    let out = File::options().create(true).append(true).open(&log).expect("the temporary folder can be written");
    let start = out.metadata().map_or(0, |m| m.len());
    let err = out.try_clone().expect("a second handle");
    let mut child = command.stdout(out).stderr(err).spawn().expect("the binary runs");
    let env_file = home.join("env");
    let env = wait_for("all ports of the server", || {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(Err(status));
        }
        match &recipe.kind {
            // The file of an earlier run may still lie there.
            Kind::Try { .. } => {
                read_env(&env_file).filter(|env| env.get("PIDS") == Some(&child.id().to_string())).map(Ok)
            }
            Kind::Serve { .. } => served_env(home, recipe.base).map(Ok),
        }
    });
    match env {
        Ok(mut env) => {
            // In a mount namespace of its own the file lies where only the process sees it.
            let ca = env.get("CA").cloned().unwrap_or_default();
            if !Path::new(&ca).exists() {
                env.insert("CA".to_owned(), format!("/proc/{}/root{ca}", child.id()));
            }
            Ok(Server { child, env, log, recipe })
        }
        Err(status) => {
            let all = std::fs::read(&log).unwrap_or_default();
            let new = all.get(usize::try_from(start).unwrap_or(0)..).unwrap_or_default();
            let log = String::from_utf8_lossy(new).into_owned();
            Err(Box::new(Failed { recipe, status: status.to_string(), log }))
        }
    }
}

fn try_command(prefix: &[String], args: &[String], recipe: &Recipe) -> Command {
    let home = recipe.home.path();
    let base = recipe.base.to_string();
    let mut line: Vec<std::ffi::OsString> = Vec::new();
    line.extend(prefix.iter().map(|word| word.replace("@HOME", &home.display().to_string()).into()));
    line.push(env!("CARGO_BIN_EXE_facteur").into());
    line.extend(["try", "--base-port", &base, "--env"].map(Into::into));
    line.push(home.join("env").into());
    if !args.iter().any(|a| a == "--no-dir") {
        line.push("--dir".into());
        line.push(home.join("store/data").into());
    }
    line.extend(
        args.iter().filter(|a| *a != "--no-dir").map(|a| a.replace("@HOME", &home.display().to_string()).into()),
    );
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).env_remove("FACTEUR_CONFIG").stdin(Stdio::null());
    command
}

/// The env file, as a shell would read it.
fn read_env(file: &Path) -> Option<HashMap<String, String>> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut env = HashMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=')?;
        let value = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).unwrap_or(value);
        env.insert(name.to_owned(), value.replace("'\\''", "'"));
    }
    Some(env)
}

/// The hash of [`PASSWORD`], made once.
pub(crate) fn password_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("password");
        std::fs::write(&file, PASSWORD).expect("the temporary folder can be written");
        let input = File::open(file).expect("written above");
        let output = facteur().arg("password").stdin(input).output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a hash is ASCII").trim().to_owned()
    })
}

/// Writes the configuration for `serve`, readable by its owner alone.
fn write_config(home: &Path, base: u16, storage: &str, sections: &str) {
    let hash = password_hash();
    let folder = home.join("data");
    let mut text = String::from("hostname = \"mail.example.test\"\n[[domain]]\nname = \"example.test\"\n");
    for user in ["alice", "bob"] {
        text += &format!("[[account]]\naddress = \"{user}@example.test\"\npassword = \"{hash}\"\n");
    }
    text += "[listen]\n";
    for (_, key, usual) in PORTS {
        text += &format!("{key} = [\"127.0.0.1:{}\"]\n", base + usual);
    }
    text += &format!("[storage]\nfolder = \"{}\"\n{storage}\n", folder.display());
    text += &format!("[relay]\ntrusted_networks = []\n{sections}");
    if !sections.contains("[dns]") {
        // No test asks the name servers of this machine.
        text += "\n[dns]\nresolver = \"off\"\n";
    }
    if !sections.contains("[checks]") {
        // Dialogs greet in as few letters as they can.
        text += "\n[checks]\nhelo_fqdn = \"off\"\n";
    }
    write_private(&home.join("facteur.toml"), &text);
}

/// A file that only its owner may read.
pub(crate) fn write_private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).expect("the folder can be written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// What an env file would say, once every port answers.
fn served_env(home: &Path, base: u16) -> Option<HashMap<String, String>> {
    let data = home.join("data");
    let path = |p: PathBuf| p.display().to_string();
    let mut env = HashMap::from([
        ("DOMAIN".to_owned(), "example.test".to_owned()),
        ("CONFIG".to_owned(), path(home.join("facteur.toml"))),
        ("CA".to_owned(), path(data.join("keys/ca.pem"))),
        ("VHOSTS".to_owned(), path(data.join("mail/example.test"))),
        ("QUEUE".to_owned(), path(data.join("queue"))),
    ]);
    for (name, _, usual) in PORTS {
        TcpStream::connect(("127.0.0.1", base + usual)).ok()?;
        env.insert(name.to_owned(), (base + usual).to_string());
    }
    Some(env)
}
