//! xtext (RFC 3461 §4): how any text travels as the value of a parameter.

/// Decodes. `None` where it is no xtext, or stands for anything that is not printable: what is decoded here goes into
/// notices and logs. UTF-8 may stand in it as it is where `international` (RFC 6533 §3), ASCII alone otherwise.
pub(super) fn decode(text: &str, international: bool) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '+' => {
                let hex = |c: char| c.to_digit(16).filter(|_| !c.is_ascii_lowercase());
                let value = hex(chars.next()?)? * 16 + hex(chars.next()?)?;
                char::from_u32(value).filter(char::is_ascii)?
            }
            '=' | ' ' => return None,
            c if c.is_ascii() => c,
            c if international && !c.is_control() => c,
            _ => return None,
        };
        if plain.is_ascii_control() {
            return None;
        }
        decoded.push(plain);
    }
    Some(decoded)
}

/// Encodes. Letters beyond ASCII stay as they are.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '+' || c == '=' || c == ' ' || c.is_ascii_control() {
            encoded.push_str(&format!("+{:02X}", u32::from(c)));
        } else {
            encoded.push(c);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, wanted) in [
            ("", Some("")),
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb+3Dc+20d", Some("a+b=c d")),
            ("+00", None),
            ("+0D+0A", None),
            ("+7F", None),
            ("+C3+A9", None),
            ("+2b", None),
            ("+2", None),
            ("+", None),
            ("a=b", None),
            ("a b", None),
            ("a\u{1}b", None),
            ("\u{e9}", None),
        ] {
            let decoded = decode(text, false);
            assert_eq!(decoded.as_deref(), wanted, "{text}");
            if let Some(decoded) = decoded {
                assert_eq!(encode(&decoded), text);
            }
        }
        assert_eq!(decode("\u{e9}@x", true).as_deref(), Some("\u{e9}@x"));
        assert_eq!(decode("\u{85}@x", true), None, "a control character of Latin-1");
    }
}
