//! Walks a parsed TOML table key by key and notes every error on the way.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use super::problem::Problems;
use super::problem::nearest;
use super::value::Span;
use super::value::Value;
use super::value::read;

/// One table of the file while it is read.
pub(super) struct Table<'t, 'p> {
    /// `smtp.` for the keys of `[smtp]`, nothing for those of the top level.
    prefix: String,
    entries: Option<&'t DeTable<'t>>,
    at: Range<usize>,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'t, 'p> Table<'t, 'p> {
    /// The top level of a file.
    pub(super) fn top(entries: &'t DeTable<'t>, problems: &'p mut Problems) -> Self {
        Self { prefix: String::new(), entries: Some(entries), at: 0..0, known: Vec::new(), problems }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        let value = self.entries?.iter().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value)?;
        self.problems.place(format!("{}{key}", self.prefix), value.span().start);
        Some(value)
    }

    /// The value of a key; `None` where it is missing or wrong, the latter noted.
    pub(super) fn value<T: Value>(&mut self, key: &'static str) -> Option<Span<T>> {
        let entry = self.entry(key)?;
        match read(entry.get_ref()) {
            Ok(value) => Some(Span { value, at: entry.span() }),
            Err(what) => {
                self.problem(entry.span(), key, what);
                None
            }
        }
    }

    /// The value of a key that must be there; `hint` says what to write.
    pub(super) fn required<T: Value>(&mut self, key: &'static str, hint: &str) -> Option<Span<T>> {
        if !self.has(key) {
            self.known.push(key);
            self.problem(self.at.clone(), key, format!("missing; {hint}"));
            return None;
        }
        self.value(key)
    }

    /// A list of values; a single value counts as a list of one. Wrong items are noted and left out.
    pub(super) fn list<T: Value>(&mut self, key: &'static str) -> Option<Vec<Span<T>>> {
        let entry = self.entry(key)?;
        Some(self.items(key, entry))
    }

    fn items<T: Value>(&mut self, key: &str, entry: &'t Spanned<DeValue<'t>>) -> Vec<Span<T>> {
        let single = std::slice::from_ref(entry);
        let items = entry.get_ref().as_array().map_or(single, |array| &array[..]);
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match read(item.get_ref()) {
                Ok(value) => values.push(Span { value, at: item.span() }),
                Err(what) => self.problem(item.span(), key, what),
            }
        }
        values
    }

    /// Every key of this table as a value of one kind, with its list of values or with the table it has instead: for
    /// tables whose keys are names.
    pub(super) fn each<K: Value, T: Value, R>(
        self,
        list: impl Fn(Span<K>, Vec<Span<T>>) -> R,
        with: impl Fn(Span<K>, Table<'t, '_>) -> Option<R>,
    ) -> Vec<R> {
        let mut table = self;
        let mut all = Vec::new();
        for (key, entry) in table.entries.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().to_string();
            match read::<K>(&DeValue::String(name.as_str().into())) {
                Ok(value) => {
                    let key = Span { value, at: key.span() };
                    if let Some(entries) = entry.get_ref().as_table() {
                        let prefix = format!("{}{name}.", table.prefix);
                        let (at, entries) = (entry.span(), Some(entries));
                        all.extend(with(
                            key,
                            Table { prefix, entries, at, known: Vec::new(), problems: table.problems },
                        ));
                    } else {
                        all.push(list(key, table.items(&name, entry)));
                    }
                }
                Err(what) => table.problem(key.span(), &name, what),
            }
        }
        all
    }

    /// A table below this one, read by `with`; one that is missing reads as empty.
    pub(super) fn section<R>(&mut self, key: &'static str, with: impl FnOnce(Table<'t, '_>) -> R) -> R {
        let entry = self.entry(key);
        let entries = entry.and_then(|e| e.get_ref().as_table());
        if let (Some(entry), None) = (entry, entries) {
            self.problem(entry.span(), key, format!("a section was expected; write [{key}] on a line of its own"));
        }
        let at = entry.map_or(0..0, Spanned::span);
        let prefix = format!("{}{key}.", self.prefix);
        with(Table { prefix, entries, at, known: Vec::new(), problems: self.problems })
    }

    /// Every table of an array of tables, read by `with`.
    pub(super) fn sections<R>(
        &mut self,
        key: &'static str,
        mut with: impl FnMut(Table<'t, '_>) -> Option<R>,
    ) -> Vec<R> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let Some(array) = entry.get_ref().as_array() else {
            self.problem(entry.span(), key, format!("a list of sections was expected; write [[{key}]] for each"));
            return Vec::new();
        };
        let mut read = Vec::with_capacity(array.len());
        for item in array {
            let entries = item.get_ref().as_table();
            if entries.is_none() {
                self.problem(item.span(), key, format!("a section was expected; write [[{key}]]"));
                continue;
            }
            let prefix = format!("{}{key}.", self.prefix);
            read.extend(with(Table { prefix, entries, at: item.span(), known: Vec::new(), problems: self.problems }));
        }
        read
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|e| e.iter().any(|(k, _)| k.get_ref() == key))
    }

    /// Notes an error of a key that is not there.
    pub(super) fn problem_here(&mut self, key: &str, what: &str) {
        self.problem(self.at.clone(), key, what);
    }

    /// Notes an error of a key.
    pub(super) fn problem(&mut self, at: Range<usize>, key: &str, what: impl Into<String>) {
        self.problems.add(at.start, &format!("{}{key}", self.prefix), what);
    }

    /// Notes every key that nobody asked for. To be called last.
    pub(super) fn finish(self) {
        for (key, _) in self.entries.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref();
            if !self.known.iter().any(|k| k == name) {
                let meant =
                    nearest(name, &self.known).map_or(String::new(), |near| format!(", probably `{near}` was meant"));
                self.problems.add(key.span().start, &format!("{}{name}", self.prefix), format!("unknown key{meant}"));
            }
        }
    }
}
