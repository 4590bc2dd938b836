//! Keeps the policy of a file in force: puts it into the key-value store, where edges read it, and
//! does so again whenever the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brink_cache::Policy;
use brink_cache::policy::STORE_KEY;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{PolicyError, load};
use crate::guest::keyvalue::KeyValue;

/// How often the file is read. Edges read the store once a second as well, so a change is in force
/// everywhere after at most two of these; reading a file that is no larger than 256 KiB costs little.
const INTERVAL: Duration = Duration::from_millis(500);

/// A policy file and the store that follows it.
pub struct Follower {
    file: PathBuf,
    store: Arc<dyn KeyValue>,
    compiled: Bytes,
    /// The last problem that was told, so that it is not told twice a second.
    told: Option<String>,
}

impl Follower {
    /// Reads the file and puts its policy into the store.
    ///
    /// # Errors
    /// When the file cannot be read, or has mistakes; then nothing is stored.
    pub fn start(file: &Path, store: Arc<dyn KeyValue>) -> Result<Self, PolicyError> {
        let policy = load(file)?;
        let mut follower = Self {
            file: file.to_owned(),
            store,
            compiled: Bytes::new(),
            told: None,
        };
        follower.put_in_force(&policy);
        Ok(follower)
    }

    /// Follows the file until `drain` is cancelled.
    pub async fn follow(mut self, drain: CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while drain.run_until_cancelled(interval.tick()).await.is_some() {
            let file = self.file.clone();
            match tokio::task::spawn_blocking(move || load(&file)).await {
                Ok(Ok(policy)) => self.put_in_force(&policy),
                Ok(Err(error)) => self.tell(&error),
                // The runtime is shutting down.
                Err(_) => return,
            }
        }
    }

    /// Stores the policy if the store has another one, or has lost it: a store in memory may evict
    /// what is not read for long.
    fn put_in_force(&mut self, policy: &Policy) {
        let compiled = Bytes::from(policy.encode());
        let is_new = compiled != self.compiled;
        if !is_new && matches!(self.store.get(STORE_KEY), Ok(Some(stored)) if stored == compiled) {
            self.told = None;
            return;
        }
        if let Err(error) = self.store.set(STORE_KEY, compiled.clone()) {
            let problem = format!("the policy cannot be stored: {error}");
            self.tell_once(problem);
            return;
        }
        self.told = None;
        if is_new {
            let (name, version) = (policy.name(), policy.version());
            let rules = policy.rules().len();
            tracing::info!(name, %version, rules, file = %self.file.display(), "a policy is in force");
            self.compiled = compiled;
        }
    }

    fn tell(&mut self, error: &PolicyError) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        self.tell_once(format!("{error}{}", cause.unwrap_or_default()));
    }

    fn tell_once(&mut self, problem: String) {
        if self.told.as_ref() != Some(&problem) {
            tracing::error!(%problem, "the policy file is not used; the policy before it stays in force");
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
        let bytes = store.get(STORE_KEY).unwrap()?;
        Some(Policy::decode(&bytes).unwrap())
    }

    #[test]
    fn a_wrong_file_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        let store = Arc::new(MemoryStore::new(1 << 20));
        assert!(Follower::start(&file, store.clone()).is_err(), "no file");
        std::fs::write(&file, "version = 2").unwrap();
        assert!(Follower::start(&file, store.clone()).is_err());
        assert_eq!(stored(&store), None);
    }

    #[tokio::test]
    async fn changes_are_followed_and_mistakes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, POLICY).unwrap();
        let store = Arc::new(MemoryStore::new(1 << 20));
        let follower = Follower::start(&file, store.clone()).unwrap();
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
        store.delete(STORE_KEY).unwrap();
        // A mistake puts nothing in force, so a mended file is what comes next.
        std::fs::write(&file, POLICY.replace("1m", "2m")).unwrap();
        until(&|| stored(&store).is_some_and(|policy| policy != first)).await;

        store.delete(STORE_KEY).unwrap();
        until(&|| stored(&store).is_some()).await;
        drain.cancel();
        task.await.unwrap();
    }
}
