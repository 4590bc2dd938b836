//! Embeddings of another service, one by one: which inputs are known, and how an answer is put together.
//!
//! Results are kept as the bytes of JSON in which the service wrote them, numbers or base64, and are put
//! into answers as they are.

use std::collections::HashMap;

use brink_cache::Key;
use brink_cache::policy::ItemFormat;
use brink_protocol::limits::MAX_INPUTS;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::posted::{Place, PostedBody};

/// The kind of entry that holds one result.
pub const ITEM_MEDIA: &str = "application/vnd.brink.item+json";

/// A body's inputs, each distinct one once.
#[derive(Clone, Debug)]
pub struct Items {
    /// Distinct inputs in the order of their first occurrence, with their keys.
    pub distinct: Vec<(Key, Value)>,
    /// For every input of the body, its place in `distinct`.
    pub places: Vec<usize>,
    format: ItemFormat,
    place: Option<Place>,
}

/// The member that holds the inputs.
pub fn member(format: ItemFormat) -> &'static str {
    match format {
        ItemFormat::OpenAi => "input",
        ItemFormat::Tei => "inputs",
    }
}

impl Items {
    /// The inputs of a body; `None` if they are of no known form, which is the origin's to judge.
    pub fn of(body: &PostedBody, format: ItemFormat, place: Place) -> Option<Self> {
        let inputs = match body.members.get(member(format))? {
            text @ Value::String(_) => vec![text],
            // One input of token ids.
            tokens @ Value::Array(list) if list.first().is_some_and(Value::is_number) => {
                vec![tokens]
            }
            Value::Array(list) => list.iter().collect(),
            _ => return None,
        };
        if inputs.is_empty() || inputs.len() > MAX_INPUTS {
            return None;
        }
        let mut items = Self {
            distinct: Vec::with_capacity(inputs.len()),
            places: Vec::with_capacity(inputs.len()),
            format,
            place: None,
        };
        let mut known = HashMap::with_capacity(inputs.len());
        for input in inputs {
            let key = place.item_key(input)?;
            let next = items.distinct.len();
            let at = *known.entry(key).or_insert(next);
            if at == next {
                items.distinct.push((key, input.clone()));
            }
            items.places.push(at);
        }
        items.place = Some(place);
        Some(items)
    }

    /// The key on which requests that lack the same inputs wait for each other. Nothing is stored under it.
    pub fn gate(&self, missing: &[usize]) -> Option<Key> {
        let inputs = missing.iter().map(|place| self.distinct[*place].1.clone());
        self.place.as_ref()?.item_key(&inputs.collect())
    }

    /// The body that asks for these distinct inputs alone.
    pub fn body_for(&self, body: &PostedBody, wanted: &[usize]) -> Vec<u8> {
        let inputs = wanted.iter().map(|place| self.distinct[*place].1.clone());
        let mut members = body.members.clone();
        members.insert(member(self.format).to_owned(), inputs.collect());
        serde_json::to_vec(&members).expect("JSON that was read can be written")
    }

    /// The whole answer, of one result for each distinct input.
    pub fn answer(&self, results: &[Bytes], told: &Understood) -> Vec<u8> {
        let raw = |place: &usize| String::from_utf8_lossy(&results[*place]);
        match self.format {
            ItemFormat::Tei => {
                let all: Vec<_> = self.places.iter().map(raw).collect();
                format!("[{}]", all.join(",")).into_bytes()
            }
            ItemFormat::OpenAi => {
                let item = |(index, place): (usize, &usize)| {
                    let embedding = raw(place);
                    format!(r#"{{"object":"embedding","index":{index},"embedding":{embedding}}}"#)
                };
                let data: Vec<_> = self.places.iter().enumerate().map(item).collect();
                let model = serde_json::to_string(&told.model).expect("text can be written");
                let tokens = told.tokens;
                format!(
                    r#"{{"object":"list","data":[{}],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#,
                    data.join(",")
                )
                .into_bytes()
            }
        }
    }
}

/// An origin's answer, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Understood {
    /// One result for each input that was asked for, in order: JSON as it was written.
    pub results: Vec<Bytes>,
    /// The model that the origin names.
    pub model: String,
    /// Tokens that it counted: those of the inputs that it was asked for.
    pub tokens: u64,
}

