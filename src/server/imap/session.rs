//! One session: its state, what is legal in it, and the loop over the fragments of the stream (RFC 3501 §3).
//!
//! ```text
//! Stranger --LOGIN, AUTHENTICATE--> User --SELECT, EXAMINE--> User with a selected mailbox
//!                                        <--CLOSE, UNSELECT, failed SELECT--
//! ```

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::Services;
use super::access;
use super::capability;
use super::command;
use super::command::idle::changed;
use super::enabled::Enabled;
use super::errors;
use super::notify;
use super::notify::Notify;
use super::selected::Look;
use super::selected::Selected;
use super::wire::End;
use super::wire::Wire;
use crate::mail::capability::ImapCapability;
use crate::mail::ids::SessionId;
use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_BAD_BEFORE_LOGIN;
use crate::mail::limits::IMAP_COMMAND_BEFORE_LOGIN;
use crate::mail::limits::IMAP_COMMAND_OCTETS;
use crate::mail::limits::IMAP_IDLE;
use crate::mail::limits::IMAP_LITERAL_BEFORE_LOGIN;
use crate::mail::limits::IMAP_NESTING;
use crate::mail::limits::IMAP_NESTING_BEFORE_LOGIN;
use crate::mail::limits::IMAP_SWALLOW_BEFORE_LOGIN;
use crate::mail::limits::LOGIN_WAIT;
use crate::mail::rights::Right;
use crate::net::Connection;
use crate::protocol::imap::fragment::Fragment;
use crate::protocol::imap::fragment::Limits;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Condition;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::append::append_head;
use crate::protocol::imap::syntax::command::Command;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::command::parse_tag;
use crate::protocol::imap::syntax::command::parse_with;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::protocol::imap::view::Expunges;
use crate::store::AccountEvent;
use crate::store::AccountStore;

/// Somebody who has logged in.
#[derive(Debug)]
pub(super) struct User {
    /// The address of the account.
    pub(super) name: String,
    /// What is not announced to him.
    pub(super) disabled: Vec<ImapCapability>,
    pub(super) account: Arc<AccountStore>,
    pub(super) selected: Option<Selected>,
    /// What is told unasked, once the client said so; until then what changes in the selected mailbox, after commands.
    pub(super) notify: Option<Notify>,
}

/// One connection and who is on it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) services: Arc<Services>,
    pub(super) id: SessionId,
    pub(super) user: Option<User>,
    /// What the client has enabled.
    pub(super) enabled: Enabled,
    /// Tag of the command that runs, for answers that name it.
    pub(super) tag: String,
    started: Instant,
    bad_commands: u32,
    /// What a command that is being dropped will be answered.
    refusal: Option<Status>,
}

