//! A Unix socket that other programs of this machine connect to, as LMTP's.
//!
//! It is made under another name, given its mode and owner, and then renamed into place: at no moment can somebody
//! connect who may not, and a stale socket of a server that is gone is replaced.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;
use tokio::net::UnixStream;

use crate::fsio;

/// A bound socket.
#[derive(Debug)]
pub struct UnixSocket(UnixListener);

impl UnixSocket {
    /// Listens at `path`, with these permissions. `owner` is `user` or `user:group`, by name or number; empty for the
    /// one the server runs as.
    ///
    /// # Errors
    /// The folder is not there or not ours to write, or there is no such owner, or we may not give it to him.
    pub fn bind(path: &Path, mode: u32, owner: &str) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.tmp"));
        fsio::remove_if_there(&temporary)?;
        let listener = UnixListener::bind(&temporary)?;
        let placed = (|| {
            if !owner.is_empty() {
                let (user, group) = ids(owner)?;
                std::os::unix::fs::chown(&temporary, Some(user), group)?;
            }
            std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
            fsio::rename(&temporary, path)
        })();
        if placed.is_err() {
            fsio::remove_if_there(&temporary).ok();
        }
        placed.map(|()| Self(listener))
    }

    /// The next connection.
    pub async fn accept(&self) -> UnixStream {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => return stream,
                // Out of descriptors, as a rule: at once again would only spin.
                Err(error) => {
                    tracing::error!(%error, "cannot accept on a Unix socket");
                    tokio::time::sleep(super::listen::PAUSE).await;
                }
            }
        }
    }
}

/// The numbers of `user` or `user:group`. Without a group it stays the server's.
fn ids(owner: &str) -> io::Result<(u32, Option<u32>)> {
    let (user, group) = owner.split_once(':').map_or((owner, None), |(user, group)| (user, Some(group)));
    Ok((id_of(user, "/etc/passwd")?, group.map(|group| id_of(group, "/etc/group")).transpose()?))
}

/// The third field of the line of a name; a number is one already.
fn id_of(name: &str, file: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name));
    let number = line.and_then(|mut fields| fields.nth(2)).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("there is no {name} in {file}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_has_its_mode() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("lmtp");
        drop(UnixSocket::bind(&path, 0o600, "").expect("bound"));
        assert!(UnixStream::connect(&path).await.is_err(), "stale");
        let socket = UnixSocket::bind(&path, 0o660, "").expect("bound again");
        let (connected, _) = tokio::join!(UnixStream::connect(&path), socket.accept());
        connected.expect("connected");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn owners_have_names_and_numbers() {
        assert_eq!(ids("0").expect("a number"), (0, None));
        assert_eq!(ids("root").expect("everywhere"), (0, None));
        assert_eq!(ids("root:root").expect("everywhere"), (0, Some(0)));
        assert!(ids("nobody-has-this-name").is_err());
    }
}
