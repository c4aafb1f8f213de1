//! SASL mechanisms as machines: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00).
//!
//! Takes the base64 lines of an exchange and gives challenges, credentials or a failure. Knows nothing of how SMTP,
//! IMAP or POP3 frame such a line, and nothing of accounts: whether the credentials are right is for `directory`.

use std::fmt;

use data_encoding::BASE64;

use crate::mail::limits::PASSWORD_OCTETS;
use crate::mail::limits::USER_NAME_OCTETS;
use crate::mail::secret::Secret;

/// `Username:` in base64. Clients compare the prompt as it is here.
const USERNAME_PROMPT: &str = "VXNlcm5hbWU6";

/// `Password:` in base64.
const PASSWORD_PROMPT: &str = "UGFzc3dvcmQ6";

/// A mechanism that we offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never standardised, and the only one that some clients of Microsoft have.
    Login,
}

impl Mechanism {
    /// In the order in which we announce them.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Login];

    /// Reads a name, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

/// A name and a password, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As the client wrote it.
    pub name: String,
    /// Never empty.
    pub password: Secret<String>,
}

impl Credentials {
    /// Credentials out of a name and a password, wherever they came from (LOGIN of IMAP, USER and PASS of POP3).
    ///
    /// # Errors
    /// [`Failure`] where either is empty, too long or has a NUL.
    pub fn new(name: &str, password: &str) -> Result<Self, Failure> {
        if name.len() > USER_NAME_OCTETS || password.len() > PASSWORD_OCTETS {
            return Err(Failure::TooLong);
        }
        // RFC 4616 §2: at least one character each, NUL in neither.
        if name.is_empty() || password.is_empty() || name.contains('\0') || password.contains('\0') {
            return Err(Failure::Empty);
        }
        Ok(Self { name: name.to_owned(), password: Secret::new(password.to_owned()) })
    }
}

/// Why an exchange ended without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The client sent `*`.
    Cancelled,
    /// A line was not base64.
    NotBase64,
    /// The decoded text was not what the mechanism asks for.
    Malformed,
    /// A name or password was longer than anybody has.
    TooLong,
    /// The name or the password was empty, or had a NUL.
    Empty,
    /// The client wanted to act as somebody else (authzid), which nobody may.
    OtherIdentity,
}

impl Failure {
    /// Whether it is the client's grammar that is wrong, and not what it claimed.
    #[must_use]
    pub fn is_syntax(self) -> bool {
        matches!(self, Self::Cancelled | Self::NotBase64 | Self::Malformed | Self::TooLong)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "authentication cancelled",
            Self::NotBase64 => "not base64",
            Self::Malformed => "malformed response",
            Self::TooLong => "name or password too long",
            Self::Empty => "name or password empty",
            Self::OtherIdentity => "acting as somebody else is not possible",
        })
    }
}

impl std::error::Error for Failure {}

/// What a line led to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Send this challenge, which is base64 already and may be empty, and wait for a line.
    Challenge(&'static str),
    /// The exchange is over: check these.
    Credentials(Credentials),
    /// The exchange is over.
    Failed(Failure),
}

/// One exchange under way.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword { name: String },
    Over,
}

