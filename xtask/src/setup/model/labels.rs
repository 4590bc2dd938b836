//! The names of a model's classes: out of the JSON files of a package, into `labels.txt`.
//!
//! One label a line, in the order of the model's output. No two classes share a label, because whoever reads
//! an answer has the label only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::Error;

/// Where the labels are.
#[derive(Debug)]
pub(super) struct Labels {
    /// A JSON file.
    pub(super) file: &'static str,
    /// JSON pointer (RFC 6901) to the list of labels in it; empty if the file is that list.
    pub(super) list: &'static str,
    /// A JSON file with longer names by the number of the class, for those classes whose labels are equal.
    pub(super) longer: Option<&'static str>,
    /// How many classes the model has.
    pub(super) count: usize,
}

/// Why the files give no labels: another package, or a wrong entry in the list of models.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LabelsError {
    #[error("{file} is not JSON: {problem}")]
    NotJson { file: &'static str, problem: String },

    #[error("{file} has no list of texts at \"{list}\"")]
    NoList {
        file: &'static str,
        list: &'static str,
    },

    #[error("{found} labels for {expected} classes")]
    WrongCount { found: usize, expected: usize },

    #[error("class {class} has no label of one line without spaces around it")]
    NotOneLine { class: usize },

    #[error("class {class} has the same label as an earlier one")]
    Repeated { class: usize },
}

impl Labels {
    /// The file that is written.
    pub(super) const FILE: &'static str = "labels.txt";

    /// Reads the JSON files in `dir` and writes `labels.txt` beside them.
    pub(super) fn write(&self, model: &'static str, dir: &Path) -> Result<(), Error> {
        let read = |file: &str| {
            let path = dir.join(file);
            fs::read_to_string(&path).map_err(Error::io("read", &path))
        };
        let names = read(self.file)?;
        let longer = self.longer.map(read).transpose()?;
        let labels = self
            .extract(&names, longer.as_deref())
            .map_err(|source| Error::Labels { model, source })?;
        let path = dir.join(Self::FILE);
        fs::write(&path, labels.join("\n") + "\n").map_err(Error::io("write", &path))
    }

    fn extract(&self, names: &str, longer: Option<&str>) -> Result<Vec<String>, LabelsError> {
        let mut labels = self.listed(names)?;
        if let (Some(file), Some(text)) = (self.longer, longer) {
            let longer: BTreeMap<usize, String> =
                serde_json::from_str(text).map_err(not_json(file))?;
            lengthen(&mut labels, &longer);
        }
        self.check(&labels)?;
        Ok(labels)
    }

    fn listed(&self, text: &str) -> Result<Vec<String>, LabelsError> {
        let mut document: Value = serde_json::from_str(text).map_err(not_json(self.file))?;
        document
            .pointer_mut(self.list)
            .and_then(|list| serde_json::from_value(list.take()).ok())
            .ok_or(LabelsError::NoList {
                file: self.file,
                list: self.list,
            })
    }

    fn check(&self, labels: &[String]) -> Result<(), LabelsError> {
        if labels.len() != self.count {
            return Err(LabelsError::WrongCount {
                found: labels.len(),
                expected: self.count,
            });
        }
        let mut earlier = BTreeSet::new();
        for (class, label) in labels.iter().enumerate() {
            if label.is_empty() || label.trim() != label || label.contains(char::is_control) {
                return Err(LabelsError::NotOneLine { class });
            }
            if !earlier.insert(label) {
                return Err(LabelsError::Repeated { class });
            }
        }
        Ok(())
    }
}

/// For `map_err`. The text of the error stays, because serde's type cannot be compared.
fn not_json(file: &'static str) -> impl FnOnce(serde_json::Error) -> LabelsError {
    move |error| LabelsError::NotJson {
        file,
        problem: error.to_string(),
    }
}

/// Gives the classes whose labels are equal their longer names.
fn lengthen(labels: &mut [String], longer: &BTreeMap<usize, String>) {
    let mut classes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (class, label) in labels.iter().enumerate() {
        classes.entry(label.clone()).or_default().push(class);
    }
    for class in classes
        .into_values()
        .filter(|same| same.len() > 1)
        .flatten()
    {
        if let Some(name) = longer.get(&class) {
            labels[class].clone_from(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const LABELS: Labels = Labels {
        file: "names.json",
        list: "",
        longer: Some("longer.json"),
        count: 3,
    };

    #[test]
    fn labels_are_written_one_a_line_in_the_order_of_the_classes() {
        let scratch = Scratch::new("labels");
        let put = |file, text| fs::write(scratch.path().join(file), text).unwrap();
        put("names.json", r#"{"classes": ["zip", "c++", "a b"]}"#);
        let labels = Labels {
            list: "/classes",
            longer: None,
            ..LABELS
        };
        labels.write("example", scratch.path()).unwrap();
        let written = fs::read_to_string(scratch.path().join(Labels::FILE)).unwrap();
        assert_eq!(written, "zip\nc++\na b\n");
    }

    #[test]
    fn only_equal_labels_are_replaced_by_longer_ones() {
        let longer = r#"{"0": "projectile, missile", "1": "tabby, tabby cat", "2": "rocket"}"#;
        let labels = LABELS.extract(r#"["missile", "cat", "missile"]"#, Some(longer));
        assert_eq!(labels.unwrap(), ["projectile, missile", "cat", "rocket"]);
    }

    #[test]
    fn what_would_not_be_one_label_for_each_class_is_refused() {
        let check = |names: &str, longer: &str, expected: LabelsError| {
            assert_eq!(
                LABELS.extract(names, Some(longer)),
                Err(expected),
                "{names}"
            );
        };
        let (file, list) = ("names.json", "");
        check(r#"{"0": "a"}"#, "{}", LabelsError::NoList { file, list });
        check(r#"["a", "b", 3]"#, "{}", LabelsError::NoList { file, list });
        let (found, expected) = (2, 3);
        check(
            r#"["a", "b"]"#,
            "{}",
            LabelsError::WrongCount { found, expected },
        );
        for odd in ["", " b", r"b\nc", r"\u0000"] {
            let names = format!(r#"["a", "{odd}", "c"]"#);
            check(&names, "{}", LabelsError::NotOneLine { class: 1 });
        }
        check(
            r#"["a", "b", "a"]"#,
            "{}",
            LabelsError::Repeated { class: 2 },
        );
        let still_equal = r#"{"0": "b"}"#;
        check(
            r#"["a", "b", "a"]"#,
            still_equal,
            LabelsError::Repeated { class: 1 },
        );
    }

    #[test]
    fn broken_file_is_named() {
        let error = LABELS.extract("[", Some("{}")).unwrap_err();
        assert!(
            error.to_string().starts_with("names.json is not JSON"),
            "{error}"
        );
        let error = LABELS.extract(r#"["a", "b", "c"]"#, Some(r#"{"x": "a"}"#));
        let error = error.unwrap_err();
        assert!(
            error.to_string().starts_with("longer.json is not JSON"),
            "{error}"
        );
    }
}
