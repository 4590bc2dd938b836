//! `/admin/purge`.

use std::time::Duration;

use brink_admin::purge::MAX_ATTEMPTS;
use brink_cache::purge::{LONGEST_LIFETIME, MAX_MARKS, MAX_NAME_BYTES, Mode, STORE_KEY, Subject};
use brink_cache::{Mark, Marks, UnixSeconds};

use crate::world::{Memory, NOW, Seen, ask, at_once, in_turns};

fn purge(world: &Memory, body: &str) -> Seen {
    at_once(ask(world, "POST /admin/purge", body.as_bytes()))
}

fn stored(world: &Memory) -> Marks {
    Marks::decode(&world.value(STORE_KEY).unwrap()).unwrap()
}

fn mark(subject: Subject, at: u64) -> Mark {
    Mark {
        subject,
        at: UnixSeconds(at),
        mode: Mode::Soft,
    }
}

fn model(name: &str) -> Subject {
    Subject::Model(name.to_owned())
}

/// The document with one more mark.
fn with(bytes: Option<Vec<u8>>, mark: &Mark) -> Vec<u8> {
    let mut marks = bytes.map_or_else(Marks::default, |bytes| Marks::decode(&bytes).unwrap());
    marks.add(mark, NOW, LONGEST_LIFETIME).unwrap();
    marks.encode()
}

#[test]
fn marks_are_stored_and_listed() {
    let world = Memory::default();
    let seen = purge(&world, "{\"model\": \"m\"}");
    assert_eq!(seen.status, 200, "{}", seen.text);
    assert_eq!(seen.json["mark_count"], 1);
    let added = &seen.json["added"][0];
    assert_eq!(
        (&added["model"], &added["mode"]),
        (&"m".into(), &"soft".into())
    );
    assert_eq!(
        (&added["at"], &added["time"]),
        (&NOW.0.into(), &"2027-01-15T08:00:00Z".into())
    );
    let seen = purge(&world, "{\"surrogate_key\": \"a b\", \"mode\": \"hard\"}");
    assert_eq!(seen.json["mark_count"], 2);
    assert_eq!(stored(&world).len(), 2);

    let list = at_once(ask(&world, "GET /admin/purge", b""));
    assert_eq!(list.json["mark_count"], 2);
    assert_eq!(list.json["marks"][0]["surrogate_key"], "a b");
    assert_eq!(list.json["marks"][1]["model"], "m");
}

#[test]
fn a_mark_that_says_less_than_another_is_shown_as_what_is_stored() {
    let world = Memory::default();
    purge(&world, "{\"model\": \"m\", \"mode\": \"hard\"}");
    let seen = purge(&world, "{\"model\": \"m\"}");
    assert_eq!(seen.json["added"][0]["mode"], "hard");
    assert_eq!(seen.json["mark_count"], 1);
}

#[test]
fn names_and_numbers_of_marks_are_limited() {
    let world = Memory::default();
    for name in [String::new(), "x".repeat(MAX_NAME_BYTES + 1)] {
        let seen = purge(&world, &format!("{{\"tenant\": \"{name}\"}}"));
        assert_eq!(seen.status, 422);
        assert_eq!(seen.json["errors"][0]["limit"], MAX_NAME_BYTES);
        assert_eq!(seen.json["errors"][0]["value"], name.len());
    }
    let mut marks = Marks::default();
    for number in 0..MAX_MARKS {
        let mark = mark(model(&number.to_string()), NOW.0);
        marks.add(&mark, NOW, LONGEST_LIFETIME).unwrap();
    }
    world.put(STORE_KEY, marks.encode());
    let before = world.values.borrow().clone();
    let seen = purge(&world, "{\"model\": \"m\"}");
    assert_eq!(seen.status, 409);
    assert_eq!(*world.values.borrow(), before, "not even a record");
    let seen = purge(&world, "{\"all\": true, \"mode\": \"hard\"}");
    assert_eq!((seen.status, &seen.json["mark_count"]), (200, &1.into()));
}

