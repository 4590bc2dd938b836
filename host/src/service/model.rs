//! A model that serves.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use brink_protocol::ModelInfo;
use brink_protocol::limits::MAX_INPUTS;
use tokio::time::Instant;

use crate::batch::{
    BatchConfig, BatchMetrics, BatchOverrides, BatchPool, CostModel, PoolOptions, fit,
};
use crate::generate::{
    GenerateConfig, GenerateMetrics, Generator, GeneratorOptions, Prompts, PromptsError,
};
use crate::inference::{
    Backend, BackendError, BatchSettings, Device, Generation, InferenceConfig, Interface,
    ModelError, ModelFiles, ModelTask, Reader, Runtime, SessionError, TokenizerError, model_kind,
    open_decoder, open_sessions,
};

/// A model's tokenizer and sessions.
#[derive(Debug)]
pub struct Model {
    /// What edges are told.
    pub info: ModelInfo,
    /// Inputs to payloads.
    pub reader: Reader,
    /// The device that really runs it.
    pub device: Device,
    /// What computes.
    pub pool: Pool,
    /// Most bytes of all results of a call.
    pub max_output_bytes: usize,
}

/// What computes for a model, by what it does.
#[derive(Debug)]
pub enum Pool {
    /// Payloads to results, in batches.
    Batches(BatchPool),
    /// Prompts to texts, token by token.
    Texts(Arc<Generator>),
}

impl From<BatchPool> for Pool {
    fn from(pool: BatchPool) -> Self {
        Self::Batches(pool)
    }
}

impl Pool {
    /// Whether it works, as far as is known.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Batches(pool) => pool.is_ready(),
            Self::Texts(generator) => generator.is_ready(),
        }
    }

    /// Admits nothing more and returns when what was admitted is computed, or at the deadline.
    pub async fn drain(&self, deadline: Instant) {
        match self {
            Self::Batches(pool) => pool.drain(deadline).await,
            Self::Texts(generator) => generator.drain(deadline).await,
        }
    }

    /// What runs batches, of a model that does.
    pub fn batches(&self) -> Option<&BatchPool> {
        match self {
            Self::Batches(pool) => Some(pool),
            Self::Texts(_) => None,
        }
    }

    /// What writes, of a model that does.
    pub fn texts(&self) -> Option<&Arc<Generator>> {
        match self {
            Self::Texts(generator) => Some(generator),
            Self::Batches(_) => None,
        }
    }
}

/// How models that write are run.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Limits.
    pub config: GenerateConfig,
    /// What to count into.
    pub metrics: GenerateMetrics,
}

