//! The body of a purge, read strictly: a member that is misspelt and ignored would purge something
//! else, or nothing.

use brink_cache::purge::{Mode, Subject};
use brink_cache::{Key, ModelDigest};
use brink_gateway::error::shorten;
use brink_gateway::json_error::{reason, unknown_field};
use brink_gateway::stored_keys::leaves_results;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::problem::{Problem, Wrong};
use crate::request_keys::Asked;

/// A purge that was asked for.
#[derive(Debug)]
pub(super) struct Purge {
    pub(super) what: What,
    pub(super) mode: Mode,
}

#[derive(Debug)]
pub(super) enum What {
    Subject(Subject),
    /// Whatever a request left in stores.
    Request(Asked),
}

/// The body as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    key: Option<String>,
    surrogate_key: Option<String>,
    model: Option<String>,
    digest: Option<String>,
    tenant: Option<String>,
    all: Option<bool>,
    #[serde(borrow)]
    request: Option<RawAsked<'a>>,
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAsked<'a> {
    path: String,
    /// As written: the gateway reads it as it reads requests.
    #[serde(borrow)]
    body: &'a RawValue,
    tenant: Option<String>,
}

/// Members of which there is exactly one.
const SUBJECTS: &str = "key, surrogate_key, model, digest, tenant, all, request";

/// The paths whose requests can be purged.
const PURGEABLE: &str =
    "/v1/embeddings, /v1/classify, /embed, /similarity, /predict, /v2/models/{name}/infer";

/// Reads a body.
///
/// # Errors
/// 400 for what is no such JSON, 422 for values that mean nothing.
pub(super) fn read(body: &[u8]) -> Result<Purge, Problem> {
    // serde also reads a struct from an array of its members.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid(Wrong::field(
            "the body",
            "is no JSON object",
        )));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let raw: Raw<'_> = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| explain(&error.path().to_string(), &error.into_inner()))?;
    deserializer
        .end()
        .map_err(|_| Problem::invalid(Wrong::field("the body", "goes on after the JSON object")))?;
    let mode = mode(raw.mode.as_deref())?;
    let what = raw.what()?;
    Ok(Purge { what, mode })
}

/// serde names the member in its message or by its path.
fn explain(path: &str, error: &serde_json::Error) -> Problem {
    let message = reason(error);
    let unknown = unknown_field(error);
    let field = match (unknown.as_deref(), path) {
        (Some(name), _) if path.ends_with(name) => path,
        (Some(name), _) => name,
        (None, "." | "?") => "the body",
        (None, path) => path,
    };
    let problem = format!("is not as it must be: {message}");
    Problem::invalid(Wrong::field(field, problem))
}

fn mode(mode: Option<&str>) -> Result<Mode, Problem> {
    match mode {
        None | Some("soft") => Ok(Mode::Soft),
        Some("hard") => Ok(Mode::Hard),
        Some(other) => {
            let problem = format!("is {}; \"soft\" or \"hard\" is wanted", shorten(other));
            let wrong = Wrong::field("mode", problem).limit("soft or hard");
            Err(Problem::unprocessable(wrong))
        }
    }
}

impl Raw<'_> {
    fn what(self) -> Result<What, Problem> {
        let named: [(&str, Option<Result<What, Problem>>); 7] = [
            ("key", self.key.map(|hex| key(&hex))),
            (
                "surrogate_key",
                named(self.surrogate_key, Subject::SurrogateKey),
            ),
            ("model", named(self.model, Subject::Model)),
            ("digest", self.digest.map(|hex| digest(&hex))),
            ("tenant", named(self.tenant, Subject::Tenant)),
            ("all", self.all.map(all)),
            ("request", self.request.map(RawAsked::checked)),
        ];
        let given: Vec<_> = named
            .into_iter()
            .filter_map(|(name, what)| Some((name, what?)))
            .collect();
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        let count = names.len();
        let names = names.join(", ");
        match <[_; 1]>::try_from(given) {
            Ok([(_, what)]) => what,
            Err(_) => {
                let problem = match count {
                    0 => format!("names nothing to purge; exactly one of {SUBJECTS} is wanted"),
                    _ => format!("names {names}; exactly one of {SUBJECTS} is wanted"),
                };
                let wrong = Wrong::field("the body", problem).limit(1).value(count);
                Err(Problem::unprocessable(wrong))
            }
        }
    }
}

