//! The documented file, and what is told about wrong ones.

use super::super::limits::{MAX_RULES, MAX_SOURCE_BYTES};
use super::super::{Alias, ItemFormat, Mistake, Policy, source};

const EXAMPLE: &str = include_str!("../../../policy.toml");

pub(super) fn mistakes(source: &str) -> Vec<String> {
    match Policy::parse(source) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.list.iter().map(Mistake::to_string).collect(),
    }
}

/// A file with one rule that stores, and these lines in it.
pub(super) fn with(lines: &str) -> String {
    format!("version = 1\n[[rule]]\nname = \"a\"\nfresh = \"1h\"\n{lines}")
}

#[test]
fn example_is_the_default_policy() {
    assert_eq!(Policy::parse(EXAMPLE), Ok(Policy::default()));
}

#[test]
fn example_documents_every_key() {
    let keys = source::RULE_KEYS.iter().map(|key| (*key).to_owned());
    let conditions = source::MATCH_KEYS.iter().map(|key| format!("match.{key}"));
    let given = |key: &str| {
        EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{key} = "))
        })
    };
    for key in keys.filter(|key| key != "match").chain(conditions) {
        assert!(given(&key), "{key} is not in cache/policy.toml");
    }
}

#[test]
fn commented_examples_are_right_too() {
    for example in [
        "key_fields = [\"max_tokens\", \"temperature\", \"seed\"]",
        "negative = { 400 = \"1m\", 404 = \"10s\", 500 = \"5s\" }",
        "surrogate_keys = [\"model:{model}\", \"team-search\"]",
        "match.model = [\"all-MiniLM-L6-v2\", \"text-*\"]",
    ] {
        assert!(EXAMPLE.contains(&format!("\n# {example}\n")), "{example}");
        assert_eq!(mistakes(&with(example)), [""; 0], "{example}");
    }
}

