//! The connection of a session: fragments in, bounded output out.
//!
//! Nothing of a mailbox is locked while this waits for a peer.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use crate::mail::limits::IMAP_LINGER;
use crate::mail::limits::IMAP_OUTPUT_OCTETS;
use crate::mail::limits::WRITE_STALL;
use crate::net::Connection;
use crate::protocol::imap::fragment::Fragments;
use crate::protocol::imap::fragment::Limits;
use crate::protocol::imap::response::Output;

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client said LOGOUT, and was answered.
    Logout,
    /// The client is gone.
    Gone,
    /// The connection broke or stalled.
    Io(io::Error),
    /// We end it, with these words.
    Bye(&'static str),
    /// We end it without a word.
    Silent(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logout => f.write_str("logout"),
            Self::Gone => f.write_str("client is gone"),
            Self::Io(error) => error.fmt(f),
            Self::Bye(why) | Self::Silent(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Octets of one read.
const READ_OCTETS: usize = 16_384;

/// Octets of a read of which little is expected: most clients wait most of the time, and their commands are short.
const SHORT_READ_OCTETS: usize = 1024;

/// Pipelined input that is kept while a command runs.
const INPUT_AHEAD: usize = 65_536;

/// Both directions of a session.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) connection: Connection,
    pub(super) fragments: Fragments,
    pub(super) out: Output,
    buffer: Vec<u8>,
    shutdown: watch::Receiver<bool>,
    received: u64,
    ahead: usize,
}

impl Wire {
    pub(super) fn new(connection: Connection, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            connection,
            fragments: Fragments::new(Limits::BEFORE_LOGIN),
            out: Output::new(),
            buffer: vec![0; SHORT_READ_OCTETS],
            shutdown,
            received: 0,
            ahead: 0,
        }
    }

    /// As if the client had just connected, but for what it said already.
    pub(super) fn begin_anew(&mut self) {
        self.received = 0;
        self.connection.logged_out();
        self.fragments.set_limits(Limits::BEFORE_LOGIN);
    }

    /// Octets received so far, or since the last user went.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Writes all that waits. A peer that takes nothing for a while is gone.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let bytes = self.out.take();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let n = stalled(self.connection.write(rest)).await?;
            if n == 0 {
                return Err(End::Io(io::ErrorKind::WriteZero.into()));
            }
            rest = &rest[n..];
        }
        stalled(self.connection.flush()).await
    }

    /// Writes if much waits.
    pub(super) async fn flush_if_full(&mut self) -> Result<(), End> {
        if self.out.len() >= IMAP_OUTPUT_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// Writes what waits, then reads more. `late` are the words for a client that says nothing for `most`.
    pub(super) async fn fill(&mut self, most: Duration, late: &'static str) -> Result<(), End> {
        self.flush().await?;
        self.ahead = 0;
        let read = tokio::select! {
            read = self.connection.read(&mut self.buffer) => read?,
            () = tokio::time::sleep(most) => return Err(End::Bye(late)),
            _ = self.shutdown.wait_for(|down| *down) => return Err(End::Bye("Server is going down")),
        };
        if read == 0 {
            return Err(End::Gone);
        }
        self.received_bytes(read);
        self.fit_buffer(read);
        Ok(())
    }

    /// A client that says much at once gets room for it, and gives it back.
    fn fit_buffer(&mut self, read: usize) {
        if read == self.buffer.len() {
            self.buffer.resize(READ_OCTETS, 0);
        } else if read <= SHORT_READ_OCTETS && self.buffer.len() > SHORT_READ_OCTETS {
            self.buffer = vec![0; SHORT_READ_OCTETS];
        }
    }

    fn received_bytes(&mut self, n: usize) {
        self.received += n as u64;
        self.fragments.push(&self.buffer[..n]);
    }

    /// Waits for `work` on behalf of the client, and ends if the client goes away meanwhile.
    pub(super) async fn attend<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = pin!(work);
        loop {
            if self.ahead >= INPUT_AHEAD {
                return Ok(work.await);
            }
            let n = tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                read = self.connection.read(&mut self.buffer) => read?,
            };
            if n == 0 {
                return Err(End::Gone);
            }
            self.ahead += n;
            self.received_bytes(n);
        }
    }

    /// As [`Wire::attend`], and each time `every` has passed `tell` writes something for the client to see meanwhile.
    pub(super) async fn attend_telling<T>(
        &mut self,
        work: impl Future<Output = T>,
        every: Duration,
        mut tell: impl FnMut(&mut Output),
    ) -> Result<T, End> {
        let mut work = pin!(work);
        loop {
            // What is read is kept at once, so that an attendance that is broken off has lost nothing.
            if let Ok(done) = tokio::time::timeout(every, self.attend(work.as_mut())).await {
                return done;
            }
            tell(&mut self.out);
            self.flush().await?;
        }
    }

    /// Ends the connection in good order.
    pub(super) async fn close(&mut self) -> Result<(), End> {
        self.flush().await?;
        stalled(self.connection.shutdown()).await
    }

    /// After [`Wire::close`]: reads what is still on its way, for a while. Closing with unread input would reset the
    /// connection, and the client might never see our last words.
    pub(super) async fn linger(&mut self) {
        let drain = async {
            let mut left = INPUT_AHEAD * 16;
            while let Ok(n @ 1..) = self.connection.read(&mut self.buffer).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    return;
                }
            }
        };
        tokio::time::timeout(IMAP_LINGER, drain).await.ok();
    }
}

async fn stalled<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    match tokio::time::timeout(WRITE_STALL, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(End::Io(io::ErrorKind::TimedOut.into())),
    }
}
