//! The stage after the verdict: local recipients into their inboxes, the rest into the queue, one answer.
//!
//! What is answered with yes is durable. Knows neither SMTP nor how queue and store do it.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::room::Room;
use crate::directory::Account;
use crate::directory::Destination;
use crate::directory::Directory;
use crate::fsio::Content;
use crate::intake::permit::Admitted;
use crate::intake::verdict;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Demands;
use crate::mail::envelope::OriginalRecipient;
use crate::mail::envelope::RecipientReport;
use crate::mail::envelope::Report;
use crate::mail::ids::QueueId;
use crate::mail::mailbox::SpecialUse;
use crate::queue::NewEntry;
use crate::queue::Prepared;
use crate::queue::Queue;
use crate::queue::QueueError;
use crate::store::Delivery;
use crate::store::Store;
use crate::store::StoreError;

/// A message that we have decided to take.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its id.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `BODY` of `MAIL FROM`.
    pub body: BodyKind,
    /// What the sender demands.
    pub demands: Demands,
    /// Why it belongs into the folder for junk of those who are here, where it does.
    pub junk: Option<String>,
    /// Its recipients, each admitted.
    pub recipients: Vec<Admitted>,
    /// `Return-Path`, for inboxes.
    pub return_path: Vec<u8>,
    /// `Received` and the like, the front of the message wherever it goes.
    pub trace: Vec<u8>,
    /// The message.
    pub content: Content,
    /// When it came.
    pub received: SystemTime,
    /// What it has of the inboxes here, and by whose right.
    pub room: Room,
}

/// Why a message could not be made durable. Whoever sent it keeps it.
#[derive(Debug)]
pub enum CommitError {
    /// There is no room on a disk.
    Full(io::Error),
    /// The account holds as much as it may.
    OverQuota,
    /// The account may not hold so much.
    LargerThanQuota,
    /// Something else went wrong; the text is for the log.
    Trouble(String),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => write!(f, "no room: {error}"),
            Self::OverQuota => write!(f, "{}", StoreError::OverQuota),
            Self::LargerThanQuota => write!(f, "{}", StoreError::LargerThanQuota),
            Self::Trouble(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CommitError {}

impl CommitError {
    /// From an error of the file system.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Trouble(error.to_string()),
        }
    }
}

/// An answer that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes messages durable.
pub trait Commit: Send + Sync {
    /// Takes responsibility for a message: yes means that it is durable for every recipient.
    fn commit(&self, message: Accepted) -> Pending<'_, Result<(), CommitError>>;
}

/// The queue, as commit sees it.
pub trait Onward: Send + Sync {
    /// Finds room for messages and writes them, all or none; nobody is responsible for them yet.
    fn prepare(&self, entries: Vec<NewEntry>) -> Pending<'_, Result<Box<dyn Staged>, QueueError>>;
}

/// Messages that are written and not queued yet. Dropped, they are gone.
pub trait Staged: Send {
    /// Takes responsibility for them: yes means that all are durably queued, and no that none is.
    fn publish(self: Box<Self>) -> Pending<'static, Result<(), QueueError>>;
}

impl Onward for Queue {
    fn prepare(&self, entries: Vec<NewEntry>) -> Pending<'_, Result<Box<dyn Staged>, QueueError>> {
        Box::pin(async move { Ok(Box::new(Self::prepare(self, entries).await?) as Box<dyn Staged>) })
    }
}

impl Staged for Prepared {
    fn publish(self: Box<Self>) -> Pending<'static, Result<(), QueueError>> {
        Box::pin(Self::publish(*self))
    }
}

/// What the log says of an entry: its id, its sender, its recipients.
type Line = (QueueId, String, Vec<String>);

/// What became of the inboxes.
struct Inboxes {
    /// Those that did not take it.
    absent: Vec<Arc<Account>>,
    /// Why.
    failure: Option<StoreError>,
    all_failed: bool,
}

/// [`Commit`] over the store and the queue.
pub struct StoreAndQueue {
    store: Arc<Store>,
    onward: Arc<dyn Onward>,
    directory: Option<Arc<ArcSwap<Directory>>>,
}