/// What a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    NoLogin,
    Login,
    Mailbox,
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        services: Arc<Services>,
        id: SessionId,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let started = services.clock.instant();
        Self {
            wire: Wire::new(connection, shutdown),
            services,
            id,
            user: None,
            enabled: Enabled::default(),
            tag: String::new(),
            started,
            bad_commands: 0,
            refusal: None,
        }
    }

    /// From the greeting to the end.
    pub(super) async fn run(mut self) -> End {
        // Design: no product name and no version before login.
        let greeting = Status::ok("IMAP4 ready").with(Code::Capability(self.capabilities()));
        self.wire.out.untagged_status(&greeting);
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        if let End::Bye(words) = &end {
            self.wire.out.untagged(&format!("BYE {words}"));
        }
        if !matches!(end, End::Gone | End::Io(_) | End::Silent(_)) {
            self.wire.close().await.ok();
        }
        if let End::Bye(_) = end {
            self.wire.linger().await;
        }
        end
    }

    /// What is announced now.
    pub(super) fn capabilities(&self) -> String {
        match &self.user {
            Some(user) => capability::user(self.services.max_message_size, &user.disabled),
            None => {
                let can_start_tls = self.wire.connection.can_start_tls();
                capability::stranger(can_start_tls, self.may_log_in(), &self.services.disabled)
            }
        }
    }

    /// How names of mailboxes are spelled.
    pub(super) fn spelling(&self) -> Spelling {
        Spelling { separator: self.services.separator, utf8: self.enabled.speaks_utf8() }
    }

    /// Passwords travel under TLS, or not at all where the operator did not say otherwise for this machine.
    pub(super) fn may_log_in(&self) -> bool {
        let connection = &self.wire.connection;
        // Both ends: a proxy on this machine must not open the door for the world.
        let loopback = connection.peer().ip().is_loopback() && connection.local().ip().is_loopback();
        connection.tls().is_some() || (self.services.plaintext_login && loopback)
    }

    async fn step(&mut self) -> Result<(), End> {
        match self.wire.fragments.next_fragment() {
            Fragment::More => self.wait().await,
            Fragment::Command(bytes) => self.command(&bytes).await,
            Fragment::Literal { size, synchronising } => self.literal(size, synchronising).await,
            Fragment::Dropped { head, too_long } => self.dropped(&head, too_long),
            Fragment::Overrun => Err(End::Bye("Too much at once")),
            // Only APPEND streams, and it reads its stream to the end.
            Fragment::Piece(_) | Fragment::StreamEnd => Ok(()),
        }?;
        self.wire.flush_if_full().await
    }

    /// Waits for more of the stream, and tells meanwhile what the client wants to hear of at any time (RFC 5465 §3.1).
    async fn wait(&mut self) -> Result<(), End> {
        let notify = self.user.as_ref().and_then(|user| user.notify.as_ref());
        let Some(mut changes) = notify.map(Notify::changes) else { return self.read_more().await };
        // A selected mailbox of somebody else is of another account.
        let selected = self.user.as_ref().and_then(|user| user.selected.as_ref());
        let mut of_another = selected.filter(|s| s.shared_as.is_some()).map(|s| s.changes.clone());
        let started = self.services.clock.instant();
        loop {
            let left = IMAP_IDLE.saturating_sub(self.services.clock.instant().saturating_duration_since(started));
            self.wire.flush().await?;
            let selected = self.user.as_ref().and_then(|user| user.selected.as_ref());
            let refresh = selected.map_or(IMAP_IDLE, Selected::refresh);
            let look = tokio::select! {
                filled = self.wire.fill(left, "Idle for too long") => return filled,
                changed = changes.changed() => match changed {
                    Ok(()) => Look::InMemory,
                    Err(_) => return self.read_more().await,
                },
                () = changed(of_another.as_mut()) => Look::InMemory,
                () = tokio::time::sleep(refresh) => Look::OnDisk,
            };
            let notify = self.user.as_ref().and_then(|user| user.notify.as_ref());
            let selected = notify.and_then(|notify| notify.selected.as_ref());
            let delayed = selected.is_some_and(|events| events.delayed);
            Box::pin(self.announce(if delayed { Expunges::Held } else { Expunges::Told }, look)).await?;
        }
    }

    /// Waits for more of the stream, as long as this client may take.
    pub(super) async fn read_more(&mut self) -> Result<(), End> {
        if self.user.is_some() {
            return self.wire.fill(IMAP_IDLE, "Idle for too long").await;
        }
        if self.wire.received() > IMAP_COMMAND_BEFORE_LOGIN as u64 {
            return Err(End::Bye("Too much before login"));
        }
        let waited = self.services.clock.instant().saturating_duration_since(self.started);
        self.wire.fill(LOGIN_WAIT.saturating_sub(waited), "Not logged in in time").await
    }

    /// The session is now that of a user.
    pub(super) fn logged_in(&mut self, user: User) {
        self.user = Some(user);
        self.bad_commands = 0;
        self.wire.fragments.set_limits(Limits::AFTER_LOGIN);
    }

    /// The session is nobody's again (RFC 8437 §3): all that was of the user is gone, the TLS layer stays.
    pub(super) fn logged_out(&mut self) {
        self.user = None;
        self.enabled = Enabled::default();
        self.bad_commands = 0;
        self.refusal = None;
        self.started = self.services.clock.instant();
        self.wire.begin_anew();
    }

    /// A literal is announced: read it, stream it, or refuse it before it is sent.
    async fn literal(&mut self, size: u64, synchronising: bool) -> Result<(), End> {
        if self.user.is_none() {
            return self.literal_of_stranger(size, synchronising);
        }
        if let Some((tag, append)) = append_head(self.wire.fragments.so_far(), self.spelling()) {
            let append = match append {
                Ok(append) => append,
                Err(error) => {
                    self.refuse(errors::of_syntax(&error));
                    return Ok(());
                }
            };
            self.check_rights().await?;
            let replaces = append.replaces.is_some();
            let announced = command::append::Announced { size, synchronising };
            let status = Box::pin(command::append::run(self, append, Some(announced))).await?;
            let notify = self.user.as_ref().and_then(|user| user.notify.as_ref());
            if replaces && notify.is_some_and(|notify| notify.selected.is_none()) {
                // Who hears of nothing hears of what he does himself.
                self.announce_selected(Expunges::Told, Look::InMemory, true).await?;
            }
            self.announce(Expunges::Told, Look::InMemory).await?;
            self.wire.out.tagged(&tag, &status);
            return Ok(());
        }
        if size > IMAP_COMMAND_OCTETS as u64 {
            self.refuse(Status::no(Code::TooBig, "Literal too large"));
        } else {
            self.accept(synchronising);
        }
        Ok(())
    }

    fn literal_of_stranger(&mut self, size: u64, synchronising: bool) -> Result<(), End> {
        if size <= IMAP_LITERAL_BEFORE_LOGIN {
            self.accept(synchronising);
        } else if size <= IMAP_SWALLOW_BEFORE_LOGIN || synchronising {
            self.refuse(Status::bad("Literal too large before login").with(Code::TooBig));
        } else {
            // RFC 7888 §5: with LITERAL- nobody sends so much unasked.
            return Err(End::Bye("Literal too large before login"));
        }
        Ok(())
    }

    fn accept(&mut self, synchronising: bool) {
        if self.wire.fragments.accept() && synchronising {
            self.wire.out.go_ahead("Ready for more");
        }
    }

    /// Drops the command whose literal is announced; it is answered when it has passed.
    pub(super) fn refuse(&mut self, status: Status) {
        self.refusal = Some(status);
        self.wire.fragments.refuse();
    }

    fn dropped(&mut self, head: &[u8], too_long: bool) -> Result<(), End> {
        let refusal = self.refusal.take().filter(|_| !too_long);
        let status = refusal.unwrap_or_else(|| Status::bad("Command too long"));
        match parse_tag(&mut Cursor::new(head, 1)) {
            Ok(tag) => self.wire.out.tagged(&tag, &status),
            Err(_) => self.wire.out.untagged_status(&status),
        }
        self.count_bad(&status)
    }

    fn count_bad(&mut self, status: &Status) -> Result<(), End> {
        if self.user.is_some() || status.condition != Condition::Bad {
            return Ok(());
        }
        self.bad_commands += 1;
        if self.bad_commands >= IMAP_BAD_BEFORE_LOGIN {
            return Err(End::Bye("Too many bad commands"));
        }
        Ok(())
    }

    async fn command(&mut self, bytes: &[u8]) -> Result<(), End> {
        let nesting = if self.user.is_some() { IMAP_NESTING } else { IMAP_NESTING_BEFORE_LOGIN };
        if self.user.is_none() && is_http(bytes) {
            // A browser was led here (ALPACA, cross-protocol requests): nothing of what it sends is a command.
            return Err(End::Silent("HTTP"));
        }
        if bytes.is_empty() {
            // Some clients send one line end too many after a literal.
            return Ok(());
        }
        let Some((tag, parsed)) = parse_with(bytes, nesting, self.spelling()) else {
            let status = Status::bad("Tag expected");
            self.wire.out.untagged_status(&status);
            return self.count_bad(&status);
        };
        let status = match parsed {
            Err(error) => errors::of_syntax(&error),
            Ok(Command::StartTls) if self.user.is_none() => return Box::pin(command::starttls::run(self, &tag)).await,
            Ok(Command::Logout) => {
                self.wire.out.untagged("BYE Logging out");
                self.wire.out.tagged(&tag, &Status::ok("Logged out"));
                return Err(End::Logout);
            }
            Ok(command) => {
                self.tag.clone_from(&tag);
                self.legal_command(command).await?
            }
        };
        self.wire.out.tagged(&tag, &status);
        self.count_bad(&status)
    }

    async fn legal_command(&mut self, command: Command) -> Result<Status, End> {
        let needs = needs(&command);
        let has_mailbox = self.user.as_ref().is_some_and(|u| u.selected.is_some());
        if needs == Needs::NoLogin && self.user.is_some() {
            return Ok(Status::bad("You are logged in already"));
        }
        if matches!(needs, Needs::Login | Needs::Mailbox) && self.user.is_none() {
            return Ok(Status::bad("Log in first"));
        }
        if needs == Needs::Mailbox && !has_mailbox {
            return Ok(Status::bad("No mailbox is selected"));
        }
        let expunges = expunges_during(&command);
        let look = if matches!(command, Command::Noop | Command::Check) { Look::OnDisk } else { Look::InMemory };
        self.check_rights().await?;
        let (event, removes) = (event_of(&command), removes_messages(&command));
        let status = Box::pin(command::run(self, command)).await?;
        let done = status.condition == Condition::Ok;
        if let Some(notify) = self.user.as_mut().and_then(|user| user.notify.as_mut()) {
            event.into_iter().filter(|_| done).for_each(|event| notify.did(event));
            if removes && notify.selected.is_none() {
                // Who hears of nothing hears of what he does himself.
                self.announce_selected(expunges, look, true).await?;
            }
        }
        self.announce(expunges, look).await?;
        Ok(status)
    }

    /// Looks again what the user may do with a selected mailbox of somebody else: that one may have thought better of it.
    async fn check_rights(&mut self) -> Result<(), End> {
        let selected = self.user.as_ref().and_then(|user| user.selected.as_ref());
        let Some(name) = selected.and_then(|selected| selected.shared_as.clone()) else { return Ok(()) };
        let place = access::place(self, &name).await.ok().filter(|place| !place.is_own());
        let opened = match &place {
            Some(place) => place.mailbox(Right::Read).await.ok().map(|mailbox| (mailbox, place.rights())),
            None => None,
        };
        let selected = self.user.as_mut().and_then(|user| user.selected.as_mut());
        // The name may be that of another mailbox by now: what is allowed there says nothing of this one.
        match (opened, selected) {
            (Some((mailbox, rights)), Some(selected)) if Arc::ptr_eq(&mailbox, &selected.mailbox) => {
                selected.rights = rights;
                Ok(())
            }
            _ => Err(End::Bye("The selected mailbox is no longer shared")),
        }
    }

    /// The client knows of mod-sequences from now on. The command that does so first, with a mailbox selected, tells the
    /// highest (RFC 7162 §3.1.2.1).
    pub(super) fn enable_condstore(&mut self) {
        if self.enabled.condstore {
            return;
        }
        self.enabled.condstore = true;
        if let Some(selected) = self.user.as_ref().and_then(|user| user.selected.as_ref()) {
            let highest = Code::HighestModSeq(selected.snapshot.highest_modseq);
            self.wire.out.untagged_status(&Status::ok("Mod-sequences are told").with(highest));
        }
    }

    /// Tells the client what is new in its mailbox, if it has selected one, and what else it wants to hear of.
    pub(super) async fn announce(&mut self, expunges: Expunges, look: Look) -> Result<(), End> {
        let notify = self.user.as_ref().and_then(|user| user.notify.as_ref());
        match notify.map(|notify| notify.selected.clone()) {
            None => self.announce_selected(expunges, look, true).await.map(drop),
            Some(selected) => {
                if let Some(events) = selected {
                    let new = self.announce_selected(expunges, look, events.flags).await?;
                    if !new.is_empty() && !events.items.is_empty() {
                        Box::pin(command::fetch::unasked(self, &new, &events.items)).await?;
                    }
                }
                Box::pin(notify::tell(self)).await
            }
        }
    }

    /// Tells what is new in the selected mailbox; gives the messages that others added.
    async fn announce_selected(&mut self, expunges: Expunges, look: Look, flags: bool) -> Result<Vec<Uid>, End> {
        self.check_rights().await?;
        let Some(selected) = self.user.as_mut().and_then(|u| u.selected.as_mut()) else { return Ok(Vec::new()) };
        let last = selected.view.last_uid();
        let announced = selected.announce(&mut self.wire, expunges, look, self.enabled, flags).await?;
        let new = selected.new_since(last);
        match announced {
            Ok(true) => Box::pin(command::context::refresh(self)).await?,
            Ok(false) => return Err(End::Bye("The selected mailbox is gone")),
            Err(error) => {
                // The view stays as it was; the next command tries again.
                let status = errors::of_store(&error);
                self.wire.out.untagged_status(&status);
            }
        }
        Ok(new)
    }
}

