//! `GET /info` of text-embeddings-inference: which model its routes are answered by.

use std::collections::BTreeMap;

use brink_protocol::limits::MAX_INPUTS;
use brink_protocol::{ModelInfo, ModelKind};
use http::StatusCode;
use serde::Serialize;

use crate::reply::Reply;

/// The members that the original has. What only a host knows is `null`.
#[derive(Serialize)]
struct Info<'a> {
    model_id: &'a str,
    model_sha: String,
    model_dtype: &'static str,
    model_type: ModelType<'a>,
    max_concurrent_requests: Option<usize>,
    max_input_length: Option<u32>,
    max_batch_tokens: Option<usize>,
    max_batch_requests: Option<usize>,
    max_client_batch_size: usize,
    auto_truncate: bool,
    tokenization_workers: Option<usize>,
    version: &'static str,
    sha: Option<&'static str>,
    docker_label: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ModelType<'a> {
    Embedding {
        pooling: Option<&'static str>,
    },
    Classifier {
        id2label: BTreeMap<String, &'a str>,
        label2id: BTreeMap<&'a str, usize>,
    },
}

impl<'a> ModelType<'a> {
    fn of(model: &'a ModelInfo) -> Self {
        match &model.kind {
            ModelKind::Classify { labels, .. } => {
                let labels = || labels.iter().map(String::as_str).enumerate();
                Self::Classifier {
                    id2label: labels()
                        .map(|(id, label)| (id.to_string(), label))
                        .collect(),
                    label2id: labels().map(|(id, label)| (label, id)).collect(),
                }
            }
            ModelKind::Embed { .. } | ModelKind::Generic { .. } | ModelKind::Generate { .. } => {
                Self::Embedding { pooling: None }
            }
        }
    }
}

/// The answer about a model.
pub fn reply(model: &ModelInfo) -> Reply {
    let info = Info {
        model_id: &model.name,
        model_sha: model.digest.to_string(),
        model_dtype: "float32",
        model_type: ModelType::of(model),
        max_concurrent_requests: None,
        max_input_length: model.text().map(|text| text.max_tokens),
        max_batch_tokens: None,
        max_batch_requests: None,
        max_client_batch_size: MAX_INPUTS,
        auto_truncate: false,
        tokenization_workers: None,
        version: env!("CARGO_PKG_VERSION"),
        sha: None,
        docker_label: None,
    };
    let body = serde_json::to_vec(&info).expect("strings and numbers always serialise");
    Reply::json(StatusCode::OK, body)
}
