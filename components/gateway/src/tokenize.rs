//! `POST /tokenize` of text-embeddings-inference: what a model's tokenizer makes of texts.
//!
//! Only a host has tokenizers, so each request is a call to it. Nothing is stored: the call takes less time
//! than a look-up would save.

use std::sync::Arc;

use brink_cache::Policy;
use brink_protocol::{Catalog, Fault, Input, TokenizeReply, TokenizeRequest};
use http::StatusCode;
use serde::Deserialize;

use crate::default_model::{self, Purpose};
use crate::error::ApiError;
use crate::forms::tei::check_parameters;
use crate::forms::{body, input};
use crate::items::Bound;
use crate::reply::Reply;

/// The member that holds the texts.
const MEMBER: &str = "inputs";

/// A checked request; the host is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenize {
    model: String,
    texts: Vec<String>,
    add_special_tokens: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    inputs: Option<input::Inputs>,
    model: Option<String>,
    add_special_tokens: Option<bool>,
    prompt_name: Option<String>,
}

impl Tokenize {
    /// Reads a body. The model is still to be [bound](Self::bind).
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let raw: RawRequest = body::read(bytes)?;
        let inputs = raw
            .inputs
            .ok_or_else(|| ApiError::invalid(MEMBER, "the member inputs is missing"))?;
        input::check_inputs(MEMBER, &inputs.0)?;
        check_parameters(None, raw.prompt_name.as_deref())?;
        let texts = inputs.0.into_iter().map(|input| match input {
            Input::Text(text) => Ok(text),
            _ => Err(ApiError::invalid(
                MEMBER,
                "inputs has token ids; texts are wanted",
            )),
        });
        Ok(Self {
            texts: texts.collect::<Result<_, _>>()?,
            model: raw.model.unwrap_or_default(),
            add_special_tokens: raw.add_special_tokens.unwrap_or(true),
        })
    }

    /// Names the model, and holds the request against it. `chosen` is the operator's default.
    ///
    /// # Errors
    /// 404 for a model that does not exist, 400 for one that reads no texts.
    pub fn bind(
        self,
        catalog: &Arc<Catalog>,
        policy: &Policy,
        chosen: &str,
    ) -> Result<Self, ApiError> {
        let name = match self.model.is_empty() {
            true => default_model::name(catalog, policy, chosen, Purpose::ReadTexts)?,
            false => self.model.as_str(),
        };
        let bound = Bound::find(catalog, policy.model_of(name), None)?;
        if bound.model().text().is_none() {
            return Err(ApiError::wrong_task(bound.model(), "reads no texts"));
        }
        Ok(Self {
            model: bound.model().name.clone(),
            ..self
        })
    }

    /// The call to the host.
    pub fn call(self, request_id: &str) -> TokenizeRequest {
        TokenizeRequest {
            request_id: request_id.to_owned(),
            model: self.model,
            texts: self.texts,
            add_special_tokens: self.add_special_tokens,
        }
    }
}

/// The answer for `count` texts.
///
/// # Errors
/// What the host said, or 502 when its answer does not fit the call.
pub fn reply(answer: TokenizeReply, count: usize) -> Result<Reply, ApiError> {
    let texts = answer.map_err(refused)?;
    if texts.len() != count {
        let what = format!("tokens of {} texts for {count}", texts.len());
        return Err(ApiError::host_nonsense(&what));
    }
    // The messages of edge and host have the members that clients expect.
    let body = serde_json::to_vec(&texts).expect("strings and numbers always serialise");
    Ok(Reply::json(StatusCode::OK, body))
}

fn refused(fault: Fault) -> ApiError {
    let param = fault.item.map(|item| format!("{MEMBER}[{item}]"));
    ApiError::from_fault(fault, param)
}
