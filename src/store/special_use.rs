//! Which mailbox is for what (RFC 6154), told by its name.
//!
//! The default name wins; otherwise the names that other programs and languages use. One mailbox has a role at most,
//! and a role one mailbox.

use std::collections::HashMap;

use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;

/// Names of other programs, per role in order of preference, compared without case.
const OTHER_NAMES: [(SpecialUse, &[&str]); 5] = [
    (SpecialUse::Archive, &["Archives", "Archiv", "Archivés"]),
    (SpecialUse::Drafts, &["Draft", "Brouillons", "Brouillon", "Entwürfe"]),
    (
        SpecialUse::Junk,
        &[
            "Junk E-mail",
            "Junk Email",
            "Junk Mail",
            "Spam",
            "Bulk Mail",
            "Indésirables",
            "Courrier indésirable",
            "Indesirables",
            "Pourriel",
        ],
    ),
    (
        SpecialUse::Sent,
        &[
            "Sent Items",
            "Sent Messages",
            "Sent Mail",
            "Envoyés",
            "Éléments envoyés",
            "Messages envoyés",
            "Envoyes",
            "Gesendet",
        ],
    ),
    (
        SpecialUse::Trash,
        &["Deleted Items", "Deleted Messages", "Corbeille", "Éléments supprimés", "Messages supprimés", "Papierkorb"],
    ),
];

/// The roles of an account's mailboxes. Names directly below the inbox count as well, after those on top: clients of
/// Courier put them there.
pub(super) fn roles<'a>(names: impl Iterator<Item = &'a MailboxName>) -> HashMap<MailboxName, SpecialUse> {
    let mut by_name: HashMap<String, &MailboxName> = HashMap::new();
    let mut exact: HashMap<&str, &MailboxName> = HashMap::new();
    for name in names {
        by_name.entry(name.as_str().to_lowercase()).or_insert(name);
        exact.insert(name.as_str(), name);
    }
    let mut roles = HashMap::new();
    for (role, others) in OTHER_NAMES {
        let spellings: Vec<String> = std::iter::once(role.default_name())
            .chain(others.iter().copied())
            .flat_map(|name| [name.to_lowercase(), format!("inbox/{}", name.to_lowercase())])
            .collect();
        // On top first, then below the inbox.
        let top = spellings.iter().step_by(2).find_map(|s| by_name.get(s));
        let below = || spellings.iter().skip(1).step_by(2).find_map(|s| by_name.get(s));
        if let Some(name) = exact.get(role.default_name()).or(top).or_else(below) {
            roles.insert((*name).clone(), role);
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_per_role_and_the_default_name_wins() {
        for (names, marked) in [
            (&["Sent", "Sent Items"][..], &[("Sent", SpecialUse::Sent)][..]),
            (&["sent", "Sent"], &[("Sent", SpecialUse::Sent)]),
            (&["Sent Messages", "Sent Items"], &[("Sent Items", SpecialUse::Sent)]),
            (&["ENVOYÉS", "Corbeille"], &[("ENVOYÉS", SpecialUse::Sent), ("Corbeille", SpecialUse::Trash)]),
            (&["INBOX/Trash", "x/Trash"], &[("INBOX/Trash", SpecialUse::Trash)]),
            (&["INBOX/Trash", "Deleted Items"], &[("Deleted Items", SpecialUse::Trash)]),
            (&["Junk E-mail", "Archives"], &[("Junk E-mail", SpecialUse::Junk), ("Archives", SpecialUse::Archive)]),
            (&["Work"], &[]),
        ] {
            let parse = |n: &&str| MailboxName::parse(n).expect("valid");
            let names: Vec<MailboxName> = names.iter().map(parse).collect();
            let expected: HashMap<MailboxName, SpecialUse> = marked.iter().map(|(n, r)| (parse(n), *r)).collect();
            assert_eq!(roles(names.iter()), expected, "{names:?}");
        }
    }
}
