//! One loop for all machines: bytes in, steps out.

use std::future::Future;
use std::io;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::Connection;
use crate::clock::Clock;
use crate::mail::limits::WRITE_STALL;
use crate::protocol::session::Session;
use crate::protocol::session::Step;

/// The first read is small, for the many connections that only wait; it grows while a peer keeps filling it.
const READ_MIN: usize = 4096;

/// The largest read, which is what [`Session::receive`] promises.
const READ_MAX: usize = 65_536;

/// Output that is collected before it is written.
const WRITE_AT: usize = 65_536;

/// Whether a body is sent.
#[derive(Debug)]
pub enum Sent<H> {
    /// There is more: ask again with this handle.
    More(H),
    /// That was all.
    Done,
}

/// The services behind a machine.
pub trait Answers<S: Session>: Send {
    /// Answers a question.
    fn answer(&mut self, question: S::Question) -> impl Future<Output = S::Answer> + Send;

    /// Keeps a piece of a message that comes in. A failure is told at the next question.
    fn body(&mut self, chunk: Vec<u8>) -> impl Future<Output = ()> + Send;

    /// Appends some 64 KiB at most of what the handle names to `out`, ready for the wire.
    fn send_body(
        &mut self,
        handle: S::Handle,
        out: &mut Vec<u8>,
    ) -> impl Future<Output = io::Result<Sent<S::Handle>>> + Send;
}

/// Drives a machine until it closes, the peer is gone, or `shutdown` becomes true and the machine has said goodbye.
/// While a question is open nothing is read, so what a peer can make us keep is one read.
///
/// # Errors
/// The connection broke or stalled.
pub async fn pump<S: Session, A: Answers<S>>(
    connection: &mut Connection,
    session: &mut S,
    answers: &mut A,
    clock: &Clock,
    shutdown: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let mut out = Vec::new();
    let mut buffer = vec![0; READ_MIN];
    let mut told = false;
    loop {
        if !told && *shutdown.borrow() {
            told = true;
            session.shutdown(clock.instant());
        }
        match session.poll() {
            Step::Send(bytes) => {
                out.extend_from_slice(&bytes);
                if out.len() >= WRITE_AT {
                    write(connection, &mut out).await?;
                }
            }
            Step::SendBody(handle) => send_body(connection, answers, handle, &mut out).await?,
            Step::Body(chunk) => answers.body(chunk).await,
            Step::Ask(question) => {
                let answer = answers.answer(question).await;
                session.answer(clock.instant(), answer);
            }
            Step::StartTls => {
                write(connection, &mut out).await?;
                connection.start_tls().await?;
                let tls = connection.tls().cloned().ok_or(io::ErrorKind::NotConnected)?;
                session.secured(clock.instant(), tls);
            }
            Step::Wait(deadline) => {
                write(connection, &mut out).await?;
                if !wait(connection, session, clock, deadline, shutdown, &mut buffer, told).await? {
                    return Ok(());
                }
            }
            Step::Close => {
                write(connection, &mut out).await?;
                return tokio::time::timeout(WRITE_STALL, connection.shutdown()).await?;
            }
        }
    }
}

/// Waits for bytes, the deadline, or the end of the server. `false`: the peer is gone.
async fn wait<S: Session>(
    connection: &mut Connection,
    session: &mut S,
    clock: &Clock,
    deadline: Instant,
    shutdown: &mut watch::Receiver<bool>,
    buffer: &mut Vec<u8>,
    told: bool,
) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(clock.instant());
    tokio::select! {
        read = connection.read(buffer) => {
            let n = read?;
            if n == 0 {
                return Ok(false);
            }
            session.receive(clock.instant(), &buffer[..n]);
            if n == buffer.len() && n < READ_MAX {
                buffer.resize(n * 4, 0);
            } else if n < READ_MIN && buffer.len() > READ_MIN {
                // It was for a message that has come.
                buffer.truncate(READ_MIN);
                buffer.shrink_to_fit();
            }
        }
        () = tokio::time::sleep(left) => session.tick(clock.instant()),
        changed = shutdown.changed(), if !told => {
            // The sender lives as long as the server; where it does not, the server is gone.
            if changed.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn send_body<S: Session, A: Answers<S>>(
    connection: &mut Connection,
    answers: &mut A,
    handle: S::Handle,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut next = handle;
    loop {
        match answers.send_body(next, out).await? {
            Sent::Done => return Ok(()),
            Sent::More(handle) => next = handle,
        }
        if out.len() >= WRITE_AT {
            write(connection, out).await?;
        }
    }
}

/// Writes and flushes what has been collected, if anything. A peer that takes nothing for a while is gone.
async fn write(connection: &mut Connection, out: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = &out[..];
    while !rest.is_empty() {
        let n = tokio::time::timeout(WRITE_STALL, connection.write(rest)).await??;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[n..];
    }
    if !out.is_empty() {
        tokio::time::timeout(WRITE_STALL, connection.flush()).await??;
        out.clear();
        out.shrink_to(READ_MAX);
    }
    Ok(())
}
