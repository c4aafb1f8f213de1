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
//! | 3030 CHUNKING | whole; no BINARYMIME |
//! | 3461 DSN, 6533 for its addresses | whole |
//! | 6531 SMTPUTF8 | whole; VRFY tells nothing in any alphabet |
//! | 8689 REQUIRETLS | the parameter; the host is checked by its certificate alone |
//! | 9422 LIMITS | RCPTMAX |
//! | 2033 LMTP | whole, as a third role of the server |
//!
//! Deliberately not here: EXPN, TURN, ETRN, SEND, SOML, SAML, XCLIENT, XFORWARD; AUTH on port 25. Not yet:
//! FUTURERELEASE, BINARYMIME. The diagram of the server's states is in `server/state.rs`, that of the data in [`data`].

pub mod client;
mod command;
pub mod data;
mod extension;
#[cfg(fuzzing)]
#[path = "../../../tests/fuzz/inside/smtp_line.rs"]
pub mod fuzz;
mod peer_reply;
pub mod reply;
pub mod server;
mod xtext;

pub use command::Mail;
pub use peer_reply::PeerReply;
