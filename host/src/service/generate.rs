//! One call for a text: read the prompt, wait for a slot, pass on what is written.

use std::sync::Arc;
use std::time::Duration;

use brink_protocol::generate::{GenerateEvent, GenerateRequest};
use brink_protocol::{Fault, FaultCode};
use tokio::time::Instant;

use super::active::ActiveCall;
use super::error::InferError;
use super::model::Model;
use super::share::Admitted;
use super::{InferService, call_fault, draining};
use crate::generate::{Answer, Generator, ReadPrompt, Submission};

/// A text while it is written. Dropping it gives the text up: its place in the queue or its slot is free before
/// the model's next step.
#[derive(Debug)]
pub struct GenerateStream {
    answer: Answer,
    /// Keeps the model in memory.
    _model: Arc<Model>,
    /// What the tenant pays with.
    admitted: Option<Admitted>,
    _active: ActiveCall,
}

impl GenerateStream {
    /// The next event; `None` after the last. What happened since the one before is one event. Nothing is lost
    /// if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<GenerateEvent> {
        self.answer.next().await
    }
}

impl Drop for GenerateStream {
    fn drop(&mut self) {
        if let Some(admitted) = &self.admitted {
            admitted.taken().spend(self.answer.cost());
        }
    }
}

impl InferService {
    /// A text that a model writes, as it is written.
    ///
    /// # Errors
    /// When it cannot begin: what is asked for is not possible, or too much is going on. Later failures are the
    /// stream's last event.
    pub async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream, Fault> {
        let arrived = Instant::now();
        let service = &self.0;
        let active = service.calls.enter().ok_or_else(draining)?;
        request.validate()?;
        // First, so that a tenant beyond its limits brings no model into memory.
        let share = request.share.as_ref();
        let admitted = share.map(|share| service.shares.admit(share)).transpose()?;
        let timeout = Duration::from_millis(request.timeout_ms.into());
        let load_by = arrived + timeout.min(service.config.max_timeout);
        let repository = &service.repository;
        let model = repository.acquire(&request.model, &request.digest, load_by);
        let model = model.await?;
        let generator = generator(&model)?;
        let deadline = arrived + timeout.min(generator.max_timeout());
        let (prompt, request) = self.read_prompt(&model, request).await?;
        let answer = generator.submit(Submission {
            tenant: request.tenant.as_str().into(),
            urgency: request.urgency,
            prompt,
            sampling: request.sampling,
            arrived,
            deadline,
        })?;
        Ok(GenerateStream {
            answer,
            _model: model,
            admitted,
            _active: active,
        })
    }

    /// Reads a prompt on a thread that may wait.
    async fn read_prompt(
        &self,
        model: &Arc<Model>,
        request: GenerateRequest,
    ) -> Result<(ReadPrompt, GenerateRequest), Fault> {
        let permit = Arc::clone(&self.0.reading).acquire_owned().await;
        let (model, prompts) = (Arc::clone(model), generator(model)?.prompts());
        let read = move || {
            // Given back when the work is done, also if the caller is gone.
            let _permit = permit;
            let tokenizer = model.reader.tokenizer().ok_or_else(|| no_text(&model))?;
            let most = request.sampling.max_tokens;
            let prompt = prompts.read(tokenizer, &request.prompt, most)?;
            Ok((prompt, request))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|_| Err(InferError::Lost.into_fault(None)))
    }
}

fn generator(model: &Model) -> Result<Arc<Generator>, Fault> {
    let generator = model.pool.texts().cloned();
    generator.ok_or_else(|| no_text(model))
}

fn no_text(model: &Model) -> Fault {
    let info = &model.info;
    let message = format!(
        "model {} writes no text: its task is {}",
        info.name,
        info.task().name()
    );
    call_fault(FaultCode::BadRequest, message)
}
