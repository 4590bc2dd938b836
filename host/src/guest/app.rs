//! A running application: the components of a manifest behind its routes.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::Instant};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::{
    body::{BodyFault, BoxError, LimitedBody, ReadAhead},
    build::Builder,
    compile::CompileCache,
    config::GuestConfig,
    engine::Engine,
    error::{BuildError, GuestError},
    headers::{RouteHeaders, end_connection_fields, set_authority},
    keyvalue::Stores,
    manifest::{Manifest, Route, StaticResponse, Target},
    outbound::{InProcess, LocalUpstream, Network, detached},
    pool::{Pool, Shared, sweep_interval},
    response::{GuestBody, GuestBodyError},
    router::{RouteMatch, RoutePattern, Router, WELL_KNOWN_PREFIX},
    run,
    stats::PoolStats,
};

/// The components of a manifest, ready to answer requests. Cheap to clone; clones are replaced
/// together.
#[derive(Clone)]
pub struct GuestHost(Arc<Hosted>);

struct Hosted {
    current: ArcSwap<Application>,
    /// Applications that were replaced and may still be answering.
    replaced: Mutex<Vec<Weak<Application>>>,
}

/// What an application is built from, besides its manifest.
pub struct GuestParts {
    /// Limits.
    pub config: GuestConfig,
    /// The folder that `files` in the manifest are relative to.
    pub folder: PathBuf,
    /// Key-value stores by label.
    pub stores: Stores,
    /// Services of this process that components reach without a socket.
    pub upstreams: Vec<LocalUpstream>,
}

impl GuestHost {
    /// Compiles and links all components. Call it inside the runtime that will serve
    /// requests; compiling blocks a thread made for that, not the runtime.
    pub async fn build(manifest: Manifest, parts: GuestParts) -> Result<Self, BuildError> {
        let application = Application::start(manifest, parts, BTreeMap::new()).await?;
        Ok(Self(Arc::new(Hosted {
            current: ArcSwap::new(application),
            replaced: Mutex::default(),
        })))
    }

    /// Puts other components in place of these, ready to answer before the first request reaches
    /// them. Requests that were accepted before end where they began. Counters go on by the
    /// components' names.
    ///
    /// # Errors
    /// When they cannot be built; then nothing changes.
    pub async fn replace(&self, manifest: Manifest, parts: GuestParts) -> Result<(), BuildError> {
        let counters = self.stats().into_iter().collect();
        let application = Application::start(manifest, parts, counters).await?;
        let before = self.0.current.swap(application);
        let mut replaced = self.replaced();
        replaced.retain(|earlier| earlier.strong_count() > 0);
        replaced.push(Arc::downgrade(&before));
        Ok(())
    }

    fn replaced(&self) -> MutexGuard<'_, Vec<Weak<Application>>> {
        // The list is whole after every statement that changes it.
        self.0
            .replaced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request. The future must be polled where the answer is wanted: the
    /// guest runs inside it, and dropping it stops the guest.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Result<Response<GuestBody>, GuestError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let application = self.0.current.load_full();
        application.handle(request, client).await
    }

    /// Counters by component.
    pub fn stats(&self) -> Vec<(String, Arc<PoolStats>)> {
        let application = self.0.current.load();
        let pools = application.pools.iter();
        pools
            .map(|(id, pool)| (id.clone(), pool.stats.clone()))
            .collect()
    }

    /// Waits until no guest runs any more, work after responses included. Stop
    /// accepting requests first. `false` if some still ran at `deadline`.
    pub async fn quiesce(&self, deadline: Instant) -> bool {
        let earlier: Vec<_> = self.replaced().iter().filter_map(Weak::upgrade).collect();
        let current = self.0.current.load_full();
        let mut quiet = true;
        for application in earlier.iter().chain([&current]) {
            quiet &= application.shared.quiesce(deadline).await;
        }
        quiet
    }
}

