//! `docs/metrics.md` and `docs/grafana/brink.json`, held against what `/metrics` shows.

use std::path::{Path, PathBuf};

use prometheus_client::encoding::text::encode;

use super::Metrics;
use super::*;
use crate::inference::{Device, ModelFiles};
use crate::server::OneComponent;
use crate::service::{Loader, Model, OpenError, RepositoryConfig};
use crate::testing::{self, Harness, Options, POISON};

mod dashboard;
mod promql;
mod shown;
mod sources;
mod table;

use shown::Shown;
use table::Table;

/// A folder of one model, which need not compute anything.
#[derive(Debug)]
struct OneModel(PathBuf);

impl Loader for OneModel {
    fn models(&self) -> &Path {
        &self.0
    }

    fn open(&self, files: &ModelFiles) -> Result<Model, OpenError> {
        Ok(testing::model_of(files))
    }
}

/// What is served when everything has happened once.
async fn everything() -> Shown {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    registry.register_collector(Box::new(OneComponent));
    metrics.http.record_any();
    metrics.batch.for_model("words", Device::Cpu).refuse_any();
    metrics.generate.for_model("words").end_any();
    load_a_model(&metrics).await;
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes all");
    let mut shown = Shown::read(&text);
    // A model that failed.
    let harness = Harness::new(Options::default());
    let failed = harness.service.infer(testing::request([POISON])).await;
    failed.expect_err("the model fails on it");
    shown.add(Shown::read(&harness.metrics()));
    shown
}

async fn load_a_model(metrics: &Metrics) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = "name = \"words\"\nversion = \"1\"\ntask = \"generic\"\nmodel_file = \"m\"\n\
                    created = 1\nowned_by = \"us\"";
    let model = folder.path().join("words");
    std::fs::create_dir(&model).expect("a writable folder");
    for (name, text) in [("model.toml", manifest), ("m", "weights")] {
        std::fs::write(model.join(name), text).expect("a writable folder");
    }
    let loader = Box::new(OneModel(folder.path().to_owned()));
    let config = RepositoryConfig::default();
    let started = Repository::start(loader, config, metrics.repository.clone()).await;
    started.expect("the model is loaded");
}

#[tokio::test]
async fn every_metric_has_a_row_that_tells_the_truth() {
    let shown = everything().await;
    let table = Table::read(include_str!("../../../../docs/metrics.md"));
    let mut mistakes = Vec::new();
    for (name, family) in shown.iter() {
        match table.row(name) {
            None => mistakes.push(format!(
                "no row for {name}: add | `{name}` | {} | UNIT | {} | MEANING | QUESTION |",
                family.kind,
                table::labels_cell(&family.labels),
            )),
            Some(row) => mistakes.extend(row.differences(name, family)),
        }
    }
    let stale = table.names().filter(|name| !shown.has(name));
    mistakes.extend(stale.map(|name| format!("{name} has a row and is not served")));
    assert!(mistakes.is_empty(), "docs/metrics.md: {mistakes:#?}");
}

/// What has no series is not shown, so it would be missed above.
#[tokio::test]
async fn everything_that_is_registered_was_looked_at() {
    let shown = everything().await;
    let mut missed = Vec::new();
    for (file, name) in sources::registered() {
        let suffixes = ["", "_total", "_seconds", "_bytes", "_seconds_total"];
        let seen = suffixes
            .iter()
            .any(|suffix| shown.has(&format!("{name}{suffix}")));
        if !seen {
            missed.push(format!("{name} of {file}"));
        }
    }
    assert!(
        missed.is_empty(),
        "let `everything` make a series of these, then give them rows in docs/metrics.md: {missed:#?}"
    );
}

#[tokio::test]
async fn the_dashboard_asks_only_for_what_is_served() {
    let shown = everything().await;
    let text = include_str!("../../../../docs/grafana/brink.json");
    let mistakes = dashboard::mistakes(text, &shown);
    assert!(
        mistakes.is_empty(),
        "docs/grafana/brink.json: {mistakes:#?}"
    );
}
