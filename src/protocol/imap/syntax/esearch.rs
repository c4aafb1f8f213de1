//! What a searching command shall return (RFC 4466 §2.6.1, RFC 4731 §3.1, RFC 5182, RFC 5267 §4, RFC 9394).

use std::num::NonZeroU32;
use std::ops::Range;

use crate::mail::limits::IMAP_RETURN_OPTIONS;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;

/// One result option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnOption {
    /// The first message found.
    Min,
    /// The last one.
    Max,
    /// All.
    All,
    /// How many.
    Count,
    /// `$` shall mean them (RFC 5182).
    Save,
    /// The same search is likely to come again (RFC 5267 §4.2).
    Context,
    /// Changes of the result shall be told (RFC 5267 §4.3).
    Update,
    /// Some of them.
    Partial(Partial),
}

/// The result options of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns(Vec<ReturnOption>);

impl Returns {
    /// `ALL`, which is meant where nothing is said.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![ReturnOption::All])
    }

    /// Reads `RETURN (…) ` if it is next.
    ///
    /// # Errors
    /// An option is not known, or does not go with another.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Option<Self>> {
        if !cursor.take_word("RETURN (") {
            return Ok(None);
        }
        let mut options = Vec::new();
        while !cursor.take(b')') {
            if !options.is_empty() {
                cursor.space()?;
            }
            if options.len() >= IMAP_RETURN_OPTIONS {
                return Err(SyntaxError::Bad("too many result options"));
            }
            options.push(option(cursor)?);
        }
        cursor.space()?;
        let selections = |o: &&ReturnOption| matches!(o, ReturnOption::All | ReturnOption::Partial(_));
        let partials = options.iter().filter(|o| matches!(o, ReturnOption::Partial(_))).count();
        // RFC 9394 §3.1: one PARTIAL, one ALL, or neither.
        if partials > 1 || (partials == 1 && options.iter().filter(selections).count() > 1) {
            return Err(SyntaxError::Bad("PARTIAL goes with no other PARTIAL and not with ALL"));
        }
        // RFC 4731 §3.1: no options mean ALL. CONTEXT is a hint and asks for nothing.
        if options.iter().all(|o| *o == ReturnOption::Context) {
            options.push(ReturnOption::All);
        }
        Ok(Some(Self(options)))
    }

    /// Whether this is among them.
    #[must_use]
    pub fn has(&self, option: ReturnOption) -> bool {
        self.0.contains(&option)
    }

    /// Which part is asked for.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        self.0.iter().find_map(|o| if let ReturnOption::Partial(partial) = o { Some(*partial) } else { None })
    }

    /// Whether anything is to be answered: not where what is found is only to be saved (RFC 5182 §2.2).
    #[must_use]
    pub fn answers(&self) -> bool {
        self.0.iter().any(|o| !matches!(o, ReturnOption::Save | ReturnOption::Context))
    }

    /// How many of the first and of the last messages found have to be known; `None` where it is all of them.
    #[must_use]
    pub fn ends(&self) -> Option<(usize, usize)> {
        let (mut first, mut last) = (0, 0);
        for option in &self.0 {
            match option {
                ReturnOption::Min => first = first.max(1),
                ReturnOption::Max => last = last.max(1),
                ReturnOption::Partial(partial) if partial.from_end => last = last.max(partial.farthest()),
                ReturnOption::Partial(partial) => first = first.max(partial.farthest()),
                ReturnOption::All | ReturnOption::Count | ReturnOption::Update => return None,
                ReturnOption::Save | ReturnOption::Context => {}
            }
        }
        // SAVE alone saves all.
        if (first, last) == (0, 0) { None } else { Some((first, last)) }
    }

    /// Whether `$` shall mean all messages found, and not only those that are returned (RFC 5182 §2.4, RFC 9394 §3.2).
    #[must_use]
    pub fn saves_all(&self) -> bool {
        self.0.iter().any(|o| matches!(o, ReturnOption::All | ReturnOption::Count))
            || !self.0.iter().any(|o| matches!(o, ReturnOption::Min | ReturnOption::Max | ReturnOption::Partial(_)))
    }
}

fn option(cursor: &mut Cursor<'_>) -> Parsed<ReturnOption> {
    let name = cursor.atom()?.to_ascii_uppercase();
    Ok(match name.as_str() {
        "MIN" => ReturnOption::Min,
        "MAX" => ReturnOption::Max,
        "ALL" => ReturnOption::All,
        "COUNT" => ReturnOption::Count,
        "SAVE" => ReturnOption::Save,
        "CONTEXT" => ReturnOption::Context,
        "UPDATE" => ReturnOption::Update,
        "PARTIAL" => {
            cursor.space()?;
            ReturnOption::Partial(Partial::parse(cursor)?)
        }
        _ => return Err(SyntaxError::Bad("unknown result option")),
    })
}

/// Some of the results, counted from either end (RFC 9394 §4 `partial-range`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    one: NonZeroU32,
    other: NonZeroU32,
    /// Counted from the last one.
    from_end: bool,
}