/// What is legal when (RFC 3501 §6): one table.
fn needs(command: &Command) -> Needs {
    match command {
        Command::Capability | Command::Noop | Command::Logout | Command::Id(_) => Needs::Nothing,
        Command::StartTls | Command::Authenticate { .. } | Command::Login { .. } => Needs::NoLogin,
        Command::Enable(_)
        | Command::Select { .. }
        | Command::Create(..)
        | Command::GetQuota(_)
        | Command::GetQuotaRoot(_)
        | Command::SetQuota(..)
        | Command::Acl(_)
        | Command::GetMetadata(_)
        | Command::SetMetadata(_)
        | Command::Delete(_)
        | Command::Rename(..)
        | Command::Subscribe(_)
        | Command::Unsubscribe(_)
        | Command::List(_)
        | Command::Lsub(_)
        | Command::Namespace
        | Command::Notify(_)
        | Command::Status(..)
        | Command::Append(_)
        | Command::Unauthenticate
        | Command::Esearch(_)
        | Command::Idle => Needs::Login,
        Command::Check
        | Command::Close
        | Command::Unselect
        | Command::Expunge(_)
        | Command::Search(..)
        | Command::Sort(..)
        | Command::Thread(..)
        | Command::CancelUpdate(_)
        | Command::Fetch(..)
        | Command::Store(..)
        | Command::Copy(..)
        | Command::Move(..) => Needs::Mailbox,
    }
}

