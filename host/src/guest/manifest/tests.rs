//! What manifests mean, and what wrong ones report.

use std::{collections::BTreeMap, path::Path};

use super::*;

const VALID: &str = r#"
spin_manifest_version = 2
[application]
name = "edge"
version = "1.0.0"
authors = ["someone"]
[application.trigger.http]
base = "/"
[variables]
upstream = { default = "http://model.internal" }
token = { required = true, secret = true }
[[trigger.http]]
id = "all"
route = "/..."
component = "gateway"
executor = { type = "http" }
[[trigger.http]]
route = { private = true }
component = "backend"
[[trigger.http]]
route = "/about"
static_response = { status_code = 201, headers = { a = "b" }, body = "hello" }
[[trigger.http]]
route = "/inline"
component = { source = "inline.wasm" }
[component.gateway]
source = "target/gateway.wasm"
files = ["static/*", { source = "data", destination = "/data" }]
variables = { upstream = "{{ upstream }}/v1", token = "{{ token }}" }
environment = { A = "b" }
allowed_outbound_hosts = ["{{ upstream }}"]
key_value_stores = ["default"]
build = { command = ["cargo build"], watch = ["src"] }
[component.backend]
source = "backend.wasm"
"#;

fn parse_with(
    text: &str,
    flags: &[(&str, &str)],
    env: &[(&str, &str)],
) -> Result<Manifest, ManifestError> {
    let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect()
    };
    let (variables, env) = (owned(flags), owned(env));
    let overrides = Overrides {
        variables: &variables,
        env: &|name| env.get(name).cloned(),
    };
    Manifest::parse(text, Path::new("app/spin.toml"), &overrides)
}

fn mistakes(text: &str) -> Vec<String> {
    match parse_with(text, &[], &[]) {
        Err(ManifestError::Invalid { mistakes, .. }) => {
            mistakes.iter().map(ToString::to_string).collect()
        }
        other => panic!("expected mistakes, got {other:?}"),
    }
}

#[test]
fn a_full_manifest_is_read_and_resolved() {
    let manifest = parse_with(VALID, &[("token", "t")], &[]).unwrap();
    let gateway = &manifest.components["gateway"];
    assert_eq!(gateway.source, Path::new("app/target/gateway.wasm"));
    assert_eq!(gateway.variables["upstream"], "http://model.internal/v1");
    assert_eq!(gateway.variables["token"], "t");
    assert_eq!(gateway.files.len(), 2);
    assert!(gateway.key_value_stores.contains("default"));
    let uri = "http://model.internal/v1/infer".parse().unwrap();
    assert!(gateway.allowed_outbound_hosts.allows(&uri));
    assert_eq!(manifest.routes.len(), 3, "the private route is not public");
    assert!(manifest.components.contains_key("backend"));
    assert!(manifest.components.contains_key("inline-1"));
    let Target::Static(fixed) = &manifest.routes[1].target else {
        panic!("a static response is expected");
    };
    assert_eq!((fixed.status.as_u16(), fixed.body.as_str()), (201, "hello"));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_default() {
    let env = [
        ("SPIN_VARIABLE_UPSTREAM", "http://env"),
        ("SPIN_VARIABLE_TOKEN", "env"),
    ];
    let from_env = parse_with(VALID, &[], &env).unwrap();
    assert_eq!(
        from_env.components["gateway"].variables["upstream"],
        "http://env/v1"
    );
    let flags = [("upstream", "http://flag")];
    let from_flag = parse_with(VALID, &flags, &env).unwrap();
    assert_eq!(
        from_flag.components["gateway"].variables["upstream"],
        "http://flag/v1"
    );
    assert_eq!(from_flag.components["gateway"].variables["token"], "env");
}

#[test]
fn a_required_variable_without_a_value_says_how_to_set_it() {
    let expected = "variables.token: has no value; \
        set it with --variable token=VALUE or SPIN_VARIABLE_TOKEN";
    assert!(mistakes(VALID).contains(&expected.to_owned()));
}

#[test]
fn a_variable_that_is_not_declared_cannot_be_set() {
    let error = parse_with(VALID, &[("token", "t"), ("tokem", "t")], &[]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("variables.tokem: is set by --variable"),
        "{text}"
    );
    assert!(text.contains("declares only: token, upstream"), "{text}");
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let manifest = parse_with(VALID, &[("token", "s3cret")], &[]).unwrap();
    assert!(!format!("{manifest:?}").contains("s3cret"));
}

/// One manifest with a mistake in every table: all are reported in one go.
#[test]
fn all_mistakes_are_reported_at_once_with_their_settings() {
    let text = r#"
        spin_manifest_version = 1
        extra = 1
        [application]
        nam = "edge"
        [variables]
        Upper = { default = "x" }
        neither = {}
        [[trigger.http]]
        route = "/a"
        component = "gatewai"
        rout = "/b"
        [[trigger.http]]
        route = "/a/"
        component = "gateway"
        [[trigger.http]]
        route = { private = false }
        [[trigger.redis]]
        channel = "c"
        [component.gateway]
        source = { url = "https://example.com/a.wasm", digest = "sha256:0" }
        files = ["../secret", { source = "a" }]
        allowed_outbound_hosts = ["model.internal", "{{ missing }}"]
        key_value_stores = "default"
        sqlite_databases = ["default"]
        build = { comand = "x" }
    "#;
    let found = mistakes(text);
    for setting in [
        "spin_manifest_version",
        "extra",
        "application.name",
        "application.nam",
        "variables.Upper",
        "variables.neither.required",
        "trigger.http[0].component",
        "trigger.http[0].rout",
        "trigger.http[1].route",
        "trigger.http[2].route",
        "trigger.http[2].component",
        "trigger.redis",
        "component.gateway.source",
        "component.gateway.files[0]",
        "component.gateway.files[1].destination",
        "component.gateway.allowed_outbound_hosts[0]",
        "component.gateway.allowed_outbound_hosts[1]",
        "component.gateway.key_value_stores",
        "component.gateway.sqlite_databases",
        "component.gateway.build.command",
        "component.gateway.build.comand",
    ] {
        let reported = found
            .iter()
            .filter(|line| line.starts_with(&format!("{setting}: ")));
        assert_eq!(reported.count(), 1, "{setting} in {found:#?}");
    }
    assert_eq!(found.len(), 21, "{found:#?}");
}

#[test]
fn an_unknown_field_names_what_is_allowed() {
    let found = mistakes(&VALID.replace("executor =", "executer ="));
    let expected = "trigger.http[0].executer: unknown field; allowed here: \
        id, components, dependencies, executor, route, static_response, component";
    assert!(found.contains(&expected.to_owned()), "{found:#?}");
}
