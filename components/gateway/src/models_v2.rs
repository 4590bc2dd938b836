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

/// The edge knows which models there are.
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
        Served::ModelReady(target) => model_ready(find(target)?.model()),
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

fn model_ready(model: &ModelInfo) -> Reply {
    #[derive(Serialize)]
    struct Ready<'a> {
        name: &'a str,
        ready: bool,
    }
    to_reply(&Ready {
        name: &model.name,
        ready: true,
    })
}

/// What the list is to be of. The value is only checked: what is not ready is in no catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, rename = "ready")]
    _ready: bool,
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
    if !asked.trim_ascii().is_empty() {
        body::read::<Asked>(asked)?;
    }
    let models = catalog.models.iter().map(|model| Model {
        name: &model.name,
        version: &model.version,
        state: "READY",
        reason: "",
    });
    Ok(to_reply(&models.collect::<Vec<_>>()))
}

fn to_reply(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("strings and numbers always serialise");
    Reply::json(StatusCode::OK, body)
}
