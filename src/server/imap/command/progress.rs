//! How far a long command is (RFC 9585 §4): counted by whoever works, told by the session that waits.

use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::mail::limits::IMAP_PROGRESS;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

/// Messages a command is through with, of so many.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: AtomicUsize,
    goal: AtomicUsize,
}

impl Progress {
    /// So many more are to be done.
    pub(super) fn expect(&self, more: usize) {
        self.goal.fetch_add(more, Ordering::Relaxed);
    }

    /// So many more are done.
    pub(super) fn advance(&self, by: usize) {
        self.done.fetch_add(by, Ordering::Relaxed);
    }

    /// `INPROGRESS` with what is known.
    fn to_text(&self, tag: &str) -> String {
        let goal = self.goal.load(Ordering::Relaxed);
        // Nothing is more than done, and a goal is not 0 (RFC 9585 §8).
        let done = self.done.load(Ordering::Relaxed).min(goal);
        if goal == 0 {
            return format!("OK [INPROGRESS (\"{tag}\" NIL NIL)] Still at it");
        }
        format!("OK [INPROGRESS (\"{tag}\" {done} {goal})] Still at it")
    }
}

/// Waits for `work` on behalf of the client, as [`crate::server::imap::wire::Wire::attend`], and tells it now and then
/// how far the work is: mail programs give up on a server that says nothing.
pub(super) async fn attend<T>(
    session: &mut Session,
    progress: &Progress,
    work: impl Future<Output = T>,
) -> Result<T, End> {
    let tag = &session.tag;
    session.wire.attend_telling(work, IMAP_PROGRESS, |out| out.untagged(&progress.to_text(tag))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        let progress = Progress::default();
        assert_eq!(progress.to_text("a1"), "OK [INPROGRESS (\"a1\" NIL NIL)] Still at it");
        progress.expect(500);
        progress.advance(175);
        progress.expect(500);
        assert_eq!(progress.to_text("a1"), "OK [INPROGRESS (\"a1\" 175 1000)] Still at it");
        progress.advance(9000);
        assert_eq!(progress.to_text("a1"), "OK [INPROGRESS (\"a1\" 1000 1000)] Still at it");
    }
}
