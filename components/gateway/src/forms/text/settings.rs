//! The members that both routes have.
//!
//! Members that nobody knows are ignored, as OpenAI does it: clients send ever new ones. Those that are known to change
//! the text, and are not offered here, are refused.

use brink_protocol::generate::{MAX_LOGPROBS, MAX_STOPS, Sampling};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Api, MAX_CHOICES, Texts, id, refuse};
use crate::error::{ApiError, shorten};
use crate::forms::at_most::AtMost;
use crate::forms::body;
use crate::head::Head;

/// Tokens of an answer of `/v1/completions` that names no number, as in OpenAI's API.
const COMPLETION_TOKENS: u32 = 16;

#[derive(Deserialize)]
pub(super) struct Settings<'a> {
    model: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    min_p: Option<f32>,
    seed: Option<i64>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    top_logprobs: Option<u64>,
    #[serde(borrow)]
    response_format: Option<ResponseFormat<'a>>,
    modalities: Option<AtMost<String, 2>>,
    #[serde(borrow)]
    logit_bias: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    functions: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    web_search_options: Option<&'a RawValue>,
    #[serde(borrow)]
    echo: Option<&'a RawValue>,
    #[serde(borrow)]
    suffix: Option<&'a RawValue>,
    best_of: Option<u64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

/// Reads the members of a body that both routes have: the model's name, and all but the prompt.
pub(super) fn read(api: Api, head: &Head<'_>, bytes: &[u8]) -> Result<(String, Texts), ApiError> {
    let settings: Settings<'_> = body::read(bytes)?;
    settings.refuse_what_is_not_offered()?;
    let model = settings.model.as_deref().filter(|name| !name.is_empty());
    let model = model
        .ok_or_else(|| ApiError::invalid("model", "the member model is missing or empty"))?
        .to_owned();
    let sampling = settings.sampling(api)?;
    refuse(sampling.refusal())?;
    let stream = settings.stream.unwrap_or(false);
    if settings.stream_options.is_some() && !stream && api != Api::Stream {
        let message = "stream_options is given and stream is not true";
        return Err(ApiError::invalid("stream_options", message));
    }
    let options = settings.stream_options.as_ref();
    let texts = Texts {
        api,
        is_streamed: stream,
        include_usage: options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
        sampling,
        per_prompt: settings.per_prompt()?,
        id: id(head),
    };
    Ok((model, texts))
}

