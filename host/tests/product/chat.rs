//! Texts through the whole product, by a real model.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::protocols::run;
use crate::support::{Product, test_models};

const MODEL: &str = "smollm2-135m-instruct";
/// For what must happen soon.
const SOON: Duration = Duration::from_secs(60);

/// The model that writes alone.
static WRITER: LazyLock<TempDir> = LazyLock::new(|| {
    let models = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(test_models().join(MODEL), models.path().join(MODEL)).unwrap();
    models
});

async fn start() -> Product {
    Product::with_models(WRITER.path(), &[], &[]).await
}

fn asks(content: &str, max_tokens: u32) -> Value {
    json!({"model": MODEL, "temperature": 0, "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": content}]})
}

/// An answer while it comes.
struct Stream {
    status: u16,
    body: Incoming,
    /// What came and was not taken yet.
    rest: String,
}

impl Stream {
    async fn open(
        product: &Product,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &Value,
    ) -> Self {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let mut client = product.client().await;
        let response = client.open(request.body(body).unwrap()).await.unwrap();
        Self {
            status: response.status().as_u16(),
            body: response.into_body(),
            rest: String::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let event = event.to_owned();
                self.rest = rest.to_owned();
                return Some(event);
            }
            let frame = timeout(SOON, self.body.frame())
                .await
                .expect("a frame soon")?;
            let data = frame.unwrap().into_data().unwrap();
            self.rest.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    async fn rest(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}

/// The text of chunks.
fn chunked(events: &[String]) -> String {
    let chunks = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok());
    chunks
        .filter_map(|chunk| {
            chunk
                .pointer("/choices/0/delta/content")?
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

/// The text of events of our own, and the id of the last one.
fn compact(events: &[String]) -> (String, String) {
    let (mut text, mut last) = (String::new(), String::new());
    for event in events {
        for line in event.lines() {
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut last);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(data).unwrap();
                text.push_str(data["t"].as_str().unwrap_or_default());
            }
        }
    }
    (text, last)
}

async fn whole(product: &Product, body: &Value) -> Value {
    let mut client = product.client().await;
    let reply = client
        .send("POST", "/v1/chat/completions", body.to_string())
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn streamed(body: &Value) -> Value {
    let mut body = body.clone();
    body["stream"] = true.into();
    body
}

/// Texts that ended so.
async fn ended(product: &Product, outcome: &str) -> f64 {
    product
        .metric(&format!(
            "brink_generate_requests_total{{model=\"{MODEL}\",outcome=\"{outcome}\"}}"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn official_openai_client_works_unmodified() {
    let product = start().await;
    let url = format!("http://{}", product.0.address);
    run(include_str!("clients/openai_chat.py"), &[&url, MODEL]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_prompts_in_flight_are_one_generation_and_late_joiners_get_all_of_it() {
    let product = start().await;
    let body = asks("Tell me a story about a fox.", 60);
    let mut first = Stream::open(
        &product,
        "POST",
        "/v1/chat/completions",
        &[],
        &streamed(&body),
    )
    .await;
    let mut begun = Vec::new();
    while chunked(&begun).is_empty() {
        begun.push(first.event().await.expect("text"));
    }
    let late = Stream::open(
        &product,
        "POST",
        "/v1/chat/completions",
        &[],
        &streamed(&body),
    )
    .await;
    let (late, gathered) = tokio::join!(late.rest(), whole(&product, &body));
    begun.extend(first.rest().await);
    let text = chunked(&begun);
    assert_eq!(chunked(&late), text);
    assert_eq!(gathered["choices"][0]["message"]["content"], text);
    assert_eq!(
        ended(&product, "length").await + ended(&product, "stop").await,
        1.0
    );
    // Known now.
    let known = whole(&product, &body).await;
    assert_eq!(known["choices"][0]["message"]["content"], text);
    assert_eq!(
        ended(&product, "length").await + ended(&product, "stop").await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn text_goes_on_for_those_who_stay_and_ends_with_the_last_one() {
    let product = start().await;
    let body = asks("Tell me a story about a bear.", 500);
    let mut first = Stream::open(
        &product,
        "POST",
        "/v1/chat/completions",
        &[],
        &streamed(&body),
    )
    .await;
    first.event().await.expect("a beginning");
    let mut second = Stream::open(
        &product,
        "POST",
        "/v1/chat/completions",
        &[],
        &streamed(&body),
    )
    .await;
    second.event().await.expect("a beginning");
    drop(first);
    second.event().await.expect("text for the one who stayed");
    assert_eq!(ended(&product, "abandoned").await, 0.0);
    drop(second);
    let freed = async {
        while ended(&product, "abandoned").await < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, freed).await.expect("the slot is free soon");
    let slots = product
        .metric(&format!(
            "brink_generate_slots{{model=\"{MODEL}\",state=\"busy\"}}"
        ))
        .await;
    assert_eq!(slots, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_lost() {
    let product = start().await;
    let body = asks("Tell me a story about an owl.", 60);
    let mut first = Stream::open(&product, "POST", "/v1/streams", &[], &body).await;
    let open = first.event().await.unwrap();
    let data = open
        .strip_prefix("event: open\ndata: ")
        .expect("the id first");
    let id = serde_json::from_str::<Value>(data).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut begun = Vec::new();
    while compact(&begun).0.is_empty() {
        begun.push(first.event().await.expect("text"));
    }
    drop(first);
    let (beginning, cursor) = compact(&begun);
    let path = format!("/v1/streams/{id}");
    let resumed = Stream::open(
        &product,
        "GET",
        &path,
        &[("last-event-id", &cursor)],
        &Value::Null,
    )
    .await;
    let (end, last) = compact(&resumed.rest().await);
    assert_eq!(last, "end");
    let text = whole(&product, &body).await["choices"][0]["message"]["content"].clone();
    assert_eq!(format!("{beginning}{end}"), text.as_str().unwrap());
    assert!(!end.is_empty());
    // From the beginning once more, and there is nothing behind the end.
    let again = Stream::open(&product, "GET", &path, &[], &Value::Null).await;
    assert_eq!(compact(&again.rest().await).0, text.as_str().unwrap());
    let over = Stream::open(
        &product,
        "GET",
        &path,
        &[("last-event-id", "end")],
        &Value::Null,
    )
    .await;
    assert_eq!(over.status, 204);
    // Given up, it is gone.
    let gone = Stream::open(&product, "DELETE", &path, &[], &Value::Null).await;
    assert_eq!(gone.status, 204);
    let lost = Stream::open(&product, "GET", &path, &[], &Value::Null).await;
    assert_eq!(lost.status, 404);
    assert!(lost.rest.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_have_their_status_before_a_stream_begins() {
    let product = start().await;
    let check = |path: &'static str, body: Value, status: u16, code: &'static str| {
        let product = &product;
        async move {
            let mut client = product.client().await;
            let reply = client.send("POST", path, body.to_string()).await.unwrap();
            assert_eq!(reply.status, status, "{}", reply.text());
            assert_eq!(reply.json()["error"]["code"], code, "{}", reply.text());
        }
    };
    let long = asks(&"word ".repeat(9000), 10);
    check(
        "/v1/chat/completions",
        streamed(&long),
        400,
        "input_too_long",
    )
    .await;
    check("/v1/streams", long, 400, "input_too_long").await;
    let mut unknown = asks("hello", 1);
    unknown["model"] = "no-such-model".into();
    check(
        "/v1/chat/completions",
        streamed(&unknown),
        404,
        "model_not_found",
    )
    .await;
    check(
        "/v1/completions",
        json!({"model": MODEL, "prompt": []}),
        400,
        "invalid_value",
    )
    .await;
}

/// How long clients are killed.
const ROUGH: Duration = Duration::from_secs(60);

/// The next number of a sequence that is the same in every run (xorshift, Marsaglia 2003).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Asks again and again, and leaves somewhere in the middle of each answer. Returns how often.
async fn leave_again_and_again(product: &Product, number: u64, until: Instant) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (number + 1);
    let mut left = 0;
    while Instant::now() < until {
        let body = asks(
            &format!("Tell me about the number {}.", next(&mut state) % 8),
            200,
        );
        let (path, body) = match next(&mut state) % 3 {
            0 => ("/v1/streams", body),
            1 => ("/v1/chat/completions", streamed(&body)),
            // Sampled: nobody shares it.
            _ => {
                let mut body = streamed(&body);
                body["temperature"] = 1.into();
                ("/v1/chat/completions", body)
            }
        };
        let mut stream = Stream::open(product, "POST", path, &[], &body).await;
        assert_eq!(stream.status, 200);
        for _ in 0..next(&mut state) % 12 {
            if stream.event().await.is_none() {
                break;
            }
        }
        left += 1;
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_killed_for_a_minute_leave_all_slots_free() {
    // Kept texts are written on for those who come back; here nobody does.
    let product = Product::with_models(WRITER.path(), &[], &["generate.keep_ms=0"]).await;
    let until = Instant::now() + ROUGH;
    let clients = (0..24).map(|number| leave_again_and_again(&product, number, until));
    let left: usize = futures_util::future::join_all(clients)
        .await
        .into_iter()
        .sum();
    assert!(left > 100, "{left} answers were begun");
    let gauge = |what: &str| format!("brink_generate_{what}");
    let busy = gauge(&format!("slots{{model=\"{MODEL}\",state=\"busy\"}}"));
    let waiting = gauge(&format!("waiting{{model=\"{MODEL}\"}}"));
    let idle = async {
        while product.metric(&busy).await + product.metric(&waiting).await > 0.0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, idle).await.expect("all slots are free soon");
    // Whoever stays is answered.
    let answer = whole(&product, &asks("Say hello.", 8)).await;
    assert!(
        answer["usage"]["completion_tokens"].as_u64() > Some(0),
        "{answer}"
    );
}
