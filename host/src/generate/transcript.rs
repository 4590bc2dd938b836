//! A text that many read while it is written, each from where it stands.
//!
//! ```text
//!  writer --add--> Transcript (all of it so far) <--next-- Reader (a place in it), as often as there are readers
//! ```
//!
//! A reader that comes late gets what there is, then what follows. What a reader has not read yet is one event, as
//! everywhere; so readers cost a place each, and the text is there once. The writer goes on as long as somebody
//! reads, or might come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brink_protocol::Fault;
use brink_protocol::generate::{Delta, FinishReason, GenerateEvent, Usage};
use tokio::sync::watch;

/// All of a text so far, and who reads it.
#[derive(Debug)]
pub struct Transcript {
    /// Held to add or to copy a piece; nothing is left half done under it.
    text: Mutex<Text>,
    /// Counts changes of the text, for readers that wait.
    written: watch::Sender<u64>,
    /// Who reads, for the writer.
    audience: watch::Sender<Audience>,
}

#[derive(Debug, Default)]
struct Text {
    /// Whether the writer could begin.
    begun: Option<Result<(), Fault>>,
    prompt_tokens: Option<u32>,
    all: Delta,
    end: Option<End>,
}

#[derive(Clone, Debug)]
enum End {
    Finished(FinishReason, Usage),
    Failed(Fault),
}

#[derive(Clone, Copy, Debug, Default)]
struct Audience {
    readers: usize,
    /// Promises that the text is kept for those who come back.
    promises: usize,
    /// For how long, once the last reader has left.
    linger: Duration,
}

impl Audience {
    fn linger(&self) -> Duration {
        match self.promises {
            0 => Duration::ZERO,
            _ => self.linger,
        }
    }
}

impl Transcript {
    /// Nothing is written yet, and nobody reads.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            text: Mutex::default(),
            written: watch::Sender::new(0),
            audience: watch::Sender::default(),
        })
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Text)) {
        change(&mut self.text());
        self.written.send_modify(|changes| *changes += 1);
    }

    /// Tells readers whether there will be a text.
    pub fn begin(&self, begun: Result<(), Fault>) {
        self.change(|text| {
            if let Err(fault) = &begun {
                text.end = Some(End::Failed(fault.clone()));
            }
            text.begun.get_or_insert(begun);
        });
    }

    /// Adds an event.
    pub fn add(&self, event: GenerateEvent) {
        self.change(|text| match event {
            GenerateEvent::Started { prompt_tokens, .. } => {
                text.prompt_tokens = Some(prompt_tokens)
            }
            GenerateEvent::Delta(more) => text.all.append(&more),
            GenerateEvent::Kept { .. } | GenerateEvent::Idle => {}
            GenerateEvent::Finished { reason, usage } => {
                text.end.get_or_insert(End::Finished(reason, usage));
            }
            GenerateEvent::Failed(fault) => {
                text.end.get_or_insert(End::Failed(fault));
            }
        });
    }

    /// Whether it failed; such a text is of no use to others.
    pub fn has_failed(&self) -> bool {
        matches!(self.text().end, Some(End::Failed(_)))
    }

    /// Promises to keep the text for so long after the last reader has left, at least.
    pub fn keep_for(&self, time: Duration) {
        self.audience.send_modify(|audience| {
            audience.promises += 1;
            audience.linger = audience.linger.max(time);
        });
    }

    /// Takes a promise back.
    pub fn give_up(&self) {
        self.audience.send_modify(|audience| {
            audience.promises = audience.promises.saturating_sub(1);
        });
    }

    /// Returns when nobody reads, and nobody has come back for as long as readers may.
    pub async fn abandoned(&self) {
        let mut audience = self.audience.subscribe();
        loop {
            // The sender is `self`, so it cannot be gone.
            let linger = match audience.wait_for(|audience| audience.readers == 0).await {
                Ok(audience) => audience.linger(),
                Err(_) => return,
            };
            // Also when a promise is taken back, or one more is made: the time is another one then.
            let other =
                audience.wait_for(|audience| audience.readers > 0 || audience.linger() != linger);
            if tokio::time::timeout(linger, other).await.is_err() {
                return;
            }
        }
    }

    /// Reads from the byte `from` of the text; `None` if no character begins there, or the text is shorter.
    pub fn read(self: &Arc<Self>, from: usize) -> Option<Reader> {
        if from > 0 && !self.text().all.text.is_char_boundary(from) {
            return None;
        }
        self.audience.send_modify(|audience| audience.readers += 1);
        Some(Reader {
            written: self.written.subscribe(),
            place: Place {
                bytes: from,
                ..Place::default()
            },
            is_shared: false,
            transcript: Arc::clone(self),
        })
    }
}

/// Reads a transcript. Dropping it tells the writer.
#[derive(Debug)]
pub struct Reader {
    transcript: Arc<Transcript>,
    written: watch::Receiver<u64>,
    place: Place,
    /// Whether the text was asked for before.
    is_shared: bool,
}

/// What was read of a text.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    has_started: bool,
    bytes: usize,
    tokens: u32,
    logprobs: usize,
    is_at_end: bool,
}

impl Reader {
    /// Tells what it reads that somebody else had asked for it before.
    pub fn joins(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Waits until the writer has begun.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn begun(&mut self) -> Result<(), Fault> {
        loop {
            self.written.mark_unchanged();
            if let Some(begun) = self.transcript.text().begun.clone() {
                return begun;
            }
            self.changed().await;
        }
    }

    /// The next event; `None` after the last. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<GenerateEvent> {
        loop {
            self.written.mark_unchanged();
            if let Some(event) = self.take() {
                return Some(event);
            }
            if self.place.is_at_end {
                return None;
            }
            self.changed().await;
        }
    }

