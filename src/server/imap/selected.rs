//! The selected mailbox of a session, and how its view is kept in step with the store.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::command::streaming::Mark;
use super::enabled::Enabled;
use super::live::LiveSearch;
use super::wire::End;
use super::wire::Wire;
use crate::mail::flags::Flags;
use crate::mail::flags::KeywordSlot;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_IDLE_REFRESH;
use crate::mail::limits::IMAP_IDLE_REFRESH_WATCHED;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::mail::rights::Rights;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::view::Entry;
use crate::protocol::imap::view::Expunges;
use crate::protocol::imap::view::News;
use crate::protocol::imap::view::View;
use crate::store::Mailbox;
use crate::store::Message;
use crate::store::Snapshot;
use crate::store::StoreError;
use crate::store::Vanished;

/// Whether the disk is looked at before news are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Yes: NOOP, CHECK, IDLE's timer.
    OnDisk,
    /// What is known is enough.
    InMemory,
}

/// A mailbox that was selected.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) mailbox: Arc<Mailbox>,
    /// What the user may do here.
    pub(super) rights: Rights,
    /// Its name, where it is of somebody else.
    pub(super) shared_as: Option<MailboxName>,
    /// EXAMINE.
    pub(super) read_only: bool,
    pub(super) view: View,
    /// Wakes on changes.
    pub(super) changes: watch::Receiver<u64>,
    /// The state of the mailbox that the view was brought to.
    pub(super) snapshot: Arc<Snapshot>,
    /// Whether expunges of that state were held back.
    held: bool,
    /// Whether that state was taken over before its news were told.
    untold: bool,
    /// The mod-sequence up to which the client was told everything, expunges too.
    complete: u64,
    /// The client was told that it is behind, by a HIGHESTMODSEQ below others that it knows.
    behind: bool,
    /// Whether the client hears of `\Recent`, which IMAP4rev2 does not know.
    tells_recent: bool,
    /// UIDs that are `\Recent` here and were not in the view when they were claimed.
    claimed: HashSet<Uid>,
    /// Messages that this session added itself and was not told of yet.
    own: Vec<Uid>,
    /// UIDs that a SEARCH saved, `$` (RFC 5182). Those that are expunged name nothing any more, and never will.
    pub(super) saved: Ranges,
    /// Searches that are kept up to date (RFC 5267).
    pub(super) live: Vec<LiveSearch>,
    /// Where counting came to in a large message.
    pub(super) mark: Option<Mark>,
}

impl Selected {
    /// Opens a mailbox for a session.
    pub(super) async fn open(
        mailbox: Arc<Mailbox>,
        read_only: bool,
        rights: Rights,
        enabled: Enabled,
    ) -> Result<Self, StoreError> {
        let changes = mailbox.changes();
        let snapshot = mailbox.refresh().await?;
        let mut selected = Self {
            mailbox,
            rights,
            shared_as: None,
            read_only,
            view: View::default(),
            changes,
            snapshot,
            held: true,
            untold: false,
            complete: 0,
            behind: false,
            tells_recent: !enabled.rev2,
            claimed: HashSet::new(),
            own: Vec::new(),
            saved: Ranges::default(),
            live: Vec::new(),
            mark: None,
        };
        selected.claim().await?;
        let entries = selected.entries();
        selected.view = View::new(entries);
        selected.held = false;
        selected.complete = selected.snapshot.highest_modseq;
        selected.claimed.clear();
        Ok(selected)
    }

    /// Makes messages that nobody saw `\Recent` here, unless this is EXAMINE (RFC 3501 §2.3.2, §6.3.2).
    async fn claim(&mut self) -> Result<(), StoreError> {
        if !self.read_only && self.snapshot.messages.iter().any(Message::is_recent) {
            self.claimed.extend(self.mailbox.claim_recent().await?);
            self.snapshot = self.mailbox.snapshot();
        }
        Ok(())
    }

    /// The client speaks IMAP4rev2 from now on (RFC 9051 appendix E, 12).
    pub(super) fn forget_recent(&mut self) {
        self.tells_recent = false;
        self.view.forget_recent();
    }

