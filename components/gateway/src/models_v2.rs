//! What is served, as the Open Inference Protocol tells it: `/v2` and below, but for inference itself.

use std::sync::Arc;

use brink_cache::Policy;
use brink_protocol::tensor::TensorInfo;
use brink_protocol::{Catalog, ModelInfo};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::forms::body;
use crate::forms::infer::Signature;
use crate::items::Bound;
use crate::reply::Reply;
use crate::route::{Served, Target};

/// Extensions of the protocol that are offered, by the names that Triton gave them.
pub const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "classification",
    "model_repository",
    "parameters",
    "schedule_policy",
];

/// What runs the models; a name that the protocol suggests.
const PLATFORM: &str = "onnxruntime_onnx";

/// The edge answers.
pub fn live() -> Reply {
    #[derive(Serialize)]
    struct Live {
        live: bool,
    }
    to_reply(&Live { live: true })
}

/// The edge knows which models there are. Whether one of them runs is asked of that model.
pub fn ready() -> Reply {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
    }
    to_reply(&Ready { ready: true })
}

/// The answer to a question.
///
/// # Errors
/// 404 for a model or a version that does not exist, 403 for a change, 400 for a body that is no request.
pub fn answer(
    question: &Served,
    body: &[u8],
    catalog: &Arc<Catalog>,
    policy: &Policy,
) -> Result<Reply, ApiError> {
    let find = |target: &Target| {
        let name = policy.model_of(&target.model);
        Bound::find(catalog, name, target.version.as_deref())
    };
    Ok(match question {
        Served::Live => live(),
        Served::Ready => ready(),
        Served::Server => server(),
        Served::Model(target) => model(catalog, find(target)?.model()),
        Served::ModelReady(target) => model_ready(catalog, find(target)?.model()),
        Served::Index => index(catalog, body)?,
        Served::Change => return Err(ApiError::models_are_the_operators()),
    })
}

fn server() -> Reply {
    #[derive(Serialize)]
    struct Server {
        name: &'static str,
        version: &'static str,
        extensions: [&'static str; EXTENSIONS.len()],
    }
    to_reply(&Server {
        name: "brink",
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS,
    })
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    versions: Vec<&'a str>,
    platform: &'static str,
    inputs: Vec<Tensor<'a>>,
    outputs: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
}

fn model(catalog: &Catalog, model: &ModelInfo) -> Reply {
    let signature = Signature::of(model);
    let versions = catalog
        .models
        .iter()
        .filter(|other| other.name == model.name);
    to_reply(&Metadata {
        name: &model.name,
        versions: versions.map(|other| other.version.as_str()).collect(),
        platform: PLATFORM,
        inputs: tensors(&signature.inputs, &signature),
        outputs: tensors(&signature.outputs, &signature),
    })
}

fn tensors<'a>(infos: &'a [TensorInfo], signature: &Signature<'_>) -> Vec<Tensor<'a>> {
    let tensor = |info: &'a TensorInfo| Tensor {
        name: &info.name,
        datatype: info.datatype.name(),
        shape: signature.shape(info),
    };
    infos.iter().map(tensor).collect()
}

/// Clients look at the status alone: as KServe's own server, 503 where the model cannot run. The truth is as
/// old as the catalogue may be (variable `catalog_lifetime_seconds`).
fn model_ready(catalog: &Catalog, model: &ModelInfo) -> Reply {
    #[derive(Serialize)]
    struct Ready<'a> {
        name: &'a str,
        ready: bool,
    }
    let ready = catalog.is_ready(model);
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let name = &model.name;
    Reply::json(status, to_json(&Ready { name, ready }))
}

/// What the list is to be of.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Of models that can run alone.
    #[serde(default)]
    ready: bool,
}

/// All models.
fn index(catalog: &Catalog, asked: &[u8]) -> Result<Reply, ApiError> {
    #[derive(Serialize)]
    struct Model<'a> {
        name: &'a str,
        version: &'a str,
        state: &'static str,
        reason: &'static str,
    }
    let asked = match asked.trim_ascii() {
        [] => Asked::default(),
        _ => body::read(asked)?,
    };
    let models = catalog.models.iter().filter_map(|model| {
        let (state, reason) = match catalog.is_ready(model) {
            true => ("READY", ""),
            false if asked.ready => return None,
            false => ("UNAVAILABLE", "it only failed lately and is tried again"),
        };
        Some(Model {
            name: &model.name,
            version: &model.version,
            state,
            reason,
        })
    });
    Ok(to_reply(&models.collect::<Vec<_>>()))
}

fn to_reply(value: &impl Serialize) -> Reply {
    Reply::json(StatusCode::OK, to_json(value))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use brink_cache::ModelDigest;
    use brink_protocol::ModelKind;
    use serde_json::{Value, json};

    use super::*;

    /// Two models, of which the second cannot run.
    fn catalog() -> Arc<Catalog> {
        let model = |name: &str| ModelInfo {
            name: name.to_owned(),
            version: "1".to_owned(),
            digest: ModelDigest([0; 32]),
            kind: ModelKind::Generic {
                inputs: Vec::new(),
                outputs: Vec::new(),
                batched: true,
            },
            created: 0,
            owned_by: "us".to_owned(),
        };
        Arc::new(Catalog {
            models: vec![model("good"), model("bad")],
            broken: vec![1],
        })
    }

    fn ask(question: &Served, body: &str) -> (u16, Value) {
        let reply = answer(question, body.as_bytes(), &catalog(), &Policy::default());
        let reply = reply.expect("an answer");
        let told = serde_json::from_slice(&reply.body).expect("JSON");
        (reply.status.as_u16(), told)
    }

    fn ready_of(model: &str) -> Served {
        Served::ModelReady(Target {
            model: model.to_owned(),
            version: None,
        })
    }

    #[test]
    fn model_that_cannot_run_is_not_ready_and_the_others_are() {
        let (status, told) = ask(&ready_of("good"), "");
        assert_eq!(
            (status, told),
            (200, json!({"name": "good", "ready": true}))
        );
        let (status, told) = ask(&ready_of("bad"), "");
        assert_eq!(
            (status, told),
            (503, json!({"name": "bad", "ready": false}))
        );
        // That of the server is about the server.
        assert_eq!(ask(&Served::Ready, "").0, 200);
    }

    #[test]
    fn list_tells_the_state_and_leaves_out_what_is_not_ready_if_asked_to() {
        let states = |body: &str| {
            let models = ask(&Served::Index, body).1;
            let models = models.as_array().expect("a list").clone();
            models.into_iter().map(|model| model["state"].clone())
        };
        assert!(states("").eq(["READY", "UNAVAILABLE"]));
        assert!(states(r#"{"ready": false}"#).eq(["READY", "UNAVAILABLE"]));
        assert!(states(r#"{"ready": true}"#).eq(["READY"]));
    }
}
