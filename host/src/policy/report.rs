//! The text that `brink policy explain` prints.
//!
//! Inputs are told by their size only: the text may end up in a ticket.

use std::fmt;

use brink_cache::key::{ItemBytes, PrefixParts, Task};
use brink_cache::policy::{
    Deterministic, Explanation, MemberRole, RequestFacts, Storing, Verdict, Written,
};
use brink_cache::{KeyPrefix, Policy, Scope};
use serde_json::Value;

use super::request::Request;

/// An explained decision.
pub(super) struct Report<'a> {
    policy: &'a Policy,
    request: &'a Request,
    facts: RequestFacts<'a>,
    explanation: Explanation<'a>,
}

impl<'a> Report<'a> {
    pub(super) fn new(policy: &'a Policy, request: &'a Request) -> Self {
        let facts = request.facts();
        Self {
            policy,
            request,
            explanation: policy.explain(&facts),
            facts,
        }
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version) = (self.policy.name(), self.policy.version());
        writeln!(f, "policy \"{name}\", version {version}")?;
        let facts = &self.facts;
        writeln!(
            f,
            "request {} {}, task {}, model {:?}, tenant {:?}\n",
            facts.method, facts.route, facts.task, facts.model, facts.tenant
        )?;
        match &self.request.url {
            Some(url) => writeln!(f, "asked of an origin, {url}\n"),
            None => Ok(()),
        }
    }

    fn rules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for passed in &self.explanation.passed_over {
            let told: Vec<_> = passed.differences.iter().map(ToString::to_string).collect();
            writeln!(f, "{} does not match: {}", passed.rule, told.join("; "))?;
        }
        match self.explanation.decision.rule {
            Some(rule) => writeln!(f, "{rule} matches and decides\n"),
            None => writeln!(f, "no rule is left\n"),
        }
    }

    fn storing(&self, f: &mut fmt::Formatter<'_>, storing: &Storing) -> fmt::Result {
        writeln!(f, "the result is looked up and stored")?;
        let lifetimes = storing.lifetimes;
        line(f, "fresh", Written(lifetimes.fresh))?;
        line(
            f,
            "stale while revalidate",
            Written(lifetimes.stale_while_revalidate),
        )?;
        line(f, "stale if error", Written(lifetimes.stale_if_error))?;
        line(
            f,
            "at most",
            format_args!("{} bytes", storing.max_entry_bytes),
        )?;
        line(f, "condition", condition(storing.deterministic))?;
        let errors = storing.negative.iter();
        let errors = errors.map(|error| format!("{} for {}", error.status, Written(error.fresh)));
        line(f, "errors stored", list(errors.collect()))?;
        let labels = storing.surrogate_keys(&self.facts, self.request.digest.as_ref());
        line(f, "surrogate keys", list(labels))?;
        if !self.request.control.may_store() {
            writeln!(f, "the request's Cache-Control forbids to store this one")?;
        }
        if !self.request.control.may_look_up() {
            writeln!(f, "the request's Cache-Control forbids to look this one up")?;
        }
        Ok(())
    }

    fn key(&self, f: &mut fmt::Formatter<'_>, storing: &Storing) -> fmt::Result {
        writeln!(f, "\nthe key's parts")?;
        let scope = storing.scope(self.facts.tenant);
        match &scope {
            Scope::Public => line(f, "scope", "public")?,
            Scope::Tenant(name) => line(f, "scope", format_args!("tenant {name:?}"))?,
        }
        if let Some(url) = &self.request.url {
            return self.key_of_origin(f, storing, url);
        }
        let model = self.policy.model_of(self.facts.model);
        line(f, "model", format_args!("{model:?}"))?;
        match self.request.digest {
            Some(digest) => line(f, "model digest", digest)?,
            None => line(f, "model digest", "not given; the host knows it")?,
        }
        line(f, "task", self.facts.task)?;
        let (task, body) = (self.facts.task, &self.request.body);
        let parameters = match storing.key_fields.parameters(task, body) {
            Ok(parameters) => parameters,
            Err(error) => {
                return writeln!(f, "  none, so the request passes the cache by: {error}");
            }
        };
        line(f, "parameters", &parameters)?;
        let role = |wanted| {
            let members = body
                .iter()
                .filter(|(name, value)| storing.key_fields.role(task, name, value) == wanted);
            list(members.map(|(name, _)| name.clone()).collect())
        };
        line(f, "parts of their own", role(MemberRole::KeyedApart))?;
        line(f, "left out", role(MemberRole::LeftOut))?;
        let steps = storing.normalise.words().map(str::to_owned);
        line(f, "normalised", list(steps.collect()))?;
        if task == "embed" {
            self.items(f, storing, &parameters)?;
        }
        Ok(())
    }

    /// What the key of an origin's answer is made of.
    fn key_of_origin(
        &self,
        f: &mut fmt::Formatter<'_>,
        storing: &Storing,
        url: &str,
    ) -> fmt::Result {
        line(f, "URL", url)?;
        if self.facts.task == "origin" {
            return line(f, "request fields", "those that the answer varies by");
        }
        line(f, "credentials", "as the client sends them")?;
        let (task, body) = (self.facts.task, &self.request.body);
        match storing.key_fields.of_answer(task, body, None) {
            // Inputs are in it, so only its size is told.
            Ok(key) => line(
                f,
                "body",
                format_args!("{} bytes in canonical form", key.len()),
            ),
            Err(error) => writeln!(f, "  none, so the request passes the cache by: {error}"),
        }
    }

    /// One line per item of an embedding; the key too, if the digest is known.
    fn items(
        &self,
        f: &mut fmt::Formatter<'_>,
        storing: &Storing,
        parameters: &str,
    ) -> fmt::Result {
        let scope = storing.scope(self.facts.tenant);
        let prefix = self.request.digest.as_ref().map(|digest| {
            KeyPrefix::new(PrefixParts {
                scope: &scope,
                model: self.policy.model_of(self.facts.model),
                digest,
                task: Task::Embed,
                parameters,
            })
        });
        let key = |item: ItemBytes<'_>| match &prefix {
            Some(prefix) => format!("key {}", prefix.key(item)),
            None => "its key needs the model's digest".to_owned(),
        };
        for (index, item) in items(self.request.body.get("input"))
            .into_iter()
            .enumerate()
        {
            let told = match item {
                Item::Text(text) => {
                    let text = storing.normalise.apply(text);
                    format!(
                        "{} bytes of text, {}",
                        text.len(),
                        key(ItemBytes::Text(&text))
                    )
                }
                Item::Tokens(tokens) => {
                    format!(
                        "{} tokens, {}",
                        tokens.len(),
                        key(ItemBytes::Tokens(&tokens))
                    )
                }
                Item::Unknown => "neither a text nor tokens; it would be refused".to_owned(),
            };
            line(f, &format!("input {index}"), told)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.rules(f)?;
        match self.explanation.decision.verdict {
            Verdict::Store(storing) => {
                self.storing(f, storing)?;
                self.key(f, storing)
            }
            Verdict::Bypass(reason) => {
                writeln!(f, "the result is neither looked up nor stored: {reason}")
            }
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<24}{value}")
}

