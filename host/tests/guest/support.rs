//! Builds a host around the test guest, and upstreams that tests control.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use brink_host::guest::{
    GuestBody, GuestConfig, GuestError, GuestHost, GuestParts, LocalUpstream, Manifest, Overrides,
    PoolStats,
    keyvalue::{KeyValue, MemoryStore, Stores},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};

/// No event that a test waits for takes this long, on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CLIENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// The test guest, as `cargo xtask components` builds it.
pub(crate) fn test_guest() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components");
    let folder = std::env::var_os("BRINK_COMPONENTS").unwrap_or_else(|| default.into());
    let path = PathBuf::from(folder).join("test-guest.wasm");
    assert!(
        path.is_file(),
        "{} is missing; build it with: cargo xtask components",
        path.display()
    );
    path
}

/// What a test wants to be different.
pub(crate) struct Setup {
    pub(crate) config: GuestConfig,
    /// More lines of `[component.test]`.
    pub(crate) component: &'static str,
    /// More tables.
    pub(crate) tables: &'static str,
    pub(crate) store: Arc<dyn KeyValue>,
    pub(crate) upstreams: Vec<LocalUpstream>,
}

impl Default for Setup {
    fn default() -> Self {
        let config = GuestConfig {
            max_instances: 64,
            max_background: 8,
            max_memory_bytes: 16 << 20,
            cache_dir: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled").into()),
            ..GuestConfig::default()
        };
        Self {
            config,
            component: "allowed_outbound_hosts = ['http://gate.internal']",
            tables: "",
            store: Arc::new(MemoryStore::new(16 << 20)),
            upstreams: Vec::new(),
        }
    }
}

impl Setup {
    pub(crate) fn manifest(&self) -> Manifest {
        let text = format!(
            r#"
            spin_manifest_version = 2
            application = {{ name = "test" }}
            variables = {{ greeting = {{ default = "hello" }} }}
            [[trigger.http]]
            route = "/..."
            component = "test"
            [component.test]
            source = "{source}"
            key_value_stores = ["default"]
            variables = {{ greeting = "{{{{ greeting }}}} world" }}
            {component}
            {tables}
            "#,
            source = test_guest().display(),
            component = self.component,
            tables = self
                .tables
                .replace("SOURCE", &test_guest().display().to_string()),
        );
        let overrides = Overrides {
            variables: &BTreeMap::new(),
            env: &|_| None,
        };
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spin.toml");
        Manifest::parse(&text, path.as_ref(), &overrides).unwrap()
    }

    pub(crate) async fn build(self) -> Host {
        let parts = GuestParts {
            folder: concat!(env!("CARGO_MANIFEST_DIR"), "/tests").into(),
            stores: Stores::new().with("default", self.store.clone()),
            config: self.config.clone(),
            upstreams: self.upstreams.clone(),
        };
        Host(GuestHost::build(self.manifest(), parts).await.unwrap())
    }
}

#[derive(Clone)]
pub(crate) struct Host(pub(crate) GuestHost);

impl Host {
    pub(crate) async fn call(&self, path: &str) -> Result<Response<GuestBody>, GuestError> {
        let request = Request::get(path).header("host", "edge.test");
        self.send(request.body(Full::<Bytes>::default()).unwrap())
            .await
    }

    pub(crate) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<GuestBody>, GuestError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        timeout(PATIENCE, self.0.handle(request, CLIENT))
            .await
            .unwrap()
    }

    /// Status and whole body.
    pub(crate) async fn text(&self, path: &str) -> (StatusCode, String) {
        read(self.call(path).await.unwrap()).await
    }

    pub(crate) async fn says_hello(&self) {
        assert_eq!(self.text("/hello").await, (StatusCode::OK, "hello".into()));
    }

    pub(crate) fn stats(&self) -> Arc<PoolStats> {
        let mut all = self.0.stats().into_iter();
        all.find(|(id, _)| *id == "test").unwrap().1
    }

    /// Waits until no guest runs.
    pub(crate) async fn settle(&self) {
        assert!(self.0.quiesce(Instant::now() + PATIENCE).await);
        assert_eq!(self.stats().busy.load(Ordering::Relaxed), 0);
    }
}

pub(crate) async fn read(response: Response<GuestBody>) -> (StatusCode, String) {
    let status = response.status();
    let body = timeout(PATIENCE, response.into_body().collect())
        .await
        .unwrap();
    let bytes = body.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// The next data of a body.
pub(crate) async fn next_chunk<B>(body: &mut B) -> Option<Result<Bytes, B::Error>>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let frame = timeout(PATIENCE, body.frame()).await.unwrap()?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

/// `http://gate.internal`: answers a request when the test lets it pass.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn upstream(&self) -> LocalUpstream {
        let gate = self.clone();
        LocalUpstream::new(
            "gate.internal",
            tower::service_fn(move |_| gate.clone().pass()),
        )
    }

    async fn pass(self) -> Result<Response<Full<Bytes>>, Infallible> {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
        Ok(Response::new(Full::from("passed")))
    }

    /// Waits until one more request stands at the gate.
    pub(crate) async fn arrival(&self) {
        let arrival = timeout(PATIENCE, self.arrived.acquire()).await.unwrap();
        arrival.unwrap().forget();
    }

    /// Lets one request pass.
    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}

pub(crate) type ChunkSender = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

/// A body whose chunks the test sends.
pub(crate) fn chunks() -> (
    ChunkSender,
    impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin + Send,
) {
    let (sender, mut receiver) = mpsc::channel(16);
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, StreamBody::new(stream))
}

pub(crate) async fn send_chunk(sender: &ChunkSender, data: &[u8]) {
    let frame = Frame::data(Bytes::copy_from_slice(data));
    sender.send(Ok(frame)).await.unwrap();
}

pub(crate) fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
