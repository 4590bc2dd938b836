//! Keeps what a file says in force: puts its compiled form into the key-value store, where edges
//! read it, and does so again whenever the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brink_cache::{Policy, Tenants, policy, tenant};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{PolicyError, load, load_tenants};
use crate::guest::keyvalue::KeyValue;

/// How often a file is read. Edges read the store once a second as well, so a change is in force
/// everywhere within two seconds; reading a file of some kilobytes costs little.
const INTERVAL: Duration = Duration::from_millis(500);

/// What can be kept in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// A cache policy.
    Policy,
    /// The tenants and their API keys' hashes.
    Tenants,
}

/// The compiled form, and what a log says of it.
struct Compiled {
    bytes: Bytes,
    summary: String,
}

impl Document {
    fn store_key(self) -> &'static str {
        match self {
            Self::Policy => policy::STORE_KEY,
            Self::Tenants => tenant::STORE_KEY,
        }
    }

    fn compile(self, file: &Path) -> Result<Compiled, PolicyError> {
        Ok(match self {
            Self::Policy => Compiled::from(&load(file)?),
            Self::Tenants => Compiled::from(&load_tenants(file)?),
        })
    }
}

impl From<&Policy> for Compiled {
    fn from(policy: &Policy) -> Self {
        let (name, version) = (policy.name(), policy.version());
        let rules = policy.rules().len();
        Self {
            bytes: policy.encode().into(),
            summary: format!("the policy \"{name}\", version {version}, {rules} rule(s)"),
        }
    }
}

impl From<&Tenants> for Compiled {
    fn from(tenants: &Tenants) -> Self {
        let count = tenants.list().len();
        Self {
            bytes: tenants.encode().into(),
            summary: format!("{count} tenant(s)"),
        }
    }
}

/// A file and the store that follows it.
pub struct Follower {
    document: Document,
    file: PathBuf,
    store: Arc<dyn KeyValue>,
    compiled: Bytes,
    /// The last problem that was told, so that it is not told twice a second.
    told: Option<String>,
}

impl Follower {
    /// Reads the file and puts what it says into the store.
    ///
    /// # Errors
    /// When the file cannot be read, or has mistakes; then nothing is stored.
    pub fn start(
        document: Document,
        file: &Path,
        store: Arc<dyn KeyValue>,
    ) -> Result<Self, PolicyError> {
        let compiled = document.compile(file)?;
        let mut follower = Self {
            document,
            file: file.to_owned(),
            store,
            compiled: Bytes::new(),
            told: None,
        };
        follower.put_in_force(compiled);
        Ok(follower)
    }

    /// Follows the file until `drain` is cancelled.
    pub async fn follow(mut self, drain: CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while drain.run_until_cancelled(interval.tick()).await.is_some() {
            let (document, file) = (self.document, self.file.clone());
            match tokio::task::spawn_blocking(move || document.compile(&file)).await {
                Ok(Ok(compiled)) => self.put_in_force(compiled),
                Ok(Err(error)) => self.tell(&error),
                // The runtime is shutting down.
                Err(_) => return,
            }
        }
    }

    /// Stores the compiled form if the store has another one, or has lost it: a store in memory may
    /// evict what is not read for long.
    fn put_in_force(&mut self, compiled: Compiled) {
        let Compiled { bytes, summary } = compiled;
        let key = self.document.store_key();
        let is_new = bytes != self.compiled;
        if !is_new && matches!(self.store.get(key), Ok(Some(stored)) if stored == bytes) {
            self.told = None;
            return;
        }
        if let Err(error) = self.store.set(key, bytes.clone()) {
            self.tell_once(format!("it cannot be stored: {error}"));
            return;
        }
        self.told = None;
        if is_new {
            tracing::info!(file = %self.file.display(), "in force: {summary}");
            self.compiled = bytes;
        }
    }

    fn tell(&mut self, error: &PolicyError) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        self.tell_once(format!("{error}{}", cause.unwrap_or_default()));
    }

    fn tell_once(&mut self, problem: String) {
        if self.told.as_ref() != Some(&problem) {
            let file = self.file.display();
            tracing::error!(%problem, "{file} is not used; what it said before stays in force");
            self.told = Some(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::keyvalue::MemoryStore;

    const POLICY: &str = "version = 1\n[[rule]]\nname = \"a\"\nfresh = \"1m\"\n";

    fn stored(store: &MemoryStore) -> Option<Policy> {
        let bytes = store.get(policy::STORE_KEY).unwrap()?;
        Some(Policy::decode(&bytes).unwrap())
    }

    #[test]
    fn a_wrong_file_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        let store = Arc::new(MemoryStore::new(1 << 20));
        assert!(
            Follower::start(Document::Policy, &file, store.clone()).is_err(),
            "no file"
        );
        std::fs::write(&file, "version = 2").unwrap();
        assert!(Follower::start(Document::Policy, &file, store.clone()).is_err());
        assert_eq!(stored(&store), None);
    }

    #[tokio::test]
    async fn changes_are_followed_and_mistakes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, POLICY).unwrap();
        let store = Arc::new(MemoryStore::new(1 << 20));
        let follower = Follower::start(Document::Policy, &file, store.clone()).unwrap();
        let first = stored(&store).unwrap();
        let drain = CancellationToken::new();
        let task = tokio::spawn(follower.follow(drain.clone()));
        let until = async |condition: &dyn Fn() -> bool| {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };

        std::fs::write(
            &file,
            "version = 1\n[[rule]]\nname = \"b\"\nfresh = \"wrong\"\n",
        )
        .unwrap();
        store.delete(policy::STORE_KEY).unwrap();
        // A mistake puts nothing in force, so a mended file is what comes next.
        std::fs::write(&file, POLICY.replace("1m", "2m")).unwrap();
        until(&|| stored(&store).is_some_and(|policy| policy != first)).await;

        store.delete(policy::STORE_KEY).unwrap();
        until(&|| stored(&store).is_some()).await;
        drain.cancel();
        task.await.unwrap();
    }
}
