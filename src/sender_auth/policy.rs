//! What is done with what was found out: the operator's word on top of the domain's.

use super::dmarc::DmarcResult;
use super::dmarc::DmarcVerdict;
use super::dmarc::Policy;
use super::spf::SpfResult;
use super::spf::SpfVerdict;
use crate::config;
use crate::config::DmarcPolicy;
use crate::config::SpfPolicy;
use crate::mail::address::Domain;

/// What to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Take it.
    Accept,
    /// Take it and file it in Junk.
    Junk {
        /// Why, for the log and for whoever asks.
        reason: String,
    },
    /// Refuse it for now.
    Later {
        /// Why, fit for a reply: one line of printable ASCII.
        reason: String,
    },
    /// Refuse it for good.
    Reject {
        /// The enhanced status code (RFC 3463, RFC 7372) of the 550.
        status: &'static str,
        /// Why, fit for a reply: one line of printable ASCII.
        reason: String,
    },
}

/// The operator's rules for one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What a failure of SPF does.
    pub spf: SpfPolicy,
    /// What a failure of DMARC does.
    pub dmarc: DmarcPolicy,
}

impl Rules {
    /// The rules for a domain in `From`: those of the longest of the `[[sender_policy]]` that it is or lies below,
    /// and of `[sender_auth]` for what that leaves out.
    #[must_use]
    pub fn of(config: &config::Config, author: Option<&Domain>) -> Self {
        let fits =
            |own: &&config::SenderPolicyEntry| author.is_some_and(|a| super::dkim::is_below(a, &own.domain.value));
        let own = config.sender_policies.iter().filter(fits).max_by_key(|own| own.domain.value.as_str().len());
        Self {
            spf: own.and_then(|own| own.spf.as_ref()).map_or(config.sender_auth.spf, |spf| spf.value),
            dmarc: own.and_then(|own| own.dmarc.as_ref()).map_or(config.sender_auth.dmarc, |dmarc| dmarc.value),
        }
    }

    /// What to do with a message that there was no room to look at. Who wrote it is not known, and he may want
    /// forgeries refused: whoever holds the room must not get them in by it.
    #[must_use]
    pub fn without_room(self, spf: Option<&SpfVerdict>) -> Action {
        match self.dmarc {
            DmarcPolicy::Quarantine | DmarcPolicy::Reject => {
                Action::Later { reason: "Too busy to find out who sent this, try again later".to_owned() }
            }
            DmarcPolicy::Off | DmarcPolicy::Mark => self.decide(spf, None, false),
        }
    }

    /// What to do. `vouched` says that a trusted sealer saw the message pass. What could not be found out
    /// refuses nothing for good; but who wants forgeries refused must not get them for a name server that is made to
    /// fail, which whoever picks the names in envelope and signature can do.
    #[must_use]
    pub fn decide(self, spf: Option<&SpfVerdict>, dmarc: Option<&DmarcVerdict>, vouched: bool) -> Action {
        if vouched || dmarc.is_some_and(|dmarc| dmarc.result == DmarcResult::Pass) {
            return Action::Accept;
        }
        let acts = matches!(self.dmarc, DmarcPolicy::Quarantine | DmarcPolicy::Reject);
        if let Some(dmarc) =
            dmarc.filter(|dmarc| dmarc.result == DmarcResult::TempError && dmarc.policy != Policy::None)
            && acts
        {
            let domain = dmarc.domain.as_ref().map_or("its author", Domain::as_str);
            return Action::Later { reason: format!("Whether {domain} sent this cannot be found out now (DMARC)") };
        }
        let asked = match dmarc {
            Some(dmarc) if dmarc.result == DmarcResult::Fail => dmarc.policy,
            _ => Policy::None,
        };
        let domain = dmarc.and_then(|dmarc| dmarc.domain.as_ref()).map_or("", Domain::as_str);
        if asked == Policy::Reject && self.dmarc == DmarcPolicy::Reject {
            let reason = format!("{domain} asks to refuse mail that it cannot be shown to have sent (DMARC)");
            return Action::Reject { status: "5.7.1", reason };
        }
        if let Some(spf) = spf.filter(|spf| spf.result == SpfResult::Fail && self.spf == SpfPolicy::Reject) {
            return spf_reject(spf);
        }
        if asked != Policy::None && acts {
            let reason = if domain.is_empty() {
                "DMARC fails, since it is unclear who wrote the message".to_owned()
            } else {
                format!("DMARC of {domain} fails, and its policy is {}", asked.as_str())
            };
            return Action::Junk { reason };
        }
        Action::Accept
    }
}

