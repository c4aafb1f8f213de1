//! The socket by which commands talk to the running server: `state/control.sock`, for the server's own user and root.
//!
//! One request a connection, a line of JSON. The answer is a line, too, for what is done at once. Work on mailboxes
//! takes over the connection: lines of JSON both ways until one that ends it (see [`crate::admin::mailbox::job`]), each
//! followed by the octets of a message where it says so. Messages travel through the socket, and no file names or
//! descriptors: the server runs as a user who need not be able to read the operator's files, and what reads an mbox
//! from anywhere is then not the server. The file's mode is the whole access control.

use std::future::Future;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::admin::mailbox::job::Job;
use crate::fsio;
use crate::mail::limits::CONTROL_LINE_OCTETS;

/// What can be asked of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Try all waiting mail again now.
    QueueFlush,
    /// Forget what was derived from this Maildir.
    Forget {
        /// The Maildir of an account.
        maildir: PathBuf,
    },
    /// List the networks that may not log in, as JSON.
    BanList,
    /// Keep a network from logging in.
    BanAdd {
        /// The network, with its prefix.
        network: String,
        /// For how long.
        seconds: u64,
        /// Why.
        reason: String,
    },
    /// Let it log in again.
    BanRemove {
        /// The network, with its prefix.
        network: String,
    },
    /// Work on the mailboxes of an account.
    Mailbox {
        /// What to do.
        job: Job,
    },
}

/// How a request is answered.
pub enum Answer {
    /// By one line.
    Now(Reply),
    /// By work that has the connection for itself, on a blocking thread.
    Work(Box<dyn FnOnce(Link) + Send>),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Answer::Now",
            Self::Work(_) => "Answer::Work",
        })
    }
}

/// What it answers: words for the user, and whether it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why not.
    pub text: String,
}

/// A command waits so long for its turn before it is told to come later.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// A client that says nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket of the server that keeps its files in `folder`.
#[must_use]
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("state").join("control.sock")
}

/// Listens. The caller holds the lock of `folder`, so a socket that is there belongs to nobody.
///
/// # Errors
/// What the kernel says.
pub fn listen(folder: &Path) -> io::Result<UnixListener> {
    let path = socket(folder);
    fsio::create_dir_durably(&folder.join("state"))?;
    fsio::remove_if_there(&path)?;
    let listener = with_short_name(&path, UnixListener::bind)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A socket's name may have 107 octets and a path more: the folder is then named by an open descriptor.
fn with_short_name<R>(path: &Path, with: impl FnOnce(PathBuf) -> io::Result<R>) -> io::Result<R> {
    use std::os::fd::AsRawFd;
    if path.as_os_str().len() <= 100 {
        return with(path.to_owned());
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return with(path.to_owned()) };
    let folder = std::fs::File::open(folder)?;
    with(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

/// Answers requests until it is dropped. Work ends at its next step when `stop` becomes true. Each work under way has
/// a permit of `jobs`: who has them all knows that none is and none begins.
pub async fn serve<F, R>(listener: UnixListener, stop: watch::Receiver<bool>, jobs: Arc<Semaphore>, handle: F)
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Answer> + Send,
{
    let handle = Arc::new(handle);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (handle, jobs, stop) = (Arc::clone(&handle), Arc::clone(&jobs), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &jobs, stop, &*handle).await {
                tracing::debug!(%error, "control connection");
            }
        });
    }
}

async fn answer<F, R>(
    stream: UnixStream,
    jobs: &Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    handle: &F,
) -> io::Result<()>
where
    F: Fn(Request) -> R,
    R: Future<Output = Answer>,
{
    let mut stream = BufReader::new(stream.take(CONTROL_LINE_OCTETS));
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => handle(request).await,
        Err(error) => Answer::Now(Reply { done: false, text: format!("not a request: {error}") }),
    };
    // Who wants work done says nothing more before it is told to.
    let mut stream = stream.into_inner().into_inner();
    let reply = match answer {
        Answer::Now(reply) => reply,
        // One that has just ended may still hold its place.
        Answer::Work(work) => match tokio::time::timeout(PLACE_WAIT, Arc::clone(jobs).acquire_owned()).await {
            Err(_) | Ok(Err(_)) => {
                Reply { done: false, text: "too many commands are at work already; try again later".to_owned() }
            }
            Ok(Ok(permit)) => {
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                let link = Link::new(stream, Some(stop))?;
                let done = tokio::task::spawn_blocking(move || {
                    work(link);
                    drop(permit);
                });
                return done.await.map_err(io::Error::other);
            }
        },
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    stream.write_all(&text).await
}

