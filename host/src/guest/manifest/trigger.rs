//! Reads `[[trigger.http]]`.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use toml::Value;

use super::{
    component::{self, ComponentSpec, Context},
    mistake::Problem,
    names,
    section::{Section, wrong_type},
};
use crate::guest::router::RoutePattern;

/// A route and what answers it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which paths it matches.
    pub pattern: RoutePattern,
    /// Who answers.
    pub target: Target,
}

/// Who answers a request.
#[derive(Clone, Debug)]
pub enum Target {
    /// The component with this id.
    Component(String),
    /// A fixed answer, without Wasm.
    Static(StaticResponse),
}

/// A fixed answer.
#[derive(Clone, Debug)]
pub struct StaticResponse {
    /// 200 unless the manifest says otherwise.
    pub status: StatusCode,
    /// As written.
    pub headers: HeaderMap,
    /// As written; empty if absent.
    pub body: String,
}

/// The triggers read so far.
#[derive(Default)]
pub(super) struct Triggers {
    pub(super) routes: Vec<Route>,
    /// Components that are written inside a trigger.
    pub(super) inline: Vec<ComponentSpec>,
    /// Which setting refers to which component, to be checked at the end.
    pub(super) references: Vec<(String, String)>,
}

impl Triggers {
    pub(super) fn read(&mut self, root: &mut Section<'_>, context: &Context<'_>) {
        let Some(mut triggers) = root.section("trigger") else {
            let expected = "at least one [[trigger.http]]";
            root.report("trigger", Problem::Missing { expected });
            return;
        };
        for (path, value) in triggers.array("http") {
            if let Some(section) = Section::from_value(path, value, root.mistakes()) {
                self.read_one(section, context);
            }
        }
        triggers.finish();
    }

    fn read_one(&mut self, mut section: Section<'_>, context: &Context<'_>) {
        section.string("id");
        section.refuse("components", "name one component");
        section.refuse("dependencies", "compose middleware when it is built");
        read_executor(&mut section);
        let pattern = self.read_route(&mut section);
        let target = self.read_target(&mut section, context);
        if let (Some(Some(pattern)), Some(target)) = (pattern, target) {
            self.routes.push(Route { pattern, target });
        }
        section.finish();
    }

    /// `Some(None)` is a private route: only other components can reach it.
    fn read_route(&self, section: &mut Section<'_>) -> Option<Option<RoutePattern>> {
        match section.take("route") {
            None => {
                let expected = "a route such as \"/...\", or { private = true }";
                section.report("route", Problem::Missing { expected });
                None
            }
            Some(Value::String(route)) => self.parse_route(section, &route).map(Some),
            Some(Value::Table(table)) => {
                let mut private = Section::new(section.at("route"), table, section.mistakes());
                if !private.flag("private") {
                    let value = "private = false".to_owned();
                    let expected = "a route is a string or { private = true }".to_owned();
                    section.report("route", Problem::Value { value, expected });
                }
                private.finish();
                Some(None)
            }
            Some(other) => {
                section.report("route", wrong_type("a string or a table", &other));
                None
            }
        }
    }

    fn parse_route(&self, section: &Section<'_>, route: &str) -> Option<RoutePattern> {
        let value = route.to_owned();
        let pattern = match RoutePattern::parse(route) {
            Ok(pattern) => pattern,
            Err(error) => {
                let expected = error.to_string();
                section.report("route", Problem::Value { value, expected });
                return None;
            }
        };
        let taken = self
            .routes
            .iter()
            .find(|earlier| earlier.pattern.same_paths(&pattern));
        if let Some(taken) = taken {
            let expected = format!("the route {:?} matches the same paths", taken.pattern.raw());
            section.report("route", Problem::Value { value, expected });
            return None;
        }
        Some(pattern)
    }

    fn read_target(&mut self, section: &mut Section<'_>, context: &Context<'_>) -> Option<Target> {
        let fixed = section.section("static_response");
        match (section.take("component"), fixed) {
            (None, None) => {
                let expected = "either a component or a static_response";
                section.report("component", Problem::Missing { expected });
                None
            }
            (Some(_), Some(_)) => {
                let value = "component and static_response".to_owned();
                let expected = "a trigger has one of them".to_owned();
                section.report("component", Problem::Value { value, expected });
                None
            }
            (None, Some(fixed)) => read_static(fixed).map(Target::Static),
            (Some(Value::String(id)), None) => {
                self.references.push((section.at("component"), id.clone()));
                Some(Target::Component(id))
            }
            (Some(Value::Table(table)), None) => {
                // No declared id looks like this: its words would have to begin with a letter.
                let id = format!("inline-{}", self.inline.len() + 1);
                let path = section.at("component");
                let inline = Section::new(path, table, section.mistakes());
                self.inline.push(component::read(&id, inline, context)?);
                Some(Target::Component(id))
            }
            (Some(other), None) => {
                section.report("component", wrong_type("an id or a table", &other));
                None
            }
        }
    }
}

/// Reports every reference to a component that does not exist.
pub(super) fn check_references(
    triggers: &Triggers,
    components: &BTreeMap<String, ComponentSpec>,
    declared: &[String],
    root: &Section<'_>,
) {
    for (setting, id) in &triggers.references {
        if components.contains_key(id) || declared.contains(id) {
            continue;
        }
        let problem = Problem::Value {
            value: id.clone(),
            expected: format!("the components are: {}", declared.join(", ")),
        };
        root.mistakes().add(setting, problem);
    }
    for id in declared.iter().filter(|id| !names::is_kebab(id)) {
        let expected = "component ids are kebab-case".to_owned();
        let value = id.clone();
        root.report(
            &format!("component.{id}"),
            Problem::Value { value, expected },
        );
    }
}

/// Only the plain HTTP executor exists here.
fn read_executor(section: &mut Section<'_>) {
    let Some(mut executor) = section.section("executor") else {
        return;
    };
    match executor.required_string("type") {
        Some(kind) if kind == "http" || kind == "spin" => {}
        Some(value) => {
            let expected = "the only executor is \"http\"".to_owned();
            executor.report("type", Problem::Value { value, expected });
        }
        None => {}
    }
    executor.finish();
}

fn read_static(mut section: Section<'_>) -> Option<StaticResponse> {
    let code = section.integer("status_code").unwrap_or(200);
    let status = u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    if status.is_none() {
        let value = code.to_string();
        let expected = "a status code is 100 to 999".to_owned();
        section.report("status_code", Problem::Value { value, expected });
    }
    let mut headers = HeaderMap::new();
    for (name, value) in section.string_map("headers") {
        let parsed = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        );
        if let (Ok(name), Ok(value)) = parsed {
            headers.append(name, value);
        } else {
            let expected = "not allowed in an HTTP header".to_owned();
            section.report(
                &format!("headers.{name}"),
                Problem::Value { value, expected },
            );
        }
    }
    let body = section.string("body").unwrap_or_default();
    section.finish();
    Some(StaticResponse {
        status: status?,
        headers,
        body,
    })
}
