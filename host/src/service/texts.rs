//! Texts under way that more than one call may read: equal prompts in flight are one generation.
//!
//! The first call for a text starts a task that writes it, and reads it like everybody else. So a client that goes
//! away cancels nothing that others wait for; a text that nobody reads is given up at once, or after the time for
//! which it was to be kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use brink_cache::Key;
use brink_protocol::{Fault, GenerateEvent};

use super::generate::OwnText;
use crate::generate::{Reader, Transcript};

/// All texts under way that are shared, by what they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts(Arc<Mutex<HashMap<Key, Weak<Transcript>>>>);

/// A call's part in a text.
pub(super) enum Part {
    /// First: write it. The reader is this call's own.
    Writer(Duty, Reader),
    /// Somebody does already.
    Reader(Arc<Transcript>, Reader),
}

/// The duty to write a text. Dropping it unfulfilled tells the readers that there will be none.
pub(super) struct Duty {
    texts: Texts,
    /// `None` for a text that nobody else may read.
    key: Option<Key>,
    transcript: Arc<Transcript>,
}

impl Texts {
    /// Joins the text of that key, or begins it.
    pub(super) fn join(&self, key: Key) -> Part {
        let mut texts = self.lock();
        let known = texts.get(&key).and_then(Weak::upgrade);
        // One that failed is tried again.
        if let Some(transcript) = known.filter(|known| !known.has_failed())
            && let Some(reader) = transcript.read(0)
        {
            return Part::Reader(transcript, reader.joins());
        }
        let transcript = Transcript::new();
        texts.insert(key, Arc::downgrade(&transcript));
        drop(texts);
        self.begin(Some(key), transcript)
    }

    /// Begins a text of one's own.
    pub(super) fn alone(&self) -> Part {
        self.begin(None, Transcript::new())
    }

    fn begin(&self, key: Option<Key>, transcript: Arc<Transcript>) -> Part {
        let reader = transcript.read(0).expect("every text has a beginning");
        let duty = Duty {
            texts: self.clone(),
            key,
            transcript,
        };
        Part::Writer(duty, reader)
    }

    /// Every entry is whole, whatever its holder was doing.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Transcript>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Duty {
    /// The text, for whoever is to read it later.
    pub(super) fn transcript(&self) -> &Arc<Transcript> {
        &self.transcript
    }

    /// Writes the text that `begin` begins, until its end or until nobody reads it, and keeps it for as long as
    /// readers may come back.
    pub(super) async fn fulfil(self, begin: impl Future<Output = Result<OwnText, Fault>>) {
        let transcript = Arc::clone(&self.transcript);
        let abandoned = transcript.abandoned();
        tokio::pin!(abandoned);
        let begun = tokio::select! {
            begun = begin => begun,
            () = &mut abandoned => return,
        };
        let mut text = match begun {
            Ok(text) => text,
            Err(fault) => return transcript.begin(Err(fault)),
        };
        transcript.begin(Ok(()));
        loop {
            tokio::select! {
                event = text.next() => match event {
                    Some(event) => transcript.add(event),
                    None => break,
                },
                () = &mut abandoned => return,
            }
        }
        // The slot and the model are free; only the text is kept.
        drop(text);
        abandoned.await;
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let lost = || Fault {
            code: brink_protocol::FaultCode::Overloaded,
            message: "the text was given up".to_owned(),
            item: None,
            retry_after_ms: Some(1_000),
        };
        // Nothing happens to a text that has begun, or ended.
        self.transcript.begin(Err(lost()));
        self.transcript.add(GenerateEvent::Failed(lost()));
        if let Some(key) = &self.key {
            let mut texts = self.texts.lock();
            let own = Arc::downgrade(&self.transcript);
            if texts.get(key).is_some_and(|text| text.ptr_eq(&own)) {
                texts.remove(key);
            }
        }
    }
}
