//! Texts that are kept under an id, for readers who lost their connection.
//!
//! A text is kept while somebody reads it and for a set time after the last reader has left, whether or not it is at its
//! end. Here are only names of texts: what is kept of one that is gone is some hundred bytes, until room is needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use brink_protocol::generate::unknown_stream;
use brink_protocol::{Fault, FaultCode};

use crate::generate::{Reader, Transcript};

/// All kept texts of a service.
#[derive(Debug)]
pub(super) struct KeptTexts {
    limits: KeptLimits,
    by_id: Mutex<HashMap<String, Kept>>,
}

/// How many texts are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLimits {
    /// Most texts. Default: 1,024.
    pub max: usize,
    /// Time after the last reader has left. Default: one minute.
    pub time: Duration,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self {
            max: 1024,
            time: Duration::from_secs(60),
        }
    }
}

#[derive(Debug)]
struct Kept {
    tenant: String,
    text: Weak<Transcript>,
}

impl KeptTexts {
    pub(super) fn new(limits: KeptLimits) -> Self {
        Self {
            limits,
            by_id: Mutex::default(),
        }
    }

    /// Keeps a text of that tenant, and gives its id.
    pub(super) fn keep(&self, tenant: &str, text: &Arc<Transcript>) -> Result<String, Fault> {
        let mut by_id = self.lock();
        if by_id.len() >= self.limits.max {
            by_id.retain(|_, kept| kept.text.strong_count() > 0);
        }
        if by_id.len() >= self.limits.max {
            return Err(full(self.limits.max));
        }
        let id = new_id()?;
        let kept = Kept {
            tenant: tenant.to_owned(),
            text: Arc::downgrade(text),
        };
        by_id.insert(id.clone(), kept);
        text.keep_for(self.limits.time);
        Ok(id)
    }

    /// Reads a text of that tenant from a byte of it.
    pub(super) fn read(&self, tenant: &str, id: &str, from: u64) -> Result<Reader, Fault> {
        let text = self.find(tenant, id)?;
        let reader = usize::try_from(from).ok().and_then(|from| text.read(from));
        reader.ok_or_else(|| Fault {
            code: FaultCode::BadRequest,
            message: format!("the cursor {from} is no place in the text"),
            item: None,
            retry_after_ms: None,
        })
    }

    /// Gives a text of that tenant up, unless others read it.
    pub(super) fn give_up(&self, tenant: &str, id: &str) -> Result<(), Fault> {
        let text = self.find(tenant, id)?;
        // Who comes second finds nothing: a promise is taken back once.
        if self.lock().remove(id).is_some() {
            text.give_up();
        }
        Ok(())
    }

    fn find(&self, tenant: &str, id: &str) -> Result<Arc<Transcript>, Fault> {
        let by_id = self.lock();
        let kept = by_id.get(id).filter(|kept| kept.tenant == tenant);
        kept.and_then(|kept| kept.text.upgrade())
            .ok_or_else(unknown_stream)
    }

    /// Every entry is whole, whatever its holder was doing.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 128 bits of the system's randomness: whoever may ask without a key can read what is kept under an id.
fn new_id() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault {
        code: FaultCode::Overloaded,
        message: format!("the system gives no random numbers: {error}"),
        item: None,
        retry_after_ms: Some(1_000),
    })?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

fn full(max: usize) -> Fault {
    Fault {
        code: FaultCode::Overloaded,
        message: format!("{max} texts are kept already (generate.max_kept)"),
        item: None,
        retry_after_ms: Some(1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(max: usize) -> KeptTexts {
        KeptTexts::new(KeptLimits {
            max,
            ..KeptLimits::default()
        })
    }

    #[test]
    fn a_text_is_its_tenants_alone() {
        let kept = kept(8);
        let text = Transcript::new();
        let id = kept.keep("a", &text).expect("room");
        assert!(kept.read("a", &id, 0).is_ok());
        assert_eq!(kept.read("b", &id, 0).map(|_| ()), Err(unknown_stream()));
        assert_eq!(kept.give_up("b", &id), Err(unknown_stream()));
        let beyond = kept
            .read("a", &id, 9)
            .map(|_| ())
            .expect_err("no such place");
        assert_eq!(beyond.code, FaultCode::BadRequest);
        assert_eq!(kept.give_up("a", &id), Ok(()));
        assert_eq!(kept.give_up("a", &id), Err(unknown_stream()));
    }

    #[test]
    fn texts_that_are_gone_make_room() {
        let kept = kept(2);
        let (one, two) = (Transcript::new(), Transcript::new());
        let id = kept.keep("a", &one).expect("room");
        kept.keep("a", &two).expect("room");
        let refused = kept.keep("a", &two).expect_err("it is full");
        assert!(refused.message.contains("2 texts"), "{}", refused.message);
        drop(one);
        kept.keep("a", &two).expect("room again");
        assert_eq!(kept.read("a", &id, 0).map(|_| ()), Err(unknown_stream()));
    }
}