/// Drops idle instances until the application is gone.
async fn sweep(application: Weak<Application>, idle_timeout: std::time::Duration) {
    let mut interval = tokio::time::interval(sweep_interval(idle_timeout));
    loop {
        let now = interval.tick().await;
        let Some(application) = application.upgrade() else {
            return;
        };
        for pool in application.pools.values() {
            pool.expire_idle(now);
        }
    }
}

struct Application {
    router: Router,
    /// In the order that the router's matches refer to.
    routes: Vec<(RouteHeaders, Answer)>,
    pools: BTreeMap<String, Arc<Pool>>,
    shared: Arc<Shared>,
    /// Declared last: pools are dropped before the engine.
    _engine: Engine,
}

/// One request to a component.
struct Call<'a> {
    pool: &'a Arc<Pool>,
    headers: &'a RouteHeaders,
    matched: RouteMatch<'a>,
    client: SocketAddr,
}

/// Who answers a route.
enum Answer {
    Component(Arc<Pool>),
    Static(StaticResponse),
}

impl Application {
    async fn start(
        manifest: Manifest,
        parts: GuestParts,
        counters: BTreeMap<String, Arc<PoolStats>>,
    ) -> Result<Arc<Self>, BuildError> {
        let runtime = Handle::current();
        let build = move || Self::build(manifest, parts, runtime, &counters);
        let application = match tokio::task::spawn_blocking(build).await {
            Ok(built) => Arc::new(built?),
            Err(panic) => return Err(BuildError::Engine(panic.into())),
        };
        let weak = Arc::downgrade(&application);
        application.shared.network.connect(weak.clone());
        tokio::spawn(sweep(weak, application.shared.config.idle_timeout));
        Ok(application)
    }

    fn build(
        manifest: Manifest,
        parts: GuestParts,
        runtime: Handle,
        counters: &BTreeMap<String, Arc<PoolStats>>,
    ) -> Result<Self, BuildError> {
        let config = parts.config;
        config.validate().map_err(BuildError::Config)?;
        let idle = config.max_idle * manifest.components.len();
        // A door's call never suspends, so there are never more of them than threads that serve.
        let doors = runtime.metrics().num_workers() * manifest.components.len();
        let engine = Engine::new(&config, config.max_instances + idle, doors);
        let engine = engine.map_err(|error| BuildError::Engine(error.into()))?;
        let linker = engine.linker();
        let network = Network::new(config.outbound.clone(), parts.upstreams);
        let builder = Builder {
            linker: linker.map_err(|error| BuildError::Engine(error.into()))?,
            cache: CompileCache::new(config.cache_dir.clone()),
            engine: &engine,
            folder: &parts.folder,
            stores: &parts.stores,
            shared: Arc::new(Shared::new(config, Arc::new(network), runtime)),
        };
        let mut pools = BTreeMap::new();
        for (id, spec) in manifest.components {
            let stats = counters.get(&id).cloned().unwrap_or_default();
            pools.insert(id, Arc::new(builder.pool(spec, stats)?));
        }
        let shared = builder.shared;
        let routes = manifest.routes.into_iter();
        let (patterns, routes): (Vec<_>, _) =
            routes.filter_map(|route| bind(route, &pools)).unzip();
        Ok(Self {
            router: Router::new(patterns),
            routes,
            pools,
            shared,
            _engine: engine,
        })
    }