    /// How long an idle session waits before it looks at the disk.
    pub(super) fn refresh(&self) -> Duration {
        // Results that time changes are looked at again as well.
        let is_timed = self.live.iter().any(|live| live.timed.is_some());
        if self.mailbox.is_told_of_changes() && !is_timed { IMAP_IDLE_REFRESH_WATCHED } else { IMAP_IDLE_REFRESH }
    }

    /// This session added messages to a mailbox, which may be this one.
    pub(super) fn added(&mut self, mailbox: &Arc<Mailbox>, uids: &[Uid]) {
        if Arc::ptr_eq(&self.mailbox, mailbox) {
            self.own.extend(uids);
        }
    }

    /// The messages behind this one that others added.
    pub(super) fn new_since(&mut self, last: Option<Uid>) -> Vec<Uid> {
        let own = std::mem::take(&mut self.own);
        let behind = self.view.entries().iter().rev().map(|e| e.uid).take_while(|uid| Some(*uid) > last);
        let mut new: Vec<Uid> = behind.filter(|uid| !own.contains(uid)).collect();
        new.reverse();
        new
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |m: &Message| Entry {
            uid: m.uid,
            flags: m.flags,
            recent: self.tells_recent && if self.read_only { m.is_recent() } else { self.claimed.contains(&m.uid) },
        };
        self.snapshot.messages.iter().map(entry).collect()
    }

    /// Brings the view up to date and writes what the client has to be told. `false`: the mailbox is gone, or is
    /// another one under the same name.
    pub(super) async fn announce(
        &mut self,
        wire: &mut Wire,
        expunges: Expunges,
        look: Look,
        enabled: Enabled,
        flags: bool,
    ) -> Result<Result<bool, StoreError>, End> {
        let before = (!self.live.is_empty()).then(|| self.view.clone());
        let news = match self.update(&mut wire.out, expunges, look).await {
            Ok(Some(news)) => news,
            Ok(None) => return Ok(Ok(false)),
            Err(error) => return Ok(Err(error)),
        };
        if let Some(before) = before {
            // RFC 5267 §4.3.4: before EXPUNGE.
            self.live.iter_mut().for_each(|live| live.drop_gone(&mut wire.out, &before, &self.view));
        }
        let mut news = news.into_iter().peekable();
        if enabled.qresync {
            // RFC 7162 §3.2.10: VANISHED takes the place of EXPUNGE, and one is enough.
            let gone = std::iter::from_fn(|| match news.peek() {
                Some(News::Expunge(_, uid)) => {
                    let uid = uid.get();
                    news.next();
                    Some(uid)
                }
                _ => None,
            });
            let gone = Ranges::from_ascending(gone);
            if !gone.is_empty() {
                wire.out.untagged(&format!("VANISHED {}", gone.to_text()));
            }
        }
        // RFC 5465 §5.1: who does not want to hear of flags does not.
        for item in news.filter(|item| flags || !matches!(item, News::Flags(..))) {
            self.write_news(&mut wire.out, item, enabled);
            wire.flush_if_full().await?;
        }
        self.account_for_held(&mut wire.out, enabled);
        Ok(Ok(true))
    }

    /// RFC 7162 §3.2: a client whose connection breaks while expunges are held back comes back with the last
    /// HIGHESTMODSEQ that it heard, so that must be from before them, whatever MODSEQ it heard since.
    fn account_for_held(&mut self, out: &mut Output, enabled: Enabled) {
        let is_behind = self.view.entries().len() > self.snapshot.messages.len();
        if !is_behind {
            self.complete = self.snapshot.highest_modseq;
        }
        if enabled.qresync && (is_behind || self.behind) {
            let words = if is_behind { "Expunges are still to be told" } else { "All is told" };
            out.untagged_status(&Status::ok(words).with(Code::HighestModSeq(self.complete)));
        }
        self.behind = is_behind;
    }

