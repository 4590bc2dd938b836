//! Spans of requests that guests send, and what tells the upstream which span that is.

use http::{Request, Response, Uri};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::allow::effective_port;
use crate::telemetry::{Span, SpanKind, Trace, method_name};

/// A request under way; nothing if it is not recorded.
pub(super) struct Traced(Option<Span>);

impl Traced {
    /// Begins the span, and names it in `traceparent` and in the request's extensions, for those who answer in
    /// this process. What the guest wrote there itself is replaced: it cannot know the span. A request that is
    /// not recorded says so, or the upstream would begin a trace of half of it.
    pub(super) fn begin(trace: Option<&Trace>, request: &mut Request<WasiBody>) -> Self {
        let Some(trace) = trace else {
            return Self(None);
        };
        let span = trace.span("request", SpanKind::Client).map(|mut span| {
            describe(&mut span, request);
            span
        });
        let parent = span.as_ref().map_or_else(|| trace.clone(), Span::trace);
        parent.write(request.headers_mut());
        request.extensions_mut().insert(parent);
        Self(span)
    }

    /// The head of the answer is there, or there is none.
    pub(super) fn end<B>(self, answered: &Result<Response<B>, HttpError>) {
        let Some(mut span) = self.0 else {
            return;
        };
        match answered {
            Ok(response) => {
                let status = response.status();
                span.set("http.response.status_code", i64::from(status.as_u16()));
                if status.is_client_error() || status.is_server_error() {
                    span.fail(status.as_str().to_owned());
                }
            }
            Err(error) => span.fail(kind(error)),
        }
        span.end();
    }
}

/// By OpenTelemetry's conventions for HTTP clients, without path and query: they may hold secrets.
fn describe(span: &mut Span, request: &Request<WasiBody>) {
    let uri: &Uri = request.uri();
    let method = method_name(request.method());
    span.rename(method.to_owned());
    span.set("http.request.method", method);
    span.set("server.address", uri.host().unwrap_or_default().to_owned());
    if let Some(port) = effective_port(uri) {
        span.set("server.port", i64::from(port));
    }
}

/// The error's name, without the values that it may hold.
fn kind(error: &HttpError) -> String {
    let text = format!("{error:?}");
    let name = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    name.take(1).collect()
}
