//! One table of the file, read key by key.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::mistake::{Place, shown};
use super::notes::Notes;

/// A table whose keys are taken out one by one; what is left in the end is unknown.
pub(crate) struct Table<'n> {
    notes: &'n Notes,
    place: Option<Place>,
    /// The table's own key and a dot, for messages; empty for the file and in its list.
    prefix: String,
    members: BTreeMap<String, DeValue<'n>>,
}

impl<'n> Table<'n> {
    /// The whole file; `None` if its syntax is wrong.
    pub(crate) fn of_source(source: &'n str, notes: &'n Notes) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(source);
        for error in &errors {
            let line = error.span().map(|span| notes.line_at(span.start));
            notes.syntax(line, error.message().to_owned());
        }
        let root = errors.is_empty().then(|| root.into_inner())?;
        Some(Self::new(notes, None, String::new(), root))
    }

    fn new(notes: &'n Notes, place: Option<Place>, prefix: String, members: DeTable<'n>) -> Self {
        let members = members.into_iter().map(|(key, value)| {
            let line = notes.line_at(key.span().start);
            notes.key(place.as_ref(), format!("{prefix}{}", key.get_ref()), line);
            (key.into_inner().into_owned(), value.into_inner())
        });
        Self {
            members: members.collect(),
            notes,
            place,
            prefix,
        }
    }

    /// Once the name of a place is known, its mistakes carry it.
    pub(crate) fn set_name(&mut self, name: &str) {
        if let Some(place) = &mut self.place {
            name.clone_into(&mut place.name);
        }
    }

    /// Keys that were not taken yet.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<DeValue<'n>> {
        self.members.remove(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    /// The key `version`, which must be there and have this value.
    pub(crate) fn version(&mut self, only: u64) {
        let wanted = only.to_string();
        self.require("version", &wanted);
        if let Some(version) = self.take("version")
            && as_integer(&version) != Some(only)
        {
            self.wrong("version", &version, &wanted);
        }
    }

    /// Reports the key if it is absent; what stands in for it is not judged.
    pub(crate) fn require(&mut self, key: &str, wanted: &str) {
        if !self.has(key) {
            self.stands_in(key);
            self.reject(key, &format!("is missing; {wanted} is wanted"));
        }
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        let text = value.as_str().map(str::to_owned);
        self.or_wrong(key, &value, text, "a text")
    }

    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        self.or_wrong(key, &value, value.as_bool(), "true or false")
    }

    pub(crate) fn integer(&mut self, key: &str) -> Option<u64> {
        let value = self.take(key)?;
        self.or_wrong(key, &value, as_integer(&value), "a whole number")
    }

    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        let value = self.take(key)?;
        let duration = value.as_str().and_then(duration::parse);
        self.or_wrong(key, &value, duration, duration::NOTATION)
    }

    /// A list of texts; a lone text is a list of one.
    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let texts = match value.as_str() {
            Some(text) => Some(vec![text.to_owned()]),
            None => as_texts(&value),
        };
        self.or_wrong(key, &value, texts, "a text or a list of texts")
    }

    /// One of some words; the default where the key is absent.
    pub(crate) fn choice<T: Copy + Default>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let Some(value) = self.take(key) else {
            return T::default();
        };
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        let listed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let wanted = format!("one of {}", listed.join(", "));
        let chosen = found.map(|(_, chosen)| *chosen);
        self.or_wrong(key, &value, chosen, &wanted)
            .unwrap_or_default()
    }

    /// A table below this one.
    pub(crate) fn table(&mut self, key: &str) -> Option<Self> {
        match self.take(key)? {
            DeValue::Table(members) => {
                let prefix = format!("{key}.");
                Some(Self::new(self.notes, self.place.clone(), prefix, members))
            }
            value => self.or_wrong(key, &value, None, "a table"),
        }
    }

    /// The tables `[[key]]` of the file, in order; none if the key is absent. Each is a place.
    pub(crate) fn tables(&mut self, kind: &'static str) -> Vec<Self> {
        let wanted = format!("a table [[{kind}]] per {kind}");
        let elements = self.elements(kind, &wanted).into_iter().enumerate();
        let table = |(index, (line, members))| {
            let place = Place {
                kind,
                index,
                name: String::new(),
            };
            self.notes.key(Some(&place), String::new(), line);
            Self::new(self.notes, Some(place), String::new(), members)
        };
        elements.map(table).collect()
    }

    /// The tables `[[place.key]]` of this place, in order; none if the key is absent. Messages
    /// count them from one: `key.2.` is before the keys of the second.
    pub(crate) fn tables_below(&mut self, key: &str, wanted: &str) -> Vec<Self> {
        let elements = self.elements(key, wanted).into_iter().enumerate();
        let table = |(index, (line, members))| {
            let own_key = format!("{}{key}.{}", self.prefix, index + 1);
            let prefix = format!("{own_key}.");
            self.notes.key(self.place.as_ref(), own_key, line);
            Self::new(self.notes, self.place.clone(), prefix, members)
        };
        elements.map(table).collect()
    }

    /// The elements of a list of tables, each with its line. An empty table stands in for what
    /// is none, so that the others keep their numbers.
    fn elements(&mut self, key: &str, wanted: &str) -> Vec<(usize, DeTable<'n>)> {
        let elements = match self.take(key) {
            None => return Vec::new(),
            Some(DeValue::Array(elements)) => elements.into_iter(),
            Some(value) => {
                self.wrong(key, &value, wanted);
                return Vec::new();
            }
        };
        let members = |element: Spanned<DeValue<'n>>| {
            let line = self.notes.line_at(element.span().start);
            match element.into_inner() {
                DeValue::Table(members) => (line, members),
                value => {
                    self.wrong(key, &value, wanted);
                    (line, DeTable::new())
                }
            }
        };
        elements.map(members).collect()
    }

    /// Reports what was not taken.
    pub(crate) fn finish(self, known: &[&str]) {
        for key in self.members.keys() {
            let known = known.join(", ");
            self.reject(key, &format!("is no known key here; there are {known}"));
        }
    }

    /// Reports a value that is replaced by a stand-in.
    pub(crate) fn wrong(&self, key: &str, value: &DeValue<'_>, wanted: &str) {
        self.stands_in(key);
        self.reject(key, &format!("is {}; {wanted} is wanted", written(value)));
    }

    /// Remembers that a stand-in takes the place of a key's value.
    fn stands_in(&self, key: &str) {
        let full_key = format!("{}{key}", self.prefix);
        self.notes.unreadable(self.place.as_ref(), full_key);
    }

    /// Reports an element of a list.
    pub(crate) fn wrong_element(&self, key: &str, element: &str, wanted: &str) {
        self.reject(key, &format!("has {}; wanted: {wanted}", shown(element)));
    }

    /// Reports a key.
    pub(crate) fn reject(&self, key: &str, problem: &str) {
        let key = format!("{}{}", self.prefix, shortened(key));
        self.notes.add(self.place.as_ref(), key, problem.to_owned());
    }

    fn or_wrong<T>(
        &self,
        key: &str,
        value: &DeValue<'_>,
        read: Option<T>,
        wanted: &str,
    ) -> Option<T> {
        if read.is_none() {
            self.wrong(key, value, wanted);
        }
        read
    }
}

/// A whole number from zero.
fn as_integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A list that holds nothing but texts.
pub(crate) fn as_texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let text = |element: &Spanned<DeValue<'_>>| element.get_ref().as_str().map(str::to_owned);
    value.as_array()?.iter().map(text).collect()
}

/// A value for a message.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => shown(text),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(&number.to_string()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(elements) => format!("a list of {}", elements.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A key or number for a message, cut where it is long.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