#[test]
fn a_document_that_cannot_be_read_is_never_overwritten() {
    let world = Memory::default();
    world.put(STORE_KEY, "something else");
    for head in ["GET /admin/purge", "POST /admin/purge"] {
        let seen = at_once(ask(&world, head, b"{\"all\": true}"));
        assert_eq!(seen.status, 500);
        assert!(seen.text.contains(STORE_KEY), "{}", seen.text);
    }
    assert_eq!(world.value(STORE_KEY).unwrap(), b"something else");
}

#[test]
fn a_mark_that_another_writer_overwrote_is_added_again() {
    let world = Memory::default();
    world.put(STORE_KEY, with(None, &mark(model("old"), NOW.0 - 60)));
    // The other one has read the same document, and writes just after us: before we write the record's end.
    let others = with(world.value(STORE_KEY), &mark(model("theirs"), NOW.0));
    world.before_set(STORE_KEY, move |world| {
        let late = others.clone();
        world.before_set("brink/audit/1/0", move |world| world.put(STORE_KEY, late));
    });
    let seen = purge(&world, "{\"model\": \"ours\"}");
    assert_eq!((seen.status, &seen.json["mark_count"]), (200, &3.into()));
    let stored = stored(&world);
    for name in ["old", "theirs", "ours"] {
        assert!(
            stored.iter().any(|mark| mark.subject == model(name)),
            "{name}"
        );
    }
}

#[test]
fn writers_that_go_step_by_step_together_all_leave_their_marks() {
    let world = Memory::default();
    world.is_slow.set(true);
    let bodies: Vec<String> = (0..4)
        .map(|one| format!("{{\"model\": \"m{one}\"}}"))
        .collect();
    let purges = bodies.iter().map(|body| {
        let asked = ask(&world, "POST /admin/purge", body.as_bytes());
        Box::pin(asked) as std::pin::Pin<Box<dyn Future<Output = Seen>>>
    });
    for seen in in_turns(purges.collect()) {
        assert_eq!(seen.status, 200, "{}", seen.text);
    }
    assert_eq!(stored(&world).len(), 4);
    world.is_slow.set(false);
    let audit = at_once(ask(&world, "GET /admin/audit", b""));
    let records = audit.json["records"].as_array().unwrap();
    assert_eq!(records.len(), 4, "{}", audit.text);
    assert!(records.iter().all(|record| record["outcome"] == "done"));
}

/// Another writer that undoes so many sets at once.
fn contend(world: &Memory, times: usize) {
    if times > 0 {
        world.before_set(STORE_KEY, move |world| {
            world.lose_next_set.set(true);
            contend(world, times - 1);
        });
    }
}

#[test]
fn a_purge_that_loses_every_time_says_so() {
    let world = Memory::default();
    contend(&world, MAX_ATTEMPTS);
    let seen = purge(&world, "{\"model\": \"m\"}");
    assert_eq!(seen.status, 503, "{}", seen.text);
    assert_eq!(seen.header("retry-after"), Some("1"));
    let audit = at_once(ask(&world, "GET /admin/audit", b""));
    assert_eq!(audit.json["records"][0]["outcome"], "failed");

    let world = Memory::default();
    contend(&world, MAX_ATTEMPTS - 1);
    assert_eq!(purge(&world, "{\"model\": \"m\"}").status, 200);
    assert_eq!(stored(&world).len(), 1);
}

#[test]
fn many_soft_purges_of_one_thing_stay_few_marks() {
    let world = Memory::default();
    let mut bytes = None;
    for minute in (1..=10).rev() {
        let at = NOW.0 - Duration::from_secs(60 * minute).as_secs();
        bytes = Some(with(bytes, &mark(model("m"), at)));
    }
    world.put(STORE_KEY, bytes.unwrap());
    let seen = purge(&world, "{\"model\": \"m\"}");
    assert_eq!((seen.status, &seen.json["mark_count"]), (200, &5.into()));
}
