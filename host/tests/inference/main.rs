//! The real model through the whole service, against a float64 reference.
//!
//! Needs what `cargo xtask setup` makes; see [`files`] for where it is looked for.

mod binding;
mod classify;
mod files;
mod generate;
mod generic;
mod onnx;
mod shapes;

use std::sync::LazyLock;
use std::time::Duration;

use brink_cache::key::Task;
use brink_cache::{ModelDigest, Scope};
use brink_host::batch::{BatchConfig, BatchMetrics};
use brink_host::inference::{
    Backend, Device, DeviceChoice, InferenceConfig, ModelFiles, Payload, Runtime, TokenLimits,
    Tokenizer, open_sessions,
};
use brink_host::results::{CacheItems, ResultsConfig};
use brink_host::service::{InferService, Model, ModelState, ServiceConfig};
use brink_protocol::infer::DEFAULT_URGENCY;
use brink_protocol::{FaultCode, InferAnswer, InferReply, InferRequest, Input};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::time::Instant;

/// Twelve sentences and their vectors, from a float64 forward pass over the same weights.
#[derive(Deserialize)]
struct Reference {
    sentences: Vec<String>,
    #[serde(rename = "emb")]
    vectors: Vec<Vec<f64>>,
}

static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../fixtures/minilm_reference.json")).expect("a fixture")
});

/// One service for all tests: opening a session takes most of their time.
static SERVICE: LazyLock<InferService> = LazyLock::new(|| {
    let mut registry = Registry::default();
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let inference = InferenceConfig {
        device: DeviceChoice::Cpu,
        ..InferenceConfig::default()
    };
    let metrics = BatchMetrics::register(&mut registry);
    let model = Model::open(
        &runtime,
        &files::model(),
        &inference,
        &BatchConfig::default(),
        &metrics,
    );
    let items = CacheItems::register(&mut registry);
    InferService::new(
        vec![model.expect("the model")],
        ResultsConfig::default(),
        ServiceConfig::default(),
        items,
    )
    .expect("one model")
});

/// A call that asks the model, whatever is stored.
fn request(inputs: Vec<Input>, truncate: bool) -> InferRequest {
    let model = &SERVICE.catalog().models[0];
    InferRequest {
        model: model.name.clone(),
        digest: model.digest,
        task: model.task(),
        truncate,
        ..blank_request(inputs)
    }
}

/// The same, of no model yet.
fn blank_request(inputs: Vec<Input>) -> InferRequest {
    InferRequest {
        request_id: "test".to_owned(),
        scope: Scope::Public,
        tenant: "default".to_owned(),
        urgency: DEFAULT_URGENCY,
        model: String::new(),
        digest: ModelDigest([0; 32]),
        task: Task::Embed,
        truncate: false,
        look_up: false,
        store: false,
        timeout_ms: 30_000,
        share: None,
        inputs,
    }
}

fn texts<S: AsRef<str>>(texts: &[S]) -> Vec<Input> {
    texts
        .iter()
        .map(|text| Input::Text(text.as_ref().to_owned()))
        .collect()
}

async fn try_embed(inputs: Vec<Input>, truncate: bool) -> InferReply {
    SERVICE.infer(request(inputs, truncate)).await
}

async fn embed(inputs: Vec<Input>) -> InferAnswer {
    try_embed(inputs, false).await.expect("an answer")
}

