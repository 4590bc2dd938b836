//! What is told about wrong origins.

use super::super::*;
use super::file::{mistakes, with};

const SEGMENTS: &str =
    "of letters, digits and -._~!$&'()*+,;=:@ between single slashes, without dot segments";

/// An origin with everything that must be given, and these lines in it.
fn origin(path: &str, lines: &str) -> String {
    let letters = path.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let name: String = letters.chars().take(60).collect();
    format!("[[origin]]\nname = \"o{name}\"\npath = {path:?}\nupstream = \"http://h/\"\n{lines}\n")
}

#[test]
fn origin_is_read_with_defaults() {
    let lines = "[[origin.json]]\npath = \"x\"\ntask = \"generic\"";
    let policy = Policy::parse(&with(&origin("/a/", lines))).unwrap();
    let expected = Origin {
        name: "o-a-".to_owned(),
        path: "/a/".to_owned(),
        upstream: "http://h/".to_owned(),
        timeout: std::time::Duration::from_secs(30),
        json: vec![JsonRoute {
            path: "x".to_owned(),
            task: "generic".to_owned(),
            items: None,
        }],
    };
    assert_eq!(policy.origins(), [expected]);
}

#[test]
fn json_route_may_have_any_task_but_that_of_origins() {
    assert_eq!([&JSON_TASKS[..], &["origin"]].concat(), TASKS);
}

#[test]
fn all_mistakes_in_origins_are_told_at_once() {
    let source = r#"version = 1
[[rule]]
name = "a"
fresh = "0s"

[[origin]]
path = "search/"
upstream = "ftp://h/"
timeout = "0s"
host = "x"

[[origin.json]]
task = "origin"
items = "cohere"

[[origin.json]]
path = "/v1"
task = "classify"
items = "tei"
model = "m"

[[origin]]
name = "b c"
timeout = 30

[[origin]]
name = "b c"
path = "/admin/x/"
upstream = "http://user:secret@h/"
timeout = "601s"
json = [5]
"#;
    let expected = [
        "line 4: rule 1 \"a\": fresh: is \"0s\" as both stale windows are: nothing stored could ever be used; store = false says so".to_owned(),
        "line 6: origin 1 \"\": name: is missing; a name for logs and metrics is wanted".to_owned(),
        format!("line 7: origin 1 \"origin-1\": path: is \"search/\"; wanted: up to 256 bytes that begin and end with /, {SEGMENTS}"),
        format!("line 8: origin 1 \"origin-1\": upstream: is \"ftp://h/\"; wanted: up to 512 bytes such as \"http://127.0.0.1:8080/\", with http or https, a path that ends with /, {SEGMENTS}, and no user name, query or fragment"),
        "line 9: origin 1 \"origin-1\": timeout: is \"0s\"; \"1s\" to \"10m\" is allowed".to_owned(),
        "line 10: origin 1 \"origin-1\": host: is no known key here; there are name, path, upstream, timeout, json".to_owned(),
        "line 12: origin 1 \"origin-1\": json.1.path: is missing; a path below that of the origin is wanted".to_owned(),
        "line 13: origin 1 \"origin-1\": json.1.task: is \"origin\"; one of [\"embed\", \"classify\", \"complete\", \"generic\"] is wanted".to_owned(),
        "line 14: origin 1 \"origin-1\": json.1.items: is \"cohere\"; one of \"openai\", \"tei\" is wanted".to_owned(),
        format!("line 17: origin 1 \"origin-1\": json.2.path: is \"/v1\"; wanted: 1 to 256 bytes that do not begin with /, {SEGMENTS}"),
        "line 19: origin 1 \"origin-1\": json.2.items: has no meaning for the task \"classify\", only for \"embed\"".to_owned(),
        "line 20: origin 1 \"origin-1\": json.2.model: is no known key here; there are path, task, items".to_owned(),
        "line 22: origin 2 \"b c\": path: is missing; the beginning of request paths is wanted".to_owned(),
        "line 22: origin 2 \"b c\": upstream: is missing; a URL is wanted".to_owned(),
        "line 23: origin 2 \"b c\": name: is \"b c\"; 1 to 64 letters, digits, \"-\", \"_\" or \".\" are wanted".to_owned(),
        "line 24: origin 2 \"b c\": timeout: is 30; a whole number and a unit (s, m, h or d), such as \"30s\" is wanted".to_owned(),
        "line 27: origin 3 \"b c\": name: is \"b c\"; 1 to 64 letters, digits, \"-\", \"_\" or \".\" are wanted".to_owned(),
        "line 27: origin 3 \"b c\": name: is \"b c\", as of an earlier origin".to_owned(),
        "line 28: origin 3 \"b c\": path: is \"/admin/x/\"; \"/admin/\" is the edge's own".to_owned(),
        format!("line 29: origin 3 \"b c\": upstream: has @, ? or #; wanted: up to 512 bytes such as \"http://127.0.0.1:8080/\", with http or https, a path that ends with /, {SEGMENTS}, and no user name, query or fragment"),
        "line 30: origin 3 \"b c\": timeout: is \"601s\"; \"1s\" to \"10m\" is allowed".to_owned(),
        "line 31: origin 3 \"b c\": json: is 5; a table [[origin.json]] per route is wanted".to_owned(),
        "line 31: origin 3 \"b c\": json.1.path: is missing; a path below that of the origin is wanted".to_owned(),
        "line 31: origin 3 \"b c\": json.1.task: is missing; what rules are asked about is wanted".to_owned(),
    ];
    assert_eq!(mistakes(source), expected);
}

