//! What an alias may say.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::file::shown;
use crate::policy::alias::Alias;
use crate::policy::limits::{MAX_ALIASES, MAX_MODEL_BYTES};

impl Check {
    pub(super) fn aliases(&mut self, aliases: &[Alias]) {
        if aliases.len() > MAX_ALIASES {
            let count = aliases.len();
            let problem = format!("has {count} aliases; at most {MAX_ALIASES} are allowed");
            self.add("alias", problem);
            return;
        }
        let numbers = aliases.iter().zip(1usize..);
        let users: BTreeMap<&str, usize> = numbers
            .map(|(alias, number)| (alias.model.as_str(), number))
            .collect();
        let mut names = BTreeSet::new();
        for (index, alias) in aliases.iter().enumerate() {
            self.at("alias", index, &alias.name);
            self.model_name("name", &alias.name);
            self.model_name("model", &alias.model);
            if !names.insert(&alias.name) {
                let problem = format!("is {}, as of an earlier alias", shown(&alias.name));
                self.add("name", problem);
            } else if let Some(user) = users.get(alias.name.as_str()) {
                let name = shown(&alias.name);
                let problem = format!("is {name}, the model of alias {user}; none may be an alias");
                self.add("name", problem);
            }
        }
        self.place = None;
    }

    fn model_name(&mut self, key: &str, name: &str) {
        let is_wrong = !(1..=MAX_MODEL_BYTES).contains(&name.len())
            || name.contains('*')
            || name.chars().any(char::is_control);
        if is_wrong {
            let problem = format!(
                "is {}; 1 to {MAX_MODEL_BYTES} bytes without * and control characters are wanted",
                shown(name)
            );
            self.add(key, problem);
        }
    }
}
