//! An origin that answers as a test says, and the edge in front of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use brink_cache::{Policy, policy};
use brink_host::guest::keyvalue::{KeyValue, MemoryStore, Stores};
use brink_host::guest::{GuestConfig, GuestHost, GuestParts, Manifest, Overrides};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::{Client, Product, Reply, workspace};

/// No event that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Instances at work, also after their answers.
const BUSY: &str = "brink_instances{component=\"gateway\",state=\"busy\"}";

/// What the origin was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// What the origin is to answer, by the site.
type Scripts = Arc<Mutex<HashMap<String, Script>>>;

#[derive(Default)]
struct Script {
    answers: VecDeque<Response<Body>>,
    asked: Vec<Asked>,
    /// Each answer takes a permit, if it is to wait for one.
    held: Option<Arc<Semaphore>>,
}

/// An origin on a socket.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    scripts: Scripts,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let scripts = Scripts::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(script).with_state(scripts.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, scripts }
    }
}

async fn script(State(scripts): State<Scripts>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut segments = parts.uri.path().split('/');
    let name = segments.find_map(|segment| Some(&segment[segment.find("site-")?..]));
    let name = name.unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body,
    };
    let held = {
        let mut scripts = scripts.lock().unwrap();
        let script = scripts.entry(name.to_owned()).or_default();
        script.asked.push(asked);
        script.held.clone()
    };
    if let Some(held) = held {
        held.acquire().await.unwrap().forget();
    }
    let mut scripts = scripts.lock().unwrap();
    let script = scripts.entry(name.to_owned()).or_default();
    let unexpected = || {
        let response = Response::builder().status(599);
        response.body(Body::from("not expected here")).unwrap()
    };
    script.answers.pop_front().unwrap_or_else(unexpected)
}

/// An answer of the origin: status, header lines, body.
pub(crate) fn answer(status: u16, lines: &str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = headers(lines);
    response
}

/// Header lines, without white space around them.
pub(crate) fn headers(lines: &str) -> HeaderMap {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value.trim()).unwrap())
    };
    lines.map(line).collect()
}

/// What stands in front of the origin.
enum Edge {
    /// Our host, through a socket, both doors.
    Embedded(Box<Product>, tokio::sync::Mutex<Client>),
    /// The components alone, as another host would run them: no door of ours, no inference.
    Alone(GuestHost),
}

/// An edge in front of an origin.
pub(crate) struct Front {
    edge: Edge,
    pub(crate) origin: Origin,
    pub(crate) store: Arc<MemoryStore>,
    sites: AtomicUsize,
}

/// The policy of all cases: what is public, what is a tenant's, and what is never stored.
pub(crate) fn policy_of(origin: SocketAddr) -> String {
    format!(
        r#"
        version = 1
        [[rule]]
        name = "never"
        match.route = "/never/*"
        store = false
        reason = "for a test"
        [[rule]]
        name = "lenient"
        match.route = "/lenient/*"
        fresh = "1d"
        stale_while_revalidate = "1d"
        stale_if_error = "1d"
        [[rule]]
        name = "short"
        match.route = "/short/*"
        fresh = "10s"
        [[rule]]
        name = "changes"
        match.route = ["/apart/*", "/public/*"]
        match.method = ["PUT", "POST"]
        store = false
        reason = "for a test"
        [[rule]]
        name = "public"
        match.route = "/public/*"
        fresh = "1d"
        scope = "public"
        [[rule]]
        name = "posted"
        match.route = "/api/*"
        match.method = "POST"
        fresh = "1d"
        stale_if_error = "1d"
        negative = {{ 400 = "1m" }}
        [[rule]]
        name = "origins"
        match.task = "origin"
        fresh = "365d"
        surrogate_keys = ["site"]
        [[origin]]
        name = "site"
        path = "/"
        upstream = "http://{origin}/"
        [[origin]]
        name = "gone"
        path = "/gone/"
        upstream = "http://127.0.0.1:1/"
        [[origin]]
        name = "denied"
        path = "/denied/"
        upstream = "http://192.0.2.1/"
        [[origin]]
        name = "api"
        path = "/api/"
        upstream = "http://{origin}/"
        {}
        "#,
        json_routes()
    )
}

