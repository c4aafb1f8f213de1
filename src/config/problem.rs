//! What is wrong with a configuration file, said as `file:line:column: key: what, and what was probably meant`.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Offset in the file, in octets.
    at: usize,
    key: String,
    what: String,
}

/// All errors of one file.
#[derive(Debug, Clone)]
pub struct Problems {
    file: PathBuf,
    /// Offsets at which lines start.
    lines: Vec<usize>,
    text: String,
    /// Where the value of each key stands.
    places: HashMap<String, usize>,
    found: Vec<Problem>,
}

impl Problems {
    /// None so far.
    #[must_use]
    pub fn new(file: &Path, text: &str) -> Self {
        let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { file: file.to_owned(), lines, text: text.to_owned(), places: HashMap::new(), found: Vec::new() }
    }

    /// The file cannot be read at all.
    #[must_use]
    pub fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let mut problems = Self::new(file, "");
        problems.add(0, "", format!("cannot be read: {error}"));
        problems
    }

    /// Notes an error at an offset; `key` may be empty where the whole file is meant.
    pub fn add(&mut self, at: usize, key: &str, what: impl Into<String>) {
        self.found.push(Problem { at, key: key.to_owned(), what: what.into() });
    }

    /// Notes an error of the value of a key, wherever it stands; of a default at the start of the file.
    pub(super) fn add_to(&mut self, key: &str, what: impl Into<String>) {
        self.add_near(key, key, what);
    }

    /// Notes an error of a key where another one stands, because of which it is an error.
    pub(super) fn add_near(&mut self, other: &str, key: &str, what: impl Into<String>) {
        let at = self.places.get(other).copied().unwrap_or(0);
        self.add(at, key, what);
    }

    /// Remembers where the value of a key stands.
    pub(super) fn place(&mut self, key: String, at: usize) {
        self.places.insert(key, at);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the order of the lines of the file.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.found.sort_by_key(|p| p.at);
        self.found.dedup();
        self
    }

    /// One line of text per error.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.found.iter().map(|problem| {
            let line = self.lines.partition_point(|start| *start <= problem.at).max(1);
            let start = self.lines.get(line - 1).copied().unwrap_or(0);
            let column = self.text.get(start..problem.at).map_or(0, |t| t.chars().count()) + 1;
            let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
            format!("{}:{line}:{column}: {key}{}", self.file.display(), problem.what)
        })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, line) in self.lines().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The one of `known` that `word` was probably meant to be: at most two letters off, and not most of the word.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let best = known.iter().map(|k| (distance(word, k), *k)).min()?;
    (best.0 <= 2 && best.0 * 2 < word.len().max(2)).then_some(best.1)
}

/// Edit distance of Levenshtein.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_and_nothing_far_off() {
        assert_eq!(nearest("hostnam", &["hostname", "domain"]), Some("hostname"));
        assert_eq!(nearest("adress", &["address", "password"]), Some("address"));
        assert_eq!(nearest("colour", &["hostname", "domain"]), None);
    }
}
