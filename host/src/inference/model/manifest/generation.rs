//! `task = "generate"`: a model that writes.

use brink_protocol::TextLimits;
use brink_protocol::limits::MAX_INPUT_TOKENS;
use serde::Serialize;

use super::keys::Keys;

/// Most slots: above it a step of a processor takes longer than readers read.
const MOST_SLOTS: u32 = 1024;
/// Most memory of slots, in MiB: a tebibyte.
const MOST_MIB: u32 = 1 << 20;
/// Slots, unless the model says otherwise: on a processor a step of 16 costs some two and a half times one of 1.
const SLOTS: u32 = 16;
/// Memory of the slots, unless the model says otherwise.
const KV_MEMORY_MIB: u32 = 1024;

/// The table `[generate]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// The tokenizer, relative to the folder.
    pub tokenizer_file: String,
    /// The chat template, relative to the folder; `None` for a model that only goes on with a text.
    pub template_file: Option<String>,
    /// Most tokens of prompt and answer together, and of the vocabulary.
    pub text: TextLimits,
    /// Most tokens of an answer.
    pub max_new_tokens: u32,
    /// Tokens that end a text.
    pub end_tokens: Vec<u32>,
    /// What cannot change a result, and is no part of the digest.
    #[serde(skip)]
    pub decode: DecodeSettings,
}

/// How many write at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeSettings {
    /// Most texts that are written at a time.
    pub slots: usize,
    /// Most memory of what the model remembers of them, in bytes.
    pub kv_memory_bytes: usize,
}

impl Generation {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let tokenizer_file = keys.file("tokenizer_file");
        let mut keys = keys.section("generate");
        let text = TextLimits {
            max_tokens: keys.count("context"),
            vocabulary: keys.count("vocabulary"),
        };
        let most = u32::try_from(MAX_INPUT_TOKENS).unwrap_or(u32::MAX);
        if text.max_tokens > most {
            keys.wrong(
                "context",
                &format!("is {}; it must be at most {most}", text.max_tokens),
            );
        }
        let max_new_tokens = keys.optional_count("max_new_tokens", text.max_tokens.max(1));
        Self {
            tokenizer_file,
            template_file: keys.optional_file("template_file"),
            text,
            max_new_tokens: max_new_tokens.unwrap_or(text.max_tokens),
            end_tokens: end_tokens(&mut keys, text.vocabulary),
            decode: decode(&mut keys),
        }
    }
}

fn end_tokens(keys: &mut Keys<'_>, vocabulary: u32) -> Vec<u32> {
    let what = format!("a list of one or more ids below {vocabulary}, the vocabulary");
    keys.required("end_tokens", &what, |value| {
        let id = |value: &toml::Value| {
            let id = u32::try_from(value.as_integer()?).ok()?;
            (id < vocabulary).then_some(id)
        };
        let ids: Vec<u32> = value.as_array()?.iter().map(id).collect::<Option<_>>()?;
        (!ids.is_empty()).then_some(ids)
    })
}

fn decode(keys: &mut Keys<'_>) -> DecodeSettings {
    let mib = keys.optional_count("kv_memory_mib", MOST_MIB);
    let slots = keys.optional_count("slots", MOST_SLOTS);
    DecodeSettings {
        slots: slots.unwrap_or(SLOTS) as usize,
        kv_memory_bytes: (mib.unwrap_or(KV_MEMORY_MIB) as usize) << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Manifest, ModelTask};

    const WRITER: &str = r#"
        name = "writer"
        task = "generate"
        model_file = "model.onnx"
        tokenizer_file = "tokenizer.json"
        created = 1
        owned_by = "us"
        [generate]
        context = 2048
        vocabulary = 100
        max_new_tokens = 512
        end_tokens = [2, 0]
        template_file = "chat.jinja"
        slots = 4
    "#;

    #[test]
    fn writers_are_read() {
        let manifest = Manifest::parse(WRITER).expect("no mistake");
        assert_eq!(manifest.template_file(), Some("chat.jinja"));
        assert_eq!(manifest.tokenizer_file(), Some("tokenizer.json"));
        let ModelTask::Generate(generation) = manifest.task else {
            panic!("a writer")
        };
        assert_eq!(generation.text.max_tokens, 2048);
        assert_eq!(generation.max_new_tokens, 512);
        assert_eq!(generation.end_tokens, [2, 0]);
        assert_eq!(generation.decode.slots, 4);
        assert_eq!(generation.decode.kv_memory_bytes, 1 << 30);
    }

    #[test]
    fn mistakes_name_key_and_value() {
        let wrong = WRITER
            .replace("2048", "20480")
            .replace("512", "20481")
            .replace("[2, 0]", "[2, 100]")
            .replace("slots = 4", "slots = 0");
        assert_eq!(
            Manifest::parse(&wrong),
            Err(vec![
                "generate.context is 20480; it must be at most 16384".to_owned(),
                "generate.max_new_tokens is 20481; it must be a whole number from 1 to 20480"
                    .to_owned(),
                "generate.end_tokens is [2, 100]; it must be a list of one or more ids below 100, the vocabulary"
                    .to_owned(),
                "generate.slots is 0; it must be a whole number from 1 to 1024".to_owned(),
            ])
        );
    }
}