impl fmt::Debug for StoreAndQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAndQueue").finish_non_exhaustive()
    }
}

impl StoreAndQueue {
    /// Inboxes in `store`, everything else to `onward`.
    #[must_use]
    pub fn new(store: Arc<Store>, onward: Arc<dyn Onward>) -> Self {
        Self { store, onward, directory: None }
    }

    /// Senders of what aliases send elsewhere are rewritten as this directory says.
    #[must_use]
    pub fn forwarding(self, directory: Arc<ArcSwap<Directory>>) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// What goes onward is written first, then come the inboxes, and then what was written becomes the queue's:
    ///
    /// - Whatever the queue has no room for is refused before anybody has it: its sender comes again, under a new id,
    ///   and each time would leave one more copy in the inboxes, or on other servers.
    /// - Where the machine stops in between, what is written is nothing yet, and inboxes have one copy more than they
    ///   should when the sender comes again; the other way round other servers would.
    /// - Nothing is lost either way: nobody has had a yes.
    ///
    /// An inbox that does not take it for the moment gets it from the queue, by the same entry as what goes elsewhere.
    /// Where no inbox took it and nothing goes elsewhere, the sender keeps it. A stranger keeps it where one recipient
    /// has no room: a notice about that, later, would go to whom he names as the sender.
    async fn commit_all(&self, mut message: Accepted) -> Result<(), CommitError> {
        let octets = message.return_path.len() as u64 + message.trace.len() as u64 + message.content.len();
        message.room.settle(&self.store, &message.recipients, octets).await.map_err(from_store)?;
        let Destinations { accounts, mut remote, forward } = destinations(&message.recipients);
        let mut entries = self.entries_of(&message, &forward)?;
        if !remote.is_empty() {
            entries.push(entry_of(&message, remote.clone(), &HashSet::new(), false));
        }
        let mut staged = self.stage(entries).await?;
        let Inboxes { absent, failure, all_failed } = self.to_inboxes(&message, &accounts).await;
        if let Some(error) = failure {
            if all_failed && staged.is_none() {
                return Err(from_store(error));
            }
            // It is written anew, for those whose inbox did not take it as well.
            drop(staged);
            remote.extend(absent.iter().map(|account| account.address().clone()));
            let absent = absent.iter().map(|account| account.address().key()).collect();
            let mut entries = self.entries_of(&message, &forward)?;
            entries.push(entry_of(&message, remote.clone(), &absent, true));
            staged = self.stage(entries).await?;
        }
        if let Some((staged, log)) = staged {
            staged.publish().await.map_err(from_queue)?;
            for (id, from, to) in log {
                tracing::info!(%id, of = %message.id, ?from, ?to, "queued");
            }
        }
        if remote.is_empty() {
            self.tell_of_deliveries(&message).await;
        }
        Ok(())
    }

    /// Everybody has it, and only the notice is at stake that its sender asked for (RFC 3461 §4.1): were he to send it
    /// again for that, they would have it twice.
    async fn tell_of_deliveries(&self, message: &Accepted) {
        if delivered(message, &HashSet::new()).is_empty() {
            return;
        }
        let entry = entry_of(message, Vec::new(), &HashSet::new(), false);
        let told = match self.onward.prepare(vec![entry]).await {
            Ok(staged) => staged.publish().await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::error!(id = %message.id, %error, "delivered, but the sender will not be told");
        }
    }

    /// Finds room for what goes onward, and writes it; `None` where nothing does.
    async fn stage(&self, entries: Vec<NewEntry>) -> Result<Option<(Box<dyn Staged>, Vec<Line>)>, CommitError> {
        if entries.is_empty() {
            return Ok(None);
        }
        let line = |entry: &NewEntry| {
            let to = entry.recipients.iter().map(ToString::to_string).collect();
            (entry.id.clone(), entry.sender.to_string(), to)
        };
        let log = entries.iter().map(line).collect();
        let staged = self.onward.prepare(entries).await.map_err(from_queue)?;
        Ok(Some((staged, log)))
    }