/// What a command does to the tree, should it succeed: the client is not told of it (RFC 5465 §5).
fn event_of(command: &Command) -> Option<AccountEvent> {
    Some(match command {
        Command::Create(name, _) => AccountEvent::Created(name.clone()),
        Command::Delete(name) => AccountEvent::Deleted(name.clone()),
        Command::Rename(from, to) if from.is_inbox() => AccountEvent::Created(to.clone()),
        Command::Rename(from, to) => AccountEvent::Renamed(from.clone(), to.clone()),
        Command::Subscribe(name) | Command::Unsubscribe(name) => AccountEvent::Subscribed(name.clone()),
        Command::SetMetadata(set) => {
            let names = set.changes.iter().map(|(name, _)| name.as_str().to_owned()).collect();
            AccountEvent::Annotated(set.mailbox.clone(), names)
        }
        _ => return None,
    })
}

/// Whether a command takes messages out of the selected mailbox.
fn removes_messages(command: &Command) -> bool {
    matches!(command, Command::Expunge(_) | Command::Move(..) | Command::Append(_))
}

/// RFC 3501 §7.4.1: no EXPUNGE during FETCH, STORE and SEARCH by sequence numbers.
fn expunges_during(command: &Command) -> Expunges {
    match command {
        Command::Fetch(Numbers::Sequence, ..)
        | Command::Store(Numbers::Sequence, ..)
        | Command::Search(Numbers::Sequence, _)
        | Command::Sort(Numbers::Sequence, _)
        | Command::Thread(Numbers::Sequence, _) => Expunges::Held,
        _ => Expunges::Told,
    }
}

/// The first line of a request of HTTP.
fn is_http(line: &[u8]) -> bool {
    ["GET /", "POST /", "PUT /", "HEAD /", "OPTIONS ", "CONNECT ", "DELETE /", "PATCH /"]
        .iter()
        .any(|verb| line.starts_with(verb.as_bytes()))
        && line.windows(6).any(|w| w == b" HTTP/")
}
