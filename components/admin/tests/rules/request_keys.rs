//! Purging what a request left.

use std::sync::Arc;

use brink_cache::purge::{STORE_KEY, Subject};
use brink_cache::{Marks, ModelDigest, UnixSeconds};
use brink_gateway::stored_keys::{Sent, stored_keys};
use brink_protocol::{Catalog, ModelInfo, ModelKind, TextLimits, catalog, message};

use crate::world::{Memory, Seen, ask, at_once};

fn models() -> Catalog {
    Catalog {
        models: vec![ModelInfo {
            name: "m".to_owned(),
            version: "1".to_owned(),
            digest: ModelDigest([3; 32]),
            kind: ModelKind::Embed {
                text: TextLimits {
                    max_tokens: 8,
                    vocabulary: 100,
                },
                dimensions: 2,
            },
            created: 0,
            owned_by: "tests".to_owned(),
        }],
        ..Catalog::default()
    }
}

fn world() -> Memory {
    let world = Memory::default();
    world.put(
        catalog::STORE_KEY,
        message::encode(&(UnixSeconds(1), models())),
    );
    world
}

fn purge(world: &Memory, request: &str, tenant: &str) -> Seen {
    let body = format!(
        "{{\"request\": {{\"path\": \"/v1/embeddings\", \"body\": {request}{tenant}}}, \"mode\": \"hard\"}}"
    );
    at_once(ask(world, "POST /admin/purge", body.as_bytes()))
}

#[test]
fn the_keys_of_each_input_are_marked_for_the_tenant() {
    let request = "{\"model\": \"m\", \"input\": [\"a\", \"b\", \"a\"]}";
    let check = |member: &str, tenant: &str| {
        let world = world();
        let seen = purge(&world, request, member);
        assert_eq!(seen.status, 200, "{}", seen.text);
        assert_eq!(seen.json["added"].as_array().unwrap().len(), 2);
        assert_eq!(seen.json["added"][0]["mode"], "hard");
        let marks = Marks::decode(&world.value(STORE_KEY).unwrap()).unwrap();
        let tenant = Arc::from(tenant);
        let sent = Sent {
            path: "/v1/embeddings",
            body: request.as_bytes(),
        };
        let keys = stored_keys(sent, &tenant, &Arc::default(), &Arc::new(models())).unwrap();
        for key in keys {
            assert!(marks.iter().any(|mark| mark.subject == Subject::Key(key)));
        }
    };
    check("", "default");
    check(", \"tenant\": \"acme\"", "acme");
}

#[test]
fn what_cannot_be_found_is_said() {
    let request = "{\"model\": \"m\", \"input\": \"a\"}";
    let check = |world: &Memory, request: &str, status: u16, part: &str| {
        let seen = purge(world, request, "");
        assert_eq!(seen.status, status, "{}", seen.text);
        assert!(seen.text.contains(part), "{}", seen.text);
        assert_eq!(world.value(STORE_KEY), None);
    };
    check(&Memory::default(), request, 409, "/v1/models");
    check(
        &world(),
        "{\"model\": \"other\", \"input\": \"a\"}",
        422,
        "request.body.model",
    );
    check(
        &world(),
        "{\"model\": \"m\", \"input\": 1}",
        422,
        "request.body.input",
    );
    check(&world(), "[]", 422, "request.body");
    let nothing = world();
    let policy = b"version = 1\n[[rule]]\nname = \"a\"\nstore = false\nreason = \"test\"\n";
    at_once(ask(&nothing, "PUT /admin/policy", policy));
    check(&nothing, request, 422, "stores nothing");
}

#[test]
fn a_request_is_purged_in_whichever_form_it_came() {
    let check = |path: &str, body: &str, status: u16| {
        let body = format!("{{\"request\": {{\"path\": \"{path}\", \"body\": {body}}}}}");
        let world = world();
        let seen = at_once(ask(&world, "POST /admin/purge", body.as_bytes()));
        assert_eq!(seen.status, status, "{}", seen.text);
        world.value(STORE_KEY)
    };
    let one = |path: &str, body: &str| {
        let marks = Marks::decode(&check(path, body, 200).unwrap()).unwrap();
        let mut subjects = marks.iter().map(|mark| mark.subject.clone());
        (subjects.next().unwrap(), subjects.count())
    };
    let openai = one("/v1/embeddings", "{\"model\": \"m\", \"input\": \"a\"}");
    assert_eq!(openai.1, 0);
    let tei = one("/embed", "{\"model\": \"m\", \"inputs\": \"a\"}");
    let tensors = "{\"inputs\": [{\"name\": \"text\", \"shape\": [1], \"datatype\": \"BYTES\", \"data\": [\"a\"]}]}";
    let infer = one("/v2/models/m/infer", tensors);
    assert_eq!((&tei, &infer), (&openai, &openai));
    check("/embed", "{\"inputs\": \"a\"}", 422);
    check("/v1/classify", "{\"model\": \"m\", \"input\": \"a\"}", 422);
    check("/tokenize", "{\"inputs\": \"a\"}", 422);
}
