//! `/livez`, `/readyz`, `/metrics` and `/models`, on a listener of their own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::models;
use crate::service::{InferService, ModelState};

/// What the admin pages show.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    registry: Registry,
    service: InferService,
    drain: CancellationToken,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether requests are welcome.
    pub ready: bool,
    /// Whether the host is shutting down.
    pub draining: bool,
    /// Every model.
    pub models: Vec<ModelReadiness>,
}

/// One model in `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelReadiness {
    /// Its name.
    pub name: String,
    /// Which of several.
    pub version: String,
    /// The device that really runs it: `cpu` or `cuda:N`; none while it is not in memory.
    pub device: Option<String>,
    /// Whether a session works, or the model is not in memory and is loaded when somebody asks.
    pub ready: bool,
}

impl Admin {
    /// Shows these. `drain` is cancelled when shutting down begins.
    pub fn new(registry: Registry, service: InferService, drain: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            registry,
            service,
            drain,
        }))
    }

    /// The pages.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
            .merge(models::router(self.0.service.repository().clone()))
    }

    fn readiness(&self) -> Readiness {
        let draining = self.0.drain.is_cancelled();
        let models = self
            .0
            .service
            .status()
            .into_iter()
            .map(|status| ModelReadiness {
                name: status.name,
                version: status.version,
                device: status.device.map(|device| device.to_string()),
                ready: status.state != ModelState::Broken,
            });
        Readiness {
            ready: self.0.service.is_ready() && !draining,
            draining,
            models: models.collect(),
        }
    }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.0.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
