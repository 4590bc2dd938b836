//! Errors as RFC 9457 tells them: `application/problem+json` with `type`, `title`, `status`,
//! `detail`, and `errors` for each thing that is wrong.

use brink_cache::file::{Mistake, Mistakes};
use brink_gateway::reply::Reply;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::world::StoreError;

/// A request that changes nothing and gets no answer but this.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name for programs; the last part of `type`.
    pub name: &'static str,
    /// What this kind of problem is, the same each time.
    pub title: &'static str,
    /// What it is this time, and what to do.
    pub detail: String,
    /// Each thing that is wrong.
    pub errors: Vec<Wrong>,
    /// A header that goes with the status, such as `Allow`.
    pub header: Option<(&'static str, &'static str)>,
}

/// One thing that is wrong in a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Wrong {
    /// The member, parameter or header; the key, in a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Value>,
    /// What was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The rule of a policy, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The tenant of a table, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The line of the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Wrong {
    /// A field of a request.
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            ..Self::default()
        }
    }

    pub(crate) fn limit(self, limit: impl Into<Value>) -> Self {
        Self {
            limit: Some(limit.into()),
            ..self
        }
    }

    pub(crate) fn value(self, value: impl Into<Value>) -> Self {
        Self {
            value: Some(value.into()),
            ..self
        }
    }
}

impl From<Mistake> for Wrong {
    fn from(mistake: Mistake) -> Self {
        let mut wrong = Self::field(mistake.key, mistake.problem);
        wrong.line = mistake.line;
        if let Some(place) = mistake.place {
            let named = match place.kind {
                "tenant" => &mut wrong.tenant,
                _ => &mut wrong.rule,
            };
            *named = Some(place.name);
        }
        wrong
    }
}

/// Most mistakes of a file that are listed: whoever has more uploaded something else.
const MAX_LISTED: usize = 100;

impl Problem {
    /// A problem without a list.
    pub(crate) fn new(
        status: StatusCode,
        name: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            name,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// 404 that tells nothing: for an API that is switched off.
    pub(crate) fn nothing_here() -> Self {
        let detail = "There is nothing at this address.";
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 400: the request is not what the route takes.
    pub(crate) fn invalid(wrong: Wrong) -> Self {
        let title = "The request is not valid";
        let detail = match wrong.field.as_str() {
            "" => format!("The request {}.", wrong.problem),
            field => format!("{field} {}.", wrong.problem),
        };
        Self {
            errors: vec![wrong],
            ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", title, detail)
        }
    }

    /// 422: the request is readable, and cannot be carried out.
    pub(crate) fn unprocessable(wrong: Wrong) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            ..Self::invalid(wrong)
        }
    }

    /// 422: a file with mistakes.
    pub(crate) fn mistakes(mistakes: Mistakes) -> Self {
        let count = mistakes.list.len();
        let listed = mistakes.list.into_iter().take(MAX_LISTED);
        let detail = match (count, count.saturating_sub(MAX_LISTED)) {
            (1, _) => format!("One thing is wrong in the {}.", mistakes.subject),
            (_, 0) => format!("{count} things are wrong in the {}.", mistakes.subject),
            _ => format!(
                "{count} things are wrong in the {}; the first {MAX_LISTED} are listed.",
                mistakes.subject
            ),
        };
        Self {
            errors: listed.map(Wrong::from).collect(),
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "mistakes",
                "The file has mistakes; nothing was changed",
                detail,
            )
        }
    }

    /// 413: the body is above the limit of its route.
    pub fn body_too_large(actual: u64, limit: usize) -> Self {
        let problem = format!("has {actual} bytes or more; at most {limit} are allowed");
        let wrong = Wrong::field("the body", problem).limit(limit).value(actual);
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            name: "body-too-large",
            title: "The body is too large",
            ..Self::invalid(wrong)
        }
    }

    /// 400: the body ended early.
    pub fn body_broken() -> Self {
        let problem = "ended before it was complete; nothing was changed";
        Self::invalid(Wrong::field("the body", problem))
    }

    /// 503: a change may be repeated.
    pub(crate) fn contended(detail: String) -> Self {
        let title = "Others changed the same at the same time";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "contended", title, detail)
            .with("retry-after", "1")
    }

    /// The body of the answer.
    fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "<[Wrong]>::is_empty")]
            errors: &'a [Wrong],
        }
        serde_json::to_vec(&Document {
            r#type: format!("urn:brink:problem:{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        })
        .expect("texts and numbers always serialise")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = format!("{error}. Ask what is in force before you try again.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store-unavailable",
            "The key-value store does not work",
            detail,
        )
        .with("retry-after", "1")
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let mut reply =
            Self::empty(problem.status).with("content-type", "application/problem+json");
        reply.body = problem.to_json().into();
        match problem.header {
            Some((name, value)) => reply.with(name, value),
            None => reply,
        }
    }
}
