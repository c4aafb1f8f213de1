//! Carries mail out of the queue: to an inbox here, or over the hops of a route until one has it.

use std::sync::Arc;
use std::sync::OnceLock;

use arc_swap::ArcSwap;

use super::commit::Accepted;
use super::commit::Commit;
use super::pace::Pace;
use super::remote;
use super::remote::Ended;
use super::remote::Terms;
use super::room::Room;
use super::route;
use super::route::Found;
use super::route::Hop;
use super::route::deferred;
use super::route::failed;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::OutboundTls;
use crate::directory::Account;
use crate::directory::Destination;
use crate::directory::Directory;
use crate::directory::Resolution;
use crate::dns::Dns;
use crate::fsio::Content;
use crate::intake::permit;
use crate::intake::permit::RelayPermit;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::limits::HEADER_OCTETS;
use crate::mail::mailbox::SpecialUse;
use crate::mail::status::Permanence;
use crate::protocol::smtp::client;
use crate::protocol::smtp::client::Fate;
use crate::protocol::smtp::client::TlsWish;
use crate::queue;
use crate::queue::Handover;
use crate::queue::Job;
use crate::queue::Notice;
use crate::queue::Outcome;
use crate::queue::Pending;
use crate::queue::Transport;
use crate::store::Delivery;
use crate::store::Store;
use crate::store::StoreError;
use crate::tls;

/// The way out of the queue.
pub struct Outbound {
    config: Arc<ArcSwap<Config>>,
    directory: Arc<ArcSwap<Directory>>,
    dns: Dns,
    store: Arc<Store>,
    commit: Arc<dyn Commit>,
    clock: Clock,
    client_config: Arc<rustls::ClientConfig>,
    /// The same for mail that requires TLS, made at the first.
    verifying: OnceLock<Arc<rustls::ClientConfig>>,
    /// Of notices to other servers.
    pace: Pace,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

impl Outbound {
    /// With these services.
    ///
    /// # Errors
    /// Never with the TLS provider that is built in.
    pub fn new(
        config: Arc<ArcSwap<Config>>,
        directory: Arc<ArcSwap<Directory>>,
        dns: Dns,
        store: Arc<Store>,
        commit: Arc<dyn Commit>,
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        let (client_config, verifying) = (tls::any_certificate()?, OnceLock::new());
        let pace = Pace::default();
        Ok(Self { config, directory, dns, store, commit, clock, client_config, verifying, pace })
    }

    async fn carry(&self, job: Job) -> Vec<(Address, Outcome)> {
        let Some(domain) = job.recipients.first().map(|r| r.domain().clone()) else { return Vec::new() };
        if self.directory.load().is_local(&domain) {
            return self.to_inboxes(job).await;
        }
        let config = self.config.load_full();
        match route::hops(&domain, &config.outbound, &config.hostname, &self.dns).await {
            Ok(found) => self.over(found, job, &config).await,
            Err(outcome) => same(job.recipients, &outcome),
        }
    }

    /// Tries one hop after the other with those recipients that have no answer yet. Where no hop takes the message it
    /// failed for good only if every one of them said so for good.
    async fn over(&self, found: Found, job: Job, config: &Config) -> Vec<(Address, Outcome)> {
        let mut outcomes = Vec::new();
        let mut left = job.recipients;
        let mut why = found.doubt;
        let international_header = match job.demands.international.then(|| has_utf8_header(&job.content)) {
            Some(Err(error)) => return same(left, &deferred("4.3.0", &error.to_string())),
            Some(Ok(has)) => has,
            None => false,
        };
        // RFC 8689 §5: notices are not lost for it.
        let require_tls = job.demands.require_tls && job.sender.address().is_some();
        let client_config = match if require_tls { self.verifying() } else { Ok(Arc::clone(&self.client_config)) } {
            Ok(client_config) => client_config,
            // Ours to repair, and no reason to give the mail up.
            Err(why) => {
                let why = format!("the certificates of other hosts cannot be verified: {why}");
                return same(left, &deferred("4.3.5", &why));
            }
        };
        for hop in found.hops {
            let message = client::Job {
                sender: job.sender.clone(),
                recipients: left.clone(),
                body: job.body,
                demands: job.demands.clone(),
                international_header,
                size: job.content.wire_len(),
                content: job.content.clone(),
            };
            match self.offer(&hop, message, config, &client_config).await {
                Ended::Outcome(outcome) => {
                    let next_hop = outcome.session.is_some();
                    let mut again = Vec::new();
                    for (recipient, fate) in left.into_iter().zip(outcome.fates) {
                        // Without TLS, or without the promise to keep to it: another host may do better.
                        let unfit = matches!(&fate, Fate::Failed(failure) if !failure.remote);
                        let outcome = outcome_of(fate, &hop, outcome.reports);
                        // The session broke, so a temporary answer is not this recipient's own: another host may do.
                        if next_hop && (unfit || matches!(outcome, Outcome::Deferred { .. })) {
                            why = Some(unless_deferred(why, outcome));
                            again.push(recipient);
                        } else {
                            outcomes.push((recipient, outcome));
                        }
                    }
                    left = again;
                }
                // RFC 8689 §4.2.1. A certificate that does not verify today will hardly do so tomorrow.
                Ended::NoTls { why: text, certificate: true } if require_tls => {
                    why = Some(unless_deferred(why, failed("5.7.10", &text)));
                }
                Ended::NoTls { why: text, .. } | Ended::NoConnection(text) => {
                    why = Some(unless_deferred(why, deferred("4.4.1", &text)));
                }
            }
            if left.is_empty() {
                break;
            }
        }
        let why = why.unwrap_or_else(|| deferred("4.4.1", "no host was tried"));
        outcomes.extend(left.into_iter().map(|recipient| (recipient, why.clone())));
        outcomes
    }