/// Takes an answer to `count` inputs apart; `None` if it is of another form, or lacks a result.
pub fn understand(format: ItemFormat, body: &[u8], count: usize) -> Option<Understood> {
    let understood = match format {
        ItemFormat::OpenAi => openai(body, count)?,
        ItemFormat::Tei => {
            let list: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
            Understood {
                results: list.into_iter().map(bytes).collect(),
                ..Understood::default()
            }
        }
    };
    let is_result = |result: &Bytes| matches!(result.first(), Some(b'[' | b'"'));
    let is_whole = understood.results.len() == count;
    (is_whole && understood.results.iter().all(is_result)).then_some(understood)
}

fn openai(body: &[u8], count: usize) -> Option<Understood> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Vec<Item<'a>>,
        #[serde(default)]
        model: String,
        #[serde(default)]
        usage: Usage,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        embedding: &'a RawValue,
        index: usize,
    }
    #[derive(Default, Deserialize, Serialize)]
    struct Usage {
        #[serde(default)]
        prompt_tokens: u64,
    }
    let list: List<'_> = serde_json::from_slice(body).ok()?;
    let mut results = vec![None; count];
    for item in &list.data {
        let slot = results.get_mut(item.index)?;
        if slot.replace(bytes(item.embedding)).is_some() {
            return None;
        }
    }
    Some(Understood {
        results: results.into_iter().collect::<Option<_>>()?,
        model: list.model,
        tokens: list.usage.prompt_tokens,
    })
}

fn bytes(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(raw.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_taken_apart_by_index_and_put_together_by_place() {
        let body = br#"{"data": [{"index": 1, "embedding": [0.10, 2e0]}, {"index": 0, "embedding": "AAA="}],
            "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}"#;
        let understood = understand(ItemFormat::OpenAi, body, 2).unwrap();
        assert_eq!(understood.results, [&b"\"AAA=\""[..], b"[0.10, 2e0]"]);
        let items = Items {
            distinct: Vec::new(),
            places: vec![1, 0, 1],
            format: ItemFormat::OpenAi,
            place: None,
        };
        let answer = items.answer(&understood.results, &understood);
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            concat!(
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10, 2e0]},"#,
                r#"{"object":"embedding","index":1,"embedding":"AAA="},"#,
                r#"{"object":"embedding","index":2,"embedding":[0.10, 2e0]}],"#,
                r#""model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#
            )
        );
        let tei = understand(ItemFormat::Tei, b"[[1.0],[2.0]]", 2).unwrap();
        let items = Items {
            format: ItemFormat::Tei,
            ..items
        };
        assert_eq!(items.answer(&tei.results, &tei), b"[[2.0],[1.0],[2.0]]");
    }

    #[test]
    fn what_is_not_a_result_for_each_input_is_not_understood() {
        let item = |index: &str| format!(r#"{{"index": {index}, "embedding": [1]}}"#);
        let list = |items: &[String]| format!(r#"{{"data": [{}]}}"#, items.join(","));
        for body in [
            list(&[item("0")]),
            list(&[item("0"), item("0")]),
            list(&[item("0"), item("2")]),
            list(&[item("0"), item("1"), item("1")]),
            list(&[item("0"), r#"{"index": 1, "embedding": null}"#.to_owned()]),
            list(&[item("-1"), item("0")]),
            "{}".to_owned(),
            "[]".to_owned(),
        ] {
            let found = understand(ItemFormat::OpenAi, body.as_bytes(), 2);
            assert_eq!(found, None, "{body}");
        }
        for body in ["[[1]]", "[[1],[2],[3]]", "[[1],2]", "{}"] {
            assert_eq!(
                understand(ItemFormat::Tei, body.as_bytes(), 2),
                None,
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(body: Vec<u8>, text in r#"[\[\]{}":,a-z0-9]{0,40}"#) {
            for format in [ItemFormat::OpenAi, ItemFormat::Tei] {
                understand(format, &body, 2);
                understand(format, text.as_bytes(), 2);
            }
        }
    }
}
