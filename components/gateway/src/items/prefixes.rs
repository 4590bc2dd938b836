//! Prefixes of keys, kept from request to request: hashing one takes longer than hashing an item.

use std::cell::RefCell;

use brink_cache::key::{PrefixParts, Task};
use brink_cache::{KeyPrefix, ModelDigest, Scope};
use brink_protocol::ModelInfo;

/// Most prefixes kept; the oldest is forgotten first. Looking through so few takes less time than
/// making one.
const MAX_KEPT: usize = 16;

/// The prefixes that were used lately.
#[derive(Debug, Default)]
pub struct Prefixes(RefCell<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    scope: Scope,
    model: String,
    digest: ModelDigest,
    task: Task,
    parameters: String,
    prefix: KeyPrefix,
}

impl Prefixes {
    /// The prefix for these parts, made only if it is not here.
    pub(super) fn get(&self, scope: &Scope, model: &ModelInfo, parameters: &str) -> KeyPrefix {
        let mut kept = self.0.borrow_mut();
        let known = kept.iter().find(|kept| {
            kept.digest == model.digest
                && kept.task == model.task()
                && kept.parameters == parameters
                && kept.model == model.name
                && kept.scope == *scope
        });
        if let Some(known) = known {
            return known.prefix;
        }
        let prefix = KeyPrefix::new(PrefixParts {
            scope,
            model: &model.name,
            digest: &model.digest,
            task: model.task(),
            parameters,
        });
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push(Kept {
            scope: scope.clone(),
            model: model.name.clone(),
            digest: model.digest,
            task: model.task(),
            parameters: parameters.to_owned(),
            prefix,
        });
        prefix
    }
}

#[cfg(test)]
mod tests {
    use brink_cache::key::ItemBytes;
    use brink_protocol::{ModelKind, TextLimits};

    use super::*;

    fn model(name: &str, digest: u8) -> ModelInfo {
        ModelInfo {
            name: name.to_owned(),
            version: "1".to_owned(),
            digest: ModelDigest([digest; 32]),
            kind: ModelKind::Embed {
                text: TextLimits {
                    max_tokens: 8,
                    vocabulary: 100,
                },
                dimensions: 4,
            },
            created: 0,
            owned_by: String::new(),
        }
    }

    #[test]
    fn a_kept_prefix_is_the_one_that_would_be_made() {
        let kept = Prefixes::default();
        let key = |prefixes: &Prefixes, tenant: usize, digest, parameters| {
            let scope = Scope::Tenant(tenant.to_string());
            let prefix = prefixes.get(&scope, &model("m", digest), parameters);
            prefix.key(ItemBytes::Text("a"))
        };
        let mut distinct = std::collections::HashSet::new();
        for _ in 0..2 {
            for tenant in 0..MAX_KEPT {
                for (digest, parameters) in [(1, "{}"), (2, "{}"), (1, "[]")] {
                    let again = key(&kept, tenant, digest, parameters);
                    let fresh = key(&Prefixes::default(), tenant, digest, parameters);
                    assert_eq!(again, fresh);
                    assert_eq!(key(&kept, tenant, digest, parameters), fresh, "now kept");
                    distinct.insert(fresh);
                }
            }
        }
        assert_eq!(distinct.len(), 3 * MAX_KEPT);
        assert_eq!(kept.0.borrow().len(), MAX_KEPT);
    }
}