/// Why a model does not serve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder is wrong.
    #[error(transparent)]
    Files(#[from] ModelError),
    /// Its tokenizer is.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Its prompts cannot be read.
    #[error(transparent)]
    Prompts(#[from] PromptsError),
    /// The runtime does not run it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Models of this host were given and not loaded.
    #[error("the model was not loaded from a folder")]
    NoLoader,
    /// Its folder was to be looked for.
    #[error("the folder of models cannot be read")]
    Folder(#[source] io::Error),
    /// What was loaded may be neither the old files nor the new ones.
    #[error("its files changed while it was loaded; try again")]
    ChangedMeanwhile,
    /// It would never fit, whatever else leaves.
    #[error(
        "it takes {needed_mib} MiB, and models.max_memory_mib is {limit_mib}: raise that, or take the model out of \
         the folder of models"
    )]
    TooLarge {
        /// What it takes, rounded up.
        needed_mib: u64,
        /// The setting.
        limit_mib: u64,
    },
    /// It hangs, or the time is too short for it.
    #[error("it was not loaded within {} ms (models.load_timeout_ms), and is given up", .0.as_millis())]
    TooSlow(Duration),
    /// An earlier load hangs.
    #[error(
        "an earlier load of it was given up and has not ended; if it never does, start the host again"
    )]
    StillLoading,
    /// Earlier loads hang, of several models.
    #[error(
        "{0} loads that were given up have not ended, so no other is begun: start the host again"
    )]
    TooManyStuck(usize),
    /// Loading ended in a defect.
    #[error("loading the model panicked")]
    Panicked,
    /// Another model lies where it was.
    #[error("its files have changed: put the new ones in place with `brink models load NAME`")]
    Changed,
    /// It does not run what it is measured with.
    #[error("the model cannot be measured")]
    Probe(#[source] BackendError),
    /// The system gives no thread.
    #[error("no thread for a session")]
    Thread(#[source] io::Error),
}

impl Model {
    /// Opens a model folder: reads, hashes, loads and warms. Takes a second or more; not for a
    /// thread that serves.
    pub fn open(
        runtime: &Runtime,
        folder: &Path,
        inference: &InferenceConfig,
        batch: &BatchConfig,
        metrics: &BatchMetrics,
    ) -> Result<Self, OpenError> {
        let files = ModelFiles::read(folder)?;
        Self::of_files(runtime, &files, inference, batch, metrics)
    }

    /// As [`open`](Self::open), of a folder that was read.
    pub fn of_files(
        runtime: &Runtime,
        files: &ModelFiles,
        inference: &InferenceConfig,
        batch: &BatchConfig,
        metrics: &BatchMetrics,
    ) -> Result<Self, OpenError> {
        let opened = open_sessions(runtime, files, inference)?;
        let interface = &opened.interface;
        let reader = Reader::load(files, &interface.inputs)?;
        let info = info(files, interface);
        tracing::info!(
            model = info.name,
            digest = %info.digest,
            device = %opened.device,
            sessions = opened.sessions.len(),
            "a model is ready"
        );
        let limits = batch
            .overridden(&own_batching(&files.manifest.batching))
            .limits(opened.device);
        let mut sessions = opened.sessions;
        let costs = match sessions.first_mut() {
            Some(session) => fit(session, &limits).map_err(OpenError::Probe)?,
            None => CostModel::new(&limits),
        };
        let options = PoolOptions {
            costs,
            limits,
            idle_shrink_after: inference.idle_shrink_after,
            prefetch: matches!(opened.device, Device::Cuda(_)),
            niceness: match opened.device {
                Device::Cpu => inference.niceness,
                // Its processor time is short, and a device should not wait for it.
                Device::Cuda(_) => 0,
            },
            metrics: metrics.for_model(&info.name, opened.device),
        };
        let sessions = sessions.into_iter();
        let backends = sessions.map(|session| Box::new(session) as Box<dyn Backend>);
        Ok(Self {
            info,
            reader,
            device: opened.device,
            pool: BatchPool::start(backends.collect(), options)
                .map_err(OpenError::Thread)?
                .into(),
            max_output_bytes: inference.max_output_bytes,
        })
    }

    /// As [`of_files`](Self::of_files), of a model that writes.
    pub(super) fn of_writer(
        runtime: &Runtime,
        files: &ModelFiles,
        generation: &Generation,
        inference: &InferenceConfig,
        options: &GenerateOptions,
    ) -> Result<Self, OpenError> {
        let reader = Reader::load(files, &[])?;
        let name = &files.manifest.name;
        let tokenizer = reader.tokenizer().ok_or(TokenizerError::NotByteLevel)?;
        let prompts = Prompts::load(name, &files.folder, generation, tokenizer)?;
        let opened = open_decoder(runtime, files, generation, inference)?;
        let info = info(files, &Interface::default());
        let slots = opened.decoder.slots();
        tracing::info!(model = info.name, digest = %info.digest, device = %opened.device, slots, "a model is ready");
        let options = GeneratorOptions {
            prompts,
            kv_memory_bytes: generation.decode.kv_memory_bytes,
            config: GenerateConfig {
                idle_shrink_after: inference.idle_shrink_after,
                ..options.config.clone()
            },
            metrics: options.metrics.for_model(&info.name),
        };
        let generator = Generator::start(opened.decoder, options).map_err(OpenError::Thread)?;
        Ok(Self {
            info,
            reader,
            device: opened.device,
            pool: Pool::Texts(Arc::new(generator)),
            max_output_bytes: inference.max_output_bytes,
        })
    }
}

/// What a model that writes has in its `model.toml`; `None` of other models.
pub(super) fn generation(files: &ModelFiles) -> Option<&Generation> {
    match &files.manifest.task {
        ModelTask::Generate(generation) => Some(generation),
        ModelTask::Embed(_) | ModelTask::Classify(_) | ModelTask::Generic { .. } => None,
    }
}

/// What a model says about its batches. A queue that holds fewer than two calls would refuse the second.
fn own_batching(own: &BatchSettings) -> BatchOverrides {
    let buckets = &own.shape_buckets;
    BatchOverrides {
        max_batch_items: own.max_items,
        max_batch_tokens: own.max_tokens,
        max_padding_ratio: own.max_padding_ratio,
        max_queue_delay: own.max_queue_delay,
        max_queue_items: own.max_queue_items.map(|items| items.max(2 * MAX_INPUTS)),
        max_queue_tokens: None,
        shape_buckets: (!buckets.is_empty()).then(|| buckets.clone()),
        bucket_items: own.bucket_items,
    }
}

/// What edges are told.
fn info(files: &ModelFiles, interface: &Interface) -> ModelInfo {
    let manifest = &files.manifest;
    ModelInfo {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: files.digest,
        kind: model_kind(files, &interface.inputs, &interface.outputs),
        created: manifest.created,
        owned_by: manifest.owned_by.clone(),
    }
}
