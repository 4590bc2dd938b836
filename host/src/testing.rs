//! A small service for tests: a tokenizer of a hundred words and a backend that does as it is told.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use brink_cache::key::Task;
use brink_cache::{ModelDigest, Scope};
use brink_protocol::infer::DEFAULT_URGENCY;
use brink_protocol::{InferRequest, Input, ModelInfo, ModelKind, TextLimits};
use bytes::Bytes;
use prometheus_client::registry::Registry;

use crate::batch::{BatchConfig, BatchLimits, BatchMetrics, BatchPool, CostModel, PoolOptions};
use crate::inference::{
    Backend, BackendError, Device, ModelFiles, Output, Payload, Reader, TokenLimits, Tokenizer,
};
use crate::results::{CacheItems, ResultsConfig};
use crate::service::{InferService, Model, Pool, ServiceConfig};

/// The model's name.
pub(crate) const MODEL: &str = "words";
/// The model's digest.
pub(crate) const DIGEST: ModelDigest = ModelDigest([7; 32]);
/// Most tokens of an input.
pub(crate) const MAX_TOKENS: u32 = 16;
/// The model fails on this word.
pub(crate) const POISON: &str = "w99";
/// Ids before that of `w0`.
const SPECIAL: u32 = 4;

/// What the backend was asked to compute, one entry per item.
pub(crate) type Computed = Arc<Mutex<Vec<Vec<u32>>>>;

/// A service with the means to watch and to stop it.
pub(crate) struct Harness {
    pub(crate) service: InferService,
    pub(crate) computed: Computed,
    /// Every run waits for a word; dropping it lets all pass.
    pub(crate) gate: Option<mpsc::Sender<()>>,
    pub(crate) registry: Registry,
}

struct Words {
    computed: Computed,
    gate: mpsc::Receiver<()>,
}

impl Backend for Words {
    fn run(&mut self, batch: &[&Payload]) -> Result<Vec<Output>, BackendError> {
        let ids = |payload: &&Payload| match payload {
            Payload::Tokens(ids) => ids.clone(),
            Payload::Pixels(_) | Payload::Tensors(_) => panic!("the model reads words"),
        };
        let batch: Vec<Vec<u32>> = batch.iter().map(ids).collect();
        lock(&self.computed).extend(batch.clone());
        let _ = self.gate.recv();
        let poison = SPECIAL + 99;
        if batch.iter().any(|ids| ids.contains(&poison)) {
            return Err(BackendError::NotFinite);
        }
        Ok(batch.iter().map(|ids| bytes(ids)).collect())
    }

    fn shrink(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

fn lock(computed: &Computed) -> std::sync::MutexGuard<'_, Vec<Vec<u32>>> {
    computed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes(ids: &[u32]) -> Bytes {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// The vector that the backend gives for a text of words `wN`.
pub(crate) fn vector(text: &str) -> Bytes {
    let word = |word: &str| SPECIAL + word[1..].parse::<u32>().expect("a word is w and a number");
    let ids = [1].into_iter().chain(text.split(' ').map(word)).chain([2]);
    bytes(&ids.collect::<Vec<_>>())
}

/// A call for texts, with a minute to live.
pub(crate) fn request<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> InferRequest {
    let inputs = texts.into_iter().map(|text| Input::Text(text.into()));
    InferRequest {
        request_id: "test".to_owned(),
        scope: Scope::Public,
        tenant: "default".to_owned(),
        urgency: DEFAULT_URGENCY,
        model: MODEL.to_owned(),
        digest: DIGEST,
        task: Task::Embed,
        truncate: false,
        look_up: true,
        store: true,
        timeout_ms: 60_000,
        share: None,
        inputs: inputs.collect(),
    }
}

/// Settings that tests vary.
pub(crate) struct Options {
    pub(crate) limits: BatchLimits,
    pub(crate) results: ResultsConfig,
    /// Whether runs wait at the gate.
    pub(crate) gated: bool,
    /// Limits of calls.
    pub(crate) config: ServiceConfig,
    /// Most bytes of all results of a call.
    pub(crate) max_output_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: BatchConfig::default().limits(Device::Cpu),
            results: ResultsConfig::default(),
            gated: false,
            config: ServiceConfig {
                max_timeout: Duration::from_secs(60),
                ..ServiceConfig::default()
            },
            max_output_bytes: usize::MAX,
        }
    }
}

impl Harness {
    pub(crate) fn new(options: Options) -> Self {
        let mut registry = Registry::default();
        let metrics = BatchMetrics::register(&mut registry).for_model(MODEL, Device::Cpu);
        let (gate, receiver) = mpsc::channel();
        let computed = Computed::default();
        let backend = Words {
            computed: Arc::clone(&computed),
            gate: receiver,
        };
        let pool = PoolOptions {
            costs: CostModel::new(&options.limits),
            limits: options.limits,
            idle_shrink_after: Duration::from_secs(60),
            prefetch: false,
            niceness: 0,
            metrics,
        };
        let model = Model {
            info: info(),
            reader: Reader::Text(Box::new(tokenizer())),
            device: Device::Cpu,
            pool: BatchPool::start(vec![Box::new(backend)], pool)
                .expect("a thread")
                .into(),
            max_output_bytes: options.max_output_bytes,
        };
        let items = CacheItems::register(&mut registry);
        let service = InferService::new(vec![model], options.results, options.config, items);
        Self {
            service: service.expect("one name"),
            computed,
            gate: options.gated.then_some(gate),
            registry,
        }
    }

