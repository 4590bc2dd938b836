//! A request in the query of a URL, so that browsers and CDNs can cache its answer.

use brink_cache::Key;
use brink_protocol::Input;
use brink_protocol::limits::MAX_INPUTS;

use super::super::input::Inputs;
use super::super::query::{flag, number, once, pairs, unknown};
use super::RawRequest;
use crate::error::ApiError;

const ALLOWED: &str = "input and input_blake3 (once for each text), model, encoding_format, dimensions, truncate, user";

/// Reads the parameters. What repeats, is unknown or is no UTF-8 is an error.
pub(super) fn read(query: &str) -> Result<RawRequest, ApiError> {
    let mut raw = RawRequest::default();
    let mut inputs = Vec::new();
    for pair in pairs(query) {
        let (name, value) = pair?;
        match name.as_str() {
            "input" => inputs.push(Input::Text(value)),
            "input_blake3" => inputs.push(Input::LongText(digest(&name, &value)?)),
            "model" => once(&mut raw.model, &name, value)?,
            "encoding_format" => once(&mut raw.encoding_format, &name, value)?,
            "user" => once(&mut raw.user, &name, value)?,
            "dimensions" => {
                let number = number(&name, &value)?;
                once(&mut raw.dimensions, &name, number)?;
            }
            "truncate" => {
                let flag = flag(&name, &value)?;
                once(&mut raw.truncate, &name, flag)?;
            }
            _ => return Err(unknown(&name, ALLOWED)),
        }
        if inputs.len() > MAX_INPUTS {
            let message = format!("input is given more than {MAX_INPUTS} times, the most allowed");
            return Err(ApiError::invalid("input", message));
        }
    }
    raw.input = (!inputs.is_empty()).then_some(Inputs(inputs));
    Ok(raw)
}

/// A key's hexadecimal form is that of any BLAKE3-256.
fn digest(name: &str, value: &str) -> Result<[u8; 32], ApiError> {
    let digest = Key::from_hex(value).ok_or_else(|| {
        let message = format!(
            "{name} has {} bytes; BLAKE3-256 of the text as 64 hexadecimal digits is wanted",
            value.len()
        );
        ApiError::invalid(name, message)
    })?;
    Ok(*digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Embeddings, EncodingFormat, from_query, parse};
    use super::*;
    use crate::forms::Form;

    #[test]
    fn a_query_is_read_as_the_body_would_be() {
        let query = "input=caf%C3%A9+au%20lait&input=b&model=m&encoding_format=base64&dimensions=2&truncate=true&user=u";
        let body =
            br#"{"input": ["caf\u00e9 au lait", "b"], "model": "m", "encoding_format": "base64",
            "dimensions": 2, "truncate": true, "user": "u"}"#;
        let request = from_query(query).unwrap();
        assert_eq!(request, parse(body).unwrap());
        let form = Embeddings {
            encoding_format: EncodingFormat::Base64,
            dimensions: Some(2),
        };
        assert_eq!(request.form, Form::OpenAi(form));
    }

    #[test]
    fn mistakes_name_the_parameter() {
        let check = |query: &str, param: &str, part: &str| {
            let error = from_query(query).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{query}");
            assert!(error.message.contains(part), "{}", error.message);
        };
        check("", "input", "missing");
        check("input=a", "model", "missing");
        check("input=a&model=m&model=n", "model", "twice");
        check("input=a&model=m&dimensions=x", "dimensions", "x");
        check("input=a&model=m&truncate=1", "truncate", "true, false");
        check("input=a&model=m&stream=true", "stream", "unknown");
        check("input=%ff&model=m", "input", "UTF-8");
        check("input=&model=m", "input[0]", "empty");
        check("input_blake3=abc&model=m", "input_blake3", "64 hexa");
    }

    #[test]
    fn long_texts_are_named_by_their_digest_in_their_place() {
        let digest = "ab".repeat(32);
        let query = format!("input=a&input_blake3={digest}&input=b&model=m");
        let inputs = from_query(&query).unwrap().inputs;
        assert_eq!(inputs.len(), 3);
        assert_eq!(inputs[1], Input::LongText([0xab; 32]));
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_a_panic(query in ".*") {
            let _ = from_query(&query);
        }
    }
}
