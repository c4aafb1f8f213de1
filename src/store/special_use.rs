//! Which mailbox is for what (RFC 6154), told by its name.
//!
//! The default name wins; otherwise the names that other programs and languages use. One mailbox has a role at most,
//! and a role one mailbox. Nothing is made for an account that has any mailbox beside its inbox.

use std::collections::HashMap;

use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;

/// Names of other programs, per role in order of preference: English ones (Apple, Outlook, web mail), then French,
/// German and Spanish. Compared by [`folded`], so in any case and with or without their accents.
#[rustfmt::skip]
const OTHER_NAMES: [(SpecialUse, &[&str]); 5] = [
    (
        SpecialUse::Archive,
        &[
            "Archives", "Archived", // English
            "Archivage", "Messages archivés", // French
            "Archiv", "Archiviert", // German
            "Archivo", "Archivos", "Archivados", // Spanish
        ],
    ),
    (
        SpecialUse::Drafts,
        &[
            "Draft", // English
            "Brouillons", "Brouillon", // French
            "Entwürfe", "Entwuerfe", "Entwurf", // German
            "Borradores", "Borrador", // Spanish
        ],
    ),
    (
        SpecialUse::Junk,
        &[
            "Junk E-mail", "Junk Email", "Junk Mail", "Spam", "Bulk Mail", "Bulk", // English
            "Indésirables", "Courrier indésirable", "Courriers indésirables", "Pourriel", "Pourriels", // French
            "Junk-E-Mail", "Spamverdacht", "Unerwünscht", // German
            "Correo no deseado", "No deseado", "Correo basura", // Spanish
        ],
    ),
    (
        SpecialUse::Sent,
        &[
            "Sent Items", "Sent Messages", "Sent Mail", "Sent-Mail", "Sent Objects", // English
            "Envoyés", "Éléments envoyés", "Messages envoyés", "Objets envoyés", "Courrier envoyé", // French
            "Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten", // German
            "Enviados", "Elementos enviados", "Mensajes enviados", "Correo enviado", // Spanish
        ],
    ),
    (
        SpecialUse::Trash,
        &[
            "Deleted Items", "Deleted Messages", "Deleted", "Bin", // English
            "Corbeille", "Poubelle", "Éléments supprimés", "Messages supprimés", "Objets supprimés", // French
            "Papierkorb", "Gelöscht", "Gelöschte Elemente", "Gelöschte Objekte", "Gelöschte Nachrichten", // German
            "Papelera", "Elementos eliminados", "Mensajes eliminados", "Eliminados", // Spanish
        ],
    ),
];

/// A name in which case and accents do not count; macOS writes accents as marks of their own.
fn folded(name: &str) -> String {
    let plain = |c: char| match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        c => c,
    };
    let is_mark = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    name.chars().flat_map(char::to_lowercase).filter(|c| !is_mark(c)).map(plain).collect()
}

/// The roles of an account's mailboxes. What a client `said` wins over any name. Names directly below the inbox count as well, after those on top: clients of
/// Courier put them there.
pub(super) fn roles<'a>(
    names: impl Iterator<Item = &'a MailboxName>,
    said: impl Fn(&MailboxName) -> Option<SpecialUse>,
) -> HashMap<MailboxName, SpecialUse> {
    let mut roles: HashMap<MailboxName, SpecialUse> = HashMap::new();
    let mut by_name: HashMap<String, &MailboxName> = HashMap::new();
    let mut exact: HashMap<&str, &MailboxName> = HashMap::new();
    for name in names {
        if let Some(role) = said(name) {
            roles.insert(name.clone(), role);
            continue;
        }
        by_name.entry(folded(name.as_str())).or_insert(name);
        exact.insert(name.as_str(), name);
    }
    let free = |role: &SpecialUse| !roles.values().any(|said| said == role);
    let left: Vec<_> = OTHER_NAMES.into_iter().filter(|(role, _)| free(role)).collect();
    for (role, others) in left {
        let spellings: Vec<String> = std::iter::once(role.default_name())
            .chain(others.iter().copied())
            .flat_map(|name| [folded(name), format!("inbox/{}", folded(name))])
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
    fn no_name_has_two_roles_and_none_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        for (role, names) in OTHER_NAMES {
            for name in std::iter::once(role.default_name()).chain(names.iter().copied()) {
                assert!(seen.insert(folded(name)), "{name}");
            }
        }
        // What a program of each kind makes: each name gets its role.
        for (apart, names) in [
            ("Apple", ["Archive", "Drafts", "Junk", "Sent Messages", "Deleted Messages"]),
            ("Outlook", ["Archive", "Drafts", "Junk Email", "Sent Items", "Deleted Items"]),
            ("French", ["Archives", "Brouillons", "Courrier indésirable", "Éléments envoyés", "Éléments supprimés"]),
            ("German", ["Archiv", "Entwürfe", "Junk-E-Mail", "Gesendete Elemente", "Gelöschte Elemente"]),
            ("Spanish", ["Archivo", "Borradores", "Correo no deseado", "Elementos enviados", "Elementos eliminados"]),
        ] {
            let names: Vec<MailboxName> = names.iter().map(|n| MailboxName::parse(n).expect("valid")).collect();
            let roles = roles(names.iter(), |_| None);
            let wanted = SpecialUse::ALL;
            assert!(names.iter().zip(wanted).all(|(name, role)| roles.get(name) == Some(&role)), "{apart}: {roles:?}");
        }
    }

    #[test]
    fn what_was_said_wins() {
        let names = ["Sent", "Outbox", "Trash"].map(|n| MailboxName::parse(n).expect("valid"));
        let found = roles(names.iter(), |name| (name.as_str() == "Outbox").then_some(SpecialUse::Sent));
        let wanted = [(names[1].clone(), SpecialUse::Sent), (names[2].clone(), SpecialUse::Trash)];
        assert_eq!(found, HashMap::from(wanted));
    }

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
            (
                &["E\u{301}le\u{301}ments envoye\u{301}s"],
                &[("E\u{301}le\u{301}ments envoye\u{301}s", SpecialUse::Sent)],
            ),
            (&["Gesendete Elemente", "gesendet"], &[("gesendet", SpecialUse::Sent)]),
            (&["ENTWURFE", "Borradores"], &[("ENTWURFE", SpecialUse::Drafts)]),
            (
                &["Papelera", "Correo no deseado"],
                &[("Papelera", SpecialUse::Trash), ("Correo no deseado", SpecialUse::Junk)],
            ),
            (&["Archive", "Archives"], &[("Archive", SpecialUse::Archive)]),
            (&["Work", "Sent/2019", "Gesendet.2019"], &[]),
        ] {
            let parse = |n: &&str| MailboxName::parse(n).expect("valid");
            let names: Vec<MailboxName> = names.iter().map(parse).collect();
            let expected: HashMap<MailboxName, SpecialUse> = marked.iter().map(|(n, r)| (parse(n), *r)).collect();
            assert_eq!(roles(names.iter(), |_| None), expected, "{names:?}");
        }
    }
}