    /// Tells the keywords of a new state before a message that has them; what else is new there comes with the news.
    pub(super) fn take_keywords(&mut self, out: &mut Output, now: &Arc<Snapshot>) {
        if now.keywords != self.snapshot.keywords {
            self.snapshot = Arc::clone(now);
            self.untold = true;
            self.write_flags(out);
        }
    }

    /// Brings the view up to date; `None` where the mailbox is gone.
    async fn update(
        &mut self,
        out: &mut Output,
        expunges: Expunges,
        look: Look,
    ) -> Result<Option<Vec<News>>, StoreError> {
        let before = Arc::clone(&self.snapshot);
        let now = match look {
            Look::OnDisk => match self.mailbox.refresh().await {
                Err(StoreError::NoSuchMailbox) => return Ok(None),
                other => other?,
            },
            Look::InMemory if self.mailbox.is_gone() => return Ok(None),
            Look::InMemory => self.mailbox.snapshot(),
        };
        if now.validity != before.validity {
            return Ok(None);
        }
        let due = self.untold || (self.held && expunges == Expunges::Told);
        if Arc::ptr_eq(&now, &before) && !due {
            return Ok(Some(Vec::new()));
        }
        self.snapshot = now;
        // Until the news are made: where what follows fails, they come another time.
        self.untold = true;
        self.claim().await?;
        if self.snapshot.keywords != before.keywords {
            self.write_flags(out);
        }
        let entries = self.entries();
        let news = self.view.update(&entries, expunges);
        self.claimed.clear();
        self.held = expunges == Expunges::Held;
        self.untold = false;
        Ok(Some(news))
    }

    fn write_news(&self, out: &mut Output, news: News, enabled: Enabled) {
        match news {
            News::Expunge(n, _) => out.untagged(&format!("{n} EXPUNGE")),
            News::Exists(n) => out.untagged(&format!("{n} EXISTS")),
            News::Recent(_) if enabled.rev2 => {}
            News::Recent(n) => out.untagged(&format!("{n} RECENT")),
            News::Flags(n, entry) => {
                out.raw(&format!("* {n} FETCH (UID {} ", entry.uid));
                push_flags(out, &self.snapshot, entry.flags, entry.recent);
                if let Some(message) = self.snapshot.find(entry.uid).filter(|_| enabled.condstore) {
                    out.raw(" ");
                    push_modseq(out, message);
                }
                out.raw(")\r\n");
            }
        }
    }

    /// FLAGS and PERMANENTFLAGS (RFC 3501 §7.2.6, §7.1).
    pub(super) fn write_flags(&self, out: &mut Output) {
        let system = SystemFlag::ALL.into_iter().map(|f| f.name().to_owned());
        let keywords = self.snapshot.keywords.iter().filter(|k| !k.is_empty()).cloned();
        let all = system.chain(keywords).collect::<Vec<_>>().join(" ");
        out.untagged(&format!("FLAGS ({all})"));
        let full = self.snapshot.keywords.len() >= usize::from(KeywordSlot::COUNT);
        // RFC 4314 §5.2: what the user may change.
        let may = |flag: SystemFlag| self.rights.has(right_to_change(flag));
        let system = SystemFlag::ALL.into_iter().filter(|flag| may(*flag)).map(|f| f.name().to_owned());
        let writes = self.rights.has(Right::Write);
        let keywords = self.snapshot.keywords.iter().filter(|k| writes && !k.is_empty()).cloned();
        let new = Some("\\*".to_owned()).filter(|_| writes && !full);
        let permanent = match self.read_only {
            true => String::new(),
            false => system.chain(keywords).chain(new).collect::<Vec<_>>().join(" "),
        };
        out.untagged(&format!("OK [PERMANENTFLAGS ({permanent})] Flags that are kept"));
    }

    /// The UIDs of a set that went away after a mod-sequence; where that is no longer known, all that are not there.
    pub(super) fn vanished(&self, since: u64, set: &Ranges) -> Ranges {
        let given_out = Ranges::from_runs(self.snapshot.next.get().checked_sub(1).filter(|n| *n > 0).map(|n| (1, n)));
        let gone = match self.mailbox.vanished_since(since) {
            Vanished::These(runs) => Ranges::from_runs(runs.into_iter().map(|(a, b)| (a.get(), b.get()))),
            Vanished::Unknown => given_out.clone(),
        };
        let there = self.view.entries().iter().map(|entry| entry.uid.get());
        gone.intersection(&given_out).intersection(set).without(there)
    }

