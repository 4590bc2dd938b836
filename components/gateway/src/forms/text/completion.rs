//! Texts that are gone on from as they are.

use brink_protocol::Input;
use brink_protocol::generate::Prompt;
use serde::Deserialize;

use super::{Api, settings};
use crate::error::ApiError;
use crate::forms::body;
use crate::forms::input::{Inputs, check_inputs};
use crate::head::Head;
use crate::items::Request;

/// The member that holds the prompts.
const MEMBER: &str = "prompt";

#[derive(Deserialize)]
struct RawCompletion {
    prompt: Option<Inputs>,
}

/// Reads a body of `/v1/completions`.
///
/// # Errors
/// The first mistake in it.
pub fn parse(head: &Head<'_>, bytes: &[u8]) -> Result<Request, ApiError> {
    let (model, texts) = settings::read(Api::Completion, head, bytes)?;
    let prompts = prompts(bytes)?.into_iter().filter_map(|input| match input {
        Input::Text(text) => Some(Prompt::Text(text)),
        Input::Tokens(tokens) => Some(Prompt::Tokens(tokens)),
        // The reader makes none of these.
        Input::LongText(_) | Input::Blob(_) | Input::Tensors(_) => None,
    });
    texts.request(model, prompts.collect(), MEMBER)
}

/// The prompts in a body.
pub(super) fn prompts(bytes: &[u8]) -> Result<Vec<Input>, ApiError> {
    let raw: RawCompletion = body::read(bytes)?;
    let inputs = raw
        .prompt
        .ok_or_else(|| ApiError::invalid(MEMBER, "the member prompt is missing"))?
        .0;
    check_inputs(MEMBER, &inputs)?;
    Ok(inputs)
}