/// Connects to the running server; `Ok(None)` where none is running.
///
/// # Errors
/// No permission, for instance.
pub fn connect(folder: &Path) -> io::Result<Option<Blocking>> {
    match with_short_name(&socket(folder), Blocking::connect) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the running server; `Ok(None)` where none is running.
///
/// # Errors
/// No permission, or an answer that is none.
pub fn ask(folder: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let Some(mut stream) = connect(folder)? else { return Ok(None) };
    stream.set_read_timeout(Some(6 * PATIENCE))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    io::BufReader::new(stream).read_line(&mut line)?;
    Ok(Some(serde_json::from_str(&line)?))
}

/// One end of a connection that is used for work: lines of JSON and octets, both ways, on a blocking thread.
#[derive(Debug)]
pub struct Link {
    input: io::BufReader<Stream>,
    output: io::BufWriter<Stream>,
}

/// A socket whose waits end when the server stops.
#[derive(Debug)]
struct Stream {
    socket: Blocking,
    stop: Option<watch::Receiver<bool>>,
}

/// How often one that waits looks whether the server stops.
const GLANCE: Duration = Duration::from_millis(200);

impl Stream {
    fn check_stop(&self) -> io::Result<()> {
        let stops = self.stop.as_ref().is_some_and(|stop| *stop.borrow());
        let error = || Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server stops"));
        if stops { error() } else { Ok(()) }
    }

    /// Repeats what was cut short for a glance.
    fn retry(&mut self, mut once: impl FnMut(&mut Blocking) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match once(&mut self.socket) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    self.check_stop()?;
                }
                other => return other,
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.retry(|socket| socket.read(into))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link {
    /// An end; where `stop` is given, waits end in an error when it becomes true.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(socket: Blocking, stop: Option<watch::Receiver<bool>>) -> io::Result<Self> {
        if stop.is_some() {
            socket.set_read_timeout(Some(GLANCE))?;
            socket.set_write_timeout(Some(GLANCE))?;
        }
        let second = Stream { socket: socket.try_clone()?, stop: stop.clone() };
        Ok(Self { input: io::BufReader::new(second), output: io::BufWriter::new(Stream { socket, stop }) })
    }

    /// An error where the server stops.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionAborted`].
    pub fn check_stop(&self) -> io::Result<()> {
        self.output.get_ref().check_stop()
    }

    /// A line, which may wait in memory for the next [`Link::flush`].
    ///
    /// # Errors
    /// The other side is gone.
    pub fn put(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, line)?;
        self.output.write_all(b"\n")
    }

    /// Octets behind a line.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn put_octets(&mut self, octets: &[u8]) -> io::Result<()> {
        self.output.write_all(octets)
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The next line; `None` where the other side has ended.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::InvalidData`] for what is no such line.
    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        (&mut self.input).take(CONTROL_LINE_OCTETS).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Whether the other side has said something that was not taken yet.
    #[must_use]
    pub fn has_more(&self) -> bool {
        use rustix::net::RecvFlags;
        let peek = || {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            rustix::net::recv(&self.input.get_ref().socket, &mut [0; 1][..], flags).is_ok_and(|(n, _)| n > 0)
        };
        !self.input.buffer().is_empty() || peek()
    }

    /// Another handle on the same connection, to read from in another thread; this one is then only written to.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn second(&self) -> io::Result<Self> {
        let stream = self.output.get_ref();
        Self::new(stream.socket.try_clone()?, stream.stop.clone())
    }

    /// The octets behind a line, which are read in pieces.
    pub fn octets(&mut self, count: u64) -> io::Take<&mut impl Read> {
        (&mut self.input).take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_also_under_a_long_path() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folder = dir.path().join("a-long-name".repeat(15));
        let listener = listen(&folder).expect("bound");
        let (_running, stop) = watch::channel(false);
        let server = tokio::spawn(serve(listener, stop, Arc::new(Semaphore::new(1)), |request| async move {
            Answer::Now(Reply { done: request == Request::QueueFlush, text: "flushed".to_owned() })
        }));
        let asked = tokio::task::spawn_blocking(move || ask(&folder, &Request::QueueFlush)).await.expect("no panic");
        assert_eq!(asked.expect("asked"), Some(Reply { done: true, text: "flushed".to_owned() }));
        server.abort();
        assert_eq!(ask(dir.path(), &Request::QueueFlush).expect("asked"), None);
    }
}
