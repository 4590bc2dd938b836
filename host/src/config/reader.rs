//! Reads settings out of a TOML file, and remembers every mistake instead of stopping at the
//! first.
//!
//! Each setting is read by one call that names it, its default and what is allowed. After the
//! last call, whatever the file holds beyond that is unknown, and a mistake too. The calls
//! also leave a list of all settings with their defaults, so that a test can hold the
//! example file against it.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `section.key`.
    pub setting: String,
    /// What is wrong, with the value and what is allowed.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

/// A setting that exists, and its default in TOML.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `section.key`.
    pub name: String,
    /// What holds when the file does not say.
    pub default: Value,
}

/// The settings of one file.
#[derive(Debug, Default)]
pub struct Reader {
    file: Table,
    settings: Vec<Setting>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// Reads settings out of a parsed file.
    pub fn new(file: Table) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// The table `[name]`.
    pub fn section<'a>(&'a mut self, name: &'static str) -> Section<'a> {
        let table = match self.file.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                let problem = format!("is a {}; a table is wanted: [{name}]", other.type_str());
                self.add(name.to_owned(), problem);
                Table::new()
            }
        };
        Section {
            reader: self,
            name,
            table,
        }
    }

    /// Ends the reading: every section that was not asked for is unknown.
    pub fn finish(mut self) -> (Vec<Setting>, Vec<Mistake>) {
        let unknown: Vec<String> = self.file.keys().cloned().collect();
        for name in unknown {
            self.add(name, "is no known section".to_owned());
        }
        (self.settings, self.mistakes)
    }

    /// Remembers a mistake that the reader cannot see by itself.
    pub fn add(&mut self, setting: String, problem: String) {
        self.mistakes.push(Mistake { setting, problem });
    }
}

/// One table of the file. Dropping it reports the keys that nobody asked for.
#[derive(Debug)]
pub struct Section<'a> {
    reader: &'a mut Reader,
    name: &'static str,
    table: Table,
}

