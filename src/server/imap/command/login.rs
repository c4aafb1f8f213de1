//! LOGIN (RFC 3501 §6.2.3), and what it shares with AUTHENTICATE.

use crate::directory::LoginError;
use crate::mail::secret::Secret;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::sasl::Credentials;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, user: &[u8], password: &Secret<Vec<u8>>) -> Result<Status, End> {
    if !session.may_log_in() {
        return Ok(privacy_required());
    }
    let credentials = match (std::str::from_utf8(user), std::str::from_utf8(password.reveal())) {
        (Ok(user), Ok(password)) => Credentials::new(user, password),
        _ => return Ok(refused()),
    };
    match credentials {
        Ok(credentials) => check(session, &credentials).await,
        Err(_) => Ok(refused()),
    }
}

/// RFC 5530 §3.
pub(super) fn privacy_required() -> Status {
    Status::no(Code::PrivacyRequired, "Passwords are taken under TLS only")
}

pub(super) fn refused() -> Status {
    Status::no(Code::AuthenticationFailed, "Authentication failed")
}

/// Checks credentials and makes the session that of a user.
pub(super) async fn check(session: &mut Session, credentials: &Credentials) -> Result<Status, End> {
    let peer = session.wire.connection.peer().ip();
    let services = std::sync::Arc::clone(&session.services);
    let login = services.authenticator.login("imap", peer, &credentials.name, &credentials.password);
    let authenticated = match session.wire.attend(login).await? {
        Ok(authenticated) => authenticated,
        Err(LoginError::Refused) => return Ok(refused()),
        Err(error @ (LoginError::TooManyFailures | LoginError::Busy)) => {
            return Ok(Status::no(Code::Unavailable, error.to_string()));
        }
    };
    if let Err(refusal) = session.wire.connection.logged_in(&authenticated.account().address().key()) {
        return Ok(Status::no(Code::Limit, refusal.to_string()));
    }
    let account = match services.store.account(authenticated.account().maildir()).await {
        Ok(account) => account,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let name = authenticated.account().address().key();
    tracing::info!(session = %session.id, rip = %peer, user = %authenticated.account().address(), "imap login");
    let own = authenticated.account().imap_disable();
    let disabled = services.disabled.iter().chain(own).copied().collect();
    session.logged_in(User { name, disabled, account, selected: None, notify: None });
    Ok(Status::ok("Logged in").with(Code::Capability(session.capabilities())))
}
