//! `GET /v1/models` and `GET /v1/models/{id}` as OpenAI defines them.

use brink_protocol::{Catalog, ModelInfo};
use http::StatusCode;
use serde::Serialize;

use crate::error::ApiError;
use crate::reply::Reply;

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

impl<'a> From<&'a ModelInfo> for Model<'a> {
    fn from(info: &'a ModelInfo) -> Self {
        Self {
            id: &info.name,
            object: "model",
            created: info.created,
            owned_by: &info.owned_by,
        }
    }
}

/// All models.
pub fn list(catalog: &Catalog) -> Reply {
    to_reply(&List {
        object: "list",
        data: catalog.models.iter().map(Model::from).collect(),
    })
}

/// One model.
pub fn get(catalog: &Catalog, name: &str) -> Result<Reply, ApiError> {
    let info = catalog
        .find(name)
        .ok_or_else(|| ApiError::unknown_model(name))?;
    Ok(to_reply(&Model::from(info)))
}

fn to_reply(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("strings and numbers always serialise");
    Reply::json(StatusCode::OK, body)
}