impl Section<'_> {
    /// A whole number in a range.
    pub fn integer<T>(&mut self, key: &str, default: T, allowed: RangeInclusive<u64>) -> T
    where
        T: Copy + TryFrom<u64> + TryInto<u64>,
    {
        let shown = default.try_into().unwrap_or(u64::MAX);
        let default_value = Value::Integer(i64::try_from(shown).unwrap_or(i64::MAX));
        let Some(value) = self.take(key, default_value) else {
            return default;
        };
        let number = value.as_integer().and_then(|n| u64::try_from(n).ok());
        match number.filter(|n| allowed.contains(n)).map(T::try_from) {
            Some(Ok(number)) => number,
            _ => {
                let (low, high) = (allowed.start(), allowed.end());
                self.wrong(key, &value, &format!("a whole number from {low} to {high}"));
                default
            }
        }
    }

    /// A duration whose key ends in its unit, `_ms` or `_seconds`.
    pub fn duration(
        &mut self,
        key: &str,
        default: Duration,
        allowed: RangeInclusive<u64>,
    ) -> Duration {
        if key.ends_with("_ms") {
            let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
            Duration::from_millis(self.integer(key, default, allowed))
        } else {
            debug_assert!(key.ends_with("_seconds"), "{key} does not name its unit");
            Duration::from_secs(self.integer(key, default.as_secs(), allowed))
        }
    }

    /// A number with a fraction, in a range.
    pub fn number(&mut self, key: &str, default: f64, allowed: RangeInclusive<f64>) -> f64 {
        let Some(value) = self.take(key, Value::Float(default)) else {
            return default;
        };
        let number = value
            .as_float()
            .or_else(|| value.as_integer().map(|number| number as f64));
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => number,
            None => {
                let (low, high) = (allowed.start(), allowed.end());
                self.wrong(key, &value, &format!("a number from {low} to {high}"));
                default
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.take(key, Value::Boolean(default)) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.wrong(key, &value, "true or false");
            default
        })
    }

    /// `HOST:PORT`, the host a numeric address.
    pub fn address(&mut self, key: &str, default: SocketAddr) -> SocketAddr {
        let wanted = "an address and a port, such as \"127.0.0.1:3000\" or \"[::1]:3000\"";
        let parse = |text: &str| text.parse().ok();
        self.parsed(
            key,
            default,
            Value::String(default.to_string()),
            parse,
            wanted,
        )
    }

    /// One of some words.
    pub fn choice<T>(&mut self, key: &str, default: T, words: &[(&str, T)]) -> T
    where
        T: Copy + PartialEq,
    {
        let name = words
            .iter()
            .find(|(_, value)| *value == default)
            .map_or("", |(word, _)| *word);
        let find = |text: &str| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value)
        };
        let listed: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let wanted = format!("one of {}", listed.join(", "));
        self.parsed(key, default, Value::String(name.to_owned()), find, &wanted)
    }

    /// A path; an empty one stands for "none".
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let parse = |text: &str| Some((!text.is_empty()).then(|| PathBuf::from(text)));
        self.parsed(key, None, Value::String(String::new()), parse, "a path")
    }

    /// A text that `parse` understands.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call per setting reads best with all of it in view"
    )]
    pub fn parsed<T>(
        &mut self,
        key: &str,
        default: T,
        shown: Value,
        parse: impl Fn(&str) -> Option<T>,
        wanted: &str,
    ) -> T {
        let Some(value) = self.take(key, shown) else {
            return default;
        };
        match value.as_str().and_then(parse) {
            Some(parsed) => parsed,
            None => {
                self.wrong(key, &value, wanted);
                default
            }
        }
    }

    /// Reports a value that is of the right kind and still makes no sense.
    pub fn reject(&mut self, key: &str, problem: &str) {
        let setting = format!("{}.{key}", self.name);
        self.reader.add(setting, problem.to_owned());
    }

    fn take(&mut self, key: &str, default: Value) -> Option<Value> {
        let name = format!("{}.{key}", self.name);
        self.reader.settings.push(Setting { name, default });
        self.table.remove(key)
    }

    fn wrong(&mut self, key: &str, value: &Value, wanted: &str) {
        let setting = format!("{}.{key}", self.name);
        self.reader
            .add(setting, format!("is {value}; {wanted} is wanted"));
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for key in self.table.keys() {
            let setting = format!("{}.{key}", self.name);
            self.reader.add(setting, "is no known setting".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u32, Duration, f64, SocketAddr, bool, Vec<String>) {
        let mut reader = Reader::new(text.parse().unwrap());
        let mut section = reader.section("a");
        let count = section.integer("count", 5u32, 1..=10);
        let wait = section.duration("wait_ms", Duration::from_millis(20), 0..=100);
        let ratio = section.number("ratio", 1.5, 1.0..=4.0);
        let listen = section.address("listen", "127.0.0.1:1".parse().unwrap());
        let json = section.choice("format", false, &[("text", false), ("json", true)]);
        drop(section);
        let (_, mistakes) = reader.finish();
        let mistakes = mistakes.iter().map(Mistake::to_string).collect();
        (count, wait, ratio, listen, json, mistakes)
    }

    #[test]
    fn absent_settings_have_their_defaults() {
        let (count, wait, ratio, listen, json, mistakes) = read("");
        assert_eq!((count, wait.as_millis(), ratio, json), (5, 20, 1.5, false));
        assert_eq!(listen.port(), 1);
        assert!(mistakes.is_empty());
    }

    #[test]
    fn settings_are_read() {
        let text =
            "[a]\ncount = 10\nwait_ms = 0\nratio = 2\nlisten = \"[::1]:9\"\nformat = \"json\"";
        let (count, wait, ratio, listen, json, mistakes) = read(text);
        assert_eq!((count, wait.as_millis(), ratio, json), (10, 0, 2.0, true));
        assert_eq!(listen.to_string(), "[::1]:9");
        assert!(mistakes.is_empty());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = "b = 1\n[a]\ncount = 11\nwait_ms = -1\nratio = \"x\"\nlisten = \"localhost\"\nformat = \"xml\"\nunknown = 1\n[c]";
        let (.., mistakes) = read(text);
        assert_eq!(
            mistakes,
            [
                "a.count: is 11; a whole number from 1 to 10 is wanted",
                "a.wait_ms: is -1; a whole number from 0 to 100 is wanted",
                "a.ratio: is \"x\"; a number from 1 to 4 is wanted",
                "a.listen: is \"localhost\"; an address and a port, such as \"127.0.0.1:3000\" or \"[::1]:3000\" is wanted",
                "a.format: is \"xml\"; one of \"text\", \"json\" is wanted",
                "a.unknown: is no known setting",
                "b: is no known section",
                "c: is no known section",
            ]
        );
        let (.., mistakes) = read("a = 1");
        assert_eq!(mistakes, ["a: is a integer; a table is wanted: [a]"]);
    }
}
