//! Structures and envelopes of two programs compared as trees, with the rules that explain what differs in any message.

use facteur::message::decode::seven_bit;

use super::value::Value;

/// Goes down both trees; what differs is told with its place in the tree, or the rule that explains it.
pub(crate) fn compare(place: &str, ours: &Value, theirs: &Value, found: &mut Vec<Difference>) {
    if let (Value::List(ours), Value::List(theirs)) = (ours, theirs)
        && ours.len() == theirs.len()
    {
        for (n, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            compare(&format!("{place}.{}", n + 1), ours, theirs, found);
        }
    } else if ours != theirs {
        let rule = rule(ours, theirs);
        found.push(Difference { place: place.to_owned(), rule, told: format!("ours {ours}\n    theirs {theirs}") });
    }
}

/// Where two trees differ.
pub(crate) struct Difference {
    pub(crate) place: String,
    pub(crate) rule: Option<&'static str>,
    pub(crate) told: String,
}

/// What explains a difference in any message: the place in a line of `structures.allow` for the message `*`.
fn rule(ours: &Value, theirs: &Value) -> Option<&'static str> {
    match (ours, theirs) {
        (Value::Text(ours), Value::Text(theirs)) if ours.is_empty() => {
            [&b"MISSING_DOMAIN"[..], b"MISSING_MAILBOX"].contains(&theirs.as_slice()).then_some("missing address")
        }
        (Value::Text(ours), Value::Text(theirs)) => (*ours == seven_bit(theirs)).then_some("7-bit"),
        (Value::Text(_), Value::List(list)) => (list.len() == 1 && list[0] == *ours).then_some("one language"),
        _ => None,
    }
}
