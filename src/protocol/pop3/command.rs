//! Command lines of RFC 1939 §3: a verb and its argument.

/// The verb of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Capa,
    User,
    Pass,
    Auth,
    Stls,
    Stat,
    List,
    Uidl,
    Retr,
    Top,
    Dele,
    Rset,
    Noop,
    Quit,
    /// A browser, or something that makes one speak to us.
    Http,
    Unknown,
}

/// Cuts a line, without its end, into verb and argument. The argument keeps its spaces: it may be a password.
pub(super) fn cut(line: &[u8]) -> (Verb, &[u8]) {
    let end = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    // No verb is longer, and this bounds the copy.
    let word = word.get(..8).unwrap_or(word).to_ascii_uppercase();
    let verb = match word.as_slice() {
        b"CAPA" => Verb::Capa,
        b"USER" => Verb::User,
        b"PASS" => Verb::Pass,
        b"AUTH" => Verb::Auth,
        b"STLS" => Verb::Stls,
        b"STAT" => Verb::Stat,
        b"LIST" => Verb::List,
        b"UIDL" => Verb::Uidl,
        b"RETR" => Verb::Retr,
        b"TOP" => Verb::Top,
        b"DELE" => Verb::Dele,
        b"RSET" => Verb::Rset,
        b"NOOP" => Verb::Noop,
        b"QUIT" => Verb::Quit,
        b"GET" | b"POST" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"CONNECT" | b"HOST:" => Verb::Http,
        _ => Verb::Unknown,
    };
    (verb, rest.get(1..).unwrap_or_default())
}

/// The numbers of an argument, two at most. `None` where it has anything else. A number too large for any mailbox
/// stays the largest there is, so that it is no message and more lines than any message has.
pub(super) fn numbers(argument: &[u8]) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    for word in argument.split(|&b| b == b' ').filter(|word| !word.is_empty()) {
        if numbers.len() == 2 || word.len() > 20 || !word.iter().all(u8::is_ascii_digit) {
            return None;
        }
        numbers.push(std::str::from_utf8(word).ok()?.parse().unwrap_or(u64::MAX));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut() {
        for (line, wanted) in [
            ("stat", (Verb::Stat, "")),
            ("PASS  two  spaces ", (Verb::Pass, " two  spaces ")),
            ("TOPP 1 1", (Verb::Unknown, "1 1")),
            ("", (Verb::Unknown, "")),
            (":", (Verb::Unknown, "")),
            ("GET / HTTP/1.1", (Verb::Http, "/ HTTP/1.1")),
        ] {
            let (verb, rest) = cut(line.as_bytes());
            assert_eq!((verb, std::str::from_utf8(rest).expect("text")), wanted, "{line:?}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        for (argument, wanted) in [
            ("", Some(vec![])),
            ("1", Some(vec![1])),
            (" 1  2 ", Some(vec![1, 2])),
            ("1 2 3", None),
            ("-1", None),
            ("1x", None),
            ("18446744073709551616", Some(vec![u64::MAX])),
            ("999999999999999999999", None),
        ] {
            assert_eq!(numbers(argument.as_bytes()), wanted, "{argument:?}");
        }
    }
}
