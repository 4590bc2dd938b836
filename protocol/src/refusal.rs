//! How refusals are written: each API has a form of its own, told by the path.
//!
//! The edge refuses most requests, and the host those that do not reach it; a client must not notice which of them
//! it was. Not here: fields of the head, and which refusals there are.

use std::borrow::Cow;

use serde::Serialize;

/// Paths of text-embeddings-inference.
pub const TEI_PATHS: [&str; 12] = [
    "/",
    "/embed",
    "/similarity",
    "/predict",
    "/tokenize",
    "/info",
    "/health",
    "/ping",
    "/embed_all",
    "/embed_sparse",
    "/rerank",
    "/decode",
];

/// The code of a refusal for more inputs than a request may have.
pub const TOO_MANY_INPUTS: &str = "too_many_inputs";

/// In which form a client expects errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    /// As OpenAI's API does, below `/v1/`: `{"error": {message, type, param, code}}`.
    OpenAi,
    /// As the Open Inference Protocol has them, below `/v2`: `{"error": "..."}`.
    Infer,
    /// As text-embeddings-inference does, on its routes: `{"error": "...", "error_type": "..."}`, and statuses of
    /// its own.
    Tei,
    /// A problem document (RFC 9457), anywhere else.
    Problem,
}

/// What a client is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What HTTP calls that status, for people.
    pub reason: &'a str,
    /// A stable name for programs.
    pub code: &'a str,
    /// One sentence.
    pub message: &'a str,
    /// The offending member of the request.
    pub param: Option<&'a str>,
}

/// A refusal as it goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The HTTP status, which some forms choose themselves.
    pub status: u16,
    /// The media type.
    pub media: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl ErrorForm {
    /// The form of a path.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/v1/") {
            Self::OpenAi
        } else if path == "/v2" || path.starts_with("/v2/") {
            Self::Infer
        } else if TEI_PATHS.contains(&path) {
            Self::Tei
        } else {
            Self::Problem
        }
    }

    /// Writes a refusal.
    pub fn write(self, told: &Told<'_>) -> Written {
        let json = |status, body| Written {
            status,
            media: "application/json",
            body,
        };
        match self {
            Self::OpenAi => json(told.status, openai(told)),
            Self::Infer => json(told.status, line(told)),
            Self::Tei => {
                let (status, kind) = tei_status(told);
                json(status, tei(told, kind))
            }
            Self::Problem => Written {
                status: told.status,
                media: "application/problem+json",
                body: problem(told),
            },
        }
    }
}

fn openai(told: &Told<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        error: Body<'a>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
    }
    written(&Envelope {
        error: Body {
            message: told.message,
            r#type: openai_type(told.status),
            param: told.param,
            code: told.code,
        },
    })
}

/// OpenAI's coarse class of an error.
fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Of one type for each code.
fn problem(told: &Told<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: String,
        title: &'a str,
        status: u16,
        detail: &'a str,
        code: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        param: Option<&'a str>,
    }
    written(&Problem {
        r#type: format!("urn:brink:problem:{}", told.code),
        title: told.reason,
        status: told.status,
        detail: told.message,
        code: told.code,
        param: told.param,
    })
}

fn line(told: &Told<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        error: Cow<'a, str>,
    }
    written(&Line {
        error: sentence(told),
    })
}

fn tei(told: &Told<'_>, kind: &'static str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tei<'a> {
        error: Cow<'a, str>,
        error_type: &'static str,
    }
    written(&Tei {
        error: sentence(told),
        error_type: kind,
    })
}

/// Its status and type of an error. What it has no status for keeps ours.
fn tei_status(told: &Told<'_>) -> (u16, &'static str) {
    match (told.code, told.status) {
        (TOO_MANY_INPUTS, _) => (413, "Validation"),
        ("overloaded", _) => (429, "Overloaded"),
        (_, 400) => (422, "Validation"),
        (_, 424 | 500 | 502) | ("deadline_exceeded", _) => (424, "Backend"),
        (_, 429) => (429, "Overloaded"),
        (_, status @ 503) => (status, "Unhealthy"),
        (_, status @ 400..=499) => (status, "Validation"),
        (_, status) => (status, "Backend"),
    }
}

/// The message, with the offending member before it where it does not name that itself: for forms that
/// have no other place for it.
fn sentence<'a>(told: &Told<'a>) -> Cow<'a, str> {
    match told.param {
        Some(param) if !told.message.contains(param) => format!("{param}: {}", told.message).into(),
        _ => told.message.into(),
    }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings always serialise")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_api_has_its_form() {
        let check = |path: &str, expected: Value| {
            let written = ErrorForm::of(path).write(&Told {
                status: 400,
                reason: "Bad Request",
                code: "invalid_value",
                message: "too large",
                param: Some("dimensions"),
            });
            let body: Value = serde_json::from_slice(&written.body).expect("JSON");
            assert_eq!(body, expected, "{path}");
        };
        let openai = json!({"error": {"message": "too large", "type": "invalid_request_error",
            "param": "dimensions", "code": "invalid_value"}});
        check("/v1/embeddings", openai);
        check(
            "/v2/models/m/infer",
            json!({"error": "dimensions: too large"}),
        );
        check("/v2", json!({"error": "dimensions: too large"}));
        check(
            "/embed",
            json!({"error": "dimensions: too large", "error_type": "Validation"}),
        );
        check(
            "/elsewhere",
            json!({"type": "urn:brink:problem:invalid_value", "title": "Bad Request", "status": 400,
                "detail": "too large", "code": "invalid_value", "param": "dimensions"}),
        );
        assert_eq!(ErrorForm::of("/embedded"), ErrorForm::Problem);
        assert_eq!(ErrorForm::of("/v2x"), ErrorForm::Problem);
    }
}
