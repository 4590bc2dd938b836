//! Which series and labels a query of Prometheus names: as much of the language as dashboards need.

use std::collections::BTreeSet;

/// What a query names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Series, each with the labels that are matched.
    pub(super) series: Vec<(String, BTreeSet<String>)>,
    /// Labels of `by (…)`.
    pub(super) grouped: BTreeSet<String>,
}

const FUNCTIONS: [&str; 14] = [
    "avg",
    "clamp_max",
    "clamp_min",
    "count",
    "histogram_quantile",
    "increase",
    "label_replace",
    "label_values",
    "max",
    "min",
    "rate",
    "sum",
    "topk",
    "vector",
];
const WORDS: [&str; 6] = ["and", "bool", "offset", "on", "or", "unless"];

/// Reads a query.
///
/// # Errors
/// What is not understood: a mistake, or more of the language than is needed so far.
pub(super) fn read(query: &str) -> Result<Named, String> {
    let tokens = tokens(query)?;
    let mut named = Named::default();
    let (mut at, mut depth) = (0, 0_i32);
    while let Some(token) = tokens.get(at) {
        at += 1;
        let next = tokens.get(at).map(String::as_str);
        match token.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            // A range: durations and variables.
            "[" => at = behind(&tokens, at, "]")?,
            "by" => {
                let end = behind(&tokens, at, ")")?;
                named.grouped.extend(words(&tokens[at..end]));
                at = end;
            }
            word if !is_word(word) || WORDS.contains(&word) => {}
            function if matches!(next, Some("(" | "by")) => {
                if !FUNCTIONS.contains(&function) {
                    return Err(format!("{function} is no known function"));
                }
            }
            series => {
                let mut labels = BTreeSet::new();
                if next == Some("{") {
                    let end = behind(&tokens, at, "}")?;
                    labels.extend(words(&tokens[at..end]));
                    at = end;
                }
                named.series.push((series.to_owned(), labels));
            }
        }
        if depth < 0 {
            return Err("a parenthesis is closed that was not opened".to_owned());
        }
    }
    if depth > 0 {
        return Err("a parenthesis is not closed".to_owned());
    }
    Ok(named)
}

/// The place behind the next `end`.
fn behind(tokens: &[String], from: usize, end: &str) -> Result<usize, String> {
    let found = tokens[from..].iter().position(|token| token == end);
    found
        .map(|place| from + place + 1)
        .ok_or_else(|| format!("{end} is missing"))
}

fn words(tokens: &[String]) -> impl Iterator<Item = String> {
    tokens.iter().filter(|token| is_word(token)).cloned()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Words, numbers, texts and variables (with their first character), and all else one by one.
fn tokens(query: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = match first {
            '"' => 2 + rest[1..].find('"').ok_or("a text does not end")?,
            '$' => 1 + rest[1..].find(|c| !in_word(c)).unwrap_or(rest.len() - 1),
            first if in_word(first) => rest.find(|c| !in_word(c) && c != '.').unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}

#[test]
fn names_are_found_in_queries() {
    let check = |query: &str, series: &[(&str, &[&str])], grouped: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let named = Named {
            series: series
                .iter()
                .map(|(name, labels)| ((*name).to_owned(), own(labels)))
                .collect(),
            grouped: own(grouped),
        };
        assert_eq!(read(query), Ok(named), "{query}");
    };
    check("a_total", &[("a_total", &[])], &[]);
    check(
        "sum by (le, x) (rate(a_bucket{le=\"0.15\", b=~\"$c|d\"}[$__rate_interval])) / clamp_min(b, 1e-9)",
        &[("a_bucket", &["le", "b"]), ("b", &[])],
        &["le", "x"],
    );
    check(
        "1 - a{b!=\"c d\"} > bool 0.5 or vector(0)",
        &[("a", &["b"])],
        &[],
    );
    for wrong in ["sum(a", "a)", "a{b=\"c\"", "mum(a)", "a{b=\"c}"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
