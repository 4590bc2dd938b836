//! The policy as a whole.

mod aliases;
mod decisions;
mod file;
mod origin_files;
mod origins;
mod stored;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use limits::{MAX_FRESH, MAX_STALE_IF_ERROR, MAX_STALE_WHILE_REVALIDATE, NEGATIVE};

/// A request for an embedding.
fn facts<'a>() -> RequestFacts<'a> {
    RequestFacts {
        method: "POST",
        route: "/v1/embeddings",
        tenant: "acme",
        model: "m",
        task: "embed",
        sampling: Sampling::default(),
    }
}

fn patterns(texts: &[impl AsRef<str>]) -> Patterns {
    let pattern = |text: &_| Pattern::new(AsRef::as_ref(text)).unwrap();
    Patterns(texts.iter().map(pattern).collect())
}

/// Conditions over few names, so that rules and requests often meet.
fn condition(names: &'static str) -> impl Strategy<Value = Patterns> {
    prop_oneof![
        2 => Just(Patterns::default()),
        1 => prop::collection::vec(names, 1..3).prop_map(|texts| patterns(&texts)),
    ]
}

fn lifetimes() -> impl Strategy<Value = Lifetimes> {
    let seconds =
        |most: Duration| prop_oneof![0u64..20, 0..=most.as_secs()].prop_map(Duration::from_secs);
    let (swr, sie) = (MAX_STALE_WHILE_REVALIDATE, MAX_STALE_IF_ERROR);
    (seconds(MAX_FRESH), seconds(swr), seconds(sie))
        .prop_filter("usable at some age", |(fresh, swr, sie)| {
            !(*fresh + *swr + *sie).is_zero()
        })
        .prop_map(
            |(fresh, stale_while_revalidate, stale_if_error)| Lifetimes {
                fresh,
                stale_while_revalidate,
                stale_if_error,
            },
        )
}

prop_compose! {
    fn matching()(
        task in condition("embed|complete|c\\*"),
        route in condition("/[ab]|/a?\\*"),
        method in condition("GET|POST|\\*"),
        model in condition("[mn]|m\\*"),
        tenant in condition("[tu]"),
    ) -> Matching {
        Matching { task, route, method, model, tenant }
    }
}

prop_compose! {
    fn storing()(
        lifetimes in lifetimes(),
        sharing in prop_oneof![Just(Sharing::Tenant), Just(Sharing::Public)],
        key_fields in prop_oneof![
            Just(KeyFields::All),
            prop::collection::btree_set("[a-z]{1,4}", 0..3).prop_map(|names| KeyFields::Only(names.into_iter().collect())),
        ],
        (trim, collapse_white_space, nfc, lower_case) in any::<(bool, bool, bool, bool)>(),
        max_entry_bytes in 1u32..=1_000_000,
        deterministic in prop_oneof![
            Just(Deterministic::ByTask), Just(Deterministic::Always), Just(Deterministic::TemperatureZeroOrSeed),
        ],
        negative in prop::sample::subsequence(NEGATIVE.to_vec(), 0..3),
        surrogate_keys in prop::collection::vec("[a-z:]{1,4}(\\{model\\}|\\{tenant\\}|)", 0..3),
    ) -> Storing {
        Storing {
            lifetimes, sharing, key_fields, max_entry_bytes, deterministic,
            normalise: Normalise { trim, collapse_white_space, nfc, lower_case },
            negative: negative.into_iter().map(|(status, fresh)| Negative { status, fresh }).collect(),
            surrogate_keys: surrogate_keys.iter().map(|text| SurrogateTemplate::new(text).unwrap()).collect(),
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => storing().prop_map(|storing| Action::Store(Box::new(storing))),
        1 => "[a-z][a-z ]{0,9}".prop_map(|reason| Action::Bypass { reason }),
    ]
}

fn json_route(path: String) -> impl Strategy<Value = JsonRoute> {
    let items = prop_oneof![
        Just(None),
        Just(Some(ItemFormat::OpenAi)),
        Just(Some(ItemFormat::Tei))
    ];
    (prop::sample::select(&JSON_TASKS), items).prop_map(move |(task, items)| JsonRoute {
        path: path.clone(),
        task: task.to_owned(),
        items: items.filter(|_| task == "embed"),
    })
}

/// An origin per prefix, over so few prefixes that one is often the beginning of another.
fn origin(path: String) -> impl Strategy<Value = Origin> {
    // No prefix has a "j", so that none hides a route.
    let routes = prop::collection::btree_set("j[ab]{0,2}/?", 0..3);
    let routes =
        routes.prop_flat_map(|paths| paths.into_iter().map(json_route).collect::<Vec<_>>());
    let upstream = "https?://(h|\\[::1\\]|127\\.0\\.0\\.1)(:80)?/(u/)?";
    (upstream, 1u64..=600, routes).prop_map(move |(upstream, seconds, json)| Origin {
        name: format!("o{}", path.replace('/', "-")),
        path: path.clone(),
        upstream,
        timeout: Duration::from_secs(seconds),
        json,
    })
}

fn origins() -> impl Strategy<Value = Vec<Origin>> {
    let paths = prop::collection::btree_set("/([ab]/){0,3}", 0..5);
    paths.prop_flat_map(|paths| paths.into_iter().map(origin).collect::<Vec<_>>())
}

/// Aliases and models have different first letters, so that none is the other.
fn aliases() -> impl Strategy<Value = Vec<Alias>> {
    let pairs = prop::collection::hash_map("a[a-cé]{0,3}", "m[a-c]{0,3}", 0..5);
    pairs.prop_map(|pairs| {
        let alias = |(name, model)| Alias { name, model };
        pairs.into_iter().map(alias).collect()
    })
}

/// Any policy of up to seven rules.
fn policy() -> impl Strategy<Value = Policy> {
    let rules = prop::collection::vec((matching(), action()), 1..8);
    ("[a-z]{1,8}", rules, origins(), aliases()).prop_map(|(name, rules, origins, aliases)| {
        let rules = rules.into_iter().enumerate();
        let rule = |(index, (matching, action))| Rule {
            name: format!("rule-{index}"),
            matching,
            action,
        };
        let rules = rules.map(rule).collect();
        Policy::with(PolicyParts {
            name,
            rules,
            origins,
            aliases,
        })
        .unwrap()
    })
}
