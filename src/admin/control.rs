//! The socket by which commands talk to the running server: `state/control.sock`, for the server's own user and root.
//!
//! One request a connection, one line of JSON each way. The file's mode is the whole access control.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

use crate::fsio;

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
}

/// What it answers: words for the user, and whether it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why not.
    pub text: String,
}

/// Longest request: a path and some words.
const REQUEST_OCTETS: u64 = 16_384;

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

/// Answers requests until it is dropped.
pub async fn serve<F, R>(listener: UnixListener, handle: F)
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send,
{
    let handle = Arc::new(handle);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let handle = Arc::clone(&handle);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &*handle).await {
                tracing::debug!(%error, "control connection");
            }
        });
    }
}

async fn answer<F, R>(stream: UnixStream, handle: &F) -> io::Result<()>
where
    F: Fn(Request) -> R,
    R: Future<Output = Reply>,
{
    let mut stream = BufReader::new(stream.take(REQUEST_OCTETS));
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await??;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => handle(request).await,
        Err(error) => Reply { done: false, text: format!("not a request: {error}") },
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    stream.get_mut().get_mut().write_all(&text).await
}

/// Asks the running server; `Ok(None)` where none is running.
///
/// # Errors
/// No permission, or an answer that is none.
pub fn ask(folder: &Path, request: &Request) -> io::Result<Option<Reply>> {
    use std::io::BufRead;
    use std::io::Write;
    use std::os::unix::net::UnixStream as Blocking;
    let mut stream = match with_short_name(&socket(folder), Blocking::connect) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(6 * PATIENCE))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    io::BufReader::new(stream).read_line(&mut line)?;
    Ok(Some(serde_json::from_str(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_also_under_a_long_path() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folder = dir.path().join("a-long-name".repeat(15));
        let listener = listen(&folder).expect("bound");
        let server = tokio::spawn(serve(listener, |request| async move {
            Reply { done: request == Request::QueueFlush, text: "flushed".to_owned() }
        }));
        let asked = tokio::task::spawn_blocking(move || ask(&folder, &Request::QueueFlush)).await.expect("no panic");
        assert_eq!(asked.expect("asked"), Some(Reply { done: true, text: "flushed".to_owned() }));
        server.abort();
        assert_eq!(ask(dir.path(), &Request::QueueFlush).expect("asked"), None);
    }
}
