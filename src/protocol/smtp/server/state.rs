//! Which verb is legal where: the states of a session, and the one table.
//!
//! ```text
//!            HELO EHLO            MAIL                RCPT                  DATA, 354
//!   Start ---------------> Ready ------> Transaction ------> Transaction -------------> Data
//!     ^                    ^ | ^         (no recipient)      (recipients)                |
//!     |                    | | |               |                  |                      |
//!     |   RSET HELO EHLO   | | +---------------+------------------+                      |
//!     |   (from anywhere)  | |                                      | BDAT                 |
//!     |                    | |                     Chunked <----> Chunk                  |
//!     |                    | |                       chunk read |   | LAST                |
//!     |                    | +--AUTH--> Login --235, 5xx--> Ready |   |                    |
//!     |                    +------------- end of data, whatever its answer --------------+
//!     +--- STARTTLS, after the handshake
//! ```
//!
//! A BDAT that is refused goes from any state through `Dropping`, where its chunk is read and thrown away, and ends the
//! transaction.
//!
//! Knows order only. Syntax is judged after it, policy after that.

use std::time::Instant;

use crate::mail::envelope::Envelope;
use crate::protocol::sasl::Exchange;
use crate::protocol::smtp::command::Bdat;
use crate::protocol::smtp::command::Verb;
use crate::protocol::smtp::data::Incoming;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Role;

/// Where a session is. What belongs to a state goes with it.
#[derive(Debug)]
pub(super) enum State {
    /// No greeting yet, or forgotten after STARTTLS.
    Start,
    /// Greeted, no transaction.
    Ready,
    /// MAIL was accepted; the recipients that were accepted so far.
    Transaction(Envelope),
    /// 354 was sent.
    Data(Data),
    /// The octets of a chunk come in (RFC 3030).
    Chunk(Chunk),
    /// Between two chunks of a message.
    Chunked(Data),
    /// The octets of a chunk that is refused come in.
    Dropping(Dropping),
    /// Lines belong to an exchange of AUTH.
    Login(Exchange),
}

/// A message of which a chunk is coming in.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) data: Data,
    pub(super) command: Bdat,
    /// What is not there yet of it.
    pub(super) left: u64,
}

/// A chunk that is thrown away.
#[derive(Debug)]
pub(super) struct Dropping {
    /// What is not there yet of it.
    pub(super) left: u64,
    pub(super) dropped: u64,
    /// Whether the message would have ended with it.
    pub(super) last: bool,
    /// What is said when it is gone.
    pub(super) reply: Reply,
    /// The transaction that ends by it.
    pub(super) envelope: Option<Envelope>,
    pub(super) since: Instant,
    pub(super) heard: Instant,
}

/// A message that is coming in.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) envelope: Envelope,
    pub(super) incoming: Incoming,
    /// When it began, or this chunk of it.
    pub(super) since: Instant,
    /// When octets came last.
    pub(super) heard: Instant,
    /// Octets that came before `since`.
    pub(super) before: u64,
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Start,
    Ready,
    NoRecipient,
    Recipients,
    Chunked,
}

impl State {
    /// `None` where lines are no commands.
    pub(super) fn column(&self) -> Option<Column> {
        match self {
            Self::Start => Some(Column::Start),
            Self::Ready => Some(Column::Ready),
            Self::Transaction(envelope) if envelope.recipients.is_empty() => Some(Column::NoRecipient),
            Self::Transaction(_) => Some(Column::Recipients),
            Self::Chunked(_) => Some(Column::Chunked),
            Self::Data(_) | Self::Chunk(_) | Self::Dropping(_) | Self::Login(_) => None,
        }
    }
}

/// Where the connection stands with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Active,
    Possible,
    Impossible,
}

/// What the table depends on beside the state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) role: Role,
    pub(super) tls: Tls,
    /// A login may happen without TLS: the listener is on loopback and the operator said so.
    pub(super) plaintext_login: bool,
    pub(super) authenticated: bool,
}

impl Standing {
    /// Whether AUTH works now.
    pub(super) fn may_log_in(self) -> bool {
        self.role == Role::Submission && !self.authenticated && (self.tls == Tls::Active || self.plaintext_login)
    }
}

/// The table.
pub(super) fn check(verb: Verb, column: Column, standing: Standing) -> Result<(), Reply> {
    use Column::Chunked;
    use Column::NoRecipient;
    use Column::Ready;
    use Column::Recipients;
    use Column::Start;
    match (verb, column) {
        // RFC 2033 §4.1: each protocol has its own greeting and none of the other's.
        (Verb::Lhlo, _) if standing.role == Role::Lmtp => Ok(()),
        (Verb::Lhlo, _) => Err(Reply::not_implemented()),
        (Verb::Helo | Verb::Ehlo, _) if standing.role == Role::Lmtp => Err(Reply::unknown_command()),
        (Verb::Mail, Start) if standing.role == Role::Lmtp => Err(Reply::greet_by_lhlo()),
        // RFC 2033 §4.2.
        (Verb::Data | Verb::Bdat, NoRecipient) if standing.role == Role::Lmtp => Err(Reply::no_recipient_yet()),
        (Verb::Helo | Verb::Ehlo | Verb::Noop | Verb::Rset | Verb::Quit | Verb::Vrfy | Verb::Help, _) => Ok(()),
        (Verb::Mail, Start) => Err(Reply::greet_first()),
        (Verb::Mail, Ready) => may_send(standing),
        (Verb::Mail, NoRecipient | Recipients | Chunked) => Err(Reply::nested_mail()),
        (Verb::Rcpt, NoRecipient | Recipients) => Ok(()),
        (Verb::Rcpt | Verb::Data | Verb::Bdat, Start | Ready) => Err(Reply::mail_first()),
        (Verb::Rcpt | Verb::Data, Chunked) => Err(Reply::chunks_have_begun()),
        (Verb::Data | Verb::Bdat, NoRecipient) => Err(Reply::no_valid_recipients()),
        (Verb::Data, Recipients) | (Verb::Bdat, Recipients | Chunked) => Ok(()),
        (Verb::StartTls, _) => may_start_tls(column, standing),
        (Verb::Auth, _) => may_log_in(column, standing),
        (Verb::NotImplemented, _) => Err(Reply::not_implemented()),
        (Verb::Http | Verb::Unknown, _) => Err(Reply::unknown_command()),
    }
}

