//! Tables of `model.toml`, read key by key, so that every mistake is reported at once.

use std::cell::RefCell;

use toml::{Table, Value};

/// What is wrong in a file so far. Shared by its tables.
#[derive(Debug, Default)]
pub(super) struct Mistakes(RefCell<Vec<String>>);

impl Mistakes {
    pub(super) fn add(&self, mistake: String) {
        self.0.borrow_mut().push(mistake);
    }

    /// Every mistake; an error if there is one.
    pub(super) fn finish(self) -> Result<(), Vec<String>> {
        match self.0.into_inner() {
            none if none.is_empty() => Ok(()),
            mistakes => Err(mistakes),
        }
    }
}

/// The keys of a table that were not read yet. Each reader returns a stand-in after a mistake;
/// [`Mistakes::finish`] makes sure that none gets out. Dropping it reports keys that nobody read.
pub(super) struct Keys<'m> {
    /// Name of the table and a dot, or nothing at the top.
    prefix: String,
    table: Table,
    mistakes: &'m Mistakes,
}

impl<'m> Keys<'m> {
    pub(super) fn new(table: Table, mistakes: &'m Mistakes) -> Self {
        Self {
            prefix: String::new(),
            table,
            mistakes,
        }
    }

    /// The table of that name, which may be absent.
    pub(super) fn section(&mut self, name: &str) -> Keys<'m> {
        let table = match self.table.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                let shown = other.type_str();
                self.wrong(name, &format!("is a {shown}; it must be a table: [{name}]"));
                Table::new()
            }
        };
        Keys {
            prefix: format!("{}{name}.", self.prefix),
            table,
            mistakes: self.mistakes,
        }
    }

    /// The keys that were not read yet.
    pub(super) fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// Reports what a value of a key is, and what it must be.
    pub(super) fn wrong(&self, key: &str, problem: &str) {
        self.mistakes.add(format!("{}{key} {problem}", self.prefix));
    }

    /// A key that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.table.remove(key)?;
        let read = read(&value);
        if read.is_none() {
            self.wrong(key, &format!("is {value}; it must be {what}"));
        }
        read
    }

    /// A key that must be there.
    pub(super) fn required<T: Default>(
        &mut self,
        key: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> T {
        if !self.table.contains_key(key) {
            self.wrong(key, "is missing");
            return T::default();
        }
        self.optional(key, what, read).unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &str) -> String {
        self.required(key, TEXT, text)
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<String> {
        self.optional(key, TEXT, text)
    }

    /// A file of the folder itself: the folder is one unit, and is copied as one.
    pub(super) fn file(&mut self, key: &str) -> String {
        self.required(key, FILE, file)
    }

    /// Another one.
    pub(super) fn optional_file(&mut self, key: &str) -> Option<String> {
        self.optional(key, FILE, file)
    }

    pub(super) fn count(&mut self, key: &str) -> u32 {
        self.required(key, "a whole number from 1 to 4294967295", count)
    }

    /// A whole number from 1 to `most`.
    pub(super) fn optional_count(&mut self, key: &str, most: u32) -> Option<u32> {
        self.optional(key, &format!("a whole number from 1 to {most}"), |value| {
            count(value).filter(|count| *count <= most)
        })
    }

    pub(super) fn seconds(&mut self, key: &str) -> u64 {
        self.required(key, "a whole number of seconds since 1970", |value| {
            u64::try_from(value.as_integer()?).ok()
        })
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let read = self.optional(key, "true or false", Value::as_bool);
        read.unwrap_or(default)
    }

    /// A number within bounds, which are allowed themselves.
    pub(super) fn optional_number(&mut self, key: &str, low: f64, high: f64) -> Option<f64> {
        self.optional(key, &format!("a number from {low} to {high}"), |value| {
            number(value).filter(|number| (low..=high).contains(number))
        })
    }

    /// One of some words; the first stands for an absent key.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let listed: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let find = |value: &Value| {
            let text = value.as_str()?;
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value)
        };
        let read = self.optional(key, &listed.join(" or "), find);
        read.unwrap_or(words[0].1)
    }

    /// As [`choice`](Self::choice), of a key that must be there.
    pub(super) fn required_choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        if !self.table.contains_key(key) {
            self.wrong(key, "is missing");
        }
        self.choice(key, words)
    }

    /// Three finite numbers, one for each colour.
    pub(super) fn colours(&mut self, key: &str, default: [f32; 3]) -> [f32; 3] {
        let read = |value: &Value| {
            let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(number).collect();
            let numbers = numbers?.into_iter().map(|number| number as f32);
            let finite: Vec<f32> = numbers.filter(|number| number.is_finite()).collect();
            <[f32; 3]>::try_from(finite).ok()
        };
        self.optional(key, "three numbers", read).unwrap_or(default)
    }

    /// Sizes from 1 up, each larger than the one before.
    pub(super) fn rising(&mut self, key: &str) -> Option<Vec<usize>> {
        self.optional(key, "a list of whole numbers that rise from 1", |value| {
            let sizes = value
                .as_array()?
                .iter()
                .map(|size| count(size).map(|size| size as usize));
            let sizes: Vec<usize> = sizes.collect::<Option<_>>()?;
            (!sizes.is_empty() && sizes.is_sorted_by(|a, b| a < b)).then_some(sizes)
        })
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        for key in self.table.keys() {
            self.wrong(key, "is not a key of model.toml");
        }
    }
}

const TEXT: &str = "a text that is not empty";
const FILE: &str = "the name of a file in this folder";

fn file(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    plain.then(|| name.to_owned())
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
}

fn count(value: &Value) -> Option<u32> {
    let count = u32::try_from(value.as_integer()?).ok();
    count.filter(|count| *count > 0)
}

fn number(value: &Value) -> Option<f64> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|integer| integer as f64))
}