fn numbers(answer: &InferAnswer, index: usize) -> Vec<f64> {
    let bytes = answer.items[index].output.chunks_exact(4);
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    bytes.map(|bytes| f64::from(number(bytes))).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn vectors_equal_the_float64_reference() {
    let answer = embed(texts(&REFERENCE.sentences)).await;
    for (index, expected) in REFERENCE.vectors.iter().enumerate() {
        let vector = numbers(&answer, index);
        assert_eq!(vector.len(), 384);
        let cosine = cosine(&vector, expected);
        assert!(cosine >= 0.99999, "sentence {index}: {cosine}");
        assert!(answer.items[index].cost_us > 0);
    }
}

#[tokio::test]
async fn token_arrays_equal_their_text() {
    let files = ModelFiles::read(&files::model()).expect("the model");
    let limits = TokenLimits {
        max_tokens: 256,
        vocabulary: 30_522,
    };
    let tokenizer =
        Tokenizer::from_file(&files.folder.join("tokenizer.json"), limits).expect("a tokenizer");
    let sentence = &REFERENCE.sentences[10];
    let ids = tokenizer.encode_text(sentence, false).expect("ids");
    let bare = ids[1..ids.len() - 1].to_vec();
    let inputs = vec![
        Input::Text(sentence.clone()),
        Input::Tokens(bare),
        Input::Tokens(ids),
    ];
    let answer = embed(inputs).await;
    for index in 1..3 {
        assert_eq!(answer.items[index].tokens, answer.items[0].tokens);
        assert!(cosine(&numbers(&answer, index), &numbers(&answer, 0)) >= 0.999999);
    }
}

#[tokio::test]
async fn long_inputs_are_refused_with_the_numbers_and_cut_only_if_asked() {
    // Each "cat" is one token; the model adds two.
    let fits = "cat ".repeat(254);
    let long = "cat ".repeat(255);
    assert_eq!(embed(texts(&[&fits])).await.items[0].tokens, 256);

    let fault = try_embed(texts(&["short", &long]), false)
        .await
        .expect_err("too long");
    assert_eq!((fault.code, fault.item), (FaultCode::InputTooLong, Some(1)));
    assert_eq!(
        fault.message,
        "the input has 257 tokens; the model takes at most 256"
    );

    let cut = try_embed(texts(&[&long]), true).await.expect("it was cut");
    assert_eq!(cut.items[0].tokens, 256);
    assert!(
        cosine(
            &numbers(&cut, 0),
            &numbers(&embed(texts(&[&fits])).await, 0)
        ) >= 0.999999
    );
}

#[tokio::test]
async fn batch_mates_do_not_change_a_vector() {
    let alone = embed(texts(&REFERENCE.sentences[..1])).await;
    let mates: Vec<String> = (1..10)
        .map(|words| "The cat sat outside ".repeat(words))
        .collect();
    let mut inputs = texts(&REFERENCE.sentences[..1]);
    inputs.extend(texts(&mates));
    inputs.extend(texts(&REFERENCE.sentences[1..]));
    let together = embed(inputs).await;
    let cosine = cosine(&numbers(&alone, 0), &numbers(&together, 0));
    assert!(cosine >= 0.999999, "{cosine}");
}

#[test]
fn session_that_gave_memory_back_goes_on() {
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let files = ModelFiles::read(&files::model()).expect("the model");
    let config = InferenceConfig {
        device: DeviceChoice::Cpu,
        sessions: Some(1),
        ..InferenceConfig::default()
    };
    let mut opened = open_sessions(&runtime, &files, &config).expect("a session");
    let session = &mut opened.sessions[0];
    let item = Payload::Tokens(vec![101, 4937, 102]);
    let batch = [&item; 64];
    let before = session.run(&batch).expect("vectors");
    session.shrink().expect("memory is given back");
    assert_eq!(session.run(&batch).expect("vectors"), before);
}

/// With shape buckets a result is the same to its last bit, alone and in any company.
#[test]
fn shape_buckets_make_results_equal_to_the_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = std::fs::read_to_string(files::model().join("model.toml")).expect("a file");
    let buckets = "[batching]\nshape_buckets = [16, 64, 256]\nbucket_items = 4";
    std::fs::write(
        folder.path().join("model.toml"),
        format!("{manifest}\n{buckets}"),
    )
    .expect("a writable folder");
    for file in ["model.onnx", "tokenizer.json"] {
        let link = folder.path().join(file);
        std::os::unix::fs::symlink(files::model().join(file), link).expect("a link");
    }
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let files = ModelFiles::read(folder.path()).expect("the model");
    let config = InferenceConfig {
        device: DeviceChoice::Cpu,
        sessions: Some(1),
        ..InferenceConfig::default()
    };
    let mut opened = open_sessions(&runtime, &files, &config).expect("a session");
    let session = &mut opened.sessions[0];
    let item = |length: u32| {
        let words = (0..length).map(|word| 2000 + word * 37 % 9000);
        Payload::Tokens([101].into_iter().chain(words).chain([102]).collect())
    };
    let items: Vec<Payload> = [3, 9, 14, 1].map(item).into();
    let together = session
        .run(&items.iter().collect::<Vec<_>>())
        .expect("vectors");
    for (index, item) in items.iter().enumerate() {
        let alone = session.run(&[item]).expect("a vector");
        assert_eq!(alone[0], together[index], "item {index} alone");
        let pair = session
            .run(&[&items[(index + 1) % 4], item])
            .expect("vectors");
        assert_eq!(pair[1], together[index], "item {index} in another place");
    }
}

#[tokio::test]
async fn device_that_really_runs_is_reported() {
    let status = &SERVICE.status()[0];
    assert_eq!(
        (status.device, status.state),
        (Some(Device::Cpu), ModelState::Ready)
    );
}

/// On a machine or with a library that has no CUDA, asking for it by name is an error at start,
/// and leaving the choice is not.
#[tokio::test]
async fn explicit_device_that_is_absent_is_an_error_and_auto_falls_back() {
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let open = |device| {
        let inference = InferenceConfig {
            device,
            sessions: Some(1),
            ..InferenceConfig::default()
        };
        let metrics = BatchMetrics::register(&mut Registry::default());
        Model::open(
            &runtime,
            &files::model(),
            &inference,
            &BatchConfig::default(),
            &metrics,
        )
    };
    let auto = open(DeviceChoice::Auto).expect("some device");
    if auto.device == Device::Cpu {
        let error = open(DeviceChoice::Cuda(0)).expect_err("there is no CUDA");
        assert!(error.to_string().contains("cuda:0"), "{error}");
    }
    auto.pool
        .drain(Instant::now() + Duration::from_secs(5))
        .await;
}
