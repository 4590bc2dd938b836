//! `/admin/tenants`.

use brink_cache::Tenants;
use brink_cache::tenant::{STORE_KEY, hash_api_key};

use crate::world::{Memory, Seen, ask, at_once};

fn table() -> String {
    let hash = |key: &str| hash_api_key(key).unwrap().to_string();
    format!(
        "version = 1\n[[tenant]]\nname = \"acme\"\nkey_hashes = [\"{}\", \"{}\"]\nrequests_per_second = 5\nmax_concurrent = 9\n\
         [[tenant]]\nname = \"other\"\nkey_hashes = []\n",
        hash("sk-acme-0123456789abcdef"),
        hash("sk-acme-fedcba9876543210"),
    )
}

fn send(world: &Memory, head: &str, body: &str) -> Seen {
    let seen = at_once(ask(world, head, body.as_bytes()));
    for key in ["sk-acme-0123456789abcdef", "sk-acme-fedcba9876543210"] {
        let hash = hash_api_key(key).unwrap().to_string();
        assert!(!seen.text.contains(&hash) && !seen.text.contains(key));
        let log = world.log.borrow().join("\n");
        assert!(!log.contains(&hash) && !log.contains(key));
    }
    seen
}

#[test]
fn a_table_is_put_in_force_and_shown_without_hashes() {
    let world = Memory::default();
    let none = send(&world, "GET /admin/tenants", "");
    assert_eq!((none.status, &none.json["source"]), (200, &"none".into()));

    let put = send(&world, "PUT /admin/tenants", &table());
    assert_eq!(put.status, 200, "{}", put.text);
    let stored = world.value(STORE_KEY).unwrap();
    assert_eq!(
        Tenants::decode(&stored),
        Tenants::parse(&table()).map_err(|_| unreachable!())
    );

    let seen = send(&world, "GET /admin/tenants", "");
    assert_eq!(seen.json["source"], "stored");
    assert_eq!(seen.json["tenant_count"], 2);
    let acme = &seen.json["tenants"][0];
    assert_eq!((&acme["name"], &acme["keys"]), (&"acme".into(), &2.into()));
    assert_eq!(acme["limits"]["requests_per_second"], 5);
    assert_eq!(acme["limits"]["burst"], 5);
    assert_eq!(acme["limits"]["max_concurrent"], 9);
    assert!(acme["limits"]["model_ms_per_minute"].is_null());
    assert_eq!(seen.json["tenants"][1]["keys"], 0);
    assert_eq!(seen.header("etag"), put.header("etag"));

    assert_eq!(send(&world, "DELETE /admin/tenants", "").status, 200);
    assert_eq!(world.value(STORE_KEY), None);
}

#[test]
fn mistakes_name_tenant_key_and_line_and_repeat_no_hash() {
    let world = Memory::default();
    let body = table()
        .replace("name = \"other\"", "name = \"acme\"")
        .replace("max_concurrent = 9", "max_concurrent = 0")
        .replace("[\"", "[\"sk-acme-0123456789abcdef\", \"");
    let seen = send(&world, "PUT /admin/tenants", &body);
    assert_eq!(seen.status, 422);
    let errors = seen.json["errors"].as_array().unwrap();
    let fields: Vec<_> = errors
        .iter()
        .map(|error| {
            (
                error["tenant"].as_str().unwrap(),
                error["field"].as_str().unwrap(),
            )
        })
        .collect();
    for expected in [
        ("acme", "key_hashes"),
        ("acme", "max_concurrent"),
        ("acme", "name"),
    ] {
        assert!(fields.contains(&expected), "{fields:?}");
    }
    assert!(errors.iter().all(|error| error["line"].is_number()));
    assert!(world.values.borrow().is_empty());
}

#[test]
fn a_dry_run_and_a_failed_precondition_change_nothing() {
    let world = Memory::default();
    let dry = send(&world, "PUT /admin/tenants?dry-run=true", &table());
    assert_eq!((dry.status, &dry.json["dry_run"]), (200, &true.into()));
    let version = dry.json["version"].as_str().unwrap().to_owned();
    let any = "PUT /admin/tenants\nif-match: *";
    assert_eq!(send(&world, any, &table()).status, 412);
    assert!(world.values.borrow().is_empty());
    assert_eq!(send(&world, "PUT /admin/tenants", &table()).status, 200);
    let other = "DELETE /admin/tenants\nif-match: \"0000000000000000\"";
    assert_eq!(send(&world, other, "").status, 412);
    let same = format!("DELETE /admin/tenants\nif-match: \"{version}\"");
    assert_eq!(send(&world, &same, "").status, 200);
}

#[test]
fn a_stored_table_that_cannot_be_read_is_told_and_can_be_replaced() {
    let world = Memory::default();
    world.put(STORE_KEY, "something else");
    let seen = send(&world, "GET /admin/tenants", "");
    assert_eq!(seen.status, 500);
    assert!(seen.text.contains("DELETE"), "{}", seen.text);
    assert_eq!(send(&world, "PUT /admin/tenants", &table()).status, 200);
    world.put(STORE_KEY, "something else");
    assert_eq!(send(&world, "DELETE /admin/tenants", "").status, 200);
}
