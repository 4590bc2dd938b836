//! Texts that are missing: the calls for them, and the stream that they become.

use std::time::Duration;

use brink_cache::{Outcome, UnixSeconds};
use brink_protocol::generate::{
    Choice, Gathering, GenerateEvent, GenerateRequest, Sampling, Written,
};
use brink_protocol::{Fault, InferAnswer, InferredItem, Input, Timings};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::resolved::Resolved;
use crate::error::ApiError;
use crate::forms::text::write::{Preface, StreamWriter};
use crate::forms::text::{Api, Texts};

/// How long texts are waited for.
#[derive(Clone, Copy, Debug)]
pub struct TextWaits {
    /// For the last token.
    pub timeout: Duration,
    /// After how long without a token the host says that it is still there.
    pub heartbeat: Duration,
}

impl Resolved {
    /// How texts are made, if these are texts.
    pub(crate) fn texts(&self) -> Option<&Texts> {
        self.plan.request.form.texts()
    }

    /// Whether one text is missing and nothing else is asked for.
    pub(crate) fn is_one_text(&self) -> bool {
        self.texts().is_some() && self.items.len() == 1
    }

    /// One call for each text that is missing.
    pub(crate) fn text_calls(&self, request_id: &str, waits: TextWaits) -> Vec<GenerateRequest> {
        let plan = &self.plan;
        let Some(texts) = self.texts() else {
            return Vec::new();
        };
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let choices =
            self.missing()
                .filter_map(|(_, distinct)| match &plan.request.inputs[distinct.first] {
                    Input::Blob(choice) => Choice::decode(choice),
                    _ => None,
                });
        let call = |choice: Choice| {
            let sampling: Sampling = texts.sampling(&choice);
            GenerateRequest {
                request_id: request_id.to_owned(),
                tenant: plan.ruling.tenant().to_owned(),
                urgency: plan.ruling.urgency(),
                model: plan.request.model.clone(),
                digest: plan.model.model().digest,
                timeout_ms: millis(waits.timeout),
                share: plan.ruling.share(),
                // Whoever wants nothing stored, or nothing that is stored, gets a text of its own.
                sharing: (plan.may_look_up() && plan.may_store()).then(|| plan.ruling.scope()),
                keep: texts.api == Api::Stream,
                heartbeat_ms: millis(waits.heartbeat),
                prompt: choice.prompt,
                sampling,
            }
        };
        choices.map(call).collect()
    }

    /// The stream that these texts become, where they are asked for as one. Nothing is written yet.
    pub(crate) fn streaming(&self, now: UnixSeconds) -> Option<Streaming> {
        let texts = self.texts().filter(|texts| texts.is_streamed)?;
        let known = self.items.iter().flatten().map(|hit| hit.created).min();
        let preface = Preface {
            id: &texts.id,
            created: known.unwrap_or(now),
            model: self.plan.model.model(),
        };
        let mut streaming = Streaming {
            writer: StreamWriter::new(texts, &preface),
            known: Vec::new(),
            coming: Vec::new(),
        };
        for (place, item) in self.items.iter().enumerate() {
            let choices = self.plan.place_of.iter().enumerate();
            let choices = choices
                .filter(|(_, of)| **of == place)
                .map(|(index, _)| index);
            match item {
                Ok(hit) => {
                    let text = Written::decode(&hit.output);
                    streaming
                        .known
                        .extend(choices.flat_map(|index| Some((index, text.clone()?))));
                }
                Err(_) => streaming.coming.push(Coming {
                    choices: choices.collect(),
                    gathering: Gathering::default(),
                    item: None,
                    is_shared: false,
                }),
            }
        }
        Some(streaming)
    }
}

/// Texts on their way to a client.
#[derive(Debug, Serialize, Deserialize)]
pub struct Streaming {
    writer: StreamWriter,
    /// Those that were stored, and which choices they are.
    known: Vec<(usize, Written)>,
    /// Those that are written now, in the order of their calls.
    coming: Vec<Coming>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Coming {
    /// The choices that it is.
    choices: Vec<usize>,
    gathering: Gathering,
    /// Once it is whole.
    item: Option<InferredItem>,
    is_shared: bool,
}

/// How a stream stands after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// More will come.
    Open,
    /// All texts are whole, and the end is written.
    Complete,
    /// A text failed, and that is written as the end.
    Failed,
}

impl Streaming {
    /// Appends what is there already.
    pub fn begin(&mut self, out: &mut String) {
        for (index, text) in std::mem::take(&mut self.known) {
            for event in text.into_events() {
                self.writer.event(index, &event, out);
            }
        }
    }

    /// Appends an event of the text that the `call`-th call is for.
    pub fn event(&mut self, call: usize, event: &GenerateEvent, out: &mut String) -> Progress {
        let Some(coming) = self.coming.get_mut(call) else {
            return Progress::Open;
        };
        if matches!(event, GenerateEvent::Idle) {
            self.writer.event(0, event, out);
            return Progress::Open;
        }
        if let GenerateEvent::Failed(fault) = event {
            self.writer
                .fail(&ApiError::from_fault(fault.clone(), None), out);
            return Progress::Failed;
        }
        for index in &coming.choices {
            self.writer.event(*index, event, out);
        }
        coming.take(event);
        if self.coming.iter().any(|coming| coming.item.is_none()) {
            return Progress::Open;
        }
        self.writer.end(out);
        Progress::Complete
    }

    /// What was written, once it is complete.
    pub fn into_answer(self) -> InferAnswer {
        answer(self.coming.into_iter().filter_map(|coming| coming.item))
    }
}

impl Coming {
    fn take(&mut self, event: &GenerateEvent) {
        if let GenerateEvent::Started { is_shared, .. } = event {
            self.is_shared = *is_shared;
        }
        if let Some(text) = self.gathering.add(event) {
            self.item = Some(item(&text, self.is_shared));
        }
    }
}

/// A text that nobody watches while it is written.
#[derive(Debug)]
pub struct Gathered(Coming);

impl Default for Gathered {
    fn default() -> Self {
        Self(Coming {
            choices: Vec::new(),
            gathering: Gathering::default(),
            item: None,
            is_shared: false,
        })
    }
}

impl Gathered {
    /// Adds an event; gives the text, or why there is none, with the last one.
    pub fn add(&mut self, event: &GenerateEvent) -> Option<Result<InferredItem, Fault>> {
        if let GenerateEvent::Failed(fault) = event {
            return Some(Err(fault.clone()));
        }
        self.0.take(event);
        self.0.item.take().map(Ok)
    }
}

/// Texts as the results that they are.
pub fn answer(items: impl IntoIterator<Item = InferredItem>) -> InferAnswer {
    InferAnswer {
        items: items.into_iter().collect(),
        timings: Timings::default(),
        model_time: None,
    }
}

fn item(text: &Written, is_shared: bool) -> InferredItem {
    InferredItem {
        output: Bytes::from(text.encode()),
        tokens: text.usage.prompt_tokens,
        cost_us: text.usage.cost_us,
        outcome: match is_shared {
            true => Outcome::Collapsed,
            false => Outcome::Miss,
        },
    }
}
