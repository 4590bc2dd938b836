//! Calls to origins.

use std::time::Duration;

use brink_cache::http::shared::{Fields, ResponseHead, Times, hop};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{Empty, Full};
use spin_sdk::http::send;
use spin_sdk::wasip3::http::types::ErrorCode;
use spin_sdk::wasip3::http_compat::{IncomingResponseBody, RequestOptionsExtension};

use super::{Exchange, header_map};
use crate::edge::upstream::options;
use crate::edge::{SystemClock, body};
use crate::error::ApiError;
use crate::hit::Clock;

/// The body of a call.
pub(super) enum Body {
    /// None: safe methods that are looked up have no content.
    Empty,
    /// The client's, as it comes.
    Passing(body::Incoming),
    /// One that was read before.
    Whole(Bytes),
}

impl From<body::Incoming> for Body {
    fn from(body: body::Incoming) -> Self {
        Self::Passing(body)
    }
}

/// What an origin answered.
pub(super) struct Answered {
    /// As the cache sees it.
    pub(super) head: ResponseHead,
    /// The fields that may go on to the client.
    pub(super) fields: Fields,
    /// How long the head took.
    pub(super) took: Duration,
    pub(super) body: IncomingResponseBody,
}

impl Exchange {
    /// Asks the origin.
    pub(super) async fn ask(&self, fields: Fields, body: Body) -> Result<Answered, ApiError> {
        let requested = SystemClock.now();
        let since = SystemClock.monotonic();
        let request = Request::builder()
            .method(self.call.method.as_str())
            .uri(&self.call.url)
            .extension(RequestOptionsExtension(options(self.call.timeout)));
        let build = |error: http::Error| {
            ApiError::invalid("path", format!("the request cannot be passed on: {error}"))
        };
        let sent = match body {
            Body::Empty => {
                let mut request = request.body(Empty::<Bytes>::new()).map_err(build)?;
                *request.headers_mut() = header_map(&fields);
                send(request).await
            }
            Body::Passing(body) => {
                let mut request = request.body(body).map_err(build)?;
                *request.headers_mut() = header_map(&fields);
                send(request).await
            }
            Body::Whole(body) => {
                // Named, or an HTTP library may send none with GET.
                let length = HeaderValue::from(body.len());
                let mut request = request.body(Full::new(body)).map_err(build)?;
                *request.headers_mut() = header_map(&fields);
                request.headers_mut().insert(CONTENT_LENGTH, length);
                send(request).await
            }
        };
        let (parts, body) = sent.map_err(|error| self.unreachable(&error))?.into_parts();
        let fields = hop::forwardable_response(&to_fields(&parts.headers));
        let times = Times {
            requested,
            received: SystemClock.now(),
        };
        Ok(Answered {
            head: ResponseHead::new(parts.status.as_u16(), &fields, times),
            fields,
            took: SystemClock.monotonic().saturating_sub(since),
            body,
        })
    }

    fn unreachable(&self, error: &ErrorCode) -> ApiError {
        let origin = &self.origin;
        eprintln!("the call to the origin {origin} failed: {error:?}");
        match error {
            ErrorCode::HttpResponseTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionTimeout => ApiError::origin_timeout(origin, self.call.timeout),
            ErrorCode::HttpRequestDenied => ApiError::origin_not_allowed(origin),
            _ => ApiError::origin_unreachable(origin),
        }
    }
}

fn to_fields(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in headers {
        fields.append(name.as_str(), Bytes::copy_from_slice(value.as_bytes()));
    }
    fields
}
