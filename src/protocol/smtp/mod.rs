//! SMTP as machines: the server for reception and submission, and one outbound transaction.
//!
//! | RFC | what of it |
//! | --- | --- |
//! | 5321 | all but VRFY's and EXPN's answers, which tell nobody who exists |
//! | 6409 | submission: login required, missing fields added (by `intake`) |
//! | 8314 | submission over TLS from the first octet |
//! | 1870 SIZE, 2920 PIPELINING, 6152 8BITMIME, 2034 and 3463 enhanced status codes | whole |
//! | 3207 STARTTLS | whole; octets behind the command end the session |
//! | 4954 AUTH | PLAIN and LOGIN |
//!
//! Deliberately not here: EXPN, TURN, ETRN, SEND, SOML, SAML, XCLIENT, XFORWARD; AUTH on port 25. Not yet: SMTPUTF8,
//! CHUNKING, DSN. The diagram of the server's states is in `server/state.rs`, that of the data in [`data`].

pub mod client;
mod command;
pub mod data;
mod extension;
mod peer_reply;
pub mod reply;
pub mod server;

pub use command::Mail;
pub use peer_reply::PeerReply;
