//! Who is let in, and what the others learn.

use brink_admin::{Problem, Refused, admit};
use brink_gateway::head::Head;

use crate::world::{KEY, Memory, at_once, exchange, hashes};

const PATHS: [&str; 6] = [
    "/admin/policy",
    "/admin/tenants",
    "/admin/purge",
    "/admin/audit",
    "/admin/nothing",
    "/",
];

#[test]
fn everything_is_404_while_the_api_is_switched_off() {
    let world = Memory::default();
    let mut answers = Vec::new();
    for path in PATHS {
        for method in ["GET", "PUT", "OPTIONS", "BREW"] {
            let wire = format!("{method} {path}\nauthorization: Bearer {KEY}");
            let seen = at_once(exchange(&world, " ", &wire, b""));
            assert_eq!(seen.status, 404);
            answers.push(seen.text);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers tell something");
}

#[test]
fn nobody_learns_anything_without_a_key() {
    let world = Memory::default();
    let check = |authorization: &str, challenge: &str| {
        let mut answers = Vec::new();
        for path in PATHS {
            for method in ["GET", "POST", "BREW"] {
                let wire = format!("{method} {path}{authorization}");
                let seen = at_once(exchange(&world, &hashes(), &wire, b"{"));
                assert_eq!(seen.status, 401, "{wire}");
                assert_eq!(seen.header("www-authenticate"), Some(challenge), "{wire}");
                answers.push(seen.text);
            }
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "the answers tell something");
    };
    check("", "Bearer");
    check(
        "\nauthorization: Basic YTpi",
        "Bearer error=\"invalid_request\"",
    );
    check(
        "\nauthorization: Bearer adm-ana-0123456789abcdef0124",
        "Bearer error=\"invalid_token\"",
    );
    assert!(world.values.borrow().is_empty());
}

#[test]
fn with_a_key_unknown_routes_and_methods_are_named() {
    let world = Memory::default();
    let check = |head: &str, status, part: &str| {
        let wire = format!("{head}\nauthorization: bearer {KEY}");
        let seen = at_once(exchange(&world, &hashes(), &wire, b""));
        assert_eq!(seen.status, status, "{head}");
        assert!(seen.text.contains(part), "{}", seen.text);
    };
    check("GET /admin/nothing", 404, "/admin/audit");
    check("POST /admin/policy", 405, "GET, HEAD, PUT, DELETE");
    check("GET /admin/policy", 200, "built-in");
    check("HEAD /admin/policy", 200, "");
}

#[test]
fn a_variable_that_cannot_be_used_lets_nobody_in_and_is_explained_in_the_log_alone() {
    let wire = format!("GET /admin/policy\nauthorization: Bearer {KEY}");
    let head = Head::parse(wire.as_bytes()).unwrap();
    // The key itself instead of its hash, beside a good one.
    let variable = format!("{},eve:{KEY}", hashes());
    let refused = admit(&variable, &head).unwrap_err();
    assert!(matches!(refused, Refused::Misconfigured(_)), "{refused:?}");
    let problem = Problem::from(refused);
    assert_eq!(problem.status.as_u16(), 500);
    assert!(!problem.detail.contains("hash"), "{}", problem.detail);
}

#[test]
fn bodies_above_the_limit_of_their_route_are_refused() {
    let world = Memory::default();
    let check = |head: &str, limit: usize| {
        let wire = format!("{head}\nauthorization: Bearer {KEY}");
        let body = vec![b' '; limit + 1];
        let seen = at_once(exchange(&world, &hashes(), &wire, &body));
        assert_eq!(seen.status, 413, "{head}");
        assert_eq!(seen.json["errors"][0]["limit"], limit);
        assert_eq!(seen.json["errors"][0]["value"], limit + 1);
        let seen = at_once(exchange(&world, &hashes(), &wire, &body[..limit]));
        assert_ne!(seen.status, 413, "{head}");
    };
    check("PUT /admin/policy", 256 * 1024);
    check("PUT /admin/tenants", 4 * 1024 * 1024);
    check("POST /admin/purge", 1024 * 1024);
}