impl Settings<'_> {
    /// Whatever would change the text, and cannot be done here.
    fn refuse_what_is_not_offered(&self) -> Result<(), ApiError> {
        let members = [
            ("tools", self.tools),
            ("functions", self.functions),
            ("audio", self.audio),
            ("web_search_options", self.web_search_options),
            ("logit_bias", self.logit_bias),
            ("echo", self.echo),
            ("suffix", self.suffix),
        ];
        let given = |(_, value): &(&str, Option<&RawValue>)| value.is_some_and(is_something);
        if let Some((name, _)) = members.into_iter().find(given) {
            let message = format!("{name} is given; it is not offered here");
            return Err(ApiError::invalid(name, message));
        }
        if let Some(format) = &self.response_format
            && format.kind != "text"
        {
            let message = format!(
                "response_format.type is {}; models here write free text: only \"text\" is allowed",
                shorten(&format.kind)
            );
            return Err(ApiError::invalid("response_format", message));
        }
        if let Some(modalities) = &self.modalities
            && modalities.kept.iter().any(|one| one != "text")
        {
            let message = "modalities has more than \"text\"; nothing else is offered here";
            return Err(ApiError::invalid("modalities", message));
        }
        match self.best_of {
            Some(best_of) if best_of > 1 => Err(ApiError::invalid(
                "best_of",
                format!("best_of is {best_of}; only 1 is offered here"),
            )),
            _ => Ok(()),
        }
    }

    fn sampling(&self, api: Api) -> Result<Sampling, ApiError> {
        let usual = Sampling::default();
        Ok(Sampling {
            max_tokens: self.max_tokens(api)?,
            temperature: self.temperature.unwrap_or(usual.temperature),
            top_p: self.top_p.unwrap_or(usual.top_p),
            top_k: self.top_k.unwrap_or(usual.top_k),
            min_p: self.min_p.unwrap_or(usual.min_p),
            presence_penalty: self.presence_penalty.unwrap_or(usual.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(usual.frequency_penalty),
            // Any whole number is a seed; two that differ stay different.
            seed: self.seed.map(i64::cast_unsigned),
            stop: self.stop.map(stop).transpose()?.unwrap_or_default(),
            logprobs: self.logprobs(api)?,
        })
    }

    fn max_tokens(&self, api: Api) -> Result<Option<u32>, ApiError> {
        match (api, self.max_tokens, self.max_completion_tokens) {
            (_, Some(one), Some(other)) if one != other => Err(ApiError::invalid(
                "max_completion_tokens",
                format!(
                    "max_completion_tokens is {other} and max_tokens is {one}; give one of them"
                ),
            )),
            (Api::Completion, None, None) => Ok(Some(COMPLETION_TOKENS)),
            (_, one, other) => Ok(other.or(one)),
        }
    }

    fn per_prompt(&self) -> Result<usize, ApiError> {
        let n = self.n.unwrap_or(1);
        let usable = usize::try_from(n)
            .ok()
            .filter(|n| (1..=MAX_CHOICES).contains(n));
        usable.ok_or_else(|| {
            ApiError::invalid("n", format!("n is {n}; 1 to {MAX_CHOICES} are allowed"))
        })
    }

    /// A number for `/v1/completions`; true and a number beside it for chats.
    fn logprobs(&self, api: Api) -> Result<Option<u8>, ApiError> {
        let given = self.logprobs.map(RawValue::get);
        let (member, top) = match (api, given) {
            (Api::Chat | Api::Stream, Some("true")) => {
                ("top_logprobs", self.top_logprobs.unwrap_or(0))
            }
            (_, None | Some("null")) | (Api::Chat | Api::Stream, Some("false")) => {
                return match self.top_logprobs {
                    None | Some(0) => Ok(None),
                    Some(_) => Err(ApiError::invalid(
                        "top_logprobs",
                        "top_logprobs is given and logprobs is not true",
                    )),
                };
            }
            (Api::Completion, Some(number)) => match number.parse() {
                Ok(top) => ("logprobs", top),
                Err(_) => {
                    let message = format!("logprobs must be a whole number, 0 to {MAX_LOGPROBS}");
                    return Err(ApiError::invalid("logprobs", message));
                }
            },
            (Api::Chat | Api::Stream, Some(_)) => {
                return Err(ApiError::invalid(
                    "logprobs",
                    "logprobs must be true or false",
                ));
            }
        };
        let usable = u8::try_from(top).ok().filter(|top| *top <= MAX_LOGPROBS);
        usable.map(Some).ok_or_else(|| {
            let message = format!("{member} is {top}; at most {MAX_LOGPROBS} are allowed");
            ApiError::invalid(member, message)
        })
    }
}

/// Whether a value asks for something: not null, false, nor anything empty.
fn is_something(value: &RawValue) -> bool {
    let mut text = value
        .get()
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace());
    let beginning: Vec<u8> = text.by_ref().take(6).collect();
    !matches!(&beginning[..], b"null" | b"false" | b"[]" | b"{}" | b"\"\"")
}

/// One string or a list of them.
fn stop(value: &RawValue) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::invalid("stop", "stop must be a string or an array of strings");
    match value.get().as_bytes().first() {
        Some(b'"') => {
            let one = serde_json::from_str(value.get()).map_err(|_| wrong())?;
            Ok(vec![one])
        }
        Some(b'[') => {
            let list: AtMost<String, MAX_STOPS> =
                serde_json::from_str(value.get()).map_err(|_| wrong())?;
            match list.count > MAX_STOPS {
                true => {
                    let count = list.count;
                    let message =
                        format!("stop has {count} strings; at most {MAX_STOPS} are allowed");
                    Err(ApiError::invalid("stop", message))
                }
                false => Ok(list.kept),
            }
        }
        Some(b'n') => Ok(Vec::new()),
        _ => Err(wrong()),
    }
}
