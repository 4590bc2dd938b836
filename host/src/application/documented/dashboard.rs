//! The panels of a Grafana dashboard, and what they ask for.

use std::collections::BTreeSet;

use serde_json::Value;

use super::promql;
use super::shown::Shown;

/// Everything that does not work in it.
pub(super) fn mistakes(text: &str, shown: &Shown) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(text).expect("the dashboard is JSON");
    let panels = list(&dashboard["panels"]);
    let mut mistakes = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or_default();
        let mut say = |problem: String| mistakes.push(format!("{title:?}: {problem}"));
        if !ids.insert(panel["id"].as_u64()) {
            say("its id is used twice".to_owned());
        }
        if panel["type"] == "row" {
            continue;
        }
        if title.is_empty() || panel["description"].as_str().is_none_or(str::is_empty) {
            say("a title and a description are wanted".to_owned());
        }
        for target in list(&panel["targets"]) {
            query(target, shown).into_iter().for_each(&mut say);
        }
    }
    mistakes.extend(overlaps(panels));
    for variable in list(&dashboard["templating"]["list"]) {
        if variable["type"] == "query" {
            let text = variable["query"]["query"].as_str().unwrap_or_default();
            mistakes.extend(variable_mistakes(text, shown));
        }
    }
    mistakes
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn query(target: &Value, shown: &Shown) -> Vec<String> {
    let text = target["expr"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    if target["datasource"]["uid"] != "${datasource}" {
        found.push(format!("{text}: not of the chosen data source"));
    }
    let named = match promql::read(text) {
        Ok(named) => named,
        Err(error) => return vec![format!("{text}: {error}")],
    };
    let mut all = BTreeSet::new();
    if named.series.is_empty() {
        found.push(format!("{text:?} asks for nothing"));
    }
    for (name, labels) in &named.series {
        match shown.series(name) {
            None => found.push(format!("{name} is not served")),
            Some(has) => {
                let unknown = labels.iter().filter(|label| !has.contains(label.as_str()));
                found.extend(unknown.map(|label| format!("{name} has no label {label}")));
                all.extend(has);
            }
        }
    }
    let legend = target["legendFormat"].as_str().unwrap_or_default();
    let in_legend = legend
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"));
    let in_legend = in_legend.map(|(label, _)| label.trim());
    for label in named
        .grouped
        .iter()
        .map(String::as_str)
        .chain(in_legend.clone())
    {
        if !all.contains(label) {
            found.push(format!("{text}: none of its series has the label {label}"));
        }
    }
    for label in in_legend.filter(|label| !named.grouped.contains(*label)) {
        found.push(format!("{text}: {label} is in the legend and not kept"));
    }
    found
}

/// `label_values(metric, label)`
fn variable_mistakes(text: &str, shown: &Shown) -> Option<String> {
    let inner = text
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    let Some((name, label)) = inner.and_then(|inner| inner.split_once(", ")) else {
        return Some(format!("the variable {text:?} is not understood"));
    };
    let has = shown
        .series(name)
        .is_some_and(|labels| labels.contains(label));
    (!has).then(|| format!("the variable {text} asks for what is not served"))
}

/// Panels that lie on each other, which Grafana moves apart as it likes.
fn overlaps(panels: &[Value]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_default();
        let rows = at("y")..at("y") + at("h");
        let cells = rows.flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y)));
        let wrong = cells.filter(|cell| !taken.insert(*cell) || cell.0 >= 24);
        if wrong.count() > 0 {
            found.push(format!(
                "{} lies on another panel or beside the page",
                panel["title"]
            ));
        }
    }
    found
}