    /// Every inbox is tried.
    async fn to_inboxes(&self, message: &Accepted, accounts: &[Arc<Account>]) -> Inboxes {
        let outcomes = self.deliver(message, accounts).await;
        let mut inboxes =
            Inboxes { absent: Vec::new(), failure: None, all_failed: outcomes.iter().all(Result::is_err) };
        for (account, outcome) in accounts.iter().zip(outcomes) {
            match outcome {
                Ok(()) => tracing::info!(id = %message.id, to = %account.address(), "delivered"),
                Err(error) => {
                    if error.is_quota() {
                        tracing::info!(id = %message.id, to = %account.address(), %error, "not delivered");
                    } else {
                        tracing::error!(id = %message.id, to = %account.address(), error = %chain(&error), "not delivered");
                    }
                    // Where one of them may pass, so may the answer for all.
                    if inboxes.failure.as_ref().is_none_or(|first| matches!(first, StoreError::LargerThanQuota)) {
                        inboxes.failure = Some(error);
                    }
                    inboxes.absent.push(Arc::clone(account));
                }
            }
        }
        inboxes
    }

    /// What aliases send elsewhere, under a sender of ours: for each of them an entry of its own, since a queued message
    /// has one sender, and one front. The front says by which of our addresses it went, so that we know it again
    /// (RFC 5321 §6.3) and nobody learns of the other recipients (§7.2).
    fn entries_of(
        &self,
        message: &Accepted,
        forward: &[(Address, Vec<Address>)],
    ) -> Result<Vec<NewEntry>, CommitError> {
        let sender = match &self.directory {
            Some(directory) => directory.load().forward_sender(&message.sender),
            None => message.sender.clone(),
        };
        let entry = |(n, (alias, recipients)): (usize, &(Address, Vec<Address>))| {
            let suffix = if n == 0 { "f".to_owned() } else { format!("f{}", n + 1) };
            Some(NewEntry {
                id: message.id.part(&suffix)?,
                sender: sender.clone(),
                recipients: recipients.clone(),
                delivered: Vec::new(),
                body: message.body,
                demands: Demands { report: report(message), ..message.demands.clone() },
                junk: message.junk.clone(),
                prefix: [verdict::delivered_to(alias), message.trace.clone()].concat(),
                content: message.content.clone(),
                arrived: message.received,
                // Whoever is named as the sender of junk did not send it, and wants no notice.
                quiet: message.junk.is_some(),
            })
        };
        let entries: Option<Vec<NewEntry>> = forward.iter().enumerate().map(entry).collect();
        entries.ok_or_else(|| CommitError::Trouble(format!("the id {} is too long for its parts", message.id)))
    }

    async fn deliver(&self, message: &Accepted, accounts: &[Arc<Account>]) -> Vec<Result<(), StoreError>> {
        if accounts.is_empty() {
            return Vec::new();
        }
        let mut prefix = message.return_path.clone();
        prefix.extend_from_slice(&message.trace);
        let delivery = Delivery {
            id: message.id.clone(),
            prefix,
            content: message.content.clone(),
            maildirs: accounts.iter().map(|account| account.maildir().to_owned()).collect(),
            received: message.received,
            special_use: message.junk.is_some().then_some(SpecialUse::Junk),
            again: false,
        };
        message.room.deliver(&self.store, delivery).await
    }
}

impl Commit for StoreAndQueue {
    fn commit(&self, message: Accepted) -> Pending<'_, Result<(), CommitError>> {
        Box::pin(self.commit_all(message))
    }
}

/// The entry for what goes on under the sender's own name. `absent` are the keys of accounts whose inbox did not take it.
fn entry_of(message: &Accepted, recipients: Vec<Address>, absent: &HashSet<String>, waits_for_inbox: bool) -> NewEntry {
    NewEntry {
        id: message.id.clone(),
        sender: message.sender.clone(),
        demands: Demands { report: report(message), ..message.demands.clone() },
        recipients,
        delivered: delivered(message, absent),
        body: message.body,
        junk: message.junk.clone(),
        prefix: message.trace.clone(),
        content: message.content.clone(),
        arrived: message.received,
        // An inbox lost its room or its disk since: our trouble, and no reason to write to whom a stranger named.
        quiet: message.room.is_of_stranger() && waits_for_inbox,
    }
}

