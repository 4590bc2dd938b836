//! `/models` of the admin listener: which models are served, and putting others in place.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::service::{ChangeError, Loaded, ModelState, ModelStatus, OpenError, Repository};

/// The answer of `GET /models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList {
    /// Of several versions of a model, the one that is served by default comes first.
    pub models: Vec<ModelEntry>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Its name.
    pub name: String,
    /// Which of several.
    pub version: String,
    /// `embed`, `classify` or `generic`.
    pub task: String,
    /// `ready`, `cold` (not in memory, loaded when somebody asks) or `broken`.
    pub state: String,
    /// The device that really runs it, while it is in memory.
    pub device: Option<String>,
    /// What the process grew by when it was loaded, at least its weights; while it is in memory.
    pub memory_bytes: Option<u64>,
    /// Milliseconds since somebody asked for it.
    pub idle_ms: u64,
    /// What it is, byte for byte.
    pub digest: String,
}

/// The body of `POST /models/load` and `POST /models/unload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChange {
    /// The model's name.
    pub name: String,
    /// Which of several; absent: the latest when loading, all when unloading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether other versions go on being served beside the one that is loaded.
    #[serde(default)]
    pub keep: bool,
}

/// What a change came to, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelChanged {
    /// It is served.
    Loaded {
        /// Its version.
        version: String,
        /// Versions that are served no more.
        replaced: Vec<String>,
    },
    /// These versions are served no more.
    Unloaded {
        /// All of them.
        versions: Vec<String>,
    },
    /// Nothing was changed.
    Error {
        /// Why, and what mends it.
        message: String,
    },
}

/// The routes.
pub(super) fn router(repository: Repository) -> Router {
    Router::new()
        .route("/models", get(list))
        .route("/models/load", post(load))
        .route("/models/unload", post(unload))
        .with_state(repository)
}

async fn list(State(repository): State<Repository>) -> Json<ModelList> {
    let models = repository.status().into_iter().map(entry).collect();
    Json(ModelList { models })
}

fn entry(status: ModelStatus) -> ModelEntry {
    ModelEntry {
        name: status.name,
        version: status.version,
        task: status.task.name().to_owned(),
        state: state_name(status.state).to_owned(),
        device: status.device.map(|device| device.to_string()),
        memory_bytes: status.memory_bytes,
        idle_ms: u64::try_from(status.idle.as_millis()).unwrap_or(u64::MAX),
        digest: status.digest.to_string(),
    }
}

fn state_name(state: ModelState) -> &'static str {
    match state {
        ModelState::Ready => "ready",
        ModelState::Cold => "cold",
        ModelState::Broken => "broken",
    }
}

async fn load(
    State(repository): State<Repository>,
    change: Result<Json<ModelChange>, JsonRejection>,
) -> Response {
    let change = match change {
        Ok(Json(change)) => change,
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    // In a task of its own: a client that goes away must not leave half a change, or let the next begin.
    let loading = tokio::spawn(async move {
        let version = change.version.as_deref();
        repository.load(&change.name, version, change.keep).await
    });
    match loading.await {
        Ok(Ok(Loaded {
            version, replaced, ..
        })) => Json(ModelChanged::Loaded { version, replaced }).into_response(),
        Ok(Err(error)) => refuse(status(&error), told(&error)),
        Err(_) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "loading the model panicked".to_owned(),
        ),
    }
}

async fn unload(
    State(repository): State<Repository>,
    change: Result<Json<ModelChange>, JsonRejection>,
) -> Response {
    let change = match change {
        Ok(Json(change)) => change,
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    match repository.unload(&change.name, change.version.as_deref()) {
        Ok(versions) => Json(ModelChanged::Unloaded { versions }).into_response(),
        Err(error) => refuse(status(&error), told(&error)),
    }
}

fn status(error: &ChangeError) -> StatusCode {
    match error {
        ChangeError::Unknown { .. } | ChangeError::NotServed { .. } => StatusCode::NOT_FOUND,
        ChangeError::Twice { .. } | ChangeError::MayBeLater { .. } | ChangeError::NoModels => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ChangeError::Fixed => StatusCode::CONFLICT,
        ChangeError::Open { source, .. } => {
            open_status(source).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)
        }
        ChangeError::Folder(source) => {
            open_status(source).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Where it is not the model that is to blame.
fn open_status(error: &OpenError) -> Option<StatusCode> {
    match error {
        OpenError::TooSlow(_) => Some(StatusCode::GATEWAY_TIMEOUT),
        OpenError::StillLoading | OpenError::TooManyStuck(_) => {
            Some(StatusCode::SERVICE_UNAVAILABLE)
        }
        OpenError::ChangedMeanwhile => Some(StatusCode::CONFLICT),
        _ => None,
    }
}

/// An error with its causes: the operator mends what is said last.
fn told(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

fn refuse(status: StatusCode, message: String) -> Response {
    (status, Json(ModelChanged::Error { message })).into_response()
}
