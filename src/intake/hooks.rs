//! The content hooks: every milter is asked in turn, and sees what the one before it has changed.
//!
//! Turns what milters think into what becomes of the message. Knows nothing of their protocol.

use std::path::Path;

use crate::config::Config;
use crate::config::HookFailure;
use crate::config::HookOn;
use crate::config::HookRefusal;
use crate::config::MilterEntry;
use crate::fsio::Content;
use crate::intake::Refused;
use crate::milter;
use crate::milter::Changes;
use crate::milter::Judgement;
use crate::milter::Subject;
use crate::protocol::smtp::reply::Reply;

/// What the hooks made of a message.
#[derive(Debug, Clone)]
pub struct Hooked {
    /// The message, as they want it.
    pub content: Content,
    /// Why it belongs into Junk; empty where nobody says so.
    pub junk: Vec<String>,
    /// It is to be thrown away, and its sender to be told yes: whoever runs the hook takes the blame.
    pub discarded: bool,
}

/// Asks all hooks for this kind of mail. Takes as long as their time limits together at most. What they refuse is filed
/// in Junk only where `all_here`: a message that goes elsewhere goes there, or is refused.
///
/// # Errors
/// A hook refuses it, or gives no judgement and the configuration says that none is no yes.
pub async fn ask(
    config: &Config,
    on: HookOn,
    all_here: bool,
    subject: &Subject,
    content: Content,
    spool: &Path,
) -> Result<Hooked, Refused> {
    let mut hooked = Hooked { content, junk: Vec::new(), discarded: false };
    for entry in config.milters.iter().filter(|entry| entry.on.contains(&on)) {
        let id = &subject.id;
        match milter::ask(entry, subject, &hooked.content, spool).await {
            Ok(Judgement::Pass(changes)) => {
                hooked.junk.extend(marks(config, entry, &changes));
                hooked.content = apply(*changes, hooked.content, spool).await?;
            }
            Ok(Judgement::Discard) => {
                tracing::info!(id, milter = %entry.address.value, "a milter throws the message away");
                hooked.discarded = true;
                return Ok(hooked);
            }
            Ok(Judgement::Refuse(code, text)) => {
                let reply = Reply::of_filter(code, text.as_deref());
                tracing::info!(id, milter = %entry.address.value, %reply, "a milter refuses the message");
                let temporary = code < 500;
                if temporary || !all_here || entry.refused == HookRefusal::Refuse {
                    return Err(Refused::Policy(reply));
                }
                hooked.junk.push(format!("milter {}: {reply}", entry.address.value));
            }
            Err(fault) => {
                tracing::error!(id, milter = %entry.address.value, %fault, "no judgement of a milter");
                match entry.default_action {
                    HookFailure::TempFail => return Err(Refused::Policy(Reply::filter_out_of_reach())),
                    HookFailure::Junk if all_here => {
                        hooked.junk.push(format!("milter {}: no judgement", entry.address.value));
                    }
                    HookFailure::Accept | HookFailure::Junk => {}
                }
            }
        }
    }
    Ok(hooked)
}

/// The marks among the fields that a milter added, and its wish to set the message apart.
fn marks(config: &Config, entry: &MilterEntry, changes: &Changes) -> Vec<String> {
    let fields = || changes.header.iter().filter_map(milter::HeaderChange::field);
    let found = config.junk.marks.iter().filter(|mark| fields().any(|field| field.is(mark)));
    let reason = |what: &str| format!("milter {}: {what}", entry.address.value);
    found
        .map(|mark| reason(mark))
        .chain(changes.quarantine.iter().map(|why| reason(&format!("quarantine, {why}"))))
        .collect()
}

/// Changes a message; one in a file, on a thread that may wait for the disk.
async fn apply(changes: Changes, content: Content, spool: &Path) -> Result<Content, Refused> {
    let in_memory =
        content.in_memory().is_some() && changes.body.as_ref().is_none_or(|body| body.in_memory().is_some());
    if in_memory {
        return changes.apply(&content, spool).map_err(Refused::Trouble);
    }
    let spool = spool.to_owned();
    let changed = tokio::task::spawn_blocking(move || changes.apply(&content, &spool)).await;
    changed.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(Refused::Trouble)
}
