//! Classifiers against second implementations: EfficientNet-Lite0 in numpy, magika's official package.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use brink_host::batch::{BatchConfig, BatchMetrics};
use brink_host::inference::{InferenceConfig, Runtime};
use brink_host::results::{CacheItems, ResultsConfig};
use brink_host::service::{InferService, Model, ServiceConfig};
use brink_protocol::{Fault, FaultCode, InferAnswer, InferRequest, Input, ModelKind};
use prometheus_client::registry::Registry;
use serde::Deserialize;

use crate::files;

#[derive(Deserialize)]
struct Reference {
    inputs: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    top: Vec<Scored>,
}

#[derive(Deserialize)]
struct Scored {
    class: usize,
    label: String,
    score: f64,
}

static SERVICE: LazyLock<InferService> = LazyLock::new(|| {
    let mut registry = Registry::default();
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let metrics = BatchMetrics::register(&mut registry);
    let open = |name: &str| {
        let inference = InferenceConfig::default();
        let batch = BatchConfig::default();
        Model::open(&runtime, &files::named(name), &inference, &batch, &metrics).expect("the model")
    };
    let models = ["efficientnet-lite0", "magika"].map(open).into();
    let items = CacheItems::register(&mut registry);
    let (results, config) = (ResultsConfig::default(), ServiceConfig::default());
    InferService::new(models, results, config, items).expect("two names")
});

fn reference(model: &str) -> (PathBuf, Reference) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = folder.join(model).join("reference");
    let text = std::fs::read_to_string(folder.join("reference.json")).expect("a committed fixture");
    (
        folder,
        serde_json::from_str(&text).expect("the fixture's shape"),
    )
}

async fn classify(model: &str, inputs: Vec<Input>) -> Result<InferAnswer, Fault> {
    let catalog = SERVICE.catalog();
    let info = catalog.find(model).expect("a model");
    let request = InferRequest {
        model: info.name.clone(),
        digest: info.digest,
        task: info.task(),
        ..crate::blank_request(inputs)
    };
    SERVICE.infer(request).await
}

fn scores(answer: &InferAnswer, index: usize) -> Vec<f64> {
    let (numbers, _) = answer.items[index].output.as_chunks::<4>();
    let numbers = numbers.iter().map(|it| f64::from(f32::from_le_bytes(*it)));
    numbers.collect()
}

async fn check(model: &str, tolerance: f64) {
    let (folder, reference) = reference(model);
    let catalog = SERVICE.catalog();
    let ModelKind::Classify { labels, .. } = &catalog.find(model).expect("a model").kind else {
        panic!("a classifier")
    };
    assert!(reference.inputs.len() >= 9, "{model}");
    for case in &reference.inputs {
        let file = std::fs::read(folder.join(&case.file)).expect("a committed file");
        let answer = classify(model, vec![Input::Blob(file.into())])
            .await
            .expect("scores");
        let scores = scores(&answer, 0);
        assert_eq!(scores.len(), labels.len());
        for expected in &case.top {
            let score = scores[expected.class];
            let difference = (score - expected.score).abs();
            assert!(
                difference < tolerance,
                "{}: {} has {score}, not {}",
                case.file,
                expected.label,
                expected.score
            );
            assert_eq!(labels[expected.class], expected.label);
        }
        let sum: f64 = scores.iter().sum();
        assert!(
            (sum - 1.0).abs() < 1e-3,
            "{}: scores add up to {sum}",
            case.file
        );
    }
}

/// Decoders may differ by one in a value of 255, and so may the rounding of a resize.
#[tokio::test]
async fn pictures_have_the_scores_of_the_numpy_reference() {
    check("efficientnet-lite0", 0.01).await;
}

#[tokio::test]
async fn files_have_the_scores_of_the_official_package() {
    check("magika", 0.001).await;
}

#[tokio::test]
async fn one_bad_picture_of_many_is_named_and_no_model_runs() {
    let (folder, reference) = reference("efficientnet-lite0");
    let good = std::fs::read(folder.join(&reference.inputs[0].file)).expect("a picture");
    let bad = Input::Blob(good[..good.len() / 2].to_vec().into());
    let inputs = vec![Input::Blob(good.into()), bad];
    let fault = classify("efficientnet-lite0", inputs)
        .await
        .expect_err("half a picture");
    assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, Some(1)));
    assert!(
        fault.message.contains("cannot be decoded"),
        "{}",
        fault.message
    );
}

#[tokio::test]
async fn inputs_of_another_kind_are_refused() {
    let fault = classify("magika", vec![Input::Text("a".to_owned())]).await;
    let fault = fault.expect_err("a text is no file");
    assert_eq!(fault.code, FaultCode::BadRequest);
    assert_eq!(fault.message, "the input is text; the model reads a file");
}

/// What makes an entry of a cache the same whoever asked at the same time.
#[tokio::test]
async fn company_in_a_batch_changes_no_score() {
    for model in ["efficientnet-lite0", "magika"] {
        let (folder, reference) = reference(model);
        let read = |case: &Case| {
            Input::Blob(
                std::fs::read(folder.join(&case.file))
                    .expect("a file")
                    .into(),
            )
        };
        let inputs: Vec<Input> = reference.inputs.iter().map(read).collect();
        let together = classify(model, inputs.clone()).await.expect("scores");
        for (index, input) in inputs.into_iter().enumerate() {
            let alone = classify(model, vec![input]).await.expect("scores");
            let pairs = scores(&alone, 0).into_iter().zip(scores(&together, index));
            let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(largest < 1e-5, "{model}, input {index}: {largest}");
        }
    }
}