/// Where all recipients lead to, each place once.
#[derive(Default)]
struct Destinations {
    accounts: Vec<Arc<Account>>,
    /// Elsewhere, named by the sender himself.
    remote: Vec<Address>,
    /// Elsewhere, named by an alias, with the alias.
    forward: Vec<(Address, Vec<Address>)>,
}

fn destinations(recipients: &[Admitted]) -> Destinations {
    let mut found = Destinations::default();
    let mut seen = HashSet::new();
    // Who was named by the sender gets it as from him, also where an alias leads there, too.
    let all = || recipients.iter().flat_map(|to| to.destinations().iter().map(move |goal| (to.address(), goal)));
    for (to, destination) in all().filter(|(_, goal)| !matches!(goal, Destination::Forward(_))).chain(all()) {
        match destination {
            Destination::Account(account) if seen.insert(account.address().key()) => {
                found.accounts.push(Arc::clone(account));
            }
            // Another host decides whether case counts in its local parts (RFC 5321 §2.4).
            Destination::Remote(address) if seen.insert(address.to_string()) => found.remote.push(address.clone()),
            Destination::Forward(address) if seen.insert(address.to_string()) => match found.forward.last_mut() {
                Some((alias, addresses)) if alias == to => addresses.push(address.clone()),
                _ => found.forward.push((to.clone(), vec![address.clone()])),
            },
            Destination::Account(_) | Destination::Remote(_) | Destination::Forward(_) => {}
        }
    }
    found
}

/// Recipients who have it now and of whom the sender wants to be told: not those of whom a part goes on, since nobody
/// knows yet (RFC 3461 §5.2.7).
fn delivered(message: &Accepted, absent: &HashSet<String>) -> Vec<Address> {
    let here = |destination: &Destination| match destination {
        Destination::Account(account) => !absent.contains(&account.address().key()),
        Destination::Remote(_) | Destination::Forward(_) => false,
    };
    if message.sender.address().is_none() {
        return Vec::new();
    }
    let wanted = message.recipients.iter().filter(|admitted| {
        message.demands.report.notify(admitted.address()).success() && admitted.destinations().iter().all(here)
    });
    wanted.map(|admitted| admitted.address().clone()).collect()
}

/// What was said of recipients, said of the addresses that they lead to as well (RFC 3461 §5.2.7.1: whoever is behind
/// an alias is reported under its name).
fn report(message: &Accepted) -> Report {
    let mut report = message.demands.report.clone();
    for admitted in &message.recipients {
        let said = message.demands.report.of(admitted.address());
        for destination in admitted.destinations() {
            let to = match destination {
                Destination::Account(account) => account.address(),
                Destination::Remote(address) | Destination::Forward(address) => address,
            };
            if to != admitted.address() && said != RecipientReport::default() {
                let original = said.original.clone().unwrap_or_else(|| OriginalRecipient {
                    kind: if admitted.address().is_international() { "utf-8" } else { "rfc822" }.to_owned(),
                    address: admitted.address().to_string(),
                });
                report.set(to, RecipientReport { notify: said.notify, original: Some(original) });
            }
        }
    }
    report
}

fn from_store(error: StoreError) -> CommitError {
    match error {
        StoreError::Full(source) => CommitError::Full(source),
        StoreError::OverQuota => CommitError::OverQuota,
        StoreError::LargerThanQuota => CommitError::LargerThanQuota,
        other => CommitError::Trouble(chain(&other)),
    }
}

