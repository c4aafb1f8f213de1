//! From the end of data to the answer: the stages of intake, then commit.
//!
//! Knows what is done in which order; each stage knows how.

use std::io;
use std::sync::Arc;

use crate::config::HookOn;
use crate::delivery::commit::Accepted;
use crate::delivery::commit::CommitError;
use crate::delivery::room::Room;
use crate::directory::Destination;
use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::intake;
use crate::intake::Arrival;
use crate::intake::Prepared;
use crate::intake::Refused;
use crate::intake::clean::Dispatch;
use crate::intake::hooks;
use crate::intake::hooks::Hooked;
use crate::intake::permit::Admitted;
use crate::intake::trace;
use crate::intake::trace::Spoken;
use crate::intake::trace::Trace;
use crate::intake::verdict;
use crate::mail::address::Address;
use crate::mail::ids::QueueId;
use crate::milter::Subject;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::Complete;
use crate::protocol::smtp::server::Role;
use crate::sender_auth::Facts;
use crate::sender_auth::policy::Action;
use crate::sender_auth::spf::SpfResult;

use super::Conversation;

/// A message that may be taken.
struct Judged {
    content: Content,
    /// Fields for its front.
    found: Vec<u8>,
    /// Why it goes to Junk.
    junk: Option<String>,
    fate: Fate,
    /// Whether its sender is known: one of ours, or one for whom SPF says that this client sends.
    vouched: bool,
}

/// What becomes of a message that is answered with yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// A hook throws it away.
    Discarded,
}

/// What was found out about the sender.
struct Authenticated {
    /// Fields that say so.
    fields: Vec<u8>,
    /// As [`Judged::vouched`].
    vouched: bool,
}

impl Conversation {
    pub(super) async fn end(&mut self, complete: Complete) -> Answer {
        self.messages = self.messages.saturating_add(1);
        let id = self.session.message(self.messages);
        let from = complete.envelope.sender.to_string();
        let to: Vec<String> = complete.envelope.recipients.iter().map(ToString::to_string).collect();
        let message = self.prepare(complete, &id).await;
        let size = message.as_ref().map_or(0, |(message, _)| message.content.len());
        let kept = match message {
            // A hook wants it so.
            Ok((_, Fate::Discarded)) => Ok(()),
            Ok((message, Fate::Kept)) if self.role == Role::Lmtp => {
                return Answer::KeptForSome(self.keep_for_each(message).await);
            }
            Ok((message, Fate::Kept)) => self.keep(message).await,
            Err(reply) => Err(reply),
        };
        match kept {
            Ok(()) => {
                tracing::info!(session = %self.session, %id, ?from, ?to, size, "message accepted");
                Answer::Kept(id)
            }
            Err(reply) => {
                tracing::info!(session = %self.session, %id, ?from, ?to, %reply, "message refused");
                Answer::Refused(reply)
            }
        }
    }

    /// Takes responsibility. Yes is durable.
    async fn keep(&self, message: Accepted) -> Result<(), Reply> {
        let id = message.id.clone();
        self.service.commit.commit(message).await.map_err(|error| self.failed(&id, error))
    }

    /// Takes responsibility for all recipients at once, so that they share the octets. Where a mailbox has no room
    /// nobody has it yet, and each recipient is tried by himself, under an id of his own: one full mailbox keeps nobody
    /// else's mail away.
    async fn keep_for_each(&self, message: Accepted) -> Vec<Result<QueueId, Reply>> {
        let (id, count) = (message.id.clone(), message.recipients.len());
        let together = Accepted { room: Room::of(None), ..message.clone() };
        match self.service.commit.commit(together).await {
            Ok(()) => {
                tracing::info!(session = %self.session, %id, recipients = count, "message accepted");
                return vec![Ok(id); count];
            }
            Err(CommitError::OverQuota | CommitError::LargerThanQuota) if count > 1 => {}
            Err(error) => return vec![Err(self.failed(&id, error)); count],
        }
        let mut outcomes = Vec::with_capacity(count);
        for (at, recipient) in message.recipients.iter().enumerate() {
            let Some(id) = message.id.part(&format!("r{at}")) else {
                outcomes.push(Err(Reply::local_trouble()));
                continue;
            };
            let to = recipient.address().to_string();
            let recipients = vec![recipient.clone()];
            let own = Accepted { id: id.clone(), recipients, room: Room::of(None), ..message.clone() };
            let kept = self.keep(own).await;
            match &kept {
                Ok(()) => tracing::info!(session = %self.session, %id, ?to, "message accepted"),
                Err(reply) => tracing::info!(session = %self.session, %id, ?to, %reply, "message refused"),
            }
            outcomes.push(kept.map(|()| id));
        }
        outcomes
    }

