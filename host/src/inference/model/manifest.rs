//! `model.toml`: read key by key, so that every mistake is reported at once.

use brink_cache::key::Task;
use toml::{Table, Value};

/// What `model.toml` says. Holding one means that every value is usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The name clients use.
    pub name: String,
    /// What the model does.
    pub task: Task,
    /// The ONNX file, relative to the folder.
    pub model_file: String,
    /// The tokenizer, relative to the folder.
    pub tokenizer_file: String,
    /// Elements of a vector.
    pub dimensions: u32,
    /// Most tokens of an input, special tokens included.
    pub max_tokens: u32,
    /// Token ids are below this.
    pub vocabulary: u32,
    /// When the model was released, in Unix seconds.
    pub created: u64,
    /// Who made it.
    pub owned_by: String,
}

impl Manifest {
    /// Reads the text of a `model.toml`, or lists every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table = text
            .parse()
            .map_err(|error: toml::de::Error| vec![error.to_string()])?;
        let mut keys = Keys {
            table,
            mistakes: Vec::new(),
        };
        let manifest = Self {
            name: keys.text("name"),
            task: keys.task("task"),
            model_file: keys.file("model_file"),
            tokenizer_file: keys.file("tokenizer_file"),
            dimensions: keys.count("dimensions"),
            max_tokens: keys.count("max_tokens"),
            vocabulary: keys.count("vocabulary"),
            created: keys.seconds("created"),
            owned_by: keys.text("owned_by"),
        };
        keys.finish().map(|()| manifest)
    }
}

/// The keys not read yet, and what was wrong with those that were. Each reader returns a stand-in
/// after a mistake; [`Keys::finish`] makes sure that none gets out.
struct Keys {
    table: Table,
    mistakes: Vec<String>,
}

impl Keys {
    fn take<T: Default>(&mut self, key: &str, what: &str, read: impl Fn(Value) -> Option<T>) -> T {
        let mistake = match self.table.remove(key) {
            None => format!("{key} is missing"),
            Some(value) => {
                let shown = value.to_string();
                match read(value) {
                    Some(value) => return value,
                    None => format!("{key} is {shown}; it must be {what}"),
                }
            }
        };
        self.mistakes.push(mistake);
        T::default()
    }

    fn text(&mut self, key: &str) -> String {
        self.take(key, "a text that is not empty", |value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        })
    }

    /// A file of the folder itself: the folder is one unit, and is copied as one.
    fn file(&mut self, key: &str) -> String {
        self.take(key, "the name of a file in this folder", |value| {
            let name = value.as_str()?;
            let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
            plain.then(|| name.to_owned())
        })
    }

    fn count(&mut self, key: &str) -> u32 {
        self.take(key, "a whole number from 1 to 4294967295", |value| {
            u32::try_from(value.as_integer()?)
                .ok()
                .filter(|count| *count > 0)
        })
    }

    fn seconds(&mut self, key: &str) -> u64 {
        self.take(key, "a whole number of seconds since 1970", |value| {
            u64::try_from(value.as_integer()?).ok()
        })
    }

    fn task(&mut self, key: &str) -> Task {
        self.take(key, "\"embed\"", |value| {
            (value.as_str()? == "embed").then_some(Some(Task::Embed))
        })
        .unwrap_or(Task::Embed)
    }

    fn finish(mut self) -> Result<(), Vec<String>> {
        for key in self.table.keys() {
            self.mistakes
                .push(format!("{key} is not a key of model.toml"));
        }
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(self.mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = r#"
        name = "all-MiniLM-L6-v2"
        task = "embed"
        model_file = "model.onnx"
        tokenizer_file = "tokenizer.json"
        dimensions = 384
        max_tokens = 256
        vocabulary = 30522
        created = 1661990400
        owned_by = "sentence-transformers"
    "#;

    #[test]
    fn right_manifest_is_read() {
        let manifest = Manifest::parse(RIGHT).expect("no mistake");
        assert_eq!(manifest.name, "all-MiniLM-L6-v2");
        assert_eq!((manifest.dimensions, manifest.max_tokens), (384, 256));
        assert_eq!(manifest.created, 1_661_990_400);
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_key_and_value() {
        let wrong = RIGHT
            .replace("\"embed\"", "\"chat\"")
            .replace("384", "0")
            .replace("\"tokenizer.json\"", "\"../tokenizer.json\"")
            .replace("name =", "nmae =");
        assert_eq!(
            Manifest::parse(&wrong),
            Err(vec![
                "name is missing".to_owned(),
                "task is \"chat\"; it must be \"embed\"".to_owned(),
                "tokenizer_file is \"../tokenizer.json\"; it must be the name of a file in this folder".to_owned(),
                "dimensions is 0; it must be a whole number from 1 to 4294967295".to_owned(),
                "nmae is not a key of model.toml".to_owned(),
            ])
        );
    }

    #[test]
    fn broken_toml_is_one_mistake() {
        assert_eq!(
            Manifest::parse("name = ").map_err(|mistakes| mistakes.len()),
            Err(1)
        );
    }
}
