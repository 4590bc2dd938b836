//! WebSockets through the whole product, with a client that is another implementation than the server's.

use std::sync::Arc;

use brink_cache::tenant::hash_api_key;
use brink_host::guest::keyvalue::MemoryStore;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{MODEL, Product, cosine};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Opens a socket with these header fields. The answer's are given too.
async fn open(
    product: &Product,
    query: &str,
    fields: &[(&'static str, &str)],
) -> Result<(Socket, http::HeaderMap), Error> {
    let url = format!("ws://{}/v1/ws{query}", product.0.address);
    let mut request = url.into_client_request()?;
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(*name, value);
    }
    let (socket, response) = connect_async(request).await?;
    Ok((Socket(socket), response.headers().clone()))
}

/// The status and body of somebody who got no socket.
async fn refused(product: &Product, fields: &[(&'static str, &str)]) -> (u16, String) {
    match open(product, "", fields).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let status = response.status().as_u16();
            (status, String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a socket was opened"),
    }
}

impl Socket {
    async fn send(&mut self, message: Value) {
        let message = Message::text(message.to_string());
        self.0.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code of the closing frame, whatever comes before it.
    async fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.0.next().await.unwrap().unwrap() {
                return frame.unwrap().code.into();
            }
        }
    }
}

fn embed(id: &str, text: &str) -> Value {
    json!({"id": id, "op": "embeddings", "head": true, "body": {"model": MODEL, "input": text}})
}

fn vector(result: &Value) -> Vec<f64> {
    let numbers = result["data"][0]["embedding"].as_array().unwrap();
    numbers.iter().map(|n| n.as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_carries_requests_that_are_answered_as_over_http() {
    let product = Product::start().await;
    let (mut socket, _) = open(&product, "", &[]).await.unwrap();
    let texts = ["a cat", "a kitten", "the stock exchange"];
    for (id, text) in texts.iter().enumerate() {
        socket.send(embed(&id.to_string(), text)).await;
    }
    let mut vectors = vec![Vec::new(); texts.len()];
    for _ in texts {
        let message = socket.next().await;
        assert_eq!(message["status"], 200, "{message}");
        let id: usize = message["id"].as_str().unwrap().parse().unwrap();
        vectors[id] = vector(&message["result"]);
    }
    assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]));
    // The same text over HTTP is the same result.
    let mut client = product.client().await;
    let reply = client.embed("a cat").await;
    assert_eq!(reply.vectors()[0], vectors[0]);
    // Mistakes are told as over HTTP, too.
    socket
        .send(json!({"id": "x", "op": "embeddings", "body": {"model": "none", "input": "a"}}))
        .await;
    let message = socket.next().await;
    assert_eq!(
        (&message["id"], &message["status"]),
        (&json!("x"), &json!(404))
    );
    let over_http = client
        .send("POST", "/v1/embeddings", r#"{"model":"none","input":"a"}"#)
        .await
        .unwrap();
    assert_eq!(message["error"], over_http.json()["error"]);
    socket.send(json!({"id": "m", "op": "models"})).await;
    let message = socket.next().await;
    assert_eq!(message["result"], client.get("/v1/models").await.json());
    assert_eq!(product.metric("brink_websockets").await, 1.0);
    // What is stored is a hit here as well.
    loop {
        socket.send(embed("h", "a cat")).await;
        let message = socket.next().await;
        if message["head"]["brink-items"] == "hit=1" {
            break;
        }
    }
    product.0.shut_down().await.unwrap();
    assert_eq!(socket.close_code().await, 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_broken_messages_end_a_socket_with_a_code() {
    let limit = ["live.max_frame_bytes=2048"];
    let product = Product::with(None, &[], &limit).await;
    for query in ["", "?compress=1"] {
        let (mut socket, _) = open(&product, query, &[]).await.unwrap();
        socket.send(embed("1", &"x".repeat(100_000))).await;
        assert_eq!(socket.close_code().await, 1009);
        let (mut socket, _) = open(&product, query, &[]).await.unwrap();
        socket.0.send(Message::binary(vec![1, 2])).await.unwrap();
        assert_eq!(socket.close_code().await, 1003);
        let (mut socket, _) = open(&product, query, &[]).await.unwrap();
        socket.0.send(Message::text("nonsense")).await.unwrap();
        let message = socket.next().await;
        assert_eq!(message["error"]["code"], "invalid_message");
        socket.0.close(None).await.unwrap();
    }
    while product.metric("brink_websockets").await > 0.0 {
        tokio::task::yield_now().await;
    }
}

const ACME: &str = "sk-acme-0123456789abcdef";
const OTHER: &str = "sk-other-0123456789abcde";

async fn with_tenants(set: &[&str]) -> (tempfile::TempDir, Product) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    let tenant = |name: &str, key: &str| {
        let hash = hash_api_key(key).unwrap();
        format!("[[tenant]]\nname = \"{name}\"\nkey_hashes = [\"{hash}\"]\n")
    };
    let source = format!(
        "version = 1\n{}{}",
        tenant("acme", ACME),
        tenant("other", OTHER)
    );
    std::fs::write(&file, source).unwrap();
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants_and(file, store, set).await;
    (folder, product)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_for_those_who_may_ask_and_each_tenant_has_so_many() {
    let (_folder, product) = with_tenants(&["live.max_sockets_per_tenant=1"]).await;
    let bearer = |key: &str| format!("Bearer {key}");
    let (status, body) = refused(&product, &[]).await;
    assert_eq!(status, 401, "{body}");
    let (status, body) = refused(
        &product,
        &[("authorization", "Bearer sk-wrong-000000000000000")],
    )
    .await;
    assert!(
        status == 401 && !body.contains("sk-wrong"),
        "{status} {body}"
    );

    let acme = bearer(ACME);
    let (mut first, _) = open(&product, "", &[("authorization", &acme)])
        .await
        .unwrap();
    let (status, body) = refused(&product, &[("authorization", &acme)]).await;
    assert!(
        status == 429 && body.contains("too_many_sockets"),
        "{status} {body}"
    );
    // Browsers send the key as a subprotocol.
    let protocols = format!("brink.v1, bearer.{OTHER}");
    let fields = [("sec-websocket-protocol", protocols.as_str())];
    let (mut second, headers) = open(&product, "", &fields).await.unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "brink.v1");
    for socket in [&mut first, &mut second] {
        socket.send(embed("1", "a text")).await;
        let message = socket.next().await;
        assert_eq!(message["status"], 200, "{message}");
        assert_eq!(
            message["head"]["brink-items"], "miss=1",
            "each tenant has its own"
        );
    }
    first.0.close(None).await.unwrap();
    while open(&product, "", &[("authorization", &acme)])
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_open_no_socket() {
    let variables = [("cors_allow_origin", "https://a.example")];
    let product = Product::with(None, &variables, &[]).await;
    let (status, body) = refused(&product, &[("origin", "https://evil.example")]).await;
    assert!(
        status == 403 && body.contains("origin_not_allowed"),
        "{status} {body}"
    );
    open(&product, "", &[("origin", "https://a.example")])
        .await
        .unwrap();
    // Who is no page has no origin.
    open(&product, "", &[]).await.unwrap();
    let mut client = product.client().await;
    let reply = client.get("/v1/ws").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("sec-websocket-version")),
        (426, "13")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_sockets_are_compressed_and_only_if_they_ask() {
    let product = Product::with(None, &[], &["live.max_compressed=1"]).await;
    let offer = [(
        "sec-websocket-extensions",
        "permessage-deflate; client_max_window_bits",
    )];
    let named = "sec-websocket-extensions";
    let (_plain, headers) = open(&product, "", &offer).await.unwrap();
    assert!(!headers.contains_key(named));
    let (first, headers) = raw_open(&product).await;
    assert!(headers.contains("permessage-deflate"), "{headers}");
    let (_second, headers) = raw_open(&product).await;
    assert!(!headers.contains("permessage-deflate"), "{headers}");
    drop(first);
    while !raw_open(&product).await.1.contains("permessage-deflate") {
        tokio::task::yield_now().await;
    }
}

/// tungstenite takes no answer with an extension, so this one speaks for itself.
async fn raw_open(product: &Product) -> (TcpStream, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(product.0.address).await.unwrap();
    let request = "GET /v1/ws?compress=1 HTTP/1.1\r\nhost: brink.test\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-extensions: permessage-deflate\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    (stream, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn paced_tokens_come_over_sockets() {
    let set = ["live.paced_source=true", "live.min_gap_ms=0"];
    let product = Product::with(None, &[], &set).await;
    let (mut socket, _) = open(&product, "", &[]).await.unwrap();
    socket
        .send(json!({"id": "1", "op": "paced", "body": {"rate": 500, "tokens": 40}}))
        .await;
    let mut text = String::new();
    loop {
        let message = socket.next().await;
        match message["t"].as_str() {
            Some(part) => text.push_str(part),
            None => break assert_eq!(message, json!({"id": "1", "done": {}})),
        }
    }
    assert_eq!(text.split(' ').skip(1).count(), 40, "{text}");
    // A client that cancels gets no more of it.
    socket
        .send(json!({"id": "2", "op": "paced", "body": {"rate": 100, "tokens": 100_000}}))
        .await;
    assert!(socket.next().await["t"].is_string());
    socket.send(json!({"id": "2", "cancel": true})).await;
    while socket.next().await["done"].is_null() {}
    socket.send(embed("3", "a text")).await;
    assert_eq!(socket.next().await["id"], "3");
}
