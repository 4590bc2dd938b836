//! The call for tokens: what a model's tokenizer makes of texts.
//!
//! Nothing of it is stored: it takes less time than a look-up would, and no model runs.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultCode};
use crate::limits::{MAX_INPUT_BYTES, MAX_INPUTS};

/// Most bytes of the texts of a call together: every byte may be a token, and each is told with its name.
pub const MAX_TOKENIZED_BYTES: usize = 256 * 1024;

/// Path of the call.
pub const TOKENIZE_PATH: &str = "/brink/v1/tokenize";

/// What the host answers: the tokens of each text, in the order of the call.
pub type TokenizeReply = Result<Vec<Vec<Token>>, Fault>;

/// Asks for the tokens of some texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizeRequest {
    /// Ties the host's logs to the edge's.
    pub request_id: String,
    /// The model's name.
    pub model: String,
    /// 1 to [`MAX_INPUTS`] texts.
    pub texts: Vec<String>,
    /// Whether the special tokens that the model expects around a text are told too.
    pub add_special_tokens: bool,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its place in the vocabulary.
    pub id: u32,
    /// What it is called there.
    pub text: String,
    /// Whether it stands for no part of the text.
    pub special: bool,
    /// Where it begins in the text, in characters; `None` of a special one.
    pub start: Option<u32>,
    /// Where it ends in the text, in characters.
    pub stop: Option<u32>,
}

impl TokenizeRequest {
    /// Checks the limits that hold for every model.
    ///
    /// # Errors
    /// The first limit that is not kept.
    pub fn validate(&self) -> Result<(), Fault> {
        let count = self.texts.len();
        if !(1..=MAX_INPUTS).contains(&count) {
            let message = format!("the call has {count} texts; 1 to {MAX_INPUTS} are allowed");
            return Err(bad_request(message, None));
        }
        let bytes: usize = self.texts.iter().map(String::len).sum();
        if bytes > MAX_TOKENIZED_BYTES {
            let message = format!(
                "the texts have {bytes} bytes; at most {MAX_TOKENIZED_BYTES} are allowed together"
            );
            return Err(bad_request(message, None));
        }
        let too_long = |text: &String| text.len() > MAX_INPUT_BYTES;
        match self.texts.iter().position(too_long) {
            Some(index) => {
                let message = format!(
                    "the text has {} bytes; at most {MAX_INPUT_BYTES} are allowed",
                    self.texts[index].len()
                );
                Err(bad_request(message, u32::try_from(index).ok()))
            }
            None => Ok(()),
        }
    }
}

fn bad_request(message: String, item: Option<u32>) -> Fault {
    Fault {
        code: FaultCode::BadRequest,
        message,
        item,
        retry_after_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn request(texts: Vec<String>) -> TokenizeRequest {
        TokenizeRequest {
            request_id: "r".to_owned(),
            model: "m".to_owned(),
            texts,
            add_special_tokens: true,
        }
    }

    #[test]
    fn limits_name_the_text_and_the_value() {
        let check = |texts: Vec<String>, item: Option<u32>, part: &str| {
            let fault = request(texts).validate().expect_err("over a limit");
            assert_eq!(fault.item, item);
            assert!(fault.message.contains(part), "{}", fault.message);
        };
        check(vec![], None, "0 texts");
        check(vec![String::new(); MAX_INPUTS + 1], None, "2049 texts");
        let long = "x".repeat(MAX_INPUT_BYTES + 1);
        check(vec![String::new(), long], None, "262145 bytes");
        assert_eq!(request(vec![String::new()]).validate(), Ok(()));
    }

    #[test]
    fn messages_are_read_back() {
        let sent = request(vec!["a".to_owned()]);
        assert_eq!(message::decode(&message::encode(&sent)), Ok(sent));
        let reply: TokenizeReply = Ok(vec![vec![Token {
            id: 7,
            text: "a".to_owned(),
            special: false,
            start: Some(0),
            stop: Some(1),
        }]]);
        assert_eq!(message::decode(&message::encode(&reply)), Ok(reply));
    }
}
