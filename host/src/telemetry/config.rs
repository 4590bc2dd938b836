//! The `[telemetry]` settings.

use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// The collector; `None` is off. Default: off.
    pub endpoint: Option<Endpoint>,
    /// Share of the traces that begin here which are recorded, 0 to 1. Default: 1.
    pub sample_ratio: f64,
    /// Whether clients of the gateway may continue traces of theirs. Default: no, they are the public.
    pub gateway_trust: Trust,
    /// Whether callers of the inference listener may. Default: yes, they are edges of ours.
    pub inference_trust: Trust,
    /// What the spans are filed under. Default: `brink`.
    pub service_name: String,
    /// Most spans that wait for the collector; further ones are dropped. About 1 KiB each. Default: 4096.
    pub max_queue_spans: usize,
    /// Longest time for sending one batch of spans, retries included. Default: 10 s.
    pub export_timeout: Duration,
    /// How long a span waits for others, to be sent with them. Default: 1 s.
    pub export_interval: Duration,
}

/// Whether a `traceparent` from outside is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is, and decides whether the request is recorded.
    Parent,
    /// It is only linked to.
    Nobody,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_ratio: 1.0,
            gateway_trust: Trust::Nobody,
            inference_trust: Trust::Parent,
            service_name: "brink".to_owned(),
            max_queue_spans: 4096,
            export_timeout: Duration::from_secs(10),
            export_interval: Duration::from_secs(1),
        }
    }
}

/// The URL of a collector for traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// From the base URL of a collector, as `http://HOST:4318`. The path `/v1/traces` is added, as
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` is defined. `None` if it is no `http` or `https` URL, or has a query or a
    /// password.
    pub fn parse(base: &str) -> Option<Self> {
        let base: Uri = base.parse().ok()?;
        let has_host = base.host().is_some_and(|host| !host.is_empty());
        let is_plain = !base.authority()?.as_str().contains('@') && base.query().is_none();
        if !has_host || !is_plain || !matches!(base.scheme_str(), Some("http" | "https")) {
            return None;
        }
        let path = format!("{}/v1/traces", base.path().trim_end_matches('/'));
        let mut parts = base.into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok().map(Self)
    }

    /// Where spans are posted.
    pub(super) fn url(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_the_base_url_of_a_collector() {
        let check = |base: &str, url: Option<&str>| {
            let endpoint = Endpoint::parse(base).map(|endpoint| endpoint.url());
            assert_eq!(endpoint.as_deref(), url, "{base}");
        };
        check(
            "http://collector:4318",
            Some("http://collector:4318/v1/traces"),
        );
        check("http://[::1]:4318/", Some("http://[::1]:4318/v1/traces"));
        check(
            "https://a.example/otlp/",
            Some("https://a.example/otlp/v1/traces"),
        );
        check("collector:4318", None);
        check("grpc://collector:4317", None);
        check("http://user:secret@collector", None);
        check("http://collector/?key=secret", None);
        check("/v1/traces", None);
        check("http://:4318", None);
    }
}