    /// The stages after the end of data.
    async fn prepare(&mut self, complete: Complete, id: &QueueId) -> Result<(Accepted, Fate), Reply> {
        let (recipients, room) = (std::mem::take(&mut self.recipients), std::mem::take(&mut self.room));
        let addresses = recipients.iter().map(Admitted::address);
        let content = match self.body.take() {
            // Machine and driver agree on whom the message is for, or nobody gets it.
            Some(body) if addresses.eq(&complete.envelope.recipients) => body.and_then(ContentWriter::finish),
            _ => Err(io::Error::other("a message without a transaction")),
        };
        let content = content.map_err(|error| self.failed(id, CommitError::from_io(error)))?;
        let received = self.service.clock.wall();
        let (sender, body) = (complete.envelope.sender.clone(), complete.envelope.body);
        let mut demands = complete.envelope.demands.clone();
        let all_here = recipients.iter().flat_map(Admitted::destinations).all(Destination::is_here);
        let sent_on = match self.role {
            // Who sends a message again that he got by an alias has logged in, and knows what he does.
            // Whoever hands over by LMTP may have written the field himself.
            Role::Submission | Role::Lmtp => Vec::new(),
            Role::Reception => verdict::sent_on(&recipients),
        };
        let judged = self.judge(content, &complete, id, sent_on, all_here).await?;
        if !judged.vouched {
            // Whoever is named as the sender did not ask for our notices; that he sent nothing here is still told.
            demands.report.keep_failures_only();
        }
        let (fate, junk) = (judged.fate, judged.junk.clone());
        let Prepared { trace, return_path, content } = self.stamp(judged, &complete, id);
        let id = id.clone();
        Ok((
            Accepted { id, sender, body, demands, junk, recipients, return_path, trace, content, received, room },
            fate,
        ))
    }

    /// Writes on top of a message what we write there.
    fn stamp(&self, judged: Judged, complete: &Complete, id: &QueueId) -> Prepared {
        let spoken = match self.role {
            Role::Lmtp => Spoken::Lmtp,
            Role::Reception | Role::Submission if complete.greeting.extended => Spoken::Esmtp,
            Role::Reception | Role::Submission => Spoken::Smtp,
        };
        let facts = Trace {
            greeting: &complete.greeting.name,
            client_name: self.visit.client_name(),
            spoken,
            international: complete.envelope.demands.international,
            authenticated: complete.authenticated,
            tls: complete.tls.as_ref(),
            peer: self.peer,
            hostname: self.config.hostname.as_str(),
            id,
            sender: &complete.envelope.sender,
            recipients: &complete.envelope.recipients,
        };
        intake::stamp(judged.content, &facts, judged.found, &self.service.zone, self.service.clock.wall())
    }

    /// Runs a stage of intake; for a message in a file, on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        id: &QueueId,
        content: Content,
        stage: impl FnOnce(Content) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Reply> {
        let done = if content.in_memory().is_some() {
            stage(content)
        } else {
            let done = tokio::task::spawn_blocking(move || stage(content)).await;
            done.unwrap_or_else(|error| Err(Refused::Trouble(io::Error::other(error))))
        };
        done.map_err(|refused| self.refused(id, refused))
    }

    fn dispatch(&self) -> Dispatch {
        match self.role {
            Role::Reception if self.network.is_some() => Dispatch::Trusted,
            Role::Reception | Role::Lmtp => Dispatch::Reception,
            Role::Submission => Dispatch::Submission,
        }
    }

    fn refused(&self, id: &QueueId, refused: Refused) -> Reply {
        match refused {
            Refused::Policy(reply) => reply,
            Refused::Trouble(error) => self.failed(id, CommitError::from_io(error)),
        }
    }