#[test]
fn one_path_leads_to_one_place() {
    let json = |paths: &[&str]| -> String {
        let route = |path| format!("[[origin.json]]\npath = {path:?}\ntask = \"embed\"\n");
        paths.iter().map(route).collect()
    };
    let check = |tables: &[String], expected: &[&str]| {
        assert_eq!(mistakes(&with(&tables.concat())), expected, "{tables:?}");
    };
    check(
        &[origin("/", ""), origin("/a/", ""), origin("/a/b/", "")],
        &[],
    );
    check(
        &[
            origin("/a/", ""),
            origin("/a/", "").replace("\"o-a-\"", "\"b\""),
        ],
        &["line 12: origin 2 \"b\": path: is \"/a/\", as of an earlier origin"],
    );
    check(&[origin("/a/", &json(&["x", "x/", "x/y"]))], &[]);
    check(
        &[origin("/a/", &json(&["x", "x"]))],
        &["line 13: origin 1 \"o-a-\": json.2.path: is \"x\", as of an earlier route"],
    );
    check(
        &[
            origin("/a/b/", &json(&["c"])),
            origin("/a/", &json(&["bc", "b/c"])),
        ],
        &[
            "line 21: origin 2 \"o-a-\": json.2.path: is never reached: origin \"o-a-b-\" has the longer path \"/a/b/\"",
        ],
    );
}

#[test]
fn paths_are_plain() {
    let check = |path: &str, expected: usize| {
        assert_eq!(mistakes(&with(&origin(path, ""))).len(), expected, "{path}");
    };
    for path in [
        "/",
        "/a/",
        "/a/b.c/",
        "/~a/@b/",
        "/.well-known/",
        "/.../",
        "/administration/",
    ] {
        check(path, 0);
    }
    for path in [
        "", "a/", "/a", "//", "//a/", "/a//", "/a//b/", "/./", "/../", "/a/../", "/..;x/",
    ] {
        check(path, 1);
    }
    for path in [
        "/a%20b/",
        "/a b/",
        "/é/",
        "/a?/",
        "/a#/",
        "/a\\/",
        "/a\"/",
        "/admin/",
        "/admin/a/",
    ] {
        check(path, 1);
    }
    check(&format!("/{}/", "a".repeat(254)), 0);
    check(&format!("/{}/", "a".repeat(255)), 1);
}

/// "http-URI = "http" "://" authority path-abempty [ "?" query ]" (RFC 9110 §4.2.1), of which the
/// query is not taken, and "A sender MUST NOT generate the userinfo subcomponent" (§4.2.4).
#[test]
fn upstreams_are_absolute() {
    let check = |upstream: &str, expected: usize| {
        let source = origin("/a/", "").replace("http://h/", upstream);
        assert_eq!(mistakes(&with(&source)).len(), expected, "{upstream}");
    };
    for url in [
        "http://h/",
        "https://H.example:443/",
        "http://127.0.0.1:1/",
        "http://[::1]/a/",
        "http://[::1]:65535/a/b/",
        "http://a_b.spin.internal/",
    ] {
        check(url, 0);
    }
    for url in [
        "",
        "h/",
        "//h/",
        "http:/h/",
        "HTTP://h/",
        "ftp://h/",
        "http://h",
        "http:///",
        "http://h/a",
        "http://h//",
        "http://h/../",
    ] {
        check(url, 1);
    }
    for url in [
        "http://h:/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:+80/",
        "http://h:x/",
        "http://[::1/",
        "http://[h]/",
        "http://[::1]x/",
        "http://::1/",
    ] {
        check(url, 1);
    }
    for url in [
        "http://u@h/",
        "http://u:p@h/",
        "http://h/?a/",
        "http://h/#/",
        "http://h /",
        "http://é/",
        "http://-h/",
        "http://h/%2e/",
    ] {
        check(url, 1);
    }
    check(&format!("http://h/{}/", "a".repeat(502)), 0);
    check(&format!("http://h/{}/", "a".repeat(503)), 1);
}

#[test]
fn excess_is_refused() {
    let many = |count: usize| -> String {
        (0..count)
            .map(|index| origin(&format!("/{index}/"), ""))
            .collect()
    };
    assert_eq!(mistakes(&with(&many(32))), [""; 0]);
    assert_eq!(
        mistakes(&with(&many(33))),
        ["line 5: origin: has 33 origins; at most 32 are allowed"]
    );
    let routes = |count: usize| {
        let route = |index| format!("[[origin.json]]\npath = \"{index}\"\ntask = \"embed\"\n");
        origin("/a/", &(0..count).map(route).collect::<String>())
    };
    assert_eq!(mistakes(&with(&routes(64))), [""; 0]);
    assert_eq!(
        mistakes(&with(&routes(65))),
        ["line 9: origin 1 \"o-a-\": json: has 65 elements; at most 64 are allowed"]
    );
}

#[test]
fn rules_for_origins_speak_of_no_bodies_and_no_errors() {
    let check = |line: &str, key: &str| {
        let told = |task: &str| mistakes(&with(&format!("match.task = {task}\n{line}")));
        let expected =
            format!("line 6: rule 1 \"a\": {key}: has no meaning for the task \"origin\"");
        assert_eq!(told("\"origin\""), [&*expected]);
        assert_eq!(told("[\"origin\", \"o*\"]"), [expected]);
        assert_eq!(told("[\"origin\", \"embed\"]"), [""; 0]);
        assert_eq!(told("\"*\""), [""; 0]);
    };
    check("key_fields = [\"seed\"]", "key_fields");
    check("normalise = \"trim\"", "normalise");
    check("deterministic = \"always\"", "deterministic");
    check("negative = { 404 = \"10s\" }", "negative");
    let meant = "match.task = \"origin\"\nscope = \"public\"\nmax_entry_bytes = 5\nsurrogate_keys = \"a\"\nstale_if_error = \"1h\"";
    assert_eq!(mistakes(&with(meant)), [""; 0]);
}