    async fn handle<B>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Result<Response<GuestBody>, GuestError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let path = request.uri().path().to_owned();
        if let Some(name) = path.strip_prefix(WELL_KNOWN_PREFIX) {
            return well_known(name).ok_or(GuestError::NoRoute { path: path.clone() });
        }
        let Some(matched) = self.router.route(&path) else {
            return Err(GuestError::NoRoute { path });
        };
        let (headers, answer) = &self.routes[matched.index];
        match answer {
            Answer::Static(fixed) => Ok(static_response(fixed)),
            Answer::Component(pool) => {
                let call = Call {
                    pool,
                    headers,
                    matched,
                    client,
                };
                self.run(call, request).await
            }
        }
    }

    async fn run<B>(
        &self,
        call: Call<'_>,
        request: Request<B>,
    ) -> Result<Response<GuestBody>, GuestError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let config = &self.shared.config;
        let max_bytes = config.request_body.max_bytes;
        if body.size_hint().lower() > max_bytes {
            return Err(BodyFault::TooLarge { max_bytes }.into());
        }
        end_connection_fields(&mut parts.headers);
        let body = LimitedBody::new(body, config.request_body);
        let fault = body.fault();
        let body = ReadAhead::read(body, config.read_ahead_bytes).await?;
        if let Some(door) = &call.pool.door
            && let Some(whole) = body.whole()
            && let Some(answer) = door.answer(&parts, &whole, &self.shared.network).await
        {
            return Ok(answer);
        }
        set_authority(&mut parts);
        call.headers.set(&mut parts, &call.matched, call.client);
        let request = Request::from_parts(parts, body.into_wasi());
        run::call(call.pool, request, fault).await
    }
}

/// `None` only for a component that does not exist, which the manifest has checked.
fn bind(
    route: Route,
    pools: &BTreeMap<String, Arc<Pool>>,
) -> Option<(RoutePattern, (RouteHeaders, Answer))> {
    let headers = RouteHeaders::new(&route.pattern);
    let answer = match route.target {
        Target::Component(id) => Answer::Component(pools.get(&id)?.clone()),
        Target::Static(fixed) => Answer::Static(fixed),
    };
    Some((route.pattern, (headers, answer)))
}

fn static_response(fixed: &StaticResponse) -> Response<GuestBody> {
    let mut response = Response::new(GuestBody::fixed(fixed.body.clone()));
    *response.status_mut() = fixed.status;
    *response.headers_mut() = fixed.headers.clone();
    response
}

/// `health` is what Spin answers there.
fn well_known(name: &str) -> Option<Response<GuestBody>> {
    (name == "health").then(|| Response::new(GuestBody::fixed("OK")))
}

/// The client address of requests that come from another component.
const IN_PROCESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl InProcess for Application {
    fn call_component(
        self: Arc<Self>,
        id: String,
        request: Request<WasiBody>,
    ) -> BoxFuture<'static, Result<Response<WasiBody>, HttpError>> {
        Box::pin(detached(async move {
            let pool = self.pools.get(&id).ok_or(HttpError::DestinationNotFound)?;
            let path = request.uri().path().to_owned();
            let call = Call {
                pool,
                // As Spin does it: the component sees itself behind the route "/...".
                headers: &RouteHeaders::any(),
                matched: RouteMatch {
                    index: 0,
                    path_info: &path,
                    captures: Vec::new(),
                },
                client: IN_PROCESS,
            };
            let answer = self.run(call, request).await;
            answer.map(to_wasi).map_err(|error| to_guest(&error))
        }))
    }

    fn call_route(
        self: Arc<Self>,
        request: Request<WasiBody>,
    ) -> BoxFuture<'static, Result<Response<WasiBody>, HttpError>> {
        Box::pin(detached(async move {
            let answer = self.handle(request, IN_PROCESS).await;
            answer.map(to_wasi).map_err(|error| to_guest(&error))
        }))
    }
}

fn to_wasi(response: Response<GuestBody>) -> Response<WasiBody> {
    let error = |error: GuestBodyError| HttpError::InternalError(Some(error.to_string()));
    response.map(|body| body.map_err(error).boxed_unsync())
}

/// What the calling component sees when the called one does not answer.
fn to_guest(error: &GuestError) -> HttpError {
    match error.status() {
        StatusCode::NOT_FOUND => HttpError::DestinationNotFound,
        StatusCode::SERVICE_UNAVAILABLE => HttpError::ConnectionLimitReached,
        StatusCode::GATEWAY_TIMEOUT => HttpError::HttpResponseTimeout,
        _ => HttpError::InternalError(Some(error.to_string())),
    }
}