/// RFC 7208 §8.4; RFC 7372 §3.2 has the code. The domain's words are marked as its own (RFC 7208 §6.2).
fn spf_reject(spf: &SpfVerdict) -> Action {
    let name: String = spf.domain.chars().filter(char::is_ascii_graphic).take(255).collect();
    let mut reason = format!("{name} does not let this client send its mail (SPF)");
    if let Some(words) = spf.explanation.as_ref().filter(|words| !words.is_empty()) {
        reason.push_str(&format!("; {name} explains: {words}"));
    }
    Action::Reject { status: "5.7.23", reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender_auth::spf::Identity;

    #[test]
    fn every_case() {
        let spf = |result| SpfVerdict {
            result,
            identity: Identity::MailFrom,
            domain: "a.example".to_owned(),
            explanation: Some("no".to_owned()),
            problem: None,
        };
        let dmarc =
            |result, policy| DmarcVerdict { result, policy, domain: Domain::parse("a.example").ok(), reason: None };
        let word = |action| match action {
            Action::Accept => "accept",
            Action::Junk { .. } => "junk",
            Action::Later { .. } => "later",
            Action::Reject { status, .. } => status,
        };
        use DmarcPolicy as D;
        use DmarcResult as R;
        use SpfPolicy as S;
        for (dmarc_rule, spf_rule, dmarc_result, policy, spf_result, vouched, wanted) in [
            (D::Quarantine, S::Mark, R::Fail, Policy::Reject, SpfResult::Fail, false, "junk"),
            (D::Quarantine, S::Mark, R::Fail, Policy::Quarantine, SpfResult::Fail, false, "junk"),
            (D::Quarantine, S::Mark, R::Fail, Policy::None, SpfResult::Fail, false, "accept"),
            (D::Quarantine, S::Mark, R::Fail, Policy::Reject, SpfResult::Fail, true, "accept"),
            (D::Mark, S::Mark, R::Fail, Policy::Reject, SpfResult::Fail, false, "accept"),
            (D::Reject, S::Mark, R::Fail, Policy::Reject, SpfResult::None, false, "5.7.1"),
            (D::Reject, S::Mark, R::Fail, Policy::Quarantine, SpfResult::None, false, "junk"),
            // What would pass could not be checked, though the policy is known.
            (D::Reject, S::Reject, R::TempError, Policy::Reject, SpfResult::TempError, false, "later"),
            (D::Reject, S::Reject, R::TempError, Policy::Reject, SpfResult::Fail, false, "later"),
            (D::Reject, S::Mark, R::TempError, Policy::Quarantine, SpfResult::TempError, false, "later"),
            (D::Quarantine, S::Mark, R::TempError, Policy::Reject, SpfResult::TempError, false, "later"),
            (D::Quarantine, S::Mark, R::TempError, Policy::Reject, SpfResult::TempError, true, "accept"),
            (D::Mark, S::Mark, R::TempError, Policy::Reject, SpfResult::TempError, false, "accept"),
            (D::Off, S::Mark, R::TempError, Policy::Reject, SpfResult::TempError, false, "accept"),
            // It is none, or not known.
            (D::Reject, S::Mark, R::TempError, Policy::None, SpfResult::TempError, false, "accept"),
            (D::Reject, S::Reject, R::TempError, Policy::None, SpfResult::Fail, false, "5.7.23"),
            (D::Reject, S::Reject, R::PermError, Policy::Reject, SpfResult::PermError, false, "accept"),
            (D::Mark, S::Reject, R::None, Policy::None, SpfResult::Fail, false, "5.7.23"),
            (D::Mark, S::Reject, R::Pass, Policy::Reject, SpfResult::Fail, false, "accept"),
            (D::Mark, S::Reject, R::None, Policy::None, SpfResult::SoftFail, false, "accept"),
        ] {
            let rules = Rules { spf: spf_rule, dmarc: dmarc_rule };
            let action = rules.decide(Some(&spf(spf_result)), Some(&dmarc(dmarc_result, policy)), vouched);
            assert_eq!(word(action), wanted, "{rules:?} {dmarc_result:?} {policy:?} {spf_result:?} {vouched}");
        }
        let Action::Reject { reason, .. } =
            (Rules { spf: S::Reject, dmarc: D::Mark }).decide(Some(&spf(SpfResult::Fail)), None, false)
        else {
            panic!("SPF refuses")
        };
        assert_eq!(reason, "a.example does not let this client send its mail (SPF); a.example explains: no");
    }
}