fn from_queue(error: QueueError) -> CommitError {
    match error {
        QueueError::Io { source, .. } => CommitError::from_io(source),
        QueueError::TooMany => CommitError::Trouble(error.to_string()),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::config;
    use crate::directory::AliasFiles;
    use crate::directory::Srs;
    use crate::intake::permit;
    use crate::intake::permit::RelayPermit;
    use crate::mail::envelope::Notify;
    use crate::mail::mailbox::MailboxName;
    use crate::mail::quota::QuotaLimits;

    #[derive(Default)]
    struct Taken {
        entries: Mutex<Vec<NewEntry>>,
        full: bool,
    }

    impl Onward for Arc<Taken> {
        fn prepare(&self, entries: Vec<NewEntry>) -> Pending<'_, Result<Box<dyn Staged>, QueueError>> {
            let full = QueueError::Io { doing: "queueing", source: io::ErrorKind::StorageFull.into() };
            let staged: Box<dyn Staged> = Box::new(Written(Self::clone(self), entries));
            Box::pin(std::future::ready(if self.full { Err(full) } else { Ok(staged) }))
        }
    }

    struct Written(Arc<Taken>, Vec<NewEntry>);

    impl Staged for Written {
        fn publish(self: Box<Self>) -> Pending<'static, Result<(), QueueError>> {
            self.0.entries.lock().expect("not poisoned").extend(self.1);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    struct World {
        folder: tempfile::TempDir,
        directory: Directory,
        store: Arc<Store>,
        taken: Arc<Taken>,
        commit: StoreAndQueue,
    }

    fn world(full: bool) -> World {
        let folder = tempfile::tempdir().expect("temporary folder");
        let text = format!(
            "hostname = \"mx.example.com\"\n[[domain]]\nname = \"example.com\"\n\
             [[account]]\naddress = \"alice@example.com\"\n[[account]]\naddress = \"bob@example.com\"\n\
             [aliases]\n\"all@example.com\" = [\"alice@example.com\", \"bob@example.com\", \"far@elsewhere.example\"]\n\
             [storage]\nfolder = \"{}\"\n",
            folder.path().display()
        );
        let config = config::parse(Path::new("t.toml"), &text).expect("valid");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let store = Store::open(clock);
        let taken = Arc::new(Taken { full, ..Taken::default() });
        let commit = StoreAndQueue::new(Arc::clone(&store), Arc::new(Arc::clone(&taken)) as Arc<dyn Onward>);
        World { folder, directory: Directory::new(&config), store, taken, commit }
    }

    impl World {
        async fn commit(&self, recipients: &[&str]) -> Result<(), CommitError> {
            self.commit_as("id-1", recipients, Room::default()).await
        }

        async fn commit_as(&self, id: &str, recipients: &[&str], room: Room) -> Result<(), CommitError> {
            self.commit_from(ReversePath::Null, id, recipients, room).await
        }

        async fn commit_from(
            &self,
            sender: ReversePath,
            id: &str,
            recipients: &[&str],
            room: Room,
        ) -> Result<(), CommitError> {
            let admit = |text: &&str| {
                let address = Address::parse(text).expect("valid");
                let resolution = self.directory.resolve(&address);
                permit::admit(address, resolution, None).expect("ours")
            };
            let message = Accepted {
                id: QueueId::parse(id).expect("valid"),
                sender,
                body: BodyKind::SevenBit,
                demands: Demands::default(),
                junk: None,
                recipients: recipients.iter().map(admit).collect(),
                return_path: b"Return-Path: <>\n".to_vec(),
                trace: b"Received: here\n".to_vec(),
                content: Content::from_bytes(b"Subject: x\n\nbody\n".to_vec()),
                received: SystemTime::UNIX_EPOCH,
                room,
            };
            self.commit.commit(message).await
        }

        fn maildir(&self, user: &str) -> std::path::PathBuf {
            self.folder.path().join("mail/example.com").join(user)
        }

        async fn inbox(&self, user: &str) -> Vec<Vec<u8>> {
            let account = self.store.account(&self.maildir(user)).await.expect("opened");
            let inbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
            let snapshot = inbox.refresh().await.expect("read");
            let mut messages = Vec::new();
            for message in snapshot.messages.iter() {
                messages.push(inbox.read(message.uid).await.expect("read"));
            }
            messages
        }

        fn queued(&self) -> Vec<String> {
            let entries = self.taken.entries.lock().expect("not poisoned");
            entries.iter().flat_map(|e| e.recipients.iter().map(ToString::to_string)).collect()
        }
    }

    const WHOLE: &[u8] = b"Return-Path: <>\nReceived: here\nSubject: x\n\nbody\n";

    #[tokio::test]
    async fn each_destination_gets_one_copy() {
        let world = world(false);
        world.commit(&["all@example.com", "alice@example.com"]).await.expect("committed");
        assert_eq!(world.inbox("alice").await, [WHOLE]);
        assert_eq!(world.inbox("bob").await, [WHOLE]);
        assert_eq!(world.queued(), ["far@elsewhere.example"]);
        let entries = world.taken.entries.lock().expect("not poisoned");
        let prefix = b"Delivered-To: all@example.com\nReceived: here\n";
        assert_eq!(entries[0].prefix, prefix, "Return-Path is for inboxes");
        assert!(!entries[0].quiet, "of what goes elsewhere the sender is told");
    }

    #[tokio::test]
    async fn what_an_alias_sends_elsewhere_has_a_sender_of_ours() {
        let world = world(false);
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let srs = Arc::new(Srs::open(&world.folder.path().join("srs.key"), clock).expect("a key"));
        let text = "hostname = \"mx.example.com\"\n[[domain]]\nname = \"example.com\"\n";
        let config = config::parse(Path::new("t.toml"), text).expect("valid");
        let directory = Directory::with(&config, &AliasFiles::default(), Some(srs));
        let commit =
            StoreAndQueue::new(Arc::clone(&world.store), Arc::new(Arc::clone(&world.taken)) as Arc<dyn Onward>)
                .forwarding(Arc::new(ArcSwap::from_pointee(directory)));
        let world = World { commit, ..world };
        let sender = |text: &str| ReversePath::Address(Address::parse(text).expect("valid"));
        world
            .commit_from(sender("joe@far.example"), "id-1", &["all@example.com"], Room::default())
            .await
            .expect("committed");
        world
            .commit_from(sender("alice@example.com"), "id-2", &["all@example.com"], Room::default())
            .await
            .expect("committed");
        world.commit(&["all@example.com"]).await.expect("committed");
        let entries = world.taken.entries.lock().expect("not poisoned");
        let of = |n: usize| (entries[n].id.to_string(), entries[n].sender.to_string());
        assert_eq!(of(0).0, "id-1-f");
        assert!(of(0).1.starts_with("SRS0=") && of(0).1.ends_with("=far.example=joe@example.com"), "{}", of(0).1);
        assert_eq!(of(1), ("id-2-f".to_owned(), "alice@example.com".to_owned()), "our own senders stay");
        assert_eq!(of(2), ("id-1-f".to_owned(), String::new()), "and the null sender");
        assert_eq!(entries.len(), 3);
    }

    #[tokio::test]
    async fn an_inbox_out_of_reach_is_queued_when_others_took_the_message() {
        let world = world(false);
        std::fs::create_dir_all(world.folder.path().join("mail/example.com")).expect("made");
        std::fs::write(world.maildir("bob"), b"in the way").expect("written");
        world.commit(&["alice@example.com", "bob@example.com"]).await.expect("committed");
        assert_eq!(world.inbox("alice").await.len(), 1);
        assert_eq!(world.queued(), ["bob@example.com"]);

        let alone = world.commit(&["bob@example.com"]).await;
        assert!(matches!(alone, Err(CommitError::Trouble(_))), "the sender keeps it: {alone:?}");
        assert_eq!(world.queued().len(), 1);
    }

    #[tokio::test]
    async fn a_full_account_waits_in_the_queue_or_stays_with_the_sender_and_gets_notices() {
        let world = world(false);
        let one = QuotaLimits { octets: 0, messages: 1, warn: [].into() };
        world.store.set_quotas([(world.maildir("bob"), one)].into());
        world.commit(&["bob@example.com"]).await.expect("there is room");
        let alone = world.commit_as("id-2", &["bob@example.com"], Room::default()).await;
        assert!(matches!(alone, Err(CommitError::OverQuota)), "{alone:?}");
        assert!(world.queued().is_empty());
        let both = ["alice@example.com", "bob@example.com"];
        let permit = RelayPermit::of_own_notice();
        world.commit_as("id-3", &both, Room::of(Some(&permit))).await.expect("committed");
        assert_eq!((world.inbox("alice").await.len(), world.queued()), (1, vec!["bob@example.com".to_owned()]));
        assert!(!world.taken.entries.lock().expect("not poisoned")[0].quiet, "a user is told");
        world.commit_as("id-4", &["bob@example.com"], Room::past_quota()).await.expect("a notice");
        assert_eq!(world.inbox("bob").await.len(), 2);
    }

    #[tokio::test]
    async fn a_stranger_keeps_what_one_of_the_recipients_has_no_room_for() {
        let world = world(false);
        let limit = |octets, messages| QuotaLimits { octets, messages, warn: [].into() };
        world.store.set_quotas([(world.maildir("bob"), limit(0, 1))].into());
        world.commit(&["bob@example.com"]).await.expect("there is room");
        let both = ["alice@example.com", "bob@example.com"];
        let refused = world.commit_as("id-2", &both, Room::default()).await;
        assert!(matches!(refused, Err(CommitError::OverQuota)), "{refused:?}");
        world.store.set_quotas([(world.maildir("bob"), limit(10, 0))].into());
        let refused = world.commit_as("id-2", &both, Room::default()).await;
        assert!(matches!(refused, Err(CommitError::OverQuota)), "alice may have it: {refused:?}");
        let refused = world.commit_as("id-2", &both[1..], Room::default()).await;
        assert!(matches!(refused, Err(CommitError::LargerThanQuota)), "{refused:?}");
        assert!(world.inbox("alice").await.is_empty() && world.queued().is_empty(), "nobody has it");
        // A list is taken where one of its members has room, and nobody hears of the others.
        world.commit_as("id-3", &["all@example.com"], Room::default()).await.expect("committed");
        assert_eq!(world.inbox("alice").await.len(), 1);
        assert_eq!(world.queued(), ["far@elsewhere.example", "bob@example.com"]);
        let entries = world.taken.entries.lock().expect("not poisoned");
        assert_eq!(entries.iter().map(|entry| entry.quiet).collect::<Vec<_>>(), [false, true]);
    }

    #[tokio::test]
    async fn what_cannot_be_queued_is_not_taken() {
        let world = world(true);
        let result = world.commit(&["all@example.com"]).await;
        assert!(matches!(result, Err(CommitError::Full(_))), "{result:?}");
        assert!(world.inbox("alice").await.is_empty(), "the sender comes again, and would leave one more each time");
    }

    #[tokio::test]
    async fn mail_that_everybody_has_is_not_refused_for_want_of_a_notice() {
        for full in [true, false] {
            let world = world(full);
            let alice = Address::parse("alice@example.com").expect("valid");
            let mut demands = Demands::default();
            let notify = Notify::On { success: true, failure: true, delay: false };
            demands.report.set(&alice, RecipientReport { notify, original: None });
            let resolution = world.directory.resolve(&alice);
            let message = Accepted {
                id: QueueId::parse("id-1").expect("valid"),
                sender: ReversePath::Address(Address::parse("bob@example.com").expect("valid")),
                body: BodyKind::SevenBit,
                demands,
                junk: None,
                recipients: vec![permit::admit(alice.clone(), resolution, None).expect("ours")],
                return_path: Vec::new(),
                trace: Vec::new(),
                content: Content::from_bytes(b"Subject: x\n\n".to_vec()),
                received: SystemTime::UNIX_EPOCH,
                room: Room::default(),
            };
            world.commit.commit(message).await.expect("it is in the inbox");
            assert_eq!(world.inbox("alice").await.len(), 1);
            let entries = world.taken.entries.lock().expect("not poisoned");
            let told: Vec<_> = entries.iter().map(|entry| (entry.recipients.len(), entry.delivered.clone())).collect();
            assert_eq!(told, if full { vec![] } else { vec![(0, vec![alice])] });
        }
    }
}
