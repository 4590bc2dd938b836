//! A store made of plain values, operators, and what they send.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use brink_admin::{Call, Problem, StoreError, World, admit, finish};
use brink_cache::UnixSeconds;
use brink_cache::tenant::hash_api_key;
use brink_gateway::head::Head;
use serde_json::Value;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
pub(crate) const KEY: &str = "adm-ana-0123456789abcdef0123";

/// The component's variable, with one operator.
pub(crate) fn hashes() -> String {
    format!("ana:{}", hash_api_key(KEY).unwrap())
}

/// A store in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) values: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(crate) log: RefCell<Vec<String>>,
    /// Sets of keys that start so fail.
    pub(crate) broken: RefCell<Option<&'static str>>,
    /// Runs once, before the next set of the key.
    before_set: RefCell<Option<(&'static str, Hook)>>,
    /// Whether the next set has no effect: another writer undid it at once.
    pub(crate) lose_next_set: Cell<bool>,
    /// Whether each operation lets others go first.
    pub(crate) is_slow: Cell<bool>,
    nonce: Cell<u64>,
}

type Hook = Box<dyn FnOnce(&Memory)>;

impl Memory {
    pub(crate) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.values.borrow().get(key).cloned()
    }

    pub(crate) fn put(&self, key: &str, value: impl Into<Vec<u8>>) {
        self.values
            .borrow_mut()
            .insert(key.to_owned(), value.into());
    }

    pub(crate) fn before_set(&self, key: &'static str, hook: impl FnOnce(&Self) + 'static) {
        *self.before_set.borrow_mut() = Some((key, Box::new(hook)));
    }

    async fn turn(&self) {
        if self.is_slow.get() {
            let mut has_waited = false;
            std::future::poll_fn(|_| match std::mem::replace(&mut has_waited, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
    }
}

impl World for Memory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.turn().await;
        Ok(self.value(key))
    }

    async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.turn().await;
        assert!(key.len() <= 256 && value.len() <= 1_000_000, "{key}");
        if self
            .broken
            .borrow()
            .is_some_and(|start| key.starts_with(start))
        {
            return Err(StoreError("it is full".to_owned()));
        }
        let hook = self.before_set.take_if(|(at, _)| *at == key);
        if let Some((_, hook)) = hook {
            hook(self);
        }
        if !self.lose_next_set.take() {
            self.put(key, value);
        }
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.turn().await;
        self.values.borrow_mut().remove(key);
        Ok(())
    }

    fn log(&self, line: &str) {
        self.log.borrow_mut().push(line.to_owned());
    }
}

/// `RefCell<Option<T>>` without a borrow that outlives the call.
trait TakeIf<T> {
    fn take_if(&self, condition: impl FnOnce(&T) -> bool) -> Option<T>;
}

impl<T> TakeIf<T> for RefCell<Option<T>> {
    fn take_if(&self, condition: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut slot = self.borrow_mut();
        if slot.as_ref().is_some_and(condition) {
            slot.take()
        } else {
            None
        }
    }
}

/// An answer as the operator sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) json: Value,
    pub(crate) text: String,
    headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name)?;
        Some(&found.1)
    }
}

/// A request as it is sent: `"PUT /admin/policy\nname: value"` and a body. The key is added.
pub(crate) async fn ask(world: &Memory, head: &str, body: &[u8]) -> Seen {
    let wire = format!("{head}\nauthorization: Bearer {KEY}");
    exchange(world, &hashes(), &wire, body).await
}

/// A request with nothing added.
pub(crate) async fn exchange(world: &Memory, hashes: &str, wire: &str, body: &[u8]) -> Seen {
    let head = Head::parse(wire.as_bytes()).unwrap();
    let answer = async {
        let admitted = admit(hashes, &head).map_err(Problem::from)?;
        let limit = admitted.route.max_body_bytes();
        let body = if limit == 0 { b"" } else { body };
        if body.len() > limit {
            return Err(Problem::body_too_large(body.len() as u64, limit));
        }
        world.nonce.set(world.nonce.get() + 1);
        let call = Call {
            who: &admitted.who,
            head: &head,
            body,
            request_id: "req-1",
            now: NOW,
            nonce: world.nonce.get(),
        };
        admitted.route.answer(world, &call).await
    };
    let reply = finish(&head, "req-1", answer.await);
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    let seen = Seen {
        status: reply.status.as_u16(),
        json: serde_json::from_str(&text).unwrap_or_default(),
        text,
        headers: reply
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_string()))
            .collect(),
    };
    check_every_answer(&head, &seen);
    seen
}

/// What holds for each answer.
fn check_every_answer(head: &Head<'_>, seen: &Seen) {
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    assert_eq!(seen.header("x-request-id"), Some("req-1"));
    assert_eq!(seen.header("access-control-allow-origin"), None);
    let length: usize = seen.header("content-length").unwrap().parse().unwrap();
    assert!(length > 0);
    if head.method != "HEAD" {
        assert_eq!(length, seen.text.len());
    }
    assert!(!seen.text.contains(KEY), "an answer holds the key");
    let hash = hash_api_key(KEY).unwrap().to_string();
    assert!(!seen.text.contains(&hash), "an answer holds the hash");
    if seen.status >= 400 {
        assert_eq!(
            seen.header("content-type"),
            Some("application/problem+json")
        );
        if head.method != "HEAD" {
            assert_eq!(seen.json["status"], seen.status);
            for member in ["type", "title", "detail"] {
                assert!(seen.json[member].is_string(), "{}", seen.text);
            }
        }
    }
}

/// Runs what never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a store of plain values never waits"),
    }
}

/// Runs several step by step, each in its turn.
pub(crate) fn in_turns<'f, T>(futures: Vec<Pin<Box<dyn Future<Output = T> + 'f>>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(Some).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    let mut context = Context::from_waker(Waker::noop());
    while running.iter().any(Option::is_some) {
        for (slot, result) in running.iter_mut().zip(&mut done) {
            let Some(future) = slot else {
                continue;
            };
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                *result = Some(value);
                *slot = None;
            }
        }
    }
    done.into_iter().flatten().collect()
}
