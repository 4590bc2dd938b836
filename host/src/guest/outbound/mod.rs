//! Requests that guests send.
//!
//! ```text
//!  guest -> allow-list --+-- a local authority ---------> service in this process
//!                        +-- NAME.spin.internal, self --> another component, in this process
//!                        +-- anything else -------------> pooled HTTP/1.1 client
//! ```
//!
//! Denied unless allowed. Bodies are streamed in both directions. Not here: TCP and
//! TLS, see [`crate::connect`].

pub(super) mod allow;
mod client;
mod detached;
mod local;
mod traced;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, OnceLock, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderName, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt;
use tokio::time::timeout;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttpHooks,
};

use self::allow::{SELF_HOSTS, effective_port};
use self::client::Client;
pub(super) use self::detached::detached;
pub use self::local::LocalUpstream;
use self::traced::Traced;
use super::{
    body::{BodyLimits, LimitedBody},
    config::{MAX_TIMEOUT, OutboundConfig},
    state::ComponentContext,
};
use crate::telemetry::Trace;

/// `http://NAME.spin.internal` is the component NAME of the same application.
const CHAINING_SUFFIX: &str = ".spin.internal";

/// How a guest's request reaches the application itself.
pub(super) trait InProcess: Send + Sync {
    /// Calls one component, whatever its routes.
    fn call_component(
        self: Arc<Self>,
        id: String,
        request: Request<WasiBody>,
    ) -> BoxFuture<'static, Result<Response<WasiBody>, HttpError>>;

    /// Calls whatever answers the path.
    fn call_route(
        self: Arc<Self>,
        request: Request<WasiBody>,
    ) -> BoxFuture<'static, Result<Response<WasiBody>, HttpError>>;
}

/// What all components share for their requests.
pub(super) struct Network {
    client: Client,
    config: OutboundConfig,
    /// By lower-case host and port.
    locals: HashMap<(String, u16), LocalUpstream>,
    /// Set once the application is built; weak, because the application owns this.
    application: OnceLock<Weak<dyn InProcess>>,
}

impl Network {
    pub(super) fn new(config: OutboundConfig, locals: Vec<LocalUpstream>) -> Self {
        Self {
            client: Client::new(&config),
            config,
            locals: locals
                .into_iter()
                .map(|local| (local.key(), local))
                .collect(),
            application: OnceLock::new(),
        }
    }

    /// Lets guests reach the application itself. Only the first call counts.
    pub(super) fn connect(&self, application: Weak<dyn InProcess>) {
        // A second call would be a bug of ours without a consequence.
        let _ = self.application.set(application);
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        limits: BodyLimits,
    ) -> Result<Response<WasiBody>, HttpError> {
        let target = Target::of(request.uri(), &self.locals)?;
        let response = match target {
            Target::Local(local) => return local.call(request).await,
            Target::Component(id) => return self.application()?.call_component(id, request).await,
            Target::Application => return self.application()?.call_route(request).await,
            Target::Network => self.client.send(request).await?,
        };
        let limited = |body| {
            LimitedBody::new(body, limits)
                .map_err(|_| HttpError::ConnectionReadTimeout)
                .boxed_unsync()
        };
        Ok(response.map(limited))
    }

    fn application(&self) -> Result<Arc<dyn InProcess>, HttpError> {
        self.application
            .get()
            .and_then(Weak::upgrade)
            .ok_or(HttpError::DestinationUnavailable)
    }

    /// The configured limits; a guest may ask for less, never for more.
    fn limits(&self, options: Option<RequestOptions>) -> (Duration, BodyLimits) {
        let options = options.unwrap_or_default();
        let at_most =
            |asked: Option<Duration>, cap: Duration| asked.map_or(cap, |asked| asked.min(cap));
        let first_byte = at_most(options.first_byte_timeout, self.config.first_byte_timeout);
        let idle_timeout = at_most(
            options.between_bytes_timeout,
            self.config.between_bytes_timeout,
        );
        let body = BodyLimits {
            max_bytes: u64::MAX,
            idle_timeout,
            total_timeout: MAX_TIMEOUT,
        };
        (first_byte, body)
    }
}

/// Where a request goes.
enum Target<'a> {
    Local(&'a LocalUpstream),
    Component(String),
    Application,
    Network,
}

impl<'a> Target<'a> {
    fn of(uri: &Uri, locals: &'a HashMap<(String, u16), LocalUpstream>) -> Result<Self, HttpError> {
        let host = uri.host().ok_or(HttpError::HttpRequestUriInvalid)?;
        let host = host.to_ascii_lowercase();
        if let Some(id) = host.strip_suffix(CHAINING_SUFFIX) {
            return Ok(Self::Component(id.to_owned()));
        }
        if SELF_HOSTS.contains(&host.as_str()) {
            return Ok(Self::Application);
        }
        let port = effective_port(uri).ok_or(HttpError::HttpRequestUriInvalid)?;
        Ok(match locals.get(&(host, port)) {
            Some(local) => Self::Local(local),
            None => Self::Network,
        })
    }
}

/// One instance's way out: the allow-list of its component in front of the network.
pub(super) struct Outbound {
    component: Arc<ComponentContext>,
    network: Arc<Network>,
    /// Of the request being answered; `None` where traces are off.
    trace: Option<Trace>,
}

impl Outbound {
    pub(super) fn new(component: Arc<ComponentContext>, network: Arc<Network>) -> Self {
        Self {
            component,
            network,
            trace: None,
        }
    }

    pub(super) fn work_under(&mut self, trace: Option<Trace>) {
        self.trace = trace;
    }

    /// Sends a request, if the component may; the head of the answer is awaited within the limits.
    pub(super) fn send(
        &self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<impl Future<Output = Result<Response<WasiBody>, HttpError>> + use<>, HttpError>
    {
        self.check(request.uri())?;
        let network = self.network.clone();
        let traced = Traced::begin(self.trace.as_ref(), &mut request);
        Ok(async move {
            let (first_byte, limits) = network.limits(options);
            let answered = timeout(first_byte, network.send(request, limits)).await;
            let answered = answered.unwrap_or(Err(HttpError::HttpResponseTimeout));
            traced.end(&answered);
            answered
        })
    }

    fn check(&self, uri: &Uri) -> Result<(), HttpError> {
        if self.component.allowed_outbound_hosts.allows(uri) {
            return Ok(());
        }
        let component = &*self.component.id;
        let origin = origin(uri);
        tracing::warn!(
            component,
            "request to {origin} denied; to allow it, add \"{origin}\" to \
             component.{component}.allowed_outbound_hosts in the manifest"
        );
        Err(HttpError::HttpRequestDenied)
    }
}

/// Without path and query: they may hold secrets.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}")
}

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), HttpError>> + Send>;

/// Shared by all instances: the default allocates one for each header it looks at.
static FORBIDDEN: LazyLock<ForbiddenHeaderFilter> =
    LazyLock::new(|| Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name)));

impl WasiHttpHooks for Outbound {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        FORBIDDEN.clone()
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Io,
    ) -> Sent {
        match self.send(request, options) {
            Err(error) => Box::new(std::future::ready(Err(error))),
            Ok(answer) => Box::new(async move {
                let response = answer.await?;
                let sent: Io = Box::new(std::future::ready(Ok(())));
                Ok((response, sent))
            }),
        }
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }
}