impl Partial {
    /// Reads `1:500` or `-1:-100`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let number = |cursor: &mut Cursor<'_>| {
            NonZeroU32::new(cursor.nz_number()?).ok_or(SyntaxError::Bad("number must not be 0"))
        };
        let from_end = cursor.take(b'-');
        let one = number(cursor)?;
        cursor.expect(b':')?;
        if cursor.take(b'-') != from_end {
            return Err(SyntaxError::Bad("a part counts from one end"));
        }
        Ok(Self { one, other: number(cursor)?, from_end })
    }

    /// Whether it counts from the last one.
    #[must_use]
    pub fn is_from_end(self) -> bool {
        self.from_end
    }

    /// As it was asked for.
    #[must_use]
    pub fn to_text(self) -> String {
        let sign = if self.from_end { "-" } else { "" };
        format!("{sign}{}:{sign}{}", self.one, self.other)
    }

    /// The place, from its end, of the last result that is in it.
    fn farthest(self) -> usize {
        usize::try_from(self.one.max(self.other).get()).unwrap_or(usize::MAX)
    }

    /// Which of `count` results are meant; none where they are beyond the end.
    #[must_use]
    pub fn of(self, count: usize) -> Range<usize> {
        // RFC 9394 §4: 500:400 is 400:500.
        let before_nearest = usize::try_from(self.one.min(self.other).get() - 1).unwrap_or(usize::MAX).min(count);
        let farthest = self.farthest().min(count);
        if self.from_end { count - farthest..count - before_nearest } else { before_nearest..farthest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed<Option<Returns>> {
        let mut cursor = Cursor::new(text.as_bytes(), 5);
        let returns = Returns::parse(&mut cursor)?;
        assert!(cursor.take_word("ALL") && cursor.is_end(), "{text}");
        Ok(returns)
    }

    #[test]
    fn options() {
        assert_eq!(read("ALL"), Ok(None));
        for (text, ends, answers, saves_all) in [
            ("RETURN () ALL", None, true, true),
            ("RETURN (MIN) ALL", Some((1, 0)), true, false),
            ("return (max min) ALL", Some((1, 1)), true, false),
            ("RETURN (MIN COUNT) ALL", None, true, true),
            ("RETURN (SAVE) ALL", None, false, true),
            ("RETURN (SAVE MIN) ALL", Some((1, 0)), true, false),
            ("RETURN (SAVE COUNT) ALL", None, true, true),
            ("RETURN (CONTEXT) ALL", None, true, true),
            ("RETURN (UPDATE) ALL", None, true, true),
            ("RETURN (PARTIAL 5:2) ALL", Some((5, 0)), true, false),
            ("RETURN (PARTIAL -1:-100 MIN) ALL", Some((1, 100)), true, false),
            ("RETURN (PARTIAL 1:2 COUNT SAVE) ALL", None, true, true),
        ] {
            let returns = read(text).expect(text).expect(text);
            assert_eq!((returns.ends(), returns.answers(), returns.saves_all()), (ends, answers, saves_all), "{text}");
        }
        assert!(read("RETURN () ALL").expect("valid").is_some_and(|r| r.has(ReturnOption::All)));
        for bad in [
            "RETURN ALL",
            "RETURN (ALL",
            "RETURN (NONE) ALL",
            "RETURN (MIN  MAX) ALL",
            "RETURN (MIN )ALL",
            "RETURN (ALL PARTIAL 1:2) ALL",
            "RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL",
            "RETURN (PARTIAL 1) ALL",
            "RETURN (PARTIAL 0:1) ALL",
            "RETURN (PARTIAL 1:*) ALL",
            "RETURN (PARTIAL -1:2) ALL",
            "RETURN (PARTIAL 1:-2) ALL",
        ] {
            let mut cursor = Cursor::new(bad.as_bytes(), 5);
            let refused = Returns::parse(&mut cursor);
            assert!(refused.is_err() || (refused == Ok(None) && !cursor.is_end()), "{bad}");
        }
        let many = format!("RETURN ({}MIN) ALL", "MIN ".repeat(IMAP_RETURN_OPTIONS));
        assert!(Returns::parse(&mut Cursor::new(many.as_bytes(), 5)).is_err());
    }

    #[test]
    fn parts() {
        for (text, count, expected) in [
            ("1:3", 10, 0..3),
            ("3:1", 10, 0..3),
            ("8:12", 10, 7..10),
            ("11:12", 10, 10..10),
            ("-1:-3", 10, 7..10),
            ("-3:-1", 10, 7..10),
            ("-9:-20", 10, 0..2),
            ("-11:-20", 10, 0..0),
            ("4294967295:1", 0, 0..0),
        ] {
            let partial = Partial::parse(&mut Cursor::new(text.as_bytes(), 1)).expect(text);
            assert_eq!(partial.of(count), expected, "{text}");
            assert_eq!(partial.to_text(), text);
        }
    }
}