impl Exchange {
    /// Begins. `initial` is the initial response as the client wrote it; `=` stands for an empty one (RFC 4954 §4).
    pub fn start(mechanism: Mechanism, initial: Option<&str>) -> (Self, Progress) {
        let mut exchange = Self(match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginName,
        });
        let progress = match (initial, mechanism) {
            (Some("="), _) => exchange.decoded(b""),
            (Some(initial), _) => exchange.receive(initial.as_bytes()),
            (None, Mechanism::Plain) => Progress::Challenge(""),
            (None, Mechanism::Login) => Progress::Challenge(USERNAME_PROMPT),
        };
        (exchange, progress)
    }

    /// The client's next line, without its CRLF.
    pub fn receive(&mut self, line: &[u8]) -> Progress {
        if line == b"*" {
            return self.failed(Failure::Cancelled);
        }
        // Base64 makes 4 octets of 3; PLAIN carries the name twice at most.
        if line.len() > (2 * USER_NAME_OCTETS + PASSWORD_OCTETS + 2).div_ceil(3) * 4 {
            return self.failed(Failure::TooLong);
        }
        match BASE64.decode(line) {
            Ok(decoded) => self.decoded(&decoded),
            Err(_) => self.failed(Failure::NotBase64),
        }
    }

    fn decoded(&mut self, response: &[u8]) -> Progress {
        let Ok(response) = std::str::from_utf8(response) else { return self.failed(Failure::Malformed) };
        match std::mem::replace(&mut self.0, State::Over) {
            State::Plain => self.ended(plain(response)),
            // An empty name gets its prompt again nowhere: it is an error at the end of the exchange.
            State::LoginName if response.len() > USER_NAME_OCTETS => self.failed(Failure::TooLong),
            State::LoginName => {
                self.0 = State::LoginPassword { name: response.to_owned() };
                Progress::Challenge(PASSWORD_PROMPT)
            }
            State::LoginPassword { name } => self.ended(Credentials::new(&name, response)),
            State::Over => self.failed(Failure::Malformed),
        }
    }

    fn ended(&mut self, result: Result<Credentials, Failure>) -> Progress {
        match result {
            Ok(credentials) => Progress::Credentials(credentials),
            Err(failure) => self.failed(failure),
        }
    }

    fn failed(&mut self, failure: Failure) -> Progress {
        self.0 = State::Over;
        Progress::Failed(failure)
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(response: &str) -> Result<Credentials, Failure> {
    let mut parts = response.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::Malformed);
    };
    if !authzid.is_empty() && authzid != authcid {
        return Err(Failure::OtherIdentity);
    }
    Credentials::new(authcid, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str, password: &str) -> Progress {
        Progress::Credentials(Credentials { name: name.to_owned(), password: Secret::new(password.to_owned()) })
    }

    fn encoded(text: &str) -> String {
        BASE64.encode(text.as_bytes())
    }

    #[test]
    fn plain_with_and_without_initial_response() {
        for (message, wanted) in [
            ("\0alice\0secret", credentials("alice", "secret")),
            ("alice\0alice\0secret", credentials("alice", "secret")),
            ("\0al\u{ef}ce\0p\u{e4}ss w\u{f6}rd", credentials("al\u{ef}ce", "p\u{e4}ss w\u{f6}rd")),
            ("bob\0alice\0secret", Progress::Failed(Failure::OtherIdentity)),
            ("\0alice\0", Progress::Failed(Failure::Empty)),
            ("\0\0secret", Progress::Failed(Failure::Empty)),
            ("\0alice\0sec\0ret", Progress::Failed(Failure::Malformed)),
            ("alice\0secret", Progress::Failed(Failure::Malformed)),
            ("", Progress::Failed(Failure::Malformed)),
        ] {
            let text = encoded(message);
            let initial = if text.is_empty() { "=" } else { &text };
            assert_eq!(Exchange::start(Mechanism::Plain, Some(initial)).1, wanted, "{message:?}");
            let (mut exchange, first) = Exchange::start(Mechanism::Plain, None);
            assert_eq!(first, Progress::Challenge(""));
            assert_eq!(exchange.receive(text.as_bytes()), wanted, "{message:?}");
        }
    }

    #[test]
    fn login_with_and_without_initial_response() {
        let (mut exchange, first) = Exchange::start(Mechanism::Login, None);
        assert_eq!(first, Progress::Challenge("VXNlcm5hbWU6"));
        assert_eq!(exchange.receive(b"YWxpY2U="), Progress::Challenge("UGFzc3dvcmQ6"));
        assert_eq!(exchange.receive(b"c2VjcmV0"), credentials("alice", "secret"));
        assert_eq!(exchange.receive(b"c2VjcmV0"), Progress::Failed(Failure::Malformed));

        let (mut exchange, first) = Exchange::start(Mechanism::Login, Some("YWxpY2U="));
        assert_eq!(first, Progress::Challenge("UGFzc3dvcmQ6"));
        assert_eq!(exchange.receive(b""), Progress::Failed(Failure::Empty));
    }

    #[test]
    fn junk_ends_an_exchange() {
        for (line, failure) in [
            (&b"*"[..], Failure::Cancelled),
            (b"not base64!", Failure::NotBase64),
            (b"YWxpY2U", Failure::NotBase64),
            (b"/w==", Failure::Malformed),
            (&[b'A'; 5000], Failure::TooLong),
        ] {
            for mechanism in Mechanism::ALL {
                let (mut exchange, _) = Exchange::start(mechanism, None);
                assert_eq!(exchange.receive(line), Progress::Failed(failure), "{mechanism:?}");
                assert_eq!(exchange.receive(b"AGEAYg=="), Progress::Failed(Failure::Malformed));
            }
        }
        let long = encoded(&format!("\0a\0{}", "p".repeat(PASSWORD_OCTETS + 1)));
        assert_eq!(Exchange::start(Mechanism::Plain, Some(&long)).1, Progress::Failed(Failure::TooLong));
    }

    #[test]
    fn mechanisms_are_found_in_any_case() {
        assert_eq!(Mechanism::parse("plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse("LOGIN"), Some(Mechanism::Login));
        assert_eq!(Mechanism::parse("CRAM-MD5"), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let (_, progress) = Exchange::start(Mechanism::Plain, Some("AGFsaWNlAHNlY3JldA=="));
        assert!(!format!("{progress:?}").contains("secret\""), "{progress:?}");
    }
}
