//! Names that clients write for models, so that a model can be rolled out and back with the policy.

use serde::{Deserialize, Serialize};

use super::Policy;

/// Another name of a model. Aliases of aliases do not exist: one look-up tells the model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// What clients write: 1 to 256 bytes without `*` and control characters; unique.
    pub name: String,
    /// The model that is meant; letters as for the name.
    pub model: String,
}

impl Policy {
    /// The model that a client means by a name: what the alias of that name stands for, or else
    /// the name itself. Allocates nothing, and looks nowhere if there is no alias.
    pub fn model_of<'a>(&'a self, name: &'a str) -> &'a str {
        let aliases = self.aliases();
        match aliases.binary_search_by(|alias| alias.name.as_str().cmp(name)) {
            Ok(index) => &aliases[index].model,
            Err(_) => name,
        }
    }
}
