//! From ended spans to the collector: a bounded queue, and one task that empties it.
//!
//! ```text
//!  Sink::put --> queue (full: dropped, counted) --> task: up to 512 spans, or those of one interval
//!                                                      --> POST; tried again within the time-out; then dropped, counted
//! ```
//!
//! A request never waits for any of it. That the collector is away is logged when it begins and when it ends.

mod client;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::{Endpoint, TelemetryConfig};
use super::metrics::TraceMetrics;
use client::Client;

/// Most spans of one request to the collector: the default of OpenTelemetry, some 200 KiB.
const MAX_BATCH: usize = 512;

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Environment variables `OTEL_EXPORTER_OTLP_*` ask for what is not there.
    #[error("the exporter of traces does not start")]
    Exporter(#[from] ExporterBuildError),
}

/// Where ended spans go.
#[derive(Debug)]
pub(super) struct Sink {
    queue: mpsc::Sender<Message>,
    metrics: TraceMetrics,
}

#[derive(Debug)]
enum Message {
    Ended(Box<SpanData>),
    /// To be answered when all that came before is sent or dropped.
    Flush(oneshot::Sender<()>),
}

impl Sink {
    /// Never waits.
    pub(super) fn put(&self, span: Box<SpanData>) {
        if self.queue.try_send(Message::Ended(span)).is_err() {
            self.metrics.queue_was_full();
        }
    }

    /// Waits until what was put before is sent or dropped.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        // The task lives as long as the runtime; when it is gone there is nothing to wait for.
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

/// Speaks to one collector.
pub(super) struct Exporter(opentelemetry_otlp::SpanExporter);

impl Exporter {
    /// Header fields for the collector (keys of vendors) come from `OTEL_EXPORTER_OTLP_HEADERS`, further
    /// attributes of the service from `OTEL_RESOURCE_ATTRIBUTES`: secrets and places are no matter of a file.
    pub(super) fn new(
        endpoint: &Endpoint,
        config: &TelemetryConfig,
    ) -> Result<Self, TelemetryError> {
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(config.export_timeout))
            .with_endpoint(endpoint.url())
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_timeout(config.export_timeout)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        Ok(Self(exporter))
    }

    /// Starts the task. It ends when the last [`Sink`] is gone.
    pub(super) fn start(self, config: &TelemetryConfig, metrics: TraceMetrics) -> Sink {
        let (queue, received) = mpsc::channel(config.max_queue_spans);
        let task = Task {
            exporter: self.0,
            received,
            metrics: metrics.clone(),
            interval: config.export_interval,
            timeout: config.export_timeout,
            is_away: false,
        };
        tokio::spawn(task.run());
        Sink { queue, metrics }
    }
}

struct Task {
    exporter: opentelemetry_otlp::SpanExporter,
    received: mpsc::Receiver<Message>,
    metrics: TraceMetrics,
    interval: Duration,
    timeout: Duration,
    /// Whether the last batch was lost.
    is_away: bool,
}

/// Why a batch is sent.
enum Due {
    /// It is full or old enough.
    Sent,
    Flushed(oneshot::Sender<()>),
    /// Nobody puts spans any more.
    Ended,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut batch = Vec::new();
            let due = self.gather(&mut batch).await;
            self.send(batch).await;
            match due {
                Due::Sent => {}
                // Whoever waited may have given up.
                Due::Flushed(done) => drop(done.send(())),
                Due::Ended => return,
            }
        }
    }

    async fn gather(&mut self, batch: &mut Vec<SpanData>) -> Due {
        let mut due = None;
        loop {
            let message = match due {
                None => self.received.recv().await,
                Some(at) => match timeout_at(at, self.received.recv()).await {
                    Ok(message) => message,
                    Err(_) => return Due::Sent,
                },
            };
            match message {
                Some(Message::Ended(span)) => batch.push(*span),
                Some(Message::Flush(done)) => return Due::Flushed(done),
                None => return Due::Ended,
            }
            if batch.len() == MAX_BATCH {
                return Due::Sent;
            }
            due.get_or_insert_with(|| Instant::now() + self.interval);
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        let failure = match timeout(self.timeout, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", self.timeout)),
        };
        match &failure {
            None => self.metrics.exported(spans),
            Some(_) => self.metrics.export_failed(spans),
        }
        self.report(failure);
    }

    /// One line for each change, not one for each batch.
    fn report(&mut self, failure: Option<String>) {
        let was_away = std::mem::replace(&mut self.is_away, failure.is_some());
        match failure {
            Some(error) if !was_away => {
                tracing::warn!(
                    error,
                    "the collector takes no traces; spans are dropped until it does"
                );
            }
            None if was_away => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}
