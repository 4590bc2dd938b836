//! What the service costs around the model, and which batch limits are best.
//!
//! Question: how many items per CPU-second does the service reach on texts of mixed length, 64
//! calls at a time, against the same session fed with the same tokens in its best order? Budget:
//! at least 0.90 of that. Read the last column. Run it in release mode:
//!
//! ```text
//! cargo run --release --example batching -p brink-host -- MODELS_FOLDER LIBRARY [ITEMS:TOKENS:RATIO ...]
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brink_cache::Scope;
use brink_host::batch::{BatchConfig, BatchMetrics};
use brink_host::inference::{
    Backend, DeviceChoice, InferenceConfig, ModelFiles, Payload, Reader, Runtime, Session,
    open_sessions,
};
use brink_host::results::{CacheItems, ResultsConfig};
use brink_host::service::{InferService, Model, ServiceConfig};
use brink_protocol::infer::DEFAULT_URGENCY;
use brink_protocol::{InferRequest, Input};
use prometheus_client::registry::Registry;

const TEXTS: usize = 600;
const OUTSTANDING: usize = 64;
const ROUNDS: usize = 3;
const WORDS: [&str; 12] = [
    "the", "river", "runs", "small", "towns", "between", "music", "paper", "answer", "green",
    "window", "seven",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("the models folder is missing")?);
    let library = PathBuf::from(arguments.next().ok_or("the library is missing")?);
    let configs: Vec<BatchConfig> = match arguments
        .map(|text| config(&text))
        .collect::<Result<Vec<_>>>()?
    {
        none if none.is_empty() => vec![BatchConfig::default()],
        some => some,
    };
    let runtime = Runtime::load(&library)?;
    let folder = folder.join("all-MiniLM-L6-v2");
    let files = ModelFiles::read(&folder)?;
    let texts: Arc<[String]> = texts().into();
    let tokens = tokens(&files, &texts)?;
    let mut session = open_sessions(&runtime, &files, &inference())?
        .sessions
        .remove(0);
    let tokio = tokio::runtime::Runtime::new()?;
    for _ in 0..ROUNDS {
        let best = [1, 2, 4, 8, 16, 32].map(|size| (raw(&mut session, &tokens, size), size));
        for (pace, size) in best {
            println!("raw, sorted, batches of {size:2}: {pace:7.1} items/CPU-s");
        }
        let best = best.iter().map(|(pace, _)| *pace).fold(0.0, f64::max);
        for config in &configs {
            let model = Model::open(
                &runtime,
                &folder,
                &inference(),
                config,
                &BatchMetrics::register(&mut Registry::default()),
            )?;
            let pace = tokio.block_on(served(model, &texts))?;
            let limits = config.limits(brink_host::inference::Device::Cpu);
            println!(
                "service, {:3} items, {:5} tokens, ratio {:4.2}: {pace:7.1} items/CPU-s, {:.3} of the best",
                limits.max_batch_items,
                limits.max_batch_tokens,
                limits.max_padding_ratio,
                pace / best
            );
        }
    }
    Ok(())
}

fn config(text: &str) -> Result<BatchConfig> {
    let parts: Vec<&str> = text.split(':').collect();
    let [items, tokens, ratio] = parts[..] else {
        return Err("limits are written ITEMS:TOKENS:RATIO".into());
    };
    Ok(BatchConfig {
        max_batch_items: Some(items.parse()?),
        max_batch_tokens: Some(tokens.parse()?),
        max_padding_ratio: Some(ratio.parse()?),
        ..BatchConfig::default()
    })
}

fn inference() -> InferenceConfig {
    InferenceConfig {
        device: DeviceChoice::Cpu,
        sessions: Some(1),
        ..InferenceConfig::default()
    }
}

/// Four to 110 words, thirty on average, in an order without a pattern.
fn texts() -> Vec<String> {
    let mut state = 42u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = |_| {
        let uniform = (random() % 10_000) as f64 / 10_000.0;
        let words = 4 + (106.0 * uniform.powi(3)) as usize;
        let word = |_| WORDS[random() as usize % WORDS.len()];
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    };
    (0..TEXTS).map(&mut text).collect()
}

fn tokens(files: &ModelFiles, texts: &[String]) -> Result<Vec<Payload>> {
    let reader = Reader::load(files, &[])?;
    let encode = |text: &String| reader.read(&Input::Text(text.clone()), false);
    let mut tokens = texts
        .iter()
        .map(encode)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    tokens.sort_by_key(Payload::size);
    Ok(tokens)
}

fn raw(session: &mut Session, tokens: &[Payload], size: usize) -> f64 {
    let before = cpu_seconds();
    for batch in tokens.chunks(size) {
        let batch: Vec<&Payload> = batch.iter().collect();
        session.run(&batch).expect("the model runs");
    }
    tokens.len() as f64 / (cpu_seconds() - before)
}

async fn served(model: Model, texts: &Arc<[String]>) -> Result<f64> {
    let items = CacheItems::register(&mut Registry::default());
    let service = InferService::new(
        vec![model],
        ResultsConfig::default(),
        ServiceConfig::default(),
        items,
    )?;
    let next = Arc::new(AtomicUsize::new(0));
    let before = cpu_seconds();
    let clients = (0..OUTSTANDING).map(|_| {
        let (service, texts, next) = (service.clone(), Arc::clone(texts), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some(text) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
                service
                    .infer(request(&service, text))
                    .await
                    .expect("an answer");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await?;
    }
    Ok(texts.len() as f64 / (cpu_seconds() - before))
}

fn request(service: &InferService, text: &str) -> InferRequest {
    let model = &service.catalog().models[0];
    InferRequest {
        request_id: String::new(),
        scope: Scope::Public,
        tenant: "default".to_owned(),
        urgency: DEFAULT_URGENCY,
        model: model.name.clone(),
        digest: model.digest,
        task: model.task(),
        truncate: false,
        look_up: false,
        store: false,
        timeout_ms: 30_000,
        share: None,
        inputs: vec![Input::Text(text.to_owned())],
    }
}

/// User and system time of this process, in hundredths of a second (Linux).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}