fn list(values: Vec<String>) -> String {
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.join(", ")
    }
}

fn condition(deterministic: Deterministic) -> &'static str {
    match deterministic {
        Deterministic::ByTask => "by task: completions need temperature 0 or a seed",
        Deterministic::Always => "always",
        Deterministic::TemperatureZeroOrSeed => "temperature 0 or a seed",
    }
}

/// An input of an embedding request.
enum Item<'a> {
    Text(&'a str),
    Tokens(Vec<u32>),
    Unknown,
}

/// The items of the member `input`, in any of the four forms that OpenAI's API has.
fn items(input: Option<&Value>) -> Vec<Item<'_>> {
    match input {
        Some(Value::Array(elements)) if elements.first().is_some_and(Value::is_number) => {
            vec![item(input)]
        }
        Some(Value::Array(elements)) => elements.iter().map(|one| item(Some(one))).collect(),
        other => vec![item(other)],
    }
}

fn item(input: Option<&Value>) -> Item<'_> {
    let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
    match input {
        Some(Value::String(text)) => Item::Text(text),
        Some(Value::Array(elements)) => {
            let tokens: Option<Vec<u32>> = elements.iter().map(token).collect();
            tokens.map_or(Item::Unknown, Item::Tokens)
        }
        _ => Item::Unknown,
    }
}
