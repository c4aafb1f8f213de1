//! As much of YAML as the shared vectors are written in: documents, mappings, lists, flow lists, quoted and plain
//! scalars, block scalars. Anything else is a mistake of the reader, and it says so.

use std::iter::Peekable;
use std::vec::IntoIter;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Yaml {
    /// Octets: `\x80` in quotes is one of them.
    Text(Vec<u8>),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Yaml> {
        self.map().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn map(&self) -> &[(String, Yaml)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// The items of a list; anything else is a list of itself.
    pub(crate) fn list(&self) -> &[Yaml] {
        if let Self::List(items) = self { items } else { std::slice::from_ref(self) }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> String {
        let Self::Text(octets) = self else { panic!("a scalar was expected: {self:?}") };
        String::from_utf8_lossy(octets).into_owned()
    }
}

/// A line with its indentation.
type Line = (usize, String);

struct Reader {
    lines: Peekable<IntoIter<Line>>,
}

/// The documents of a file.
pub(crate) fn documents(text: &str) -> Vec<Yaml> {
    let mut all = Vec::new();
    let mut open: Vec<Line> = Vec::new();
    for line in text.lines().chain(["---"]) {
        if line.trim_end() == "---" {
            let lines = std::mem::take(&mut open);
            if lines.iter().any(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
                let mut reader = Reader { lines: lines.into_iter().peekable() };
                all.push(reader.block(0));
            }
        } else {
            open.push((line.len() - line.trim_start().len(), line.trim_start().to_owned()));
        }
    }
    all
}

impl Reader {
    /// The next line that says something.
    fn peek(&mut self) -> Option<Line> {
        while self.lines.next_if(|(_, line)| line.is_empty() || line.starts_with('#')).is_some() {}
        self.lines.peek().cloned()
    }

    fn block(&mut self, least: usize) -> Yaml {
        let Some((indent, line)) = self.peek().filter(|(indent, _)| *indent >= least) else {
            return Yaml::Text(Vec::new());
        };
        if line == "-" || line.starts_with("- ") { self.items(indent) } else { self.entries(indent) }
    }

    fn items(&mut self, indent: usize) -> Yaml {
        let mut items = Vec::new();
        while let Some((_, line)) = self.peek().filter(|(at, line)| *at == indent && line.starts_with("- ")) {
            self.lines.next();
            let rest = line[2..].trim_start().to_owned();
            if let Some((key, value)) = split_key(&rest) {
                let inner = indent + 2;
                let value = self.value(&value, inner);
                items.push(Yaml::Map(vec![(key, value)]));
            } else {
                items.push(self.value(&rest, indent));
            }
        }
        Yaml::List(items)
    }

    fn entries(&mut self, indent: usize) -> Yaml {
        let mut entries = Vec::new();
        while let Some((_, line)) = self.peek().filter(|(at, line)| *at == indent && !line.starts_with("- ")) {
            self.lines.next();
            let (key, value) = split_key(&line).unwrap_or_else(|| panic!("a key was expected: {line}"));
            let value = self.value(&value, indent);
            entries.push((key, value));
        }
        Yaml::Map(entries)
    }

    /// What stands behind a key or a dash at `indent`.
    fn value(&mut self, text: &str, indent: usize) -> Yaml {
        match text.trim_end() {
            "" => match self.peek() {
                Some((at, line)) if at > indent || (at == indent && line.starts_with("- ")) => self.block(at),
                _ => Yaml::Text(Vec::new()),
            },
            "|" | "|-" => Yaml::Text(self.literal(indent, text.trim_end().ends_with('-')).into_bytes()),
            ">" | ">-" => {
                let text = self.literal(indent, true);
                Yaml::Text(text.split('\n').collect::<Vec<_>>().join(" ").into_bytes())
            }
            plain => {
                let mut text = plain.to_owned();
                // A scalar goes on in deeper lines.
                while let Some((_, line)) = self.lines.next_if(|(at, line)| *at > indent && !line.is_empty()) {
                    text.push(' ');
                    text.push_str(line.trim_end());
                }
                scalar(&text)
            }
        }
    }

    /// The lines of a block scalar; at its end there is one line end, or none.
    fn literal(&mut self, indent: usize, strip: bool) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut own = None;
        while let Some((at, line)) = self.lines.next_if(|(at, line)| *at > indent || line.is_empty()) {
            if line.is_empty() {
                // White space alone may be more than the indentation.
                lines.push(" ".repeat(own.map_or(0, |own| at.saturating_sub(own))));
                continue;
            }
            let own = *own.get_or_insert(at);
            lines.push(" ".repeat(at - own) + &line);
        }
        let mut text = lines.join("\n");
        let kept = text.trim_end_matches('\n').len();
        text.truncate(kept);
        if !strip && !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// `key: value`, the key plain or in quotes.
fn split_key(line: &str) -> Option<(String, String)> {
    if line.starts_with(['"', '\'', '[']) {
        let end = line[1..].find(line.chars().next()?)? + 2;
        let rest = line.get(end..)?.strip_prefix(':')?;
        return Some((scalar(&line[..end]).text(), rest.trim_start().to_owned()));
    }
    if let Some(key) = line.strip_suffix(':') {
        return Some((key.to_owned(), String::new()));
    }
    let (key, value) = line.split_once(": ")?;
    Some((key.to_owned(), value.trim_start().to_owned()))
}

fn scalar(text: &str) -> Yaml {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let mut items = Vec::new();
        let mut rest = inner.trim();
        while !rest.is_empty() {
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            let end = match quote {
                Some(quote) => rest[1..].find(quote).expect("a quotation ends") + 2,
                None => rest.find(',').unwrap_or(rest.len()),
            };
            items.push(scalar(&rest[..end]));
            rest = rest[end..].trim_start().trim_start_matches(',').trim_start();
        }
        return Yaml::List(items);
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Yaml::Text(inner.replace("''", "'").into_bytes());
    }
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => Yaml::Text(unescaped(inner)),
        None => Yaml::Text(text.split(" #").next().unwrap_or_default().trim_end().as_bytes().to_vec()),
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(b) = octets.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match octets.next() {
            Some(b'x') => {
                let digits: Vec<u8> = octets.by_ref().take(2).collect();
                let digits = String::from_utf8(digits).expect("hexadecimal digits");
                out.push(u8::from_str_radix(&digits, 16).expect("hexadecimal digits"));
            }
            Some(b'0') => out.push(0),
            Some(b'n') => out.push(b'\n'),
            Some(other) => out.push(other),
            None => panic!("nothing escaped: {text}"),
        }
    }
    out
}
