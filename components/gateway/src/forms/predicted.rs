//! The inputs of `/predict`: a text, or a list of lists of one text each. A list of texts is one input there: a pair.

use std::fmt;

use brink_protocol::limits::MAX_INPUTS;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::at_most::skip;

/// Texts to classify. One more than the limit is kept at most, which is refused by their number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Predicted {
    pub(super) texts: Vec<String>,
    /// Whether the answer is a list of one list for each input.
    pub(super) is_list: bool,
}

const EXPECTED: &str = "a string or a list of lists of one string each";

impl<'de> Deserialize<'de> for Predicted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PredictedVisitor)
    }
}

struct PredictedVisitor;

impl<'de> Visitor<'de> for PredictedVisitor {
    type Value = Predicted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Predicted, E> {
        Ok(Predicted {
            texts: vec![text.to_owned()],
            is_list: false,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Predicted, A::Error> {
        let first = match list.next_element()? {
            Some(Element::List(text)) => text,
            Some(Element::Text(text)) => {
                return match skip(list)? {
                    0 => Ok(Predicted {
                        texts: vec![text],
                        is_list: false,
                    }),
                    _ => Err(pair()),
                };
            }
            None => {
                return Err(A::Error::custom(format!(
                    "it is empty, expected {EXPECTED}"
                )));
            }
        };
        let mut texts = vec![first];
        while let Some(element) = list.next_element()? {
            match element {
                Element::List(text) => texts.push(text),
                Element::Text(_) => {
                    return Err(A::Error::custom("it has texts beside lists of one text"));
                }
            }
            if texts.len() > MAX_INPUTS {
                skip(list)?;
                break;
            }
        }
        Ok(Predicted {
            texts,
            is_list: true,
        })
    }
}

fn pair<E: Error>() -> E {
    E::custom("it has a pair of texts; models here classify one text")
}

/// A text, or a list of just one.
enum Element {
    Text(String),
    List(String),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of one string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        let text = list.next_element()?;
        let text = text.ok_or_else(|| A::Error::custom("it has an empty list"))?;
        match skip(list)? {
            0 => Ok(Element::List(text)),
            _ => Err(pair()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_and_lists_of_one_are_told_apart_and_pairs_refused() {
        let check = |json: &str, expected: Option<(&[&str], bool)>| {
            let found = serde_json::from_str::<Predicted>(json).ok();
            let found = found.map(|found| (found.texts, found.is_list));
            let expected = expected.map(|(texts, is_list)| {
                (
                    texts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    is_list,
                )
            });
            assert_eq!(found, expected, "{json}");
        };
        check(r#""a""#, Some((&["a"], false)));
        check(r#"["a"]"#, Some((&["a"], false)));
        check(r#"[["a"],["b"]]"#, Some((&["a", "b"], true)));
        for wrong in [
            "1",
            "null",
            "{}",
            "[]",
            "[[]]",
            "[1]",
            r#"["a","b"]"#,
            r#"["a",1]"#,
            r#"[["a","b"]]"#,
            r#"[["a"],"b"]"#,
            r#"[["a"],[["b"]]]"#,
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn of_too_many_one_is_kept_that_tells() {
        let many = format!("[{}]", vec![r#"["a"]"#; MAX_INPUTS + 100].join(","));
        let found: Predicted = serde_json::from_str(&many).unwrap();
        assert_eq!(found.texts.len(), MAX_INPUTS + 1);
    }
}
