//! Enhanced status codes (RFC 3463) and permanence.
//!
//! Knows the shape of a code, not when to use which: the constructors of the protocols do.

use std::fmt;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permanence {
    /// A later try may succeed: keep the mail. In doubt it is this.
    Temporary,
    /// It will not get better: tell the sender.
    Permanent,
}

/// `class.subject.detail` of RFC 3463 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl StatusCode {
    /// Success, `2.subject.detail`.
    #[must_use]
    pub const fn success(subject: u16, detail: u16) -> Self {
        Self { class: 2, subject, detail }
    }

    /// Persistent transient failure, `4.subject.detail`.
    #[must_use]
    pub const fn temporary(subject: u16, detail: u16) -> Self {
        Self { class: 4, subject, detail }
    }

    /// Permanent failure, `5.subject.detail`.
    #[must_use]
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self { class: 5, subject, detail }
    }

    /// 2, 4 or 5.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.class
    }

    /// Reads `4.2.2`; `None` where it is not a code of RFC 3463.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = |most: usize| {
            let digits = parts.next()?;
            (!digits.is_empty() && digits.len() <= most && digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| digits.parse::<u16>().ok())
                .flatten()
        };
        let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
        let class = u8::try_from(class).ok().filter(|c| matches!(c, 2 | 4 | 5))?;
        parts.next().is_none().then_some(Self { class, subject, detail })
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_parse_and_print() {
        assert_eq!(StatusCode::parse("4.2.2"), Some(StatusCode::temporary(2, 2)));
        assert_eq!(StatusCode::permanent(7, 1).to_string(), "5.7.1");
        for bad in ["", "3.1.1", "5.1", "5.1.1.1", "5..1", "5.1.x", "5.1234.1"] {
            assert_eq!(StatusCode::parse(bad), None, "{bad}");
        }
    }
}