fn named(name: Option<String>, subject: fn(String) -> Subject) -> Option<Result<What, Problem>> {
    name.map(|name| Ok(What::Subject(subject(name))))
}

fn key(hex: &str) -> Result<What, Problem> {
    let key = Key::from_hex(hex).ok_or_else(|| not_hex("key", hex))?;
    Ok(What::Subject(Subject::Key(key)))
}

fn digest(hex: &str) -> Result<What, Problem> {
    let digest = ModelDigest::from_hex(hex).ok_or_else(|| not_hex("digest", hex))?;
    Ok(What::Subject(Subject::Digest(digest)))
}

fn not_hex(member: &str, value: &str) -> Problem {
    let problem = format!("is {}; 64 hexadecimal digits are wanted", shorten(value));
    Problem::unprocessable(Wrong::field(member, problem).limit(64).value(value.len()))
}

fn all(all: bool) -> Result<What, Problem> {
    if all {
        return Ok(What::Subject(Subject::All));
    }
    let problem = "is false; true is wanted, or another member";
    Err(Problem::unprocessable(
        Wrong::field("all", problem).limit(true),
    ))
}

impl RawAsked<'_> {
    fn checked(self) -> Result<What, Problem> {
        if !leaves_results(&self.path) {
            let problem = format!(
                "is {}; results of {PURGEABLE} alone can be purged so",
                shorten(&self.path)
            );
            let wrong = Wrong::field("request.path", problem).limit(PURGEABLE);
            return Err(Problem::unprocessable(wrong));
        }
        Ok(What::Request(Asked {
            path: self.path,
            body: self.body.get().to_owned(),
            tenant: self.tenant.unwrap_or_else(|| "default".to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(body: &str) -> (u16, String) {
        let problem = read(body.as_bytes()).unwrap_err();
        (problem.status.as_u16(), problem.errors[0].field.clone())
    }

    #[test]
    fn mistakes_name_the_member() {
        let check = |body: &str, status, member: &str| {
            assert_eq!(field(body), (status, member.to_owned()), "{body}");
        };
        check("", 400, "the body");
        check("[]", 400, "the body");
        check("{", 400, "the body");
        check("{\"all\": true} x", 400, "the body");
        check("{}", 422, "the body");
        check("{\"all\": true, \"model\": \"m\"}", 422, "the body");
        check("{\"all\": true, \"all\": true}", 400, "the body");
        check("{\"al\": true}", 400, "al");
        check("{\"model\": 1}", 400, "model");
        check("{\"all\": false}", 422, "all");
        check("{\"key\": \"abc\"}", 422, "key");
        check("{\"digest\": \"\"}", 422, "digest");
        check("{\"all\": true, \"mode\": \"Hard\"}", 422, "mode");
        check(
            "{\"request\": {\"path\": \"/v1/models\", \"body\": {}}}",
            422,
            "request.path",
        );
        check(
            "{\"request\": {\"path\": \"/v1/embeddings\", \"body\": {}, \"x\": 1}}",
            400,
            "request.x",
        );
        check("{\"request\": {\"body\": {}}}", 400, "request");
    }

    #[test]
    fn no_value_is_told() {
        for body in [
            "{\"all\": \"4711\"}",
            "{\"model\": 4711}",
            "{\"request\": \"4711\"}",
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert!(
                !format!("{problem:?}").contains("4711"),
                "{body}: {problem:?}"
            );
        }
    }

    #[test]
    fn every_subject_is_read() {
        let hex = "0f".repeat(32);
        let check = |body: String, expected: Subject| {
            let Purge { what, mode } = read(body.as_bytes()).unwrap();
            assert_eq!(mode, Mode::Soft);
            assert!(
                matches!(&what, What::Subject(subject) if *subject == expected),
                "{what:?}"
            );
        };
        check(
            format!("{{\"key\":\"{hex}\"}}"),
            Subject::Key(Key::from_hex(&hex).unwrap()),
        );
        check(
            format!("{{\"digest\":\"{hex}\"}}"),
            Subject::Digest(ModelDigest([15; 32])),
        );
        check(
            "{\"surrogate_key\":\"a\"}".into(),
            Subject::SurrogateKey("a".into()),
        );
        check("{\"model\":\"a\"}".into(), Subject::Model("a".into()));
        check(
            "{\"tenant\":\"a\",\"model\":null}".into(),
            Subject::Tenant("a".into()),
        );
        check("{\"all\":true,\"mode\":\"soft\"}".into(), Subject::All);
    }
}
