//! Names that clients write for models.

use proptest::prelude::*;

use super::super::*;
use super::file::{mistakes, with};

fn alias(name: &str, model: &str) -> String {
    format!("[[alias]]\nname = {name:?}\nmodel = {model:?}\n")
}

#[test]
fn alias_stands_for_its_model() {
    let tables = [("fast", "small"), ("best", "large"), ("x y", "large")];
    let tables = tables.map(|(name, model)| alias(name, model)).concat();
    let policy = Policy::parse(&with(&tables)).unwrap();
    let check = |name: &str, expected: &str| assert_eq!(policy.model_of(name), expected);
    check("fast", "small");
    check("best", "large");
    check("x y", "large");
    check("large", "large");
    check("Fast", "Fast");
    check("", "");
    assert_eq!(Policy::default().model_of("fast"), "fast");
}

#[test]
fn order_of_aliases_has_no_meaning() {
    let (a, b) = (alias("a", "m"), alias("b", "n"));
    let one = Policy::parse(&with(&[&*a, &b].concat())).unwrap();
    let other = Policy::parse(&with(&[b, a].concat())).unwrap();
    assert_eq!(one, other);
    assert_eq!(one.version(), other.version());
}

#[test]
fn mistakes_in_aliases_are_named() {
    let check = |tables: &str, expected: &[&str]| {
        assert_eq!(mistakes(&with(tables)), expected, "{tables}");
    };
    let good = alias("a", "m");
    check(&good, &[]);
    check(
        &[&*good, &alias("a", "n")].concat(),
        &["line 9: alias 2 \"a\": name: is \"a\", as of an earlier alias"],
    );
    check(
        &[&*good, &alias("b", "a")].concat(),
        &["line 6: alias 1 \"a\": name: is \"a\", the model of alias 2; none may be an alias"],
    );
    check(
        &alias("a", "a"),
        &["line 6: alias 1 \"a\": name: is \"a\", the model of alias 1; none may be an alias"],
    );
    check(
        &alias("a*", "\n"),
        &[
            "line 6: alias 1 \"a*\": name: is \"a*\"; 1 to 256 bytes without * and control characters are wanted",
            "line 7: alias 1 \"a*\": model: is \"\\n\"; 1 to 256 bytes without * and control characters are wanted",
        ],
    );
    check(
        "[[alias]]\nnames = \"x\"\n",
        &[
            "line 5: alias 1 \"\": name: is missing; the name that clients write is wanted",
            "line 5: alias 1 \"\": model: is missing; the name of a model is wanted",
            "line 6: alias 1 \"\": names: is no known key here; there are name, model",
        ],
    );
    let number = with("").replace("[[rule]]", "alias = 5\n[[rule]]");
    assert_eq!(
        mistakes(&number),
        ["line 2: alias: is 5; a table [[alias]] per alias is wanted"]
    );
}

#[test]
fn as_many_aliases_as_allowed_are_read() {
    let many = |count: usize| -> String {
        (0..count)
            .map(|index| alias(&format!("a{index}"), "m"))
            .collect()
    };
    assert_eq!(mistakes(&with(&many(256))), [""; 0]);
    assert_eq!(
        mistakes(&with(&many(257))),
        ["line 5: alias: has 257 aliases; at most 256 are allowed"]
    );
    let long = |length| mistakes(&with(&alias(&"a".repeat(length), "m"))).len();
    assert_eq!((long(256), long(257)), (0, 1));
}

proptest! {
    /// One step is the last, and only names of the table mean something else.
    #[test]
    fn aliases_are_resolved_at_once(aliases in super::aliases(), name in "[am][a-c]{0,3}") {
        let rules = Policy::default().rules().to_vec();
        let policy = Policy::with(PolicyParts { name: "x".to_owned(), rules, aliases: aliases.clone(), ..PolicyParts::default() }).unwrap();
        let named = aliases.iter().find(|alias| alias.name == name);
        let model = policy.model_of(&name);
        prop_assert_eq!(model, named.map_or(&*name, |alias| &*alias.model));
        prop_assert_eq!(policy.model_of(model), model);
    }
}