    /// Items that the backend was asked for so far.
    pub(crate) fn computed_items(&self) -> usize {
        lock(&self.computed).len()
    }

    /// Returns when the backend has been asked for so many items.
    pub(crate) async fn until_computed(&self, items: usize) {
        while self.computed_items() < items {
            tokio::task::yield_now().await;
        }
    }

    /// Returns when so many tokens wait in the queue.
    pub(crate) async fn until_metric(&self, line: &str) {
        while !self.metrics().lines().any(|shown| shown == line) {
            tokio::task::yield_now().await;
        }
    }

    /// All metrics, as `/metrics` shows them.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes all");
        text
    }
}

/// A model of a folder that computes nothing.
pub(crate) fn model_of(files: &ModelFiles) -> Model {
    let metrics = BatchMetrics::register(&mut Registry::default());
    let limits = BatchConfig::default().limits(Device::Cpu);
    let pool = PoolOptions {
        costs: CostModel::new(&limits),
        prefetch: false,
        niceness: 0,
        limits,
        idle_shrink_after: Duration::from_secs(60),
        metrics: metrics.for_model(&files.manifest.name, Device::Cpu),
    };
    let backend = Words {
        computed: Computed::default(),
        gate: mpsc::channel().1,
    };
    Model {
        info: ModelInfo {
            name: files.manifest.name.clone(),
            version: files.manifest.version.clone(),
            digest: files.digest,
            ..info()
        },
        reader: Reader::Text(Box::new(tokenizer())),
        device: Device::Cpu,
        pool: BatchPool::start(vec![Box::new(backend)], pool)
            .expect("a thread")
            .into(),
        max_output_bytes: usize::MAX,
    }
}

fn info() -> ModelInfo {
    ModelInfo {
        name: MODEL.to_owned(),
        version: "1".to_owned(),
        digest: DIGEST,
        kind: ModelKind::Embed {
            text: TextLimits {
                max_tokens: MAX_TOKENS,
                vocabulary: SPECIAL + 100,
            },
            dimensions: 4,
        },
        created: 1,
        owned_by: "tests".to_owned(),
    }
}

/// Words `w0` to `w99`, between `[CLS]` (1) and `[SEP]` (2).
fn tokenizer() -> Tokenizer {
    let words = (0..100).map(|word| (format!("w{word}"), word + SPECIAL));
    let special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
        .map(str::to_owned)
        .into_iter()
        .zip(0..);
    let vocabulary: serde_json::Map<_, _> = special
        .chain(words)
        .map(|(word, id)| (word, id.into()))
        .collect();
    let special = |name, id: u32| serde_json::json!({"id": name, "ids": [id], "tokens": [name]});
    let file = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": special("[CLS]", 1), "[SEP]": special("[SEP]", 2)},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary},
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, file.to_string()).expect("a writable folder");
    let limits = TokenLimits {
        max_tokens: MAX_TOKENS,
        vocabulary: SPECIAL + 100,
    };
    Tokenizer::from_file(&path, limits).expect("a tokenizer")
}

/// The name of a model that writes letters.
pub(crate) const WRITER: &str = "letters";

/// A service whose one model writes letters.
pub(crate) fn writer_service() -> InferService {
    let mut registry = Registry::default();
    let info = ModelInfo {
        name: WRITER.to_owned(),
        kind: ModelKind::Generate {
            text: TextLimits {
                max_tokens: 2048,
                vocabulary: SPECIAL + 100,
            },
            max_new_tokens: 2048,
            chat: false,
        },
        ..info()
    };
    let model = Model {
        info,
        reader: Reader::Text(Box::new(tokenizer())),
        device: Device::Cpu,
        pool: Pool::Texts(Arc::new(crate::generate::letters(2))),
        max_output_bytes: usize::MAX,
    };
    let items = CacheItems::register(&mut registry);
    let (results, config) = (ResultsConfig::default(), ServiceConfig::default());
    InferService::new(vec![model], results, config, items).expect("one name")
}
