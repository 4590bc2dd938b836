//! The model that a request is bound to, and which outputs are results of it.

use std::sync::Arc;

use brink_cache::entry::Content;
use brink_protocol::generate::{TEXT_MEDIA, Written};
use brink_protocol::tensor::{SCORES_MEDIA, TENSORS_MEDIA, decode_tensors};
use brink_protocol::{Catalog, ModelInfo, ModelKind};
use bytes::Bytes;

use crate::error::ApiError;
use crate::forms::vector;

/// A model of a catalogue. It keeps the catalogue, so that neither names nor labels are copied for a
/// request.
#[derive(Clone, Debug)]
pub struct Bound {
    catalog: Arc<Catalog>,
    place: usize,
}

impl Bound {
    /// The model of that name, in that version or in the one that is served by default.
    ///
    /// # Errors
    /// 404 for a model or a version that does not exist.
    pub fn find(
        catalog: &Arc<Catalog>,
        name: &str,
        version: Option<&str>,
    ) -> Result<Self, ApiError> {
        let mut models = catalog.models.iter().enumerate();
        let found = models.find(|(_, model)| {
            model.name == name && version.is_none_or(|wanted| model.version == wanted)
        });
        match found {
            Some((place, _)) => Ok(Self {
                catalog: catalog.clone(),
                place,
            }),
            None => Err(missing(catalog, name, version)),
        }
    }

    /// The model.
    pub fn model(&self) -> &ModelInfo {
        &self.catalog.models[self.place]
    }

    /// What a stored result of this model is called.
    pub(super) fn content(&self) -> Content {
        match self.model().kind {
            ModelKind::Embed { .. } => Content::EmbeddingF32,
            ModelKind::Classify { .. } => Content::Media(SCORES_MEDIA.to_owned()),
            ModelKind::Generic { .. } => Content::Media(TENSORS_MEDIA.to_owned()),
            ModelKind::Generate { .. } => Content::Media(TEXT_MEDIA.to_owned()),
        }
    }

    /// Whether a stored body of that kind is a result of this model.
    pub(super) fn made(&self, content: &Content, output: &Bytes) -> bool {
        let is_kind = match (&self.model().kind, content) {
            (ModelKind::Embed { .. }, Content::EmbeddingF32) => true,
            (ModelKind::Classify { .. }, Content::Media(media)) => media == SCORES_MEDIA,
            (ModelKind::Generic { .. }, Content::Media(media)) => media == TENSORS_MEDIA,
            (ModelKind::Generate { .. }, Content::Media(media)) => media == TEXT_MEDIA,
            _ => false,
        };
        is_kind && self.takes(output)
    }

    /// Whether bytes are a result of this model.
    pub(super) fn takes(&self, output: &Bytes) -> bool {
        match &self.model().kind {
            ModelKind::Embed { dimensions, .. } => vector::is_valid(output, *dimensions as usize),
            ModelKind::Classify { labels, .. } => vector::is_valid(output, labels.len()),
            ModelKind::Generic { outputs, .. } => decode_tensors(output).is_some_and(|tensors| {
                tensors.len() == outputs.len()
                    && tensors.iter().zip(outputs).all(|(tensor, info)| {
                        tensor.name == info.name
                            && tensor.datatype == info.datatype
                            && info.takes(&tensor.shape)
                            && tensor.check().is_ok()
                    })
            }),
            ModelKind::Generate { .. } => Written::decode(output).is_some(),
        }
    }
}

fn missing(catalog: &Catalog, name: &str, version: Option<&str>) -> ApiError {
    let models = catalog.models.iter().filter(|model| model.name == name);
    let versions: Vec<_> = models.map(|model| model.version.as_str()).collect();
    match version {
        Some(version) if !versions.is_empty() => {
            ApiError::unknown_version(name, version, &versions)
        }
        _ => ApiError::unknown_model(name),
    }
}
