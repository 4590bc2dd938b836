//! The table of `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};

use super::shown::Family;

/// One metric as it is explained.
#[derive(Debug)]
pub(super) struct Row {
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
    empty: Vec<&'static str>,
}

/// Rows by the metric's name.
#[derive(Debug)]
pub(super) struct Table(BTreeMap<String, Row>);

const CELLS: [&str; 6] = ["name", "type", "unit", "labels", "meaning", "question"];

impl Table {
    pub(super) fn read(text: &str) -> Self {
        let mut rows = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("| `brink_")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), CELLS.len(), "cells of {line}");
            let empty = CELLS.iter().zip(&cells).filter(|(_, cell)| cell.is_empty());
            let row = Row {
                kind: cells[1].to_owned(),
                unit: cells[2].to_owned(),
                labels: cells[3]
                    .split(", ")
                    .filter(|label| *label != "none")
                    .map(bare)
                    .collect(),
                empty: empty.map(|(name, _)| *name).collect(),
            };
            let twice = rows.insert(bare(cells[0]), row);
            assert!(twice.is_none(), "two rows for {}", cells[0]);
        }
        Self(rows)
    }

    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.0.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

impl Row {
    /// What the row says and is not so.
    pub(super) fn differences(&self, name: &str, family: &Family) -> Vec<String> {
        let mut found = Vec::new();
        let mut hold = |ok: bool, problem: String| {
            if !ok {
                found.push(format!("{name}: {problem}"));
            }
        };
        hold(
            self.empty.is_empty(),
            format!("nothing in {:?}", self.empty),
        );
        hold(self.kind == family.kind, format!("it is a {}", family.kind));
        let labels = labels_cell(&family.labels);
        hold(
            self.labels == family.labels,
            format!("its labels are {labels}"),
        );
        for unit in ["seconds", "bytes", "ratio"] {
            let named = name.ends_with(&format!("_{unit}"));
            hold(!named || self.unit == unit, format!("its unit is {unit}"));
        }
        found
    }
}

/// As a row has them.
pub(super) fn labels_cell(labels: &BTreeSet<String>) -> String {
    let quoted: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    if quoted.is_empty() {
        "none".to_owned()
    } else {
        quoted.join(", ")
    }
}

fn bare(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}