    /// For mail that requires TLS. What is wrong with the file of authorities is not kept: it may be there the next time.
    fn verifying(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        if let Some(known) = self.verifying.get() {
            return Ok(Arc::clone(known));
        }
        let made = tls::verified_certificate()?;
        Ok(Arc::clone(self.verifying.get_or_init(|| made)))
    }

    /// One hop; once more without TLS where the handshake failed: opportunistic TLS must not lose mail (RFC 7435 §3).
    async fn offer(
        &self,
        hop: &Hop,
        job: client::Job<Content>,
        config: &Config,
        client_config: &Arc<rustls::ClientConfig>,
    ) -> Ended {
        let require_tls = job.demands.require_tls && job.sender.address().is_some();
        let wish = match config.outbound.tls {
            _ if require_tls => TlsWish::Required,
            OutboundTls::Opportunistic => TlsWish::WhenOffered,
            OutboundTls::Off => TlsWish::Never,
        };
        let mut terms = Terms {
            hostname: config.hostname.to_string(),
            tls: wish,
            connect_timeout: config.outbound.connect_timeout,
            // RFC 8689 §4.2.1: where TLS is required the certificate has to be the host's.
            client_config: Arc::clone(client_config),
        };
        if require_tls {
            return remote::send(hop, job, &terms, &self.clock).await;
        }
        match remote::send(hop, job.clone(), &terms, &self.clock).await {
            Ended::NoTls { why, .. } => {
                tracing::warn!(host = hop.host, %why, "no TLS with this host; going on without");
                terms.tls = TlsWish::Never;
                remote::send(hop, job, &terms, &self.clock).await
            }
            other => other,
        }
    }

    /// Inboxes that could not take the message when it came.
    async fn to_inboxes(&self, job: Job) -> Vec<(Address, Outcome)> {
        let mut outcomes = Vec::new();
        let mut ready: Vec<(Address, Arc<Account>)> = Vec::new();
        for recipient in job.recipients {
            let directory = self.directory.load();
            // The mailbox itself: aliases were followed when the message came.
            match (directory.account(&recipient), directory.resolve(&recipient)) {
                (Some(account), _) => ready.push((recipient, Arc::clone(account))),
                // It was an account when the message came, and is an alias since.
                (None, Resolution::Local(_) | Resolution::Trouble) => {
                    outcomes.push((recipient, deferred("4.3.5", "the address is no mailbox any more")));
                }
                (None, Resolution::Unknown | Resolution::Expired | Resolution::Elsewhere) => {
                    outcomes.push((recipient, failed("5.1.1", "there is no such mailbox any more")));
                }
            }
        }
        let delivery = Delivery {
            id: job.id,
            prefix: format!("Return-Path: <{}>\n", job.sender).into_bytes(),
            content: job.content,
            maildirs: ready.iter().map(|(_, account)| account.maildir().to_owned()).collect(),
            received: self.clock.wall(),
            special_use: job.junk.map(|_| SpecialUse::Junk),
            again: true,
        };
        for ((recipient, _), done) in ready.into_iter().zip(self.store.deliver(delivery).await) {
            let outcome = match done {
                Ok(()) => Outcome::Delivered { by: "mailbox".to_owned(), how: Handover::Mailbox },
                Err(error @ StoreError::OverQuota) => deferred("4.2.2", &error.to_string()),
                Err(error @ StoreError::LargerThanQuota) => failed("5.2.2", &error.to_string()),
                Err(error) => deferred("4.2.0", &error.to_string()),
            };
            outcomes.push((recipient, outcome));
        }
        outcomes
    }

