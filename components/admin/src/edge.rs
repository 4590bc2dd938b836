//! The component's only door to the world: it reads variables and bodies, and opens the store.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::SystemTime;

use brink_cache::UnixSeconds;
use brink_gateway::head::Head;
use brink_gateway::reply::Reply;
use brink_gateway::request_id;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::key_value::Store;
use spin_sdk::wasip3::http_compat::IncomingRequestBody;
use spin_sdk::{http_service, variables};

use crate::{Call, Problem, Refused, StoreError, World, admit, finish};

#[http_service]
async fn admin(request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let head = Head::new(
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query(),
        &parts.headers,
    );
    let request_id = request_id::of(&head);
    let answer = answer(&head, body, &request_id).await;
    into_response(finish(&head, &request_id, answer))
}

async fn answer(
    head: &Head<'_>,
    body: IncomingRequestBody,
    request_id: &str,
) -> Result<Reply, Problem> {
    // Read anew each time: a key that is taken away must not work for as long as an instance lives.
    let hashes = variables::get("admin_key_hashes").await;
    let hashes = hashes.unwrap_or_else(|error| {
        eprintln!("the operator's API is off, because its variable cannot be read: {error}");
        String::new()
    });
    let admitted = admit(&hashes, head).inspect_err(|refused| {
        if let Refused::Misconfigured(error) = refused {
            eprintln!("the variable admin_key_hashes is not usable: {error}");
        }
    })?;
    let body = read(body, head, admitted.route.max_body_bytes()).await?;
    let store = EdgeStore::of_this_instance().await?;
    let call = Call {
        who: &admitted.who,
        head,
        body: &body,
        request_id,
        now: now(),
        // Seeded by the host's randomness for each instance and each call.
        nonce: RandomState::new().hash_one(request_id),
    };
    admitted.route.answer(&*store, &call).await
}

/// Reads a body of at most `limit` bytes. One that announces to be larger is refused unread.
async fn read(
    mut body: IncomingRequestBody,
    head: &Head<'_>,
    limit: usize,
) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    if limit == 0 {
        return Ok(whole);
    }
    let announced = head.get("content-length");
    let announced = announced.and_then(|value| value.parse::<u64>().ok());
    if let Some(length) = announced.filter(|length| *length > limit as u64) {
        return Err(Problem::body_too_large(length, limit));
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::body_broken())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = whole.len() + data.len();
        if length > limit {
            return Err(Problem::body_too_large(length as u64, limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The default store: the one that the gateway reads.
struct EdgeStore(Store);

impl EdgeStore {
    /// Opened once per instance: that costs a round trip on some stores.
    async fn of_this_instance() -> Result<Rc<Self>, StoreError> {
        thread_local!(static STORE: RefCell<Option<Rc<EdgeStore>>> = const { RefCell::new(None) });
        if let Some(store) = STORE.with_borrow(Clone::clone) {
            return Ok(store);
        }
        let store = Store::open_default().await.map_err(failed)?;
        let store = Rc::new(Self(store));
        STORE.set(Some(store.clone()));
        Ok(store)
    }
}

impl World for EdgeStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key).await.map_err(failed)
    }

    async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.0.set(key, value).await.map_err(failed)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key).await.map_err(failed)
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}

fn failed(error: spin_sdk::key_value::Error) -> StoreError {
    StoreError(error.to_string())
}

fn into_response(reply: Reply) -> http::Response<Full<Bytes>> {
    let headers = reply.header_map();
    let mut response = http::Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program: the one place that reads the wall clock"
)]
fn now() -> UnixSeconds {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixSeconds(since_epoch.unwrap_or_default().as_secs())
}
