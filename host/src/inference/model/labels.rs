//! Labels of a classifier: one a line, in the order of its scores.

use std::path::Path;

use super::ModelError;

/// Most labels; every edge keeps them with the catalogue.
const MAX_LABELS: usize = 100_000;
/// Most bytes of one label.
const MAX_LABEL_BYTES: usize = 256;

pub(super) fn read(path: &Path) -> Result<Vec<String>, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|problem| ModelError::Labels {
        path: path.to_owned(),
        problem,
    })
}

fn parse(text: &str) -> Result<Vec<String>, String> {
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if labels.is_empty() || labels.len() > MAX_LABELS {
        let count = labels.len();
        return Err(format!("has {count} labels; 1 to {MAX_LABELS} are allowed"));
    }
    let wrong = |label: &String| label.is_empty() || label.len() > MAX_LABEL_BYTES;
    match labels.iter().position(wrong) {
        Some(index) => Err(format!(
            "has a line {} of {} bytes; 1 to {MAX_LABEL_BYTES} are allowed",
            index + 1,
            labels[index].len()
        )),
        None => Ok(labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lines() {
        assert_eq!(
            parse("cat\n dog \r\n"),
            Ok(vec!["cat".to_owned(), "dog".to_owned()])
        );
        assert_eq!(
            parse(""),
            Err("has 0 labels; 1 to 100000 are allowed".to_owned())
        );
        assert_eq!(
            parse("a\n\nb"),
            Err("has a line 2 of 0 bytes; 1 to 256 are allowed".to_owned())
        );
    }
}