    /// Bytes of the text that were read.
    pub fn place(&self) -> usize {
        self.place.bytes
    }

    async fn changed(&mut self) {
        // The sender is in the transcript, which this holds.
        let _ = self.written.changed().await;
    }

    fn take(&mut self) -> Option<GenerateEvent> {
        let text = self.transcript.text();
        let place = &mut self.place;
        if !place.has_started
            && let Some(prompt_tokens) = text.prompt_tokens
        {
            place.has_started = true;
            return Some(GenerateEvent::Started {
                prompt_tokens,
                is_shared: self.is_shared,
            });
        }
        let all = &text.all;
        let has_more = all.tokens > place.tokens || all.text.len() > place.bytes;
        if has_more {
            let more = Delta {
                // A place beyond the text would be a defect; nothing is the best that could be told then.
                text: all.text.get(place.bytes..).unwrap_or_default().to_owned(),
                tokens: all.tokens - place.tokens,
                logprobs: all
                    .logprobs
                    .get(place.logprobs..)
                    .unwrap_or_default()
                    .to_vec(),
            };
            place.bytes = all.text.len();
            place.tokens = all.tokens;
            place.logprobs = all.logprobs.len();
            return Some(GenerateEvent::Delta(more));
        }
        if place.is_at_end {
            return None;
        }
        let end = text.end.clone()?;
        place.is_at_end = true;
        Some(match end {
            End::Finished(reason, usage) => GenerateEvent::Finished { reason, usage },
            End::Failed(fault) => GenerateEvent::Failed(fault),
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let audience = &self.transcript.audience;
        audience.send_modify(|audience| audience.readers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(text: &str) -> GenerateEvent {
        GenerateEvent::Delta(Delta {
            text: text.to_owned(),
            tokens: 1,
            logprobs: Vec::new(),
        })
    }

    fn finished() -> GenerateEvent {
        GenerateEvent::Finished {
            reason: FinishReason::Stop,
            usage: Usage::default(),
        }
    }

    fn text_of(event: Option<GenerateEvent>) -> String {
        match event {
            Some(GenerateEvent::Delta(delta)) => delta.text,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_late_reader_gets_what_there_is_and_what_follows() {
        let transcript = Transcript::new();
        let mut first = transcript.read(0).expect("a place");
        transcript.begin(Ok(()));
        transcript.add(GenerateEvent::Started {
            prompt_tokens: 3,
            is_shared: false,
        });
        transcript.add(delta("a"));
        let started = |is_shared| GenerateEvent::Started {
            prompt_tokens: 3,
            is_shared,
        };
        assert_eq!(first.begun().await, Ok(()));
        assert_eq!(first.next().await, Some(started(false)));
        assert_eq!(text_of(first.next().await), "a");
        transcript.add(delta("b"));
        let mut late = transcript.read(0).expect("a place").joins();
        assert_eq!(late.next().await, Some(started(true)));
        assert_eq!(text_of(late.next().await), "ab");
        transcript.add(delta("c"));
        transcript.add(finished());
        assert_eq!(text_of(first.next().await), "bc");
        assert_eq!(text_of(late.next().await), "c");
        assert_eq!(late.next().await, Some(finished()));
        assert_eq!(late.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_goes_on_from_a_place() {
        let transcript = Transcript::new();
        transcript.add(delta("aé"));
        transcript.add(finished());
        let mut reader = transcript.read(1).expect("a place");
        assert_eq!(text_of(reader.next().await), "é");
        assert!(transcript.read(2).is_none(), "within a character");
        assert!(transcript.read(9).is_none(), "behind the text");
    }

    #[tokio::test]
    async fn a_text_that_cannot_begin_is_refused_to_all() {
        let fault = Fault {
            code: brink_protocol::FaultCode::Overloaded,
            message: "full".to_owned(),
            item: None,
            retry_after_ms: Some(1),
        };
        let transcript = Transcript::new();
        let mut waits = transcript.read(0).expect("a place");
        let told = tokio::spawn(async move { waits.begun().await });
        tokio::task::yield_now().await;
        transcript.begin(Err(fault.clone()));
        assert_eq!(told.await.expect("no panic"), Err(fault));
        assert!(transcript.has_failed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_writer_goes_on_while_somebody_reads_or_may_come_back() {
        let transcript = Transcript::new();
        let reader = transcript.read(0).expect("a place");
        let abandoned = {
            let transcript = Arc::clone(&transcript);
            tokio::spawn(async move { transcript.abandoned().await })
        };
        let other = transcript.read(0).expect("a place");
        drop(reader);
        tokio::task::yield_now().await;
        assert!(!abandoned.is_finished());
        transcript.keep_for(Duration::from_secs(60));
        drop(other);
        tokio::time::advance(Duration::from_secs(59)).await;
        let back = transcript.read(0).expect("a place");
        tokio::time::advance(Duration::from_secs(600)).await;
        assert!(!abandoned.is_finished());
        drop(back);
        tokio::time::advance(Duration::from_secs(61)).await;
        abandoned.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_promise_that_is_taken_back_keeps_nothing() {
        let transcript = Transcript::new();
        transcript.keep_for(Duration::from_secs(60));
        let began = tokio::time::Instant::now();
        let abandoned = {
            let transcript = Arc::clone(&transcript);
            tokio::spawn(async move { transcript.abandoned().await })
        };
        tokio::task::yield_now().await;
        transcript.give_up();
        abandoned.await.expect("no panic");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
