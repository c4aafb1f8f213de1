//! One file per command: its arguments, what it does with the store, how it answers.

mod acl;
mod answer;
pub(super) mod append;
mod authenticate;
pub(super) mod context;
mod copy;
mod create;
mod delete;
mod enable;
mod expunge;
pub(super) mod fetch;
mod finding;
mod id;
pub(super) mod idle;
pub(super) mod list;
mod login;
mod lsub;
pub(super) mod metadata;
mod multisearch;
mod notify;
mod progress;
mod quota;
mod reading;
mod rename;
mod search;
mod select;
mod sort;
pub(super) mod starttls;
pub(super) mod status;
mod store;
pub(super) mod streaming;
mod subscribe;
mod thread;

use super::access;
use super::errors;
use super::session::Session;
use super::wire::End;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Command;

/// Runs a command that is legal now.
pub(super) async fn run(session: &mut Session, command: Command) -> Result<Status, End> {
    match command {
        Command::Capability => {
            let capabilities = session.capabilities();
            session.wire.out.untagged(&format!("CAPABILITY {capabilities}"));
            Ok(Status::ok("Capabilities listed"))
        }
        // The session tells what is new after every command.
        Command::Noop | Command::Check => Ok(Status::ok("Done")),
        Command::Namespace => {
            // RFC 2342 §5: one personal namespace without a prefix, and one of others where they share something.
            let separator = session.services.separator.char();
            let shared = match access::shared_with(session).await {
                Ok(shared) if shared.is_empty() => "NIL".to_owned(),
                Ok(_) => format!("((\"{}{separator}\" \"{separator}\"))", access::SHARED),
                Err(error) => return Ok(errors::of_store(&error)),
            };
            session.wire.out.untagged(&format!("NAMESPACE ((\"\" \"{separator}\")) {shared} NIL"));
            Ok(Status::ok("Namespace listed"))
        }
        Command::Unauthenticate => {
            session.logged_out();
            Ok(Status::ok("Nobody is logged in"))
        }
        Command::Id(_) => Ok(id::run(session)),
        Command::Enable(names) => Ok(enable::run(session, &names)),
        Command::Authenticate { mechanism, initial } => authenticate::run(session, &mechanism, initial.as_ref()).await,
        Command::Login { user, password } => login::run(session, &user, &password).await,
        Command::Select { mailbox, read_only, parameters } => {
            select::run(session, &mailbox, read_only, parameters).await
        }
        Command::Create(name, uses) => create::run(session, &name, &uses).await,
        Command::GetQuota(root) => quota::get(session, &root).await,
        Command::Notify(arguments) => notify::run(session, arguments).await,
        Command::SetQuota(root, limits) => quota::set(session, &root, &limits).await,
        Command::GetQuotaRoot(name) => quota::get_root(session, &name).await,
        Command::Acl(command) => acl::run(session, command).await,
        Command::GetMetadata(wanted) => metadata::get(session, &wanted).await,
        Command::SetMetadata(wanted) => metadata::set(session, wanted).await,
        Command::Delete(name) => delete::run(session, &name).await,
        Command::Rename(from, to) => rename::run(session, &from, &to).await,
        Command::Subscribe(name) => subscribe::run(session, &name, true).await,
        Command::Unsubscribe(name) => subscribe::run(session, &name, false).await,
        Command::List(arguments) => list::run(session, &arguments).await,
        Command::Lsub(arguments) => lsub::run(session, &arguments).await,
        Command::Status(name, items) => status::run(session, &name, &items).await,
        Command::Idle => idle::run(session).await,
        Command::Close => select::close(session).await,
        Command::Unselect => Ok(select::unselect(session)),
        Command::Expunge(set) => expunge::run(session, set.as_ref()).await,
        Command::Search(numbers, arguments) => search::run(session, numbers, arguments).await,
        Command::Fetch(numbers, set, items, modifiers) => fetch::run(session, numbers, &set, items, modifiers).await,
        Command::Sort(numbers, arguments) => sort::run(session, numbers, arguments).await,
        Command::Thread(numbers, arguments) => thread::run(session, numbers, arguments).await,
        Command::Esearch(arguments) => multisearch::run(session, arguments).await,
        Command::CancelUpdate(tags) => Ok(context::cancel(session, &tags)),
        Command::Store(numbers, set, arguments) => store::run(session, numbers, &set, arguments).await,
        Command::Copy(numbers, set, to) => copy::run(session, numbers, &set, &to, copy::Keep::Original).await,
        Command::Move(numbers, set, to) => copy::run(session, numbers, &set, &to, copy::Keep::Nothing).await,
        Command::Append(append) => append::run(session, append, None).await,
        // Answered by the session itself.
        Command::Logout | Command::StartTls => Ok(Status::bad("Not now")),
    }
}

/// The user and the selected mailbox, where the command needs them; the session has checked that they are there.
macro_rules! user {
    ($session:expr) => {
        match $session.user.as_mut() {
            Some(user) => user,
            None => return Ok(Status::bad("Log in first")),
        }
    };
}

/// As `user!`, the selected mailbox.
macro_rules! selected {
    ($session:expr) => {
        match $session.user.as_mut().and_then(|user| user.selected.as_mut()) {
            Some(selected) => selected,
            None => return Ok(Status::bad("No mailbox is selected")),
        }
    };
}

use selected;
use user;