#[test]
fn commented_origin_and_alias_are_right_and_complete() {
    let (_, commented) = EXAMPLE.split_once("# [[origin]]").unwrap();
    let is_setting = |line: &&str| line.starts_with("[[") || line.contains(" = ");
    let lines = commented.lines().filter_map(|line| line.strip_prefix("# "));
    let lines: Vec<_> = lines.filter(is_setting).collect();
    let settings = format!("[[origin]]\n{}", lines.join("\n"));
    for key in [
        &source::ORIGIN_KEYS[..4],
        &source::JSON_KEYS,
        &source::ALIAS_KEYS,
    ]
    .concat()
    {
        assert!(settings.contains(&format!("\n{key} = ")), "{key}");
    }

    let policy = Policy::parse(&with(&settings)).unwrap();
    let to = policy
        .route_to_origin("/search/v1/embeddings")
        .unwrap()
        .unwrap();
    assert_eq!(to.url(None), "http://127.0.0.1:8080/v1/embeddings");
    assert_eq!(to.json.unwrap().items, Some(ItemFormat::OpenAi));
    let alias = Alias {
        name: "embed-default".to_owned(),
        model: "all-MiniLM-L6-v2".to_owned(),
    };
    assert_eq!(policy.aliases(), [alias]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let source = r#"version = 2
nam = "x"
name = "two words"

[[rule]]
name = "embeddings"
match.task = ["embed", "embedding"]
match.method = "post"
match.model = []
match.host = "x"
fresh = "400d"
stale_while_revalidate = "31d"
stale_if_error = 5
scope = "everyone"
key_fields = "al"
normalise = ["trim", "upper-case"]
max_entry_bytes = 0
deterministic = true
negative = { 429 = "5s", 404 = "6m", x = "1s" }
surrogate_keys = ["{modell}"]
reason = "x"

[[rule]]
store = false
fresh = "1h"
"#;
    let expected = [
        "line 1: version: is 2; 1 is wanted",
        "line 2: nam: is no known key here; there are version, name, rule, origin, alias",
        "line 3: name: is \"two words\"; 1 to 64 letters, digits, \"-\", \"_\" or \".\" are wanted",
        "line 7: rule 1 \"embeddings\": match.task: \"embedding\" matches no task; there are [\"embed\", \"classify\", \"complete\", \"generic\", \"origin\"]",
        "line 8: rule 1 \"embeddings\": match.method: \"post\" is no method; they are upper-case, such as \"POST\"",
        "line 9: rule 1 \"embeddings\": match.model: is empty; leave it out to match everything",
        "line 10: rule 1 \"embeddings\": match.host: is no known key here; there are route, model, task, tenant, method",
        "line 11: rule 1 \"embeddings\": fresh: is \"400d\"; \"0s\" to \"365d\" is allowed",
        "line 12: rule 1 \"embeddings\": stale_while_revalidate: is \"31d\"; \"0s\" to \"30d\" is allowed",
        "line 13: rule 1 \"embeddings\": stale_if_error: is 5; a whole number and a unit (s, m, h or d), such as \"30s\" is wanted",
        "line 14: rule 1 \"embeddings\": scope: is \"everyone\"; one of \"tenant\", \"public\" is wanted",
        "line 15: rule 1 \"embeddings\": key_fields: is \"al\"; \"all\" or a list of names is wanted",
        "line 16: rule 1 \"embeddings\": normalise: has \"upper-case\"; wanted: one of [\"trim\", \"collapse-white-space\", \"nfc\", \"lower-case\"]",
        "line 17: rule 1 \"embeddings\": max_entry_bytes: is 0; a whole number from 1 to 1000000 is wanted",
        "line 18: rule 1 \"embeddings\": deterministic: is true; one of \"by-task\", \"always\", \"temperature-zero-or-seed\" is wanted",
        "line 19: rule 1 \"embeddings\": negative.x: is no HTTP status",
        "line 19: rule 1 \"embeddings\": negative.404: is \"6m\"; \"1s\" to \"5m\" is allowed",
        "line 19: rule 1 \"embeddings\": negative.429: is no status whose error may be kept; [400, 404, 413, 422, 500] are",
        "line 20: rule 1 \"embeddings\": surrogate_keys: has \"{modell}\"; wanted: 1 to 128 visible ASCII characters without comma and %, with no placeholders but {model}, {tenant}, {route}, {task} and {digest}",
        "line 21: rule 1 \"embeddings\": reason: has no effect, because store is true",
        "line 23: rule 2 \"\": name: is missing; a name for logs and metrics is wanted",
        "line 23: rule 2 \"rule-2\": reason: is missing; a sentence for people: why nothing is stored is wanted",
        "line 25: rule 2 \"rule-2\": fresh: has no effect, because store is false",
    ];
    assert_eq!(mistakes(source), expected);
}

#[test]
fn single_mistakes_are_named() {
    let check = |source: &str, expected: &str| {
        let found = mistakes(source);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    };
    check("version = 1", "rule: has 0 rules; 1 to 256 are wanted");
    check(
        "version = 1\nrule = 5",
        "rule: is 5; a table [[rule]] per rule is wanted",
    );
    check(&with("negative = 5"), "negative: is 5; a table is wanted");
    check(
        &with("store = \"yes\""),
        "store: is \"yes\"; true or false is wanted",
    );
    check(
        &with("normalise = [1]"),
        "normalise: is a list of 1; a text or a list of texts is wanted",
    );
    check(
        &with("match.tenant = \"a*b\""),
        "match.tenant: has \"a*b\"; wanted: 1 to 256 bytes",
    );
    check(
        &with("key_fields = [\"a\", \"a\"]"),
        "key_fields: names \"a\" twice",
    );
    check(
        &with("key_fields = [\"\"]"),
        "key_fields: \"\" is no name of a request field",
    );
    check(
        &with("fresh = \"0s\"").replace("fresh = \"1h\"\n", ""),
        "fresh: is \"0s\" as both stale windows are",
    );
    check(
        &with("[[rule]]\nname = \"a\"\nfresh = \"1s\"").replace(
            "name = \"a\"\nfresh = \"1h\"",
            "name = \"a\"\nfresh = \"1h\"\nmatch.task = \"embed\"",
        ),
        "line 7: rule 2 \"a\": name: is \"a\", as in an earlier rule",
    );
    check(
        &with("[[rule]]\nname = \"b\"\nmatch.task = \"embed\"\nfresh = \"1s\""),
        "rule 2 \"b\": match: is never reached: rule 1 \"a\" matches every such request first",
    );
    check(
        &with(&format!(
            "[[rule]]\nname = \"b\"\nstore = false\nreason = {:?}",
            "x".repeat(257)
        )),
        "reason: is \"xxx",
    );
}

#[test]
fn one_wrong_element_does_not_hide_another() {
    let found = mistakes(&with("match.task = [\"a*b\", \"embedding\"]"));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn broken_syntax_is_told_with_its_lines() {
    let found = mistakes("version = 1\nname = \n[[rule]\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("line 2: "), "{found:?}");
    let twice = mistakes("version = 1\nversion = 1\n");
    assert!(twice[0].starts_with("line 2: duplicate key"), "{twice:?}");
}

#[test]
fn excess_is_refused() {
    let comment = format!("#{}\n", "x".repeat(MAX_SOURCE_BYTES));
    assert!(mistakes(&comment)[0].contains("at most 262144 are read"));

    let rule = |index| {
        format!("[[rule]]\nname = \"r{index}\"\nmatch.tenant = \"t{index}\"\nfresh = \"1s\"\n")
    };
    let rules = |count| format!("version = 1\n{}", (0..count).map(rule).collect::<String>());
    assert!(Policy::parse(&rules(MAX_RULES)).is_ok());
    assert!(
        mistakes(&rules(MAX_RULES + 1))[0].contains("rule: has 257 rules; 1 to 256 are wanted")
    );

    let list = |count: usize| {
        let texts: Vec<_> = (0..count).map(|index| format!("\"x{index}\"")).collect();
        format!("[{}]", texts.join(", "))
    };
    let many = with(&format!(
        "match.tenant = {}\nsurrogate_keys = {}\nkey_fields = {}",
        list(65),
        list(17),
        list(65)
    ));
    assert_eq!(mistakes(&many).len(), 3, "{:?}", mistakes(&many));

    let too_deep = format!("version = 1\na = {}", "[".repeat(100_000));
    assert!(!mistakes(&too_deep).is_empty());
    let too_deep = format!("version = 1\n{}a = 1", "a.".repeat(100_000));
    assert!(!mistakes(&too_deep).is_empty());
}
