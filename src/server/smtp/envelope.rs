//! MAIL and RCPT: who may send, how much, and to whom.

use std::sync::Arc;
use std::sync::PoisonError;

use crate::delivery::room::Room;
use crate::fsio;
use crate::intake::checks::Finding;
use crate::intake::checks::Outcome;
use crate::intake::permit::RelayPermit;
use crate::intake::recipient::Asker;
use crate::intake::recipient::Desk;
use crate::intake::recipient::Thoroughness;
use crate::mail::address::Address;
use crate::mail::limits::UNKNOWN_RECIPIENTS_END;
use crate::mail::limits::UNKNOWN_RECIPIENTS_SLOW;
use crate::protocol::smtp::Mail;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Role;
use crate::sender_auth::Facts;

use super::Conversation;
use super::UNKNOWN_RECIPIENT_PAUSE;

impl Conversation {
    pub(super) fn mail(&mut self, mail: &Mail, authenticated: bool, greeting: String) -> Result<(), Reply> {
        self.forget_transaction();
        self.declared = mail.size.unwrap_or(0);
        (self.sender, self.greeting) = (mail.sender.clone(), greeting);
        if !authenticated {
            self.user = None;
        }
        let of_user = self.user.as_ref().map(RelayPermit::of_user);
        self.room = Room::of(of_user.as_ref().or(self.network.as_ref()));
        let sender = mail.sender.to_string();
        if let Some(address) = mail.sender.address()
            && self.role == Role::Submission
            && !self.user.as_ref().is_some_and(|user| self.service.directory.load().may_send_as(user, address))
        {
            let user = self.user.as_ref().map(|user| user.account().address().to_string());
            tracing::info!(session = %self.session, ?sender, ?user, "sender refused: not an address of this user");
            return Err(Reply::sender_not_owned());
        }
        self.check_disk(mail.size.unwrap_or(0))?;
        if let Some(place) = self.place.take() {
            place.lock().unwrap_or_else(PoisonError::into_inner).settle();
        }
        Ok(())
    }

    /// Whether there is room for the message and what becomes of it. `statvfs` reads no disk, so it may run here.
    fn check_disk(&self, size: u64) -> Result<(), Reply> {
        let wanted = size.saturating_mul(2).max(self.config.smtp.min_free.octets());
        match fsio::free_octets(&self.config.storage.folder) {
            Ok(free) if free >= wanted => Ok(()),
            Ok(free) => {
                tracing::error!(session = %self.session, free, wanted, "mail refused: disk full");
                Err(Reply::disk_full())
            }
            Err(error) => {
                tracing::error!(session = %self.session, %error, "mail refused: cannot see how much of the disk is free");
                Err(Reply::local_trouble())
            }
        }
    }

    pub(super) async fn rcpt(&mut self, address: Address) -> Result<(), Reply> {
        let (service, config) = (Arc::clone(&self.service), Arc::clone(&self.config));
        let of_user = self.user.as_ref().map(RelayPermit::of_user);
        let (sender, helo) = (self.sender.clone(), self.greeting.clone());
        let permit = of_user.as_ref().or(self.network.as_ref());
        let handed_over = self.role == Role::Lmtp;
        let facts = Facts { ip: self.peer, helo: &helo, mail_from: &sender, client_name: None };
        let asker = Asker { facts, handed_over, permit };
        let directory = service.directory.load_full();
        let desk = Desk {
            config: &config,
            directory: &directory,
            gate: &service.gate,
            greylist: &service.greylist,
            now: service.clock.wall(),
            thoroughness: Thoroughness::Decide,
        };
        if handed_over && !directory.is_local(address.domain()) {
            // RFC 2033 §5: LMTP is for mailboxes here.
            return Err(Reply::unknown_recipient());
        }
        let decision = desk.decide(&mut self.visit, &asker, address.clone()).await;
        self.log(&decision.findings, &address);
        match decision.answer {
            Ok(admitted) => {
                if let Err(reply) = self.room.take(&self.service.store, &admitted, self.declared).await {
                    tracing::info!(session = %self.session, peer = %self.peer, to = ?address.to_string(), %reply, "recipient refused");
                    return Err(reply);
                }
                self.recipients.push(admitted);
                Ok(())
            }
            Err(reply) if decision.unknown => self.slow_down(reply).await,
            Err(reply) => Err(reply),
        }
    }

    /// Names the rule of every refusal, and what is only marked.
    fn log(&self, findings: &[Finding], to: &Address) {
        let (to, from) = (to.to_string(), self.sender.to_string());
        for finding in findings {
            let (rule, found) = (finding.rule.key(), &finding.found);
            match &finding.outcome {
                Outcome::Refused(reply) => {
                    tracing::info!(session = %self.session, peer = %self.peer, helo = ?self.greeting, ?from, ?to, rule, ?found, %reply, "recipient refused");
                }
                Outcome::Marked | Outcome::Junk => {
                    tracing::info!(session = %self.session, peer = %self.peer, helo = ?self.greeting, ?from, rule, ?found, "marked");
                }
                Outcome::Passed | Outcome::Skipped => {}
            }
        }
    }

    /// One unknown recipient more: a stranger who tries names gets slower answers, then none.
    async fn slow_down(&mut self, reply: Reply) -> Result<(), Reply> {
        if self.role != Role::Reception || self.network.is_some() {
            return Err(reply);
        }
        self.unknown += 1;
        if self.unknown >= UNKNOWN_RECIPIENTS_END {
            return Err(Reply::too_many_unknown());
        }
        if self.unknown > UNKNOWN_RECIPIENTS_SLOW {
            tokio::time::sleep(UNKNOWN_RECIPIENT_PAUSE).await;
        }
        Err(reply)
    }
}
