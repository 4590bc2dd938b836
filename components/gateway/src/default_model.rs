//! The model of a request that names none: text-embeddings-inference serves one model, and so its routes have no
//! member for it.

use brink_cache::Policy;
use brink_protocol::{Catalog, ModelInfo, ModelKind, Reads};

use crate::error::ApiError;

/// What a model has to do for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Make embeddings.
    Embed,
    /// Classify texts.
    ClassifyTexts,
    /// Read texts, whatever it makes of them.
    ReadTexts,
}

impl Purpose {
    fn is_met(self, model: &ModelInfo) -> bool {
        match (self, &model.kind) {
            (Self::Embed | Self::ReadTexts, ModelKind::Embed { .. }) => true,
            (Self::ClassifyTexts | Self::ReadTexts, ModelKind::Classify { reads, .. }) => {
                matches!(reads, Reads::Text(_))
            }
            _ => false,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Embed => "makes embeddings",
            Self::ClassifyTexts => "classifies texts",
            Self::ReadTexts => "reads texts",
        }
    }
}

/// The name of the model: the operator's choice where it serves the purpose, else the first one that does. To read
/// texts, one that embeds goes before one that classifies.
///
/// # Errors
/// 404 when the operator's choice does not exist, or no model serves the purpose.
pub fn name<'a>(
    catalog: &'a Catalog,
    policy: &Policy,
    chosen: &'a str,
    purpose: Purpose,
) -> Result<&'a str, ApiError> {
    if !chosen.is_empty() {
        let model = catalog.find(policy.model_of(chosen));
        let model = model.ok_or_else(|| ApiError::unknown_model(chosen))?;
        if purpose.is_met(model) {
            return Ok(chosen);
        }
    }
    let first = |purpose: Purpose| catalog.models.iter().find(|model| purpose.is_met(model));
    let embeds = (purpose == Purpose::ReadTexts).then(|| first(Purpose::Embed));
    embeds
        .flatten()
        .or_else(|| first(purpose))
        .map(|model| model.name.as_str())
        .ok_or_else(|| ApiError::no_default_model(purpose.words()))
}
