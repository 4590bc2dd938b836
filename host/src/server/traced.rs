//! Spans of requests from outside: from the head to the last byte of the answer.
//!
//! Names and attributes are those of OpenTelemetry's conventions for HTTP, with one difference: `url.path` is the
//! route, never the path that a client wrote.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use brink_cache::OutcomeCounts;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::route::Route;
use crate::telemetry::{Received, Span, SpanKind, Telemetry, Trust, method_name};

/// How a listener traces.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// Where spans go.
    pub telemetry: Telemetry,
    /// Whether its clients may continue traces of theirs.
    pub trust: Trust,
}

/// A request that is recorded.
pub(super) struct Traced {
    span: Span,
    /// The answer to HEAD has no body that anyone reads.
    head_only: bool,
}

impl Tracing {
    /// Begins the span of a request, and gives it to those who answer, in its extensions. Where traces are off
    /// it is one branch.
    pub(super) fn begin<B>(&self, request: &mut Request<B>, route: Route) -> Option<Traced> {
        let mut span = match self.telemetry.receive(request.headers(), self.trust) {
            Received::Off => return None,
            Received::Unsampled(trace) => {
                request.extensions_mut().insert(trace);
                return None;
            }
            Received::Sampled(span) => span,
        };
        request.extensions_mut().insert(span.trace());
        let method = method_name(request.method());
        if route == Route::Other {
            span.rename(method.to_owned());
        } else {
            span.rename(format!("{method} {}", route.label()));
            span.set("http.route", route.label());
        }
        span.set("http.request.method", method);
        span.set("url.path", route.label());
        let head_only = request.method() == Method::HEAD;
        Some(Traced { span, head_only })
    }
}

impl Traced {
    /// As it is searched for.
    pub(super) fn trace_id(&self) -> String {
        self.span.trace_id()
    }

    /// The answer, whose last byte ends the span.
    pub(super) fn end(
        self,
        response: Response<Body>,
        id: &HeaderValue,
        counts: Option<&OutcomeCounts>,
    ) -> Response<Body> {
        let Self {
            mut span,
            head_only,
        } = self;
        let status = response.status();
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if let Ok(id) = id.to_str() {
            span.set("brink.request_id", id.to_owned());
        }
        if let Some(counts) = counts {
            span.set_items(counts);
        }
        if status.is_server_error() {
            span.fail(status.as_str().to_owned());
        }
        if head_only || has_no_body(status) {
            span.end();
            return response;
        }
        let sending = span.trace().span("response", SpanKind::Internal);
        response.map(|body| {
            let spans = sending.map(|sending| (sending, span));
            Body::new(TracedBody { body, spans })
        })
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// An answer's body that ends two spans: that of sending it, and that of the request.
struct TracedBody {
    body: Body,
    /// `None` once it has ended.
    spans: Option<(Span, Span)>,
}

impl TracedBody {
    /// A server stops polling once it has as many bytes as it announced, so that is an end as well.
    fn is_over(&self) -> bool {
        self.body.is_end_stream() || self.body.size_hint().exact() == Some(0)
    }

    fn end(&mut self, error: Option<&'static str>) {
        let Some((mut sending, mut request)) = self.spans.take() else {
            return;
        };
        if let Some(error) = error {
            sending.fail(error);
            request.fail(error);
        }
        sending.end();
        request.end();
    }
}

impl HttpBody for TracedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.end(Some("body")),
            None => self.end(None),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TracedBody {
    fn drop(&mut self) {
        let left = !self.is_over();
        self.end(left.then_some("cancelled"));
    }
}