    /// A notice goes the way of any message of our own: into an inbox here, or back into the queue.
    async fn deliver_notice(&self, notice: Notice) -> Result<(), String> {
        let resolution = self.directory.load().resolve(&notice.to);
        let permit = RelayPermit::of_own_notice();
        let recipient = match permit::admit(notice.to, resolution, Some(&permit)) {
            Ok(recipient) => recipient,
            Err(reply) if reply.code() < 500 => return Err(reply.to_string()),
            // Nobody to be told any more: telling is done.
            Err(_) => return Ok(()),
        };
        let leaves = recipient.destinations().iter().any(|to| !matches!(to, Destination::Account(_)));
        if leaves && !self.pace.allows(recipient.address(), self.clock.instant()) {
            return Err("too many notices to other servers in this hour".to_owned());
        }
        let message = Accepted {
            id: notice.id,
            sender: ReversePath::Null,
            body: if notice.bytes.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBitMime },
            demands: notice.demands,
            junk: None,
            recipients: vec![recipient],
            return_path: b"Return-Path: <>\n".to_vec(),
            trace: Vec::new(),
            content: Content::from_bytes(notice.bytes),
            received: self.clock.wall(),
            room: Room::past_quota(),
        };
        self.commit.commit(message).await.map_err(|error| error.to_string())
    }
}

/// What a further hop said, unless it is for good and a hop before it left hope.
fn unless_deferred(before: Option<Outcome>, now: Outcome) -> Outcome {
    match (before, now) {
        (Some(hope @ Outcome::Deferred { .. }), Outcome::Failed { .. }) => hope,
        (_, now) => now,
    }
}

fn same(recipients: Vec<Address>, outcome: &Outcome) -> Vec<(Address, Outcome)> {
    recipients.into_iter().map(|recipient| (recipient, outcome.clone())).collect()
}

/// Whether the header has more than ASCII, so that it needs SMTPUTF8 (RFC 6531 §3.3).
fn has_utf8_header(content: &Content) -> std::io::Result<bool> {
    let head = content.head(HEADER_OCTETS)?;
    let end = memchr::memmem::find(&head, b"\n\n").unwrap_or(head.len());
    Ok(!head[..end].is_ascii())
}

fn outcome_of(fate: Fate, hop: &Hop, reports: bool) -> Outcome {
    match fate {
        Fate::Delivered(reply) => Outcome::Delivered {
            by: queue::quoted(&hop.host, &hop.address.to_string(), &reply.to_string()),
            how: if reports { Handover::Reported } else { Handover::Relayed },
        },
        Fate::Failed(failure) => {
            let status = failure.status.to_string();
            let why = if failure.remote {
                queue::quoted(&hop.host, &hop.address.to_string(), &failure.text)
            } else {
                format!("{} ({}) {}", hop.host, hop.address, failure.text)
            };
            match failure.permanence {
                Permanence::Temporary => Outcome::Deferred { status, why },
                Permanence::Permanent => Outcome::Failed { status, why },
            }
        }
    }
}

