//! Who sent a message: everything that is done at the end of data, with answers that the resolver has heard before.
//! Throughput counts octets of the message.

#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/common/zone.rs"]
mod zone;

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::signature::RsaKeyPair;
use data_encoding::BASE64;
use divan::Bencher;
use divan::counter::BytesCount;
use facteur::clock::Clock;
use facteur::config;
use facteur::config::Config;
use facteur::dns::Dns;
use facteur::fsio::Content;
use facteur::mail::address::Address;
use facteur::mail::address::ReversePath;
use facteur::sender_auth::Facts;
use facteur::sender_auth::SenderAuth;
use facteur::sender_auth::dkim::DkimResult;
use facteur::sender_auth::policy::Action;
use zone::Zone;
use zone::ZoneServer;

fn main() {
    divan::main();
}

const HEADER: &str = "From: a@good.test\nSubject: minutes\n";

fn body(octets: usize) -> String {
    "A line of text, as people write them, neither short nor long.\n".repeat(octets / 62)
}

/// A message with one signature of RSA with 2048 bits (RFC 6376), and its key as DNS has it.
fn signed(octets: usize, form: &str) -> (Content, String) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers");
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().expect("a key");
    let record = format!("v=DKIM1; k=rsa; p={}", BASE64.encode(public.as_ref()));
    let body = body(octets);
    let hash = digest::digest(&digest::SHA256, body.replace('\n', "\r\n").as_bytes());
    let own = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c={form}/{form}; d=good.test; s=k; h=from:subject; bh={}; b=",
        BASE64.encode(hash.as_ref())
    );
    let text = format!("{HEADER}{own}").replace('\n', "\r\n");
    let text = if form == "simple" {
        text
    } else {
        text.replace("From: ", "from:").replace("Subject: ", "subject:").replace("DKIM-Signature: ", "dkim-signature:")
    };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it fits");
    let message = format!("{own}{}\n{HEADER}\n{body}", BASE64.encode(&signature));
    (Content::from_bytes(message.into_bytes()), record)
}

struct World {
    runtime: tokio::runtime::Runtime,
    config: Config,
    auth: SenderAuth,
    sender: ReversePath,
    _dns: ZoneServer,
}

impl World {
    fn new(key: &str) -> Self {
        let dns = Zone::default()
            .txt("good.test", "v=spf1 ip4:192.0.2.9 -all")
            .txt("_dmarc.good.test", "v=DMARC1; p=reject")
            // This name server's word that there is nothing is not remembered.
            .txt("_dmarc.test", "nothing")
            .txt("k._domainkey.good.test", key)
            .serve();
        let text = format!(
            "hostname = \"mx.example.test\"\n[[domain]]\nname = \"example.test\"\n[dns]\nresolver = \"{}\"\n",
            dns.address()
        );
        let config = config::parse(Path::new("bench.toml"), &text).expect("valid");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let resolver = config::Dns { resolver: config.dns.resolver, timeout: Duration::from_secs(5) };
        let auth =
            runtime.block_on(async { SenderAuth::new(Dns::new(&resolver).expect("a resolver"), Clock::system()) });
        let sender = ReversePath::Address(Address::parse("a@good.test").expect("valid"));
        Self { runtime, config, auth, sender, _dns: dns }
    }

    fn judge(&self, content: &Content, signatures: usize) {
        let facts = Facts {
            ip: "192.0.2.9".parse().expect("an address"),
            helo: "good.test",
            mail_from: &self.sender,
            client_name: None,
        };
        let verdict = self.runtime.block_on(self.auth.judge(&self.config, &facts, content)).expect("in memory");
        assert_eq!(verdict.action, Action::Accept);
        assert_eq!(verdict.dkim.iter().filter(|one| one.result == DkimResult::Pass).count(), signatures);
    }
}

#[divan::bench(args = [4 << 10, 1 << 20])]
fn unsigned(bencher: Bencher<'_, '_>, octets: usize) {
    let content = Content::from_bytes(format!("{HEADER}\n{}", body(octets)).into_bytes());
    let world = World::new("");
    bencher.counter(BytesCount::new(octets)).bench_local(|| world.judge(&content, 0));
}

#[divan::bench(args = [4 << 10, 1 << 20], consts = [false, true])]
fn one_signature<const RELAXED: bool>(bencher: Bencher<'_, '_>, octets: usize) {
    let (content, key) = signed(octets, if RELAXED { "relaxed" } else { "simple" });
    let world = World::new(&key);
    bencher.counter(BytesCount::new(octets)).bench_local(|| world.judge(&content, 1));
}