/// Sites at which JSON is POSTed: as many as the cases need, with a route of each kind.
fn json_routes() -> String {
    let kinds = [
        ("openai", "task = \"embed\"\nitems = \"openai\""),
        ("tei", "task = \"embed\"\nitems = \"tei\""),
        ("complete", "task = \"complete\""),
        ("generic", "task = \"generic\""),
    ];
    let route = |(number, (kind, lines)): (usize, &(&str, &str))| {
        format!("[[origin.json]]\npath = \"site-json-{number}/{kind}\"\n{lines}\n")
    };
    let routes = (0..12).flat_map(|number| kinds.iter().map(move |kind| route((number, kind))));
    routes.collect()
}

impl Front {
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with(policy_of, &[]).await
    }

    pub(crate) async fn embedded_with(policy: impl Fn(SocketAddr) -> String, set: &[&str]) -> Self {
        let origin = Origin::start().await;
        let store = Arc::new(MemoryStore::new(64 << 20));
        put(&store, &policy(origin.address));
        let allowed = "http://127.0.0.1:*".to_owned();
        let variables = [("allowed_origin", &*allowed)];
        let product = Product::with(Some(store.clone()), &variables, set).await;
        let client = product.client().await;
        let edge = Edge::Embedded(Box::new(product), client.into());
        Self::new(edge, origin, store)
    }

    pub(crate) async fn alone() -> Self {
        let origin = Origin::start().await;
        let store = Arc::new(MemoryStore::new(64 << 20));
        put(&store, &policy_of(origin.address));
        let allowed = "http://127.0.0.1:*".to_owned();
        let variables = [
            ("allowed_origin".to_owned(), allowed),
            ("upstream".to_owned(), "http://127.0.0.1:9".to_owned()),
        ];
        let overrides = Overrides {
            variables: &BTreeMap::from(variables),
            env: &|_| None,
        };
        let manifest = Manifest::load(&workspace().join("spin.toml"), &overrides).unwrap();
        let parts = GuestParts {
            folder: workspace().to_owned(),
            stores: Stores::new().with("default", store.clone()),
            config: GuestConfig {
                cache_dir: Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled").into()),
                ..GuestConfig::default()
            },
            upstreams: Vec::new(),
        };
        let host = GuestHost::build(manifest, parts).await.unwrap();
        Self::new(Edge::Alone(host), origin, store)
    }

    fn new(edge: Edge, origin: Origin, store: Arc<MemoryStore>) -> Self {
        let sites = AtomicUsize::new(0);
        Self {
            edge,
            origin,
            store,
            sites,
        }
    }

    /// A path of its own below a prefix such as `/lenient/`.
    pub(crate) fn site(&self, prefix: &str) -> Site<'_> {
        let number = self.sites.fetch_add(1, Ordering::Relaxed);
        let name = format!("site-{number}");
        Site {
            front: self,
            path: format!("{prefix}{name}/page"),
            name,
        }
    }

    /// A route of some kind to which JSON is POSTed.
    pub(crate) fn json(&self, number: usize, kind: &str) -> Site<'_> {
        let name = format!("site-json-{number}");
        Site {
            front: self,
            path: format!("/api/{name}/{kind}"),
            name,
        }
    }

    /// Sends a request on a connection of its own, and gives the answer as it begins.
    pub(crate) async fn open(&self, request: Request<Bytes>) -> Response<Incoming> {
        match &self.edge {
            Edge::Embedded(product, _) => product.client().await.open(request).await.unwrap(),
            Edge::Alone(_) => panic!("the components alone have no sockets"),
        }
    }

    /// Returns when nothing is being done any more, also behind answers.
    pub(crate) async fn idle(&self) {
        match &self.edge {
            Edge::Embedded(product, _) => while product.metric(BUSY).await > 0.0 {},
            Edge::Alone(host) => assert!(host.quiesce(Instant::now() + PATIENCE).await),
        }
    }

    /// Returns when so many requests are being answered.
    pub(crate) async fn busy(&self, count: usize) {
        match &self.edge {
            Edge::Embedded(product, _) => while product.metric(BUSY).await < count as f64 {},
            Edge::Alone(_) => panic!("the components alone have no metrics"),
        }
    }

    /// Forgets answers that nobody asked for.
    pub(crate) fn drain(&self, site: &Site<'_>) {
        let mut scripts = self.origin.scripts.lock().unwrap();
        scripts.remove(&site.name);
    }

    /// Sends a request, and waits until the edge has done what it does afterwards.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Reply {
        match &self.edge {
            Edge::Embedded(product, client) => {
                let reply = client.lock().await.request(request).await.unwrap();
                while product.metric(BUSY).await > 0.0 {}
                reply
            }
            Edge::Alone(host) => {
                let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
                let is_head = request.method() == Method::HEAD;
                let mut request = request.map(Full::new);
                let name = HeaderValue::from_static("brink.test");
                request.headers_mut().insert("host", name);
                let response = host.handle(request, client).await.unwrap();
                let (parts, body) = response.into_parts();
                let body = match is_head {
                    // Announces a length, and has no body: a server does not read it.
                    true => {
                        drop(body);
                        Bytes::new()
                    }
                    false => body.collect().await.unwrap().to_bytes(),
                };
                assert!(host.quiesce(Instant::now() + PATIENCE).await);
                Reply {
                    status: parts.status,
                    headers: parts.headers,
                    body,
                }
            }
        }
    }
}

