//! The whole product in this process: real component, real model, real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use brink_host::application::{Edge, Files, Running, start};
use brink_host::config::Settings;
use brink_host::guest::keyvalue::KeyValue;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

pub(crate) const MODEL: &str = "all-MiniLM-L6-v2";

pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    variable("BRINK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("brink")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/brink")))
        .expect("BRINK_CACHE or HOME is set")
}

/// Where all the models are.
pub(crate) fn all_models() -> PathBuf {
    std::env::var_os("BRINK_MODELS").map_or_else(|| cache().join("models"), PathBuf::from)
}

/// Where the models are that only tests use unless somebody asks for them.
pub(crate) fn test_models() -> PathBuf {
    std::env::var_os("BRINK_TEST_MODELS").map_or_else(|| cache().join("models-test"), PathBuf::from)
}

/// The embedding model alone: most tests need no other, and loading takes time.
static EMBEDDING: LazyLock<TempDir> = LazyLock::new(|| {
    let models = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(all_models().join(MODEL), models.path().join(MODEL)).unwrap();
    models
});

pub(crate) fn files() -> Files {
    let or = |name: &str, default: &str| {
        std::env::var_os(name).map_or_else(|| cache().join(default), PathBuf::from)
    };
    Files {
        models: EMBEDDING.path().to_owned(),
        onnxruntime: or("BRINK_ONNXRUNTIME", "onnxruntime/1.31.1/libonnxruntime.so"),
    }
}

/// A running product.
pub(crate) struct Product(pub(crate) Running);

impl Product {
    pub(crate) async fn start() -> Self {
        Self::with(None, &[], &[]).await
    }

    pub(crate) async fn with(
        store: Option<Arc<dyn KeyValue>>,
        variables: &[(&str, &str)],
        set: &[&str],
    ) -> Self {
        Self::with_policy(None, store, variables, set).await
    }

    pub(crate) async fn with_policy(
        policy: Option<PathBuf>,
        store: Option<Arc<dyn KeyValue>>,
        variables: &[(&str, &str)],
        set: &[&str],
    ) -> Self {
        let files = [policy, None];
        let product = Self::try_start(files, store, variables, set).await;
        product.expect("the product starts")
    }

    pub(crate) async fn try_with_policy(policy: PathBuf) -> anyhow::Result<Self> {
        Self::try_start([Some(policy), None], None, &[], &[]).await
    }

    pub(crate) async fn with_tenants(
        tenants: PathBuf,
        store: Arc<dyn KeyValue>,
        variables: &[(&str, &str)],
    ) -> Self {
        let files = [None, Some(tenants)];
        let product = Self::try_start(files, Some(store), variables, &[]).await;
        product.expect("the product starts")
    }

    pub(crate) async fn with_tenants_and(
        tenants: PathBuf,
        store: Arc<dyn KeyValue>,
        set: &[&str],
    ) -> Self {
        let files = [None, Some(tenants)];
        let product = Self::try_start(files, Some(store), &[], set).await;
        product.expect("the product starts")
    }

    pub(crate) async fn with_manifest(manifest: PathBuf) -> Self {
        let edge = Edge {
            manifest,
            variables: BTreeMap::new(),
            policy: None,
            tenants: None,
            store: None,
        };
        let started = start(Self::settings(&[]), &files(), Some(edge)).await;
        started.map(Self).expect("the product starts")
    }

    /// With the models of that folder, and other variables and settings.
    pub(crate) async fn with_models(
        models: &Path,
        variables: &[(&str, &str)],
        set: &[&str],
    ) -> Self {
        let edge = Self::edge([None, None], None, variables);
        let files = Files {
            models: models.to_owned(),
            ..files()
        };
        let started = start(Self::settings(set), &files, Some(edge)).await;
        started.map(Self).expect("the product starts")
    }

    pub(crate) fn settings(set: &[&str]) -> Settings {
        let mut overrides = vec![
            "server.listen=127.0.0.1:0",
            "server.admin_listen=127.0.0.1:0",
        ];
        overrides.extend(set);
        let overrides: Vec<String> = overrides.into_iter().map(str::to_owned).collect();
        Settings::load(None, &overrides).unwrap()
    }

    async fn try_start(
        [policy, tenants]: [Option<PathBuf>; 2],
        store: Option<Arc<dyn KeyValue>>,
        variables: &[(&str, &str)],
        set: &[&str],
    ) -> anyhow::Result<Self> {
        let edge = Self::edge([policy, tenants], store, variables);
        start(Self::settings(set), &files(), Some(edge))
            .await
            .map(Self)
    }

    fn edge(
        [policy, tenants]: [Option<PathBuf>; 2],
        store: Option<Arc<dyn KeyValue>>,
        variables: &[(&str, &str)],
    ) -> Edge {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Edge {
            manifest: workspace().join("spin.toml"),
            variables: variables.iter().map(own).collect::<BTreeMap<_, _>>(),
            policy,
            tenants,
            store,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.0.address).await
    }

    /// The value of a metric, zero when it has not been counted yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut client = Client::connect(self.0.admin_address).await;
        let text = client.get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Items that the model really computed.
    pub(crate) async fn computed(&self) -> f64 {
        self.metric(&format!("brink_inference_items_total{{model=\"{MODEL}\"}}"))
            .await
    }
}

/// One keep-alive connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn vectors(&self) -> Vec<Vec<f64>> {
        assert_eq!(self.status, 200, "{}", self.text());
        let body = self.json();
        let numbers = |item: &Value| -> Vec<f64> {
            let vector = item["embedding"].as_array().unwrap();
            vector
                .iter()
                .map(|number| number.as_f64().unwrap())
                .collect()
        };
        body["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> hyper::Result<Reply> {
        let request = Request::builder().method(method).uri(path);
        self.request(request.body(body.into()).unwrap()).await
    }

    /// Sends a request, and gives the answer as it begins.
    pub(crate) async fn open(
        &mut self,
        request: Request<Bytes>,
    ) -> hyper::Result<http::Response<Incoming>> {
        let mut request = request.map(Full::new);
        let host = http::HeaderValue::from_static("brink.test");
        request.headers_mut().insert("host", host);
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    pub(crate) async fn request(&mut self, request: Request<Bytes>) -> hyper::Result<Reply> {
        let response = self.open(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "").await.unwrap()
    }

    pub(crate) async fn embed(&mut self, input: impl Into<Value>) -> Reply {
        let body = json!({"model": MODEL, "input": input.into()}).to_string();
        self.send("POST", "/v1/embeddings", body).await.unwrap()
    }
}

pub(crate) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
