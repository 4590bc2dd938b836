//! `GET /v1/models` and `GET /v1/models/{id}` as OpenAI defines them.

use brink_cache::Policy;
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
    /// The model that an alias stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<&'a str>,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

impl<'a> Model<'a> {
    fn named(name: &'a str, info: &'a ModelInfo) -> Self {
        Self {
            id: name,
            object: "model",
            created: info.created,
            owned_by: &info.owned_by,
            root: (name != info.name).then_some(&*info.name),
        }
    }
}

impl<'a> From<&'a ModelInfo> for Model<'a> {
    fn from(info: &'a ModelInfo) -> Self {
        Self::named(&info.name, info)
    }
}

/// All models, and the policy's other names for them.
pub fn list(catalog: &Catalog, policy: &Policy) -> Reply {
    let models = catalog.models.iter().map(Model::from);
    let aliases = policy.aliases().iter().filter_map(|alias| {
        let info = catalog.find(&alias.model)?;
        Some(Model::named(&alias.name, info))
    });
    to_reply(&List {
        object: "list",
        data: models.chain(aliases).collect(),
    })
}

/// One model, by its name or another one.
pub fn get(catalog: &Catalog, policy: &Policy, name: &str) -> Result<Reply, ApiError> {
    let info = catalog
        .find(policy.model_of(name))
        .ok_or_else(|| ApiError::unknown_model(name))?;
    Ok(to_reply(&Model::named(name, info)))
}

fn to_reply(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("strings and numbers always serialise");
    Reply::json(StatusCode::OK, body)
}