fn put(store: &MemoryStore, source: &str) {
    let policy = Policy::parse(source).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    store
        .set(policy::STORE_KEY, policy.encode().into())
        .unwrap();
}

/// A path at the origin, with a script of its own.
pub(crate) struct Site<'f> {
    pub(crate) front: &'f Front,
    name: String,
    pub(crate) path: String,
}

/// What came of a request.
pub(crate) struct Seen {
    pub(crate) reply: Reply,
    /// What the origin was asked for it, in order.
    pub(crate) asked: Vec<Asked>,
}

impl Site<'_> {
    /// Puts an answer at the end of the origin's script.
    pub(crate) fn origin(&self, answer: Response<Body>) -> &Self {
        let mut scripts = self.front.origin.scripts.lock().unwrap();
        let script = scripts.entry(self.name.clone()).or_default();
        script.answers.push_back(answer);
        self
    }

    /// Makes answers wait for permits.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let held = Arc::new(Semaphore::new(0));
        let mut scripts = self.front.origin.scripts.lock().unwrap();
        let script = scripts.entry(self.name.clone()).or_default();
        script.held = Some(held.clone());
        held
    }

    /// What the origin was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let mut scripts = self.front.origin.scripts.lock().unwrap();
        let script = scripts.entry(self.name.clone()).or_default();
        std::mem::take(&mut script.asked)
    }

    /// The same for 200, with these header lines.
    pub(crate) fn ok(&self, lines: &str, body: &'static str) -> &Self {
        self.origin(answer(200, lines, body))
    }

    pub(crate) async fn post(&self, lines: &str, body: &Value) -> Seen {
        let lines = format!("content-type: application/json\n{lines}");
        self.ask("POST", "", &lines, body.to_string()).await
    }

    pub(crate) async fn get(&self, lines: &str) -> Seen {
        self.ask("GET", "", lines, "").await
    }

    /// `more` is put behind the site's path.
    pub(crate) async fn ask(
        &self,
        method: &str,
        more: &str,
        lines: &str,
        body: impl Into<Bytes>,
    ) -> Seen {
        let path = format!("{}{more}", self.path);
        let mut request = Request::builder().method(method).uri(path);
        *request.headers_mut().unwrap() = headers(lines);
        let request = request.body(body.into()).unwrap();
        let reply = self.front.send(request).await;
        let asked = self.asked();
        Seen { reply, asked }
    }
}

impl Seen {
    /// Checks status and body.
    #[track_caller]
    pub(crate) fn is(self, status: u16, body: &str) -> Self {
        let found = (self.reply.status.as_u16(), self.reply.text());
        assert_eq!(found, (status, body.to_owned()), "{:?}", self.reply.headers);
        self
    }

    /// The origin was not asked.
    #[track_caller]
    pub(crate) fn untold(self) -> Self {
        assert!(self.asked.is_empty(), "{:?}", self.asked);
        self
    }

    /// The origin was asked once.
    #[track_caller]
    pub(crate) fn told(self) -> Self {
        assert_eq!(self.asked.len(), 1, "{:?}", self.asked);
        self
    }

    /// The header's value.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.reply.header(name)
    }

    /// The edge's own member of `Cache-Status`.
    #[track_caller]
    pub(crate) fn status(self, expected: &str) -> Self {
        let value = self.header("cache-status");
        let own = value.rsplit(", ").next().unwrap_or_default();
        let own = own.strip_prefix("brink-edge; ").unwrap_or(own);
        // What is left of a lifetime depends on the second.
        let parts = own.split("; ").filter(|part| !part.starts_with("ttl="));
        let found = parts.collect::<Vec<_>>().join("; ");
        assert_eq!(found, expected, "{value}");
        self
    }
}
