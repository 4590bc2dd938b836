//! From the thread that writes to the task that reads, without either waiting for the other.
//!
//! What was not read yet is merged: one delta of all the text since. So a slow reader costs no more memory
//! than the text itself, which the model's longest answer bounds, and no token waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brink_protocol::generate::{Delta, FinishReason, GenerateEvent, Usage};
use brink_protocol::{Fault, FaultCode};
use tokio::sync::Notify;

/// Makes both ends.
pub(super) fn outbox() -> (Writer, Reader) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        changed: Notify::new(),
    });
    let reader = Reader(Arc::clone(&shared));
    (Writer(shared), reader)
}

#[derive(Debug)]
struct Shared {
    /// Held to add or to take an event, by one thread on either side.
    state: Mutex<State>,
    /// Told when there is something to read.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    started: Option<u32>,
    delta: Option<Delta>,
    end: Option<End>,
    /// The end was read, or is not wanted.
    is_read: bool,
    /// The model's time so far.
    cost: Duration,
}

#[derive(Debug)]
enum End {
    Finished(FinishReason, Usage),
    Failed(Fault),
}

/// The writing end. Dropping it without an end tells the reader that the text was lost.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

/// The reading end. Dropping it tells the writer that nobody wants the text.
#[derive(Debug)]
pub(super) struct Reader(Arc<Shared>);

impl Shared {
    /// Nothing is left half done under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }
}

impl Writer {
    /// The prompt is read.
    pub(super) fn start(&self, prompt_tokens: u32) {
        self.0.change(|state| state.started = Some(prompt_tokens));
    }

    /// More text.
    pub(super) fn write(&self, more: Delta) {
        self.0.change(|state| match &mut state.delta {
            None => state.delta = Some(more),
            Some(delta) => delta.append(&more),
        });
    }

    /// The end.
    pub(super) fn finish(self, reason: FinishReason, usage: Usage) {
        self.0
            .change(|state| state.end = Some(End::Finished(reason, usage)));
    }

    /// The end, before its time.
    pub(super) fn fail(self, fault: Fault) {
        self.0.change(|state| state.end = Some(End::Failed(fault)));
    }

    /// The model's time for it.
    pub(super) fn cost(&self, cost: Duration) {
        self.0.lock().cost += cost;
    }

    /// Whether nobody reads any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.lock().is_read
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.change(|state| {
            let lost = || {
                End::Failed(Fault {
                    code: FaultCode::Overloaded,
                    message: "the model was unloaded, or its thread ended".to_owned(),
                    item: None,
                    retry_after_ms: Some(1_000),
                })
            };
            state.end.get_or_insert_with(lost);
        });
    }
}

impl Reader {
    /// The next event; `None` after the last one. Nothing is lost if this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<GenerateEvent> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(event) = state.take() {
                    return Some(event);
                }
                if state.is_read {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// The model's time so far.
    pub(super) fn cost(&self) -> Duration {
        self.0.lock().cost
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.lock().is_read = true;
    }
}

impl State {
    fn take(&mut self) -> Option<GenerateEvent> {
        if let Some(prompt_tokens) = self.started.take() {
            return Some(GenerateEvent::Started {
                prompt_tokens,
                is_shared: false,
            });
        }
        if let Some(delta) = self.delta.take() {
            return Some(GenerateEvent::Delta(delta));
        }
        if self.is_read {
            return None;
        }
        let end = self.end.take()?;
        self.is_read = true;
        Some(match end {
            End::Finished(reason, usage) => GenerateEvent::Finished { reason, usage },
            End::Failed(fault) => GenerateEvent::Failed(fault),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(text: &str) -> Delta {
        Delta {
            text: text.to_owned(),
            tokens: 1,
            logprobs: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_was_not_read_is_merged_and_comes_in_order() {
        let (writer, mut reader) = outbox();
        writer.start(3);
        writer.write(delta("a"));
        writer.write(delta("b"));
        writer.finish(FinishReason::Stop, Usage::default());
        let started = GenerateEvent::Started {
            prompt_tokens: 3,
            is_shared: false,
        };
        assert_eq!(reader.next().await, Some(started));
        let merged = Delta {
            tokens: 2,
            ..delta("ab")
        };
        assert_eq!(reader.next().await, Some(GenerateEvent::Delta(merged)));
        assert!(matches!(
            reader.next().await,
            Some(GenerateEvent::Finished { .. })
        ));
        assert_eq!(reader.next().await, None);
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn reader_is_woken_and_told_when_the_writer_is_gone() {
        let (writer, mut reader) = outbox();
        let read = tokio::spawn(async move { (reader.next().await, reader.next().await) });
        tokio::task::yield_now().await;
        drop(writer);
        let (event, end) = read.await.expect("no panic");
        assert!(matches!(event, Some(GenerateEvent::Failed(_))), "{event:?}");
        assert_eq!(end, None);
    }

    #[test]
    fn writer_sees_that_nobody_reads() {
        let (writer, reader) = outbox();
        assert!(!writer.is_abandoned());
        drop(reader);
        assert!(writer.is_abandoned());
    }
}