fn may_send(standing: Standing) -> Result<(), Reply> {
    if standing.role != Role::Submission || standing.authenticated {
        Ok(())
    } else if standing.may_log_in() {
        Err(Reply::login_first())
    } else {
        Err(Reply::start_tls_first())
    }
}

fn may_start_tls(column: Column, standing: Standing) -> Result<(), Reply> {
    match (standing.tls, column) {
        _ if standing.role == Role::Lmtp => Err(Reply::not_implemented()),
        (Tls::Active, _) => Err(Reply::tls_is_active()),
        (Tls::Impossible, _) => Err(Reply::not_implemented()),
        (Tls::Possible, Column::NoRecipient | Column::Recipients | Column::Chunked) => Err(Reply::nested_mail()),
        (Tls::Possible, Column::Start | Column::Ready) => Ok(()),
    }
}

fn may_log_in(column: Column, standing: Standing) -> Result<(), Reply> {
    match column {
        _ if standing.role != Role::Submission => Err(Reply::not_implemented()),
        _ if standing.authenticated => Err(Reply::already_authenticated()),
        Column::Start => Err(Reply::greet_first()),
        // RFC 4954 §4: not during a transaction.
        Column::NoRecipient | Column::Recipients | Column::Chunked => Err(Reply::nested_mail()),
        Column::Ready if standing.may_log_in() => Ok(()),
        Column::Ready => Err(Reply::start_tls_first()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::smtp::command::VERBS;

    const COLUMNS: [Column; 5] =
        [Column::Start, Column::Ready, Column::NoRecipient, Column::Recipients, Column::Chunked];

    fn row(verb: Verb, standing: Standing) -> [u16; 5] {
        COLUMNS.map(|column| check(verb, column, standing).map_or_else(|reply| reply.code(), |()| 0))
    }

    #[test]
    fn the_table_for_strangers() {
        let stranger =
            Standing { role: Role::Reception, tls: Tls::Possible, plaintext_login: false, authenticated: false };
        for verb in VERBS {
            let wanted = match verb {
                Verb::Helo | Verb::Ehlo | Verb::Noop | Verb::Rset | Verb::Quit | Verb::Vrfy | Verb::Help => [0; 5],
                Verb::Mail => [503, 0, 503, 503, 503],
                Verb::Rcpt => [503, 503, 0, 0, 503],
                Verb::Data => [503, 503, 554, 0, 503],
                Verb::Bdat => [503, 503, 554, 0, 0],
                Verb::StartTls => [0, 0, 503, 503, 503],
                Verb::Lhlo | Verb::Auth | Verb::NotImplemented => [502; 5],
                Verb::Http | Verb::Unknown => [500; 5],
            };
            assert_eq!(row(verb, stranger), wanted, "{verb:?}");
        }
    }

    #[test]
    fn the_table_for_lmtp() {
        let local = Standing { role: Role::Lmtp, tls: Tls::Possible, plaintext_login: true, authenticated: false };
        assert_eq!(
            (row(Verb::Lhlo, local), row(Verb::Helo, local), row(Verb::Ehlo, local)),
            ([0; 5], [500; 5], [500; 5])
        );
        assert_eq!(
            (row(Verb::Mail, local), row(Verb::Data, local)),
            ([503, 0, 503, 503, 503], [503, 503, 503, 0, 503])
        );
        assert_eq!((row(Verb::StartTls, local), row(Verb::Auth, local)), ([502; 5], [502; 5]));
    }

    #[test]
    fn the_table_for_users() {
        let plain =
            Standing { role: Role::Submission, tls: Tls::Possible, plaintext_login: false, authenticated: false };
        assert_eq!(
            (row(Verb::Mail, plain), row(Verb::Auth, plain)),
            ([503, 530, 503, 503, 503], [503, 530, 503, 503, 503])
        );
        let secure = Standing { tls: Tls::Active, ..plain };
        assert_eq!(
            (row(Verb::Mail, secure), row(Verb::Auth, secure)),
            ([503, 530, 503, 503, 503], [503, 0, 503, 503, 503])
        );
        assert_eq!(row(Verb::StartTls, secure), [503; 5]);
        let user = Standing { authenticated: true, ..secure };
        assert_eq!((row(Verb::Mail, user), row(Verb::Auth, user)), ([503, 0, 503, 503, 503], [503; 5]));
        let loopback = Standing { plaintext_login: true, tls: Tls::Impossible, ..plain };
        assert_eq!((row(Verb::Auth, loopback), row(Verb::StartTls, loopback)), ([503, 0, 503, 503, 503], [502; 5]));
    }
}