    /// Whether a command names sequence numbers that no message has.
    pub(super) fn exceeds(&self, numbers: Numbers, set: &SequenceSet) -> bool {
        numbers == Numbers::Sequence && set.exceeds(self.view.exists())
    }

    /// The messages of a set, in order, as numbers and entries.
    pub(super) fn resolve(&self, numbers: Numbers, set: &SequenceSet) -> Vec<(u32, Entry)> {
        let entries = (1..).zip(self.view.entries().iter().copied());
        if set.is_saved() {
            return within(entries, &self.saved, |(_, e)| e.uid.get());
        }
        match numbers {
            Numbers::Sequence => {
                let exists = Some(self.view.exists()).filter(|n| *n > 0);
                let ranges = set.resolve(exists);
                within(entries, &ranges, |(n, _)| *n)
            }
            Numbers::Uid => {
                let ranges = set.resolve(self.view.last_uid().map(Uid::get));
                within(entries, &ranges, |(_, e)| e.uid.get())
            }
        }
    }

    /// The UIDs of a set.
    pub(super) fn uids(&self, numbers: Numbers, set: &SequenceSet) -> Vec<Uid> {
        self.resolve(numbers, set).into_iter().map(|(_, e)| e.uid).collect()
    }
}

fn within(
    entries: impl Iterator<Item = (u32, Entry)>,
    ranges: &Ranges,
    key: impl Fn(&(u32, Entry)) -> u32,
) -> Vec<(u32, Entry)> {
    entries.filter(|entry| ranges.contains(key(entry))).collect()
}

/// The right that changing a flag needs (RFC 4314 §4).
pub(super) fn right_to_change(flag: SystemFlag) -> Right {
    match flag {
        SystemFlag::Seen => Right::Seen,
        SystemFlag::Deleted => Right::DeleteMessages,
        _ => Right::Write,
    }
}

/// Those of these flags that somebody with these rights may change.
pub(super) fn changeable(rights: Rights, system: Flags, keywords: &[String]) -> (Flags, Vec<String>) {
    let may = system.system().filter(|flag| rights.has(right_to_change(*flag)));
    let keywords = if rights.has(Right::Write) { keywords.to_vec() } else { Vec::new() };
    (may.fold(Flags::NONE, Flags::with), keywords)
}

/// Writes `FLAGS (…)`, `\Recent` first; a keyword whose name is lost is left out.
pub(super) fn push_flags(out: &mut Output, snapshot: &Snapshot, flags: Flags, recent: bool) {
    out.raw("FLAGS (");
    let mut before = false;
    let mut push = |name: &str| {
        if before {
            out.raw(" ");
        }
        before = true;
        out.raw(name);
    };
    if recent {
        push("\\Recent");
    }
    flags.system().for_each(|flag| push(flag.name()));
    if flags.has_keywords() {
        flags.keywords().filter_map(|slot| keyword_name(snapshot, slot)).for_each(push);
    }
    out.raw(")");
}

/// Writes `MODSEQ (…)` (RFC 7162 §3.1.4.2).
pub(super) fn push_modseq(out: &mut Output, message: &Message) {
    out.raw("MODSEQ (");
    out.number(message.modseq);
    out.raw(")");
}

fn keyword_name(snapshot: &Snapshot, slot: KeywordSlot) -> Option<&str> {
    snapshot.keywords.get(slot.index()).map(String::as_str).filter(|name| !name.is_empty())
}

/// The slot of a keyword, compared without case; `None` where the mailbox has none of this name.
pub(super) fn keyword_slot(snapshot: &Snapshot, name: &str) -> Option<KeywordSlot> {
    let at = snapshot.keywords.iter().position(|k| !k.is_empty() && k.eq_ignore_ascii_case(name))?;
    KeywordSlot::new(u8::try_from(at).ok()?)
}
