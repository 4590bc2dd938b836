//! Reads a TOML table field by field. Every field that was not asked for is
//! unknown, and every mistake is recorded instead of ending the reading: that is
//! what derived deserialisation cannot do.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::mistake::{Mistakes, Problem};

/// One table of the manifest, and where it stands.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    /// The fields asked for so far: what an unknown field could have been.
    known: Vec<&'static str>,
    mistakes: &'a Mistakes,
}

impl<'a> Section<'a> {
    pub(super) fn new(path: impl Into<String>, table: Table, mistakes: &'a Mistakes) -> Self {
        Self {
            path: path.into(),
            table,
            known: Vec::new(),
            mistakes,
        }
    }

    /// A section from a value that has to be a table.
    pub(super) fn from_value(path: String, value: Value, mistakes: &'a Mistakes) -> Option<Self> {
        match value {
            Value::Table(table) => Some(Self::new(path, table, mistakes)),
            other => {
                mistakes.add(path, wrong_type("a table", &other));
                None
            }
        }
    }

    /// The full path of a field of this section.
    pub(super) fn at(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }

    pub(super) fn mistakes(&self) -> &'a Mistakes {
        self.mistakes
    }

    pub(super) fn report(&self, field: &str, problem: impl Into<Problem>) {
        self.mistakes.add(self.at(field), problem);
    }

    /// Takes a field of any type.
    pub(super) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.table.remove(field)
    }

    /// Accepts a field without looking at it: Spin ignores it as well.
    pub(super) fn ignore(&mut self, field: &'static str) {
        self.take(field);
    }

    /// Refuses a field that Spin knows, unless it is empty.
    pub(super) fn refuse(&mut self, field: &'static str, instead: &'static str) {
        let empty = match self.take(field) {
            None => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Table(table)) => table.is_empty(),
            Some(_) => false,
        };
        if !empty {
            self.report(field, Problem::Unsupported { instead });
        }
    }

    pub(super) fn string(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            other => self.mismatch(field, "a string", &other),
        }
    }

    pub(super) fn required_string(&mut self, field: &'static str) -> Option<String> {
        if !self.table.contains_key(field) {
            self.known.push(field);
            let expected = "a string";
            self.report(field, Problem::Missing { expected });
            return None;
        }
        self.string(field)
    }

    /// A flag; absent means false.
    pub(super) fn flag(&mut self, field: &'static str) -> bool {
        match self.take(field) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => self
                .mismatch(field, "true or false", &other)
                .unwrap_or(false),
        }
    }

    pub(super) fn integer(&mut self, field: &'static str) -> Option<i64> {
        match self.take(field)? {
            Value::Integer(number) => Some(number),
            other => self.mismatch(field, "an integer", &other),
        }
    }

    /// An array of strings; absent means empty.
    pub(super) fn strings(&mut self, field: &'static str) -> Vec<String> {
        let mut strings = Vec::new();
        for (path, value) in self.array(field) {
            match value {
                Value::String(text) => strings.push(text),
                other => self.mistakes.add(path, wrong_type("a string", &other)),
            }
        }
        strings
    }

    /// The elements of an array with their paths; absent means empty.
    pub(super) fn array(&mut self, field: &'static str) -> Vec<(String, Value)> {
        let items = match self.take(field) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => return self.mismatch(field, "an array", &other).unwrap_or_default(),
        };
        let path = self.at(field);
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (format!("{path}[{index}]"), item))
            .collect()
    }

    /// A table of strings; absent means empty.
    pub(super) fn string_map(&mut self, field: &'static str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        for (name, value) in self.entries(field) {
            match value {
                Value::String(text) => {
                    map.insert(name, text);
                }
                other => {
                    let path = format!("{}.{name}", self.at(field));
                    self.mistakes.add(path, wrong_type("a string", &other));
                }
            }
        }
        map
    }

    /// The entries of a table with free names; absent means empty.
    pub(super) fn entries(&mut self, field: &'static str) -> Table {
        match self.take(field) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => self.mismatch(field, "a table", &other).unwrap_or_default(),
        }
    }

    /// A table with fixed fields.
    pub(super) fn section(&mut self, field: &'static str) -> Option<Section<'a>> {
        let value = self.take(field)?;
        Section::from_value(self.at(field), value, self.mistakes)
    }

    /// Reports every field that was not asked for.
    pub(super) fn finish(self) {
        for field in self.table.keys() {
            let allowed = self.known.join(", ");
            self.report(field, Problem::Unknown { allowed });
        }
    }

    fn mismatch<T>(&self, field: &str, expected: &'static str, found: &Value) -> Option<T> {
        self.report(field, wrong_type(expected, found));
        None
    }
}

pub(super) fn wrong_type(expected: &'static str, found: &Value) -> Problem {
    Problem::WrongType {
        expected,
        found: found.type_str(),
    }
}