impl Transport for Outbound {
    fn attempt(&self, job: Job) -> Pending<'_, Vec<(Address, Outcome)>> {
        Box::pin(self.carry(job))
    }

    fn tell(&self, notice: Notice) -> Pending<'_, Result<(), String>> {
        Box::pin(self.deliver_notice(notice))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::io::BufReader;
    use std::io::Write;
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread::JoinHandle;

    use super::*;
    use crate::config;
    use crate::delivery::commit;
    use crate::delivery::commit::CommitError;
    use crate::mail::envelope::Demands;
    use crate::mail::ids::QueueId;

    struct Nowhere;

    impl Commit for Nowhere {
        fn commit(&self, _: Accepted) -> commit::Pending<'_, Result<(), CommitError>> {
            Box::pin(std::future::ready(Err(CommitError::Trouble("not in this test".to_owned()))))
        }
    }

    fn outbound() -> Outbound {
        let text = "hostname = \"mail.example.com\"\n[dns]\nresolver = \"off\"\n";
        let config = config::parse(Path::new("t.toml"), text).expect("valid");
        let dns = Dns::new(&config.dns).expect("off");
        let (directory, clock) = (Arc::new(ArcSwap::from_pointee(Directory::new(&config))), Clock::system());
        let store = Store::open(clock.clone());
        let config = Arc::new(ArcSwap::from_pointee(config));
        let outbound = Outbound::new(config, directory, dns, store, Arc::new(Nowhere), clock).expect("TLS");
        // Of the authorities of this machine nothing is asked here.
        outbound.verifying.set(tls::any_certificate().expect("TLS")).expect("the first");
        outbound
    }

    /// A server for one session: it greets, answers EHLO with `offers`, and every other command with `then`; where that
    /// is empty it hangs up.
    fn server(offers: &'static str, then: &'static str) -> (Hop, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let served = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("somebody comes");
            let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
            let mut stream = stream;
            stream.write_all(b"220 mx.example\r\n").expect("taken");
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                let answer = match line.as_str() {
                    "QUIT\r\n" => "221 2.0.0 bye\r\n",
                    ehlo if ehlo.starts_with("EHLO") => offers,
                    _ => then,
                };
                // After the yes to STARTTLS there is no handshake either.
                if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() || answer.starts_with("220") {
                    return;
                }
                line.clear();
            }
        });
        (Hop { host: "localhost".to_owned(), address }, served)
    }

    /// Nobody listens there.
    fn nobody() -> Hop {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        Hop { host: "localhost".to_owned(), address: free.local_addr().expect("bound") }
    }

    async fn status(outbound: &Outbound, hops: Vec<Hop>, doubt: Option<Outcome>) -> Outcome {
        let address = |text: &str| Address::parse(text).expect("valid");
        let job = Job {
            id: QueueId::parse("id-1").expect("valid"),
            sender: ReversePath::Address(address("alice@example.com")),
            recipients: vec![address("bob@remote.example")],
            body: BodyKind::SevenBit,
            demands: Demands { require_tls: true, ..Demands::default() },
            junk: None,
            content: Content::from_bytes(b"Subject: x\n\n".to_vec()),
        };
        let config = outbound.config.load_full();
        let mut outcomes = outbound.over(Found { hops, doubt }, job, &config).await;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0).1
    }

    const PLAIN: &str = "250 mx.example\r\n";
    const TLS: &str = "250-mx.example\r\n250 STARTTLS\r\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn mail_that_requires_tls_is_given_up_only_where_every_host_says_so_for_good() {
        let outbound = outbound();
        let is = |outcome: &Outcome, wanted: &str| match outcome {
            Outcome::Deferred { status, .. } | Outcome::Failed { status, .. } => {
                assert_eq!(status, wanted, "{outcome:?}")
            }
            other => panic!("{other:?}"),
        };
        let (plain, first) = server(PLAIN, "");
        let (other, second) = server(PLAIN, "");
        is(&status(&outbound, vec![plain, other], None).await, "5.7.10");
        let (plain, third) = server(PLAIN, "");
        is(&status(&outbound, vec![nobody(), plain], None).await, "4.4.1");
        let (plain, fourth) = server(PLAIN, "");
        is(&status(&outbound, vec![plain, nobody()], None).await, "4.4.1");
        // The handshake breaks, for whatever reason.
        let (resets, fifth) = server(TLS, "220 go on\r\n");
        is(&status(&outbound, vec![resets], None).await, "4.4.1");
        let (plain, sixth) = server(PLAIN, "");
        is(&status(&outbound, vec![plain], Some(deferred("4.4.3", "a name could not be looked up"))).await, "4.4.3");
        for served in [first, second, third, fourth, fifth, sixth] {
            served.join().expect("no panic");
        }
    }

    #[test]
    fn what_leaves_hope_outweighs_what_does_not() {
        let (hope, none) = (deferred("4.4.1", "x"), failed("5.7.10", "y"));
        assert_eq!(unless_deferred(None, none.clone()), none);
        assert_eq!(unless_deferred(Some(hope.clone()), none.clone()), hope);
        assert_eq!(unless_deferred(Some(none.clone()), hope.clone()), hope);
        assert_eq!(unless_deferred(Some(deferred("4.4.3", "z")), hope.clone()), hope);
    }
}
