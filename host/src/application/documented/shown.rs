//! The OpenMetrics text of `/metrics`, read.

use std::collections::{BTreeMap, BTreeSet};

/// A metric with all its series.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub(super) kind: String,
    /// Those of its series. There is one: what has none is not shown.
    pub(super) labels: BTreeSet<String>,
}

/// Families by the name that queries use: counters with `_total`, histograms without a suffix.
#[derive(Debug)]
pub(super) struct Shown(BTreeMap<String, Family>);

impl Shown {
    pub(super) fn read(text: &str) -> Self {
        let mut families = BTreeMap::new();
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').unwrap();
                let name = match kind {
                    "counter" => format!("{name}_total"),
                    _ => name.to_owned(),
                };
                let kind = kind.to_owned();
                let family = Family {
                    kind,
                    ..Family::default()
                };
                families.insert(name, family);
            } else if !line.starts_with('#') {
                let (name, labels) = sample(line);
                let place = base(&name, &families);
                let family = families.get_mut(&place).expect("TYPE comes before samples");
                family
                    .labels
                    .extend(labels.into_iter().filter(|label| label != "le"));
            }
        }
        Self(families)
    }

    /// Families that another registry shows besides.
    pub(super) fn add(&mut self, other: Self) {
        for (name, family) in other.0 {
            self.0.entry(name).or_insert(family);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Family)> {
        self.0.iter()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The labels of a series by its whole name, such as `x_bucket`; `None` if it is not served.
    pub(super) fn series(&self, name: &str) -> Option<BTreeSet<&str>> {
        let place = base(name, &self.0);
        let family = self.0.get(&place)?;
        let is_part = place != name;
        if (family.kind == "histogram") != is_part {
            return None;
        }
        let mut labels: BTreeSet<&str> = family.labels.iter().map(String::as_str).collect();
        // Those of Prometheus itself.
        labels.extend(["job", "instance"]);
        if name.ends_with("_bucket") {
            labels.insert("le");
        }
        Some(labels)
    }
}

/// The family that a series belongs to.
fn base(name: &str, families: &BTreeMap<String, Family>) -> String {
    let is_histogram = |base: &&str| {
        let family = families.get(*base);
        family.is_some_and(|family| family.kind == "histogram")
    };
    let suffixes = ["_bucket", "_sum", "_count"];
    let mut bases = suffixes
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix));
    bases.find(is_histogram).unwrap_or(name).to_owned()
}

/// Name and labels of a line, without its exemplar.
fn sample(line: &str) -> (String, Vec<String>) {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        // Values of ours hold no quotes.
        let inner = &inner[..inner.find("\"}").unwrap_or(inner.len())];
        let pairs = inner.split("\",");
        let names = pairs.filter_map(|pair| pair.split_once("=\""));
        labels.extend(names.map(|(label, _)| label.to_owned()));
    }
    (name.to_owned(), labels)
}
