//! The ESEARCH response (RFC 4731 §3, RFC 9051 §7.3.4), and what a searching command saves.
//!
//! Written piece by piece: the set of a large result is not made as a whole.

use super::finding::Found;
use super::finding::Matches;
use crate::mail::ids::UidValidity;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::esearch::ReturnOption;
use crate::protocol::imap::syntax::esearch::Returns;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::syntax::set::range_text;
use crate::protocol::imap::syntax::set::runs;
use crate::server::imap::wire::End;
use crate::server::imap::wire::Wire;

/// Which search is answered, and how.
pub(super) struct Answer<'a> {
    pub(super) tag: &'a str,
    /// Name on the wire and UIDVALIDITY, where several mailboxes are searched (RFC 7377 §2.1).
    pub(super) place: Option<(&'a str, UidValidity)>,
    pub(super) numbers: Numbers,
    pub(super) returns: &'a Returns,
    /// Whether the search asked for mod-sequences (RFC 4731 §3.2).
    pub(super) mod_sequences: bool,
}

impl Answer<'_> {
    /// Writes the response.
    pub(super) async fn write(&self, wire: &mut Wire, matches: &Matches) -> Result<(), End> {
        self.head(wire);
        let (first, last) = (matches.first(), matches.last());
        if let Some(found) = first.first().filter(|_| self.returns.has(ReturnOption::Min)) {
            wire.out.raw(&format!(" MIN {}", found.named(self.numbers)));
        }
        if let Some(found) = last.last().filter(|_| self.returns.has(ReturnOption::Max)) {
            wire.out.raw(&format!(" MAX {}", found.named(self.numbers)));
        }
        if self.returns.has(ReturnOption::Count) {
            wire.out.raw(&format!(" COUNT {}", first.len()));
        }
        if self.returns.has(ReturnOption::All) && !first.is_empty() {
            wire.out.raw(" ALL ");
            self.set(wire, first).await?;
        }
        if let Some(partial) = self.returns.partial() {
            wire.out.raw(&format!(" PARTIAL ({} ", partial.to_text()));
            match part(self.returns, matches) {
                // RFC 9394 §3.1.
                [] => wire.out.raw("NIL"),
                these => self.set(wire, these).await?,
            }
            wire.out.raw(")");
        }
        if self.mod_sequences
            && let Some(highest) = returned(self.returns, matches).iter().map(|f| f.modseq).max()
        {
            wire.out.raw(&format!(" MODSEQ {highest}"));
        }
        wire.out.raw("\r\n");
        wire.flush_if_full().await
    }

    /// Everything up to the data. RFC 4466 §2.6.2: the tag is a string; Outlook takes nothing else.
    fn head(&self, wire: &mut Wire) {
        wire.out.raw("* ESEARCH (TAG ");
        wire.out.string(self.tag.as_bytes());
        if let Some((name, validity)) = self.place {
            wire.out.raw(" MAILBOX ");
            wire.out.string(name.as_bytes());
            wire.out.raw(&format!(" UIDVALIDITY {validity}"));
        }
        wire.out.raw(if self.numbers == Numbers::Uid { ") UID" } else { ")" });
    }

    async fn set(&self, wire: &mut Wire, found: &[Found]) -> Result<(), End> {
        let numbers = self.numbers;
        write_set(wire, Box::new(found.iter().map(move |f| f.named(numbers)))).await
    }
}

/// A set of numbers in the order in which they come.
pub(super) async fn write_set(wire: &mut Wire, numbers: Box<dyn Iterator<Item = u32> + Send + '_>) -> Result<(), End> {
    for (nth, range) in runs(numbers).enumerate() {
        if nth > 0 {
            wire.out.raw(",");
        }
        wire.out.raw(&range_text(range));
        wire.flush_if_full().await?;
    }
    Ok(())
}

/// The part that is asked for.
fn part<'a>(returns: &Returns, matches: &'a Matches) -> &'a [Found] {
    let Some(partial) = returns.partial() else { return &[] };
    let end = if partial.is_from_end() { matches.last() } else { matches.first() };
    &end[partial.of(end.len())]
}

/// The messages that are returned, or of which something is told.
fn returned(returns: &Returns, matches: &Matches) -> Vec<Found> {
    if returns.saves_all() {
        return matches.first().to_vec();
    }
    let mut these = part(returns, matches).to_vec();
    these.extend(matches.first().first().filter(|_| returns.has(ReturnOption::Min)));
    these.extend(matches.last().last().filter(|_| returns.has(ReturnOption::Max)));
    these
}

/// What `$` means afterwards (RFC 5182 §2.4, RFC 9394 §3.2).
pub(super) fn saved(returns: &Returns, matches: &Matches) -> Ranges {
    let mut uids: Vec<u32> = returned(returns, matches).iter().map(|f| f.uid.get()).collect();
    uids.sort_unstable();
    uids.dedup();
    Ranges::from_ascending(uids)
}
