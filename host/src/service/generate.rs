//! One call for a text: read the prompt, wait for a slot, pass on what is written.

use std::sync::Arc;
use std::time::Duration;

use brink_protocol::generate::{GenerateEvent, GenerateRequest, StreamAsk, StreamRequest};
use brink_protocol::{Fault, FaultCode};
use tokio::time::Instant;

use super::active::ActiveCall;
use super::error::InferError;
use super::model::Model;
use super::share::{Admitted, Taken};
use super::texts::Part;
use super::{InferService, call_fault, draining};
use crate::generate::{
    Answer, Generator, PacedAt, PacedText, ReadPrompt, Reader, Submission, Transcript,
};

/// A text while it is written, as one call reads it. Dropping it gives the text up, unless others read it.
#[derive(Debug)]
pub struct GenerateStream {
    source: Source,
    pace: Telling,
    /// Under which id it is kept, until that is told.
    kept: Option<String>,
    /// Counts towards what the tenant may have in flight.
    _admitted: Option<Admitted>,
    _active: ActiveCall,
}

#[derive(Debug)]
enum Source {
    Own(OwnText),
    Shared(Reader),
    /// For benchmarks.
    Paced(PacedText),
}

/// When events are told.
#[derive(Clone, Copy, Debug)]
struct Telling {
    /// After so long without an event there is one that says so.
    heartbeat: Option<Duration>,
    /// Least time between two pieces of text.
    gap: Duration,
    /// Before this, what is written is gathered.
    not_before: Instant,
}

/// A text that belongs to one call or task. Dropping it gives the text up: its place in the queue or its slot is free
/// before the model's next step.
#[derive(Debug)]
pub(super) struct OwnText {
    answer: Answer,
    /// Keeps the model in memory.
    _model: Arc<Model>,
    /// What the tenant pays with.
    taken: Option<Arc<Taken>>,
    _active: ActiveCall,
}

impl OwnText {
    pub(super) async fn next(&mut self) -> Option<GenerateEvent> {
        self.answer.next().await
    }
}

impl Drop for OwnText {
    fn drop(&mut self) {
        if let Some(taken) = &self.taken {
            taken.spend(self.answer.cost());
        }
    }
}

impl GenerateStream {
    /// The next event; `None` after the last. What happened since the one before is one event. Nothing is lost
    /// if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<GenerateEvent> {
        if let Some(id) = self.kept.take() {
            return Some(GenerateEvent::Kept { id });
        }
        tokio::time::sleep_until(self.pace.not_before).await;
        let next = async {
            match &mut self.source {
                Source::Own(text) => text.next().await,
                Source::Shared(reader) => reader.next().await,
                Source::Paced(text) => text.next().await,
            }
        };
        let event = match self.pace.heartbeat {
            None => next.await,
            Some(heartbeat) => match tokio::time::timeout(heartbeat, next).await {
                Ok(event) => event,
                Err(_) => return Some(GenerateEvent::Idle),
            },
        };
        if matches!(event, Some(GenerateEvent::Delta(_))) {
            self.pace.not_before = Instant::now() + self.pace.gap;
        }
        event
    }
}

impl InferService {
    /// A text that a model writes, as it is written. A call that shares its text may join one that is written
    /// already.
    ///
    /// # Errors
    /// When it cannot begin: what is asked for is not possible, or too much is going on. Later failures are the
    /// stream's last event.
    pub async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream, Fault> {
        let service = &self.0;
        let active = service.calls.enter().ok_or_else(draining)?;
        request.validate()?;
        // First, so that a tenant beyond its limits brings no model into memory.
        let share = request.share.as_ref();
        let admitted = share.map(|share| service.shares.admit(share)).transpose()?;
        let taken = admitted.as_ref().map(Admitted::taken);
        let mut pace = self.pace(request.heartbeat_ms);
        if service.config.paced
            && let Some(wanted) = PacedAt::wanted(&request.prompt)
        {
            let wanted = wanted.map_err(|wrong| call_fault(FaultCode::BadRequest, wrong))?;
            if wanted.sends_every() {
                pace.gap = Duration::ZERO;
            }
            return Ok(GenerateStream {
                source: Source::Paced(PacedText::new(wanted)),
                pace,
                kept: None,
                _admitted: admitted,
                _active: active,
            });
        }
        let part = match (request.sharing_key(), request.keep) {
            (None, false) => None,
            (None, true) => Some(service.texts.alone()),
            (Some(key), _) => Some(service.texts.join(key)),
        };
        let (source, kept) = match part {
            None => (Source::Own(self.begin(request, taken).await?), None),
            Some(part) => {
                let (reader, kept) = self.take_part(part, request, taken).await?;
                (Source::Shared(reader), kept)
            }
        };
        Ok(GenerateStream {
            source,
            pace,
            kept,
            _admitted: admitted,
            _active: active,
        })
    }

    /// Goes on with a text that is kept.
    ///
    /// # Errors
    /// When there is no such text of this tenant, or no such place in it.
    pub fn read_kept(&self, request: StreamRequest) -> Result<Option<GenerateStream>, Fault> {
        let service = &self.0;
        let active = service.calls.enter().ok_or_else(draining)?;
        request.validate()?;
        let StreamRequest { tenant, id, .. } = request;
        match request.ask {
            StreamAsk::GiveUp => service.kept.give_up(&tenant, &id).map(|()| None),
            StreamAsk::Read { from, heartbeat_ms } => Ok(Some(GenerateStream {
                source: Source::Shared(service.kept.read(&tenant, &id, from)?),
                pace: self.pace(heartbeat_ms),
                kept: Some(id),
                _admitted: None,
                _active: active,
            })),
        }
    }

    fn pace(&self, heartbeat_ms: u32) -> Telling {
        Telling {
            heartbeat: (heartbeat_ms > 0).then(|| Duration::from_millis(heartbeat_ms.into())),
            gap: self.0.config.text_gap,
            not_before: Instant::now(),
        }
    }

    /// Reads a text that is written in a task of its own, and begins that if it is this call's duty. Gives the id
    /// under which it is kept, if it is.
    async fn take_part(
        &self,
        part: Part,
        request: GenerateRequest,
        taken: Option<Arc<Taken>>,
    ) -> Result<(Reader, Option<String>), Fault> {
        let keep = |text: &Arc<Transcript>| {
            let wanted = request
                .keep
                .then(|| self.0.kept.keep(&request.tenant, text));
            wanted.transpose()
        };
        let (mut reader, kept) = match part {
            Part::Reader(text, reader) => (reader, keep(&text)?),
            Part::Writer(duty, reader) => {
                let kept = keep(duty.transcript())?;
                let service = self.clone();
                tokio::spawn(duty.fulfil(async move { service.begin(request, taken).await }));
                (reader, kept)
            }
        };
        reader.begun().await?;
        Ok((reader, kept))
    }

    /// Puts a text into the queue of its model.
    async fn begin(
        &self,
        request: GenerateRequest,
        taken: Option<Arc<Taken>>,
    ) -> Result<OwnText, Fault> {
        let arrived = Instant::now();
        let service = &self.0;
        let active = service.calls.enter().ok_or_else(draining)?;
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
        Ok(OwnText {
            answer,
            _model: model,
            taken,
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