    /// What is thought of a message: its header, who sent it, what the hooks say, and what follows.
    async fn judge(
        &self,
        content: Content,
        complete: &Complete,
        id: &QueueId,
        sent_on: Vec<Address>,
        all_here: bool,
    ) -> Result<Judged, Reply> {
        let (service, config, dispatch) = (Arc::clone(&self.service), Arc::clone(&self.config), self.dispatch());
        let own_id = id.clone();
        let examine = move |content: Content| {
            let arrival = Arrival {
                dispatch,
                sent_on: &sent_on,
                id: &own_id,
                hostname: config.hostname.as_str(),
                zone: &service.zone,
                now: service.clock.wall(),
                spool: &config.storage.folder,
            };
            intake::examine(&content, &arrival)
        };
        let clean = self.run(id, content.clone(), examine).await?;
        let on = match self.role {
            Role::Reception => HookOn::Smtp,
            Role::Submission => HookOn::Submission,
            // Whoever hands over by LMTP has judged it.
            Role::Lmtp => {
                let found = Vec::new();
                return Ok(Judged { content: clean, found, junk: None, fate: Fate::Kept, vouched: true });
            }
        };
        let mut junk = self.visit.junk();
        let Authenticated { fields: mut found, vouched } = self.authenticate(&content, complete, id, &mut junk).await?;
        let asked = self.config.milters.iter().any(|entry| entry.on.contains(&on));
        let subject = || Subject {
            hostname: self.config.hostname.to_string(),
            daemon: if on == HookOn::Submission { "ORIGINATING" } else { "MTA" },
            ip: self.peer,
            client_name: self.visit.client_name().map(str::to_owned),
            helo: complete.greeting.name.clone(),
            tls: complete.tls.as_ref().map(|tls| (tls.version().to_owned(), tls.cipher().to_owned())),
            user: self.user.as_ref().map(|user| user.account().address().to_string()),
            id: id.to_string(),
            sender: complete.envelope.sender.clone(),
            recipients: complete.envelope.recipients.clone(),
            max_size: self.config.smtp.max_message_size.octets(),
        };
        let hooked = if asked {
            let hooked = hooks::ask(&self.config, on, all_here, &subject(), clean, self.spool()).await;
            hooked.map_err(|refused| self.refused(id, refused))?
        } else {
            Hooked { content: clean, junk: Vec::new(), discarded: false }
        };
        junk.extend(hooked.junk);
        found.extend(trace::junk_reason(&junk));
        let junk = (!junk.is_empty()).then(|| junk.join("; "));
        let fate = if hooked.discarded { Fate::Discarded } else { Fate::Kept };
        Ok(Judged { content: hooked.content, found, junk, fate, vouched })
    }

    /// Finds out who sent a stranger's message, and what its domains want done with it.
    async fn authenticate(
        &self,
        content: &Content,
        complete: &Complete,
        id: &QueueId,
        junk: &mut Vec<String>,
    ) -> Result<Authenticated, Reply> {
        if self.role != Role::Reception || self.network.is_some() {
            return Ok(Authenticated { fields: Vec::new(), vouched: true });
        }
        let Some(sender_auth) = &self.service.sender_auth else {
            return Ok(Authenticated { fields: Vec::new(), vouched: false });
        };
        let facts = Facts {
            ip: self.peer,
            helo: &complete.greeting.name,
            mail_from: &complete.envelope.sender,
            client_name: self.visit.name(),
        };
        let judged = Box::pin(sender_auth.judge(&self.config, &facts, content)).await;
        let verdict = judged.map_err(|error| self.failed(id, CommitError::from_io(error)))?;
        match verdict.action {
            Action::Accept => {}
            Action::Junk { reason } => junk.push(reason),
            Action::Later { reason } => return Err(Reply::sender_in_doubt(&reason)),
            Action::Reject { status, reason } => return Err(Reply::not_from_its_sender(status, &reason)),
        }
        let vouched = verdict.spf.is_some_and(|spf| spf.result == SpfResult::Pass);
        let mut fields = verdict.results_field;
        fields.extend(verdict.received_spf);
        Ok(Authenticated { fields, vouched })
    }

    /// Tells the operator what went wrong and gives the reply for the peer, who keeps the mail.
    fn failed(&self, id: &QueueId, error: CommitError) -> Reply {
        match &error {
            // The owner's business, and nothing is wrong here.
            CommitError::OverQuota | CommitError::LargerThanQuota => {
                tracing::info!(session = %self.session, %id, %error, "message not kept");
            }
            _ => tracing::error!(session = %self.session, %id, %error, "message not kept"),
        }
        match error {
            CommitError::OverQuota => Reply::mailbox_full(),
            CommitError::LargerThanQuota => Reply::larger_than_mailbox(),
            CommitError::Full(_) => Reply::disk_full(),
            CommitError::Trouble(_) => Reply::local_trouble(),
        }
    }
}
