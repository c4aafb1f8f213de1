//! The one shape of every protocol machine.
//!
//! A machine takes bytes, answers and the time, and gives steps. After each input its driver calls [`Session::poll`]
//! until that says [`Step::Wait`] or [`Step::Close`]. At most one question is open; what the peer pipelines stays in
//! the machine's buffer until it is answered. Bodies stream past: the machine hands out chunks ([`Step::Body`]) or
//! names a handle ([`Step::SendBody`]) and never holds a message.

use std::time::Instant;

/// What the TLS layer tells of a finished handshake. Only that layer makes one: whoever holds it has TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsActive {
    version: String,
    cipher: String,
}

impl TlsActive {
    /// To be called where a handshake has returned, and nowhere else.
    #[must_use]
    pub fn after_handshake(version: &str, cipher: &str) -> Self {
        Self { version: version.to_owned(), cipher: cipher.to_owned() }
    }

    /// For example `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// For example `TLS_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher(&self) -> &str {
        &self.cipher
    }
}

/// A protocol machine. `now` never goes back.
pub trait Session {
    /// What it asks of the services.
    type Question;
    /// What they answer.
    type Answer;
    /// What names a body to be sent.
    type Handle;

    /// Bytes from the peer. The driver hands over at most 64 KiB at once and does not read on while a question is
    /// open, so what the machine has to buffer is bounded.
    fn receive(&mut self, now: Instant, bytes: &[u8]);

    /// The reply to the last [`Step::Ask`], or to the last [`Step::Body`] chunk's failure.
    fn answer(&mut self, now: Instant, answer: Self::Answer);

    /// The deadline of the last [`Step::Wait`] has passed.
    fn tick(&mut self, now: Instant);

    /// The handshake that [`Step::StartTls`] asked for is done. The machine forgets the session so far.
    fn secured(&mut self, now: Instant, tls: TlsActive);

    /// The server is about to stop: a machine with nothing under way should say so and close, one with a transaction
    /// under way may end it first.
    fn shutdown(&mut self, now: Instant);

    /// What to do next.
    fn poll(&mut self) -> Step<Self::Question, Self::Handle>;
}

/// What a driver has to do for its machine.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<Q, H> {
    /// Send these bytes. The driver may collect several before it writes.
    Send(Vec<u8>),
    /// Send what the handle names.
    SendBody(H),
    /// A piece of the message that the peer sends, unstuffed, lines ended by LF. The driver keeps it. A failure to
    /// do so is answered at the question that follows the last piece.
    Body(Vec<u8>),
    /// Answer this through [`Session::answer`].
    Ask(Q),
    /// Flush, do the handshake as a server, and call [`Session::secured`].
    StartTls,
    /// Flush, then wait for bytes, until the deadline at most.
    Wait(Instant),
    /// Flush, then close.
    Close,
}
