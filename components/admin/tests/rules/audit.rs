//! The record of changes.

use std::pin::Pin;

use brink_admin::audit::{KEPT, Outcome, Record, slot_key};
use brink_cache::{policy, purge};

use crate::world::{KEY, Memory, NOW, Seen, ask, at_once, in_turns};

const POLICY: &[u8] = b"version = 1\n[[rule]]\nname = \"a\"\nfresh = \"1m\"\n";

fn change(world: &Memory, name: &str) -> Seen {
    let body = format!("{{\"model\": \"{name}\"}}");
    at_once(ask(world, "POST /admin/purge", body.as_bytes()))
}

fn audit(world: &Memory, query: &str) -> Vec<serde_json::Value> {
    let seen = at_once(ask(world, &format!("GET /admin/audit{query}"), b""));
    assert_eq!(seen.status, 200, "{}", seen.text);
    seen.json["records"].as_array().unwrap().clone()
}

#[test]
fn every_change_is_recorded_and_nothing_else() {
    let world = Memory::default();
    assert!(audit(&world, "").is_empty());
    at_once(ask(&world, "PUT /admin/policy", POLICY));
    at_once(ask(&world, "PUT /admin/policy?dry-run=true", POLICY));
    at_once(ask(&world, "PUT /admin/policy", b"wrong"));
    at_once(ask(&world, "GET /admin/policy", b""));
    at_once(ask(&world, "DELETE /admin/tenants", b""));
    change(&world, "m\nx");
    let records = audit(&world, "");
    let what: Vec<_> = records
        .iter()
        .map(|record| record["what"].as_str().unwrap())
        .collect();
    assert_eq!(what.len(), 2, "the body with a line feed is no JSON");
    assert_eq!(what[0], "tenants (none) deleted");
    assert!(what[1].starts_with("policy \"default\" "), "{what:?}");
    let newest = &records[0];
    assert_eq!(newest["who"], "ana");
    assert_eq!(newest["at"], NOW.0);
    assert_eq!(newest["time"], "2027-01-15T08:00:00Z");
    assert_eq!(newest["request_id"], "req-1");
    assert_eq!(newest["outcome"], "done");
    let log = world.log.borrow();
    assert_eq!(log.len(), 2);
    assert!(
        log.iter()
            .all(|line| !line.contains(KEY) && !line.contains('\n'))
    );
}

#[test]
fn the_newest_thousand_are_kept() {
    let world = Memory::default();
    for number in 0..KEPT + 30 {
        let seen = at_once(ask(&world, "DELETE /admin/tenants", b""));
        assert_eq!(seen.status, 200, "{number}");
    }
    let slots = world.values.borrow();
    let slots = slots.keys().filter(|key| key.starts_with("brink/audit/"));
    assert_eq!(slots.count() as u64, KEPT + 1);
    let records = audit(&world, "?limit=1000");
    assert_eq!(records.len() as u64, KEPT);
    for (index, record) in records.iter().enumerate() {
        let number = KEPT + 29 - index as u64;
        assert_eq!(record["sequence"], number);
    }
    assert_eq!(audit(&world, "").len(), 100);
    assert_eq!(audit(&world, "?limit=1")[0]["sequence"], KEPT + 29);
    for wrong in ["?limit=0", "?limit=1001", "?limit=x", "?max=1"] {
        let head = format!("GET /admin/audit{wrong}");
        assert_eq!(at_once(ask(&world, &head, b"")).status, 400, "{wrong}");
    }
}

#[test]
fn a_change_that_cannot_be_recorded_is_not_made() {
    let world = Memory::default();
    *world.broken.borrow_mut() = Some("brink/audit");
    let seen = at_once(ask(&world, "PUT /admin/policy", POLICY));
    assert_eq!(seen.status, 503);
    assert_eq!(change(&world, "m").status, 503);
    assert!(world.values.borrow().is_empty());
}

#[test]
fn a_change_that_fails_is_recorded_as_that() {
    let world = Memory::default();
    for (broken, head, body) in [
        (policy::STORE_KEY, "PUT /admin/policy", POLICY),
        (purge::STORE_KEY, "POST /admin/purge", b"{\"all\": true}"),
    ] {
        *world.broken.borrow_mut() = Some(broken);
        let seen = at_once(ask(&world, head, body));
        assert_eq!(seen.status, 503);
        assert!(seen.text.contains("it is full"), "{}", seen.text);
        assert_eq!(audit(&world, "?limit=1")[0]["outcome"], "failed");
    }
}

#[test]
fn writers_that_race_leave_all_their_records() {
    let world = Memory::default();
    change(&world, "first");
    world.is_slow.set(true);
    let ask_for = |tenant: usize| {
        let body = format!("{{\"tenant\": \"t{tenant}\"}}");
        let world = &world;
        let asked = async move { ask(world, "POST /admin/purge", body.as_bytes()).await };
        Box::pin(asked) as Pin<Box<dyn Future<Output = Seen>>>
    };
    in_turns((0..6).map(ask_for).collect());
    world.is_slow.set(false);
    let records = audit(&world, "");
    assert_eq!(records.len(), 7);
    let mut sequences: Vec<_> = records.iter().map(|one| one["sequence"].as_u64()).collect();
    sequences.dedup();
    assert_eq!(sequences.len(), 7);
    for tenant in 0..6 {
        let what = format!("soft purge of tenant \"t{tenant}\"");
        assert!(
            records.iter().any(|record| record["what"] == what),
            "{tenant}"
        );
    }
}

#[test]
fn a_record_that_another_writer_replaced_is_written_again() {
    let world = Memory::default();
    world.before_set(purge::STORE_KEY, |world| {
        let mut other = Record::decode(&world.value(&slot_key(0)).unwrap()).unwrap();
        other.nonce = 99;
        other.what = "the change of another".to_owned();
        other.outcome = Outcome::Done;
        world.put(&slot_key(0), other.encode());
    });
    change(&world, "m");
    let records = audit(&world, "");
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["what"], "soft purge of model \"m\"");
    assert_eq!(records[0]["outcome"], "done");
    assert_eq!(records[1]["what"], "the change of another");
}

#[test]
fn a_lost_or_lagging_head_loses_no_record() {
    let world = Memory::default();
    for number in 0..5 {
        change(&world, &format!("m{number}"));
    }
    for head in [
        None,
        Some("0"),
        Some("3"),
        Some("nonsense"),
        Some("18446744073709551615"),
    ] {
        match head {
            Some(head) => world.put("brink/audit/1/head", head),
            None => drop(world.values.borrow_mut().remove("brink/audit/1/head")),
        }
        assert_eq!(audit(&world, "").len(), 5, "{head:?}");
    }
    world.put("brink/audit/1/head", "2");
    change(&world, "m5");
    assert_eq!(audit(&world, "")[0]["sequence"], 5);
    assert_eq!(audit(&world, "").len(), 6);
    // What others wrote into a slot is no record, and is in nobody's way.
    world.put(&slot_key(6), "something else");
    assert_eq!(audit(&world, "").len(), 6);
    change(&world, "m6");
    assert_eq!(audit(&world, "").len(), 7);
}
