//! Puts the parts together: `brink up` and `brink host`, from settings to a drained end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::config::Settings;
use crate::guest::keyvalue::{KeyValue, MemoryStore, Stores};
use crate::guest::{GuestHost, GuestParts, LocalUpstream, Manifest, Overrides};
use crate::inference::Runtime;
use crate::live::{Front, Live, StoredTenants};
use crate::policy::{Document, Follower};
use crate::server::{
    Admin, Answer, Compressed, GuestMetrics, Guests, Limited, Observed, Observer, Purpose, Routes,
    ServerConfig, Tracing, bind, serve,
};
use crate::service::{FolderLoader, GenerateOptions, InferService, Repository};
use crate::telemetry::Telemetry;

#[cfg(test)]
mod documented;
mod metrics;

use metrics::Metrics;

/// Where the files are that a host needs.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder with one folder per model.
    pub models: PathBuf,
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
}

/// The components to run.
pub struct Edge {
    /// The Spin manifest.
    pub manifest: PathBuf,
    /// Values of application variables, by name.
    pub variables: BTreeMap<String, String>,
    /// The file whose cache policy is in force; `None` leaves what the store has.
    pub policy: Option<PathBuf>,
    /// The file whose tenants are in force; `None` leaves what the store has.
    pub tenants: Option<PathBuf>,
    /// The store behind the label `default`; `None` keeps one in memory.
    pub store: Option<Arc<dyn KeyValue>>,
}

/// A host that listens. Dropping it does not stop it: [`shut_down`](Self::shut_down) does.
pub struct Running {
    /// Where clients connect: the gateway under `up`, the inference API otherwise.
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub admin_address: SocketAddr,
    settings: Settings,
    service: InferService,
    telemetry: Telemetry,
    guests: Option<(GuestHost, EdgeSource)>,
    /// Its sockets, if there is an edge.
    live: Option<Live>,
    drain: CancellationToken,
    main: JoinHandle<usize>,
    admin: JoinHandle<usize>,
    admin_drain: CancellationToken,
}

/// Starts the inference host, and the components in front of it if there is an `edge`.
///
/// Listeners are bound first, so that an address in use is told before models are loaded.
pub async fn start(settings: Settings, files: &Files, edge: Option<Edge>) -> Result<Running> {
    let server = settings.server;
    let (listener, admin_listener) = bind_both(server, edge.is_some()).await?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let telemetry = Telemetry::start(&settings.telemetry, metrics.traces.clone())?;
    let service = open_service(&settings, files, &metrics).await?;
    let drain = CancellationToken::new();
    tokio::spawn(service.repository().clone().keep_house(drain.clone()));
    let guests = match edge {
        Some(edge) => Some(open_edge(&settings, edge, &service, &drain).await?),
        None => None,
    };
    if let Some((guests, _)) = &guests {
        registry.register_collector(Box::new(GuestMetrics(guests.clone())));
    }
    let admin_drain = CancellationToken::new();
    let pages = Admin::new(registry, service.clone(), drain.clone()).router();
    let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let observer = |trust| Observer {
        metrics: metrics.http.clone(),
        tracing: Tracing {
            telemetry: telemetry.clone(),
            trust,
        },
    };
    let (main, live) = match &guests {
        Some((guests, source)) => {
            let observer = observer(settings.telemetry.gateway_trust);
            let tenants = StoredTenants::new(source.store.clone());
            let config = settings.live.clone();
            let live = Live::new(config, metrics.live.clone(), tenants, drain.clone());
            let answer = Compressed::new(
                Guests(guests.clone()),
                settings.server.max_compressed_streams,
            );
            let answer = observed(&settings, &observer, answer);
            let front = Front::new(answer, live.clone(), observer);
            (listen(listener, &settings, front, &drain), Some(live))
        }
        None => {
            let observer = observer(settings.telemetry.inference_trust);
            let routes = Routes(api::router(service.clone()));
            let answer = observed(&settings, &observer, routes);
            (listen(listener, &settings, answer, &drain), None)
        }
    };
    let admin = tokio::spawn(serve(
        admin_listener,
        server.connections,
        Routes(pages),
        admin_drain.clone(),
    ));
    tracing::info!(%address, admin = %admin_address, "ready");
    Ok(Running {
        address,
        admin_address,
        settings,
        service,
        telemetry,
        guests,
        live,
        drain,
        main,
        admin,
        admin_drain,
    })
}

/// The listeners of clients and of the admin pages.
async fn bind_both(server: ServerConfig, has_edge: bool) -> Result<(TcpListener, TcpListener)> {
    let (address, purpose) = if has_edge {
        let purpose = Purpose {
            what: "the gateway",
            setting: "--listen (server.listen)",
        };
        (server.listen, purpose)
    } else {
        let purpose = Purpose {
            what: "the inference host",
            setting: "--listen (server.inference_listen)",
        };
        (server.inference_listen, purpose)
    };
    let admin = Purpose {
        what: "the admin pages",
        setting: "--admin-listen (server.admin_listen)",
    };
    let listener = bind(address, purpose).await?;
    Ok((listener, bind(server.admin_listen, admin).await?))
}

fn observed<A: Answer>(
    settings: &Settings,
    observer: &Observer,
    answer: A,
) -> Observed<Limited<A>> {
    let limited = Limited::new(answer, settings.server.max_in_flight);
    Observed::new(limited, observer.clone())
}

fn listen(
    listener: TcpListener,
    settings: &Settings,
    answer: impl Answer,
    drain: &CancellationToken,
) -> JoinHandle<usize> {
    tokio::spawn(serve(
        listener,
        settings.server.connections,
        answer,
        drain.clone(),
    ))
}

impl Running {
    /// Reads the manifest and its components anew and puts them in place of those that run, without
    /// losing a request. Settings, variables and the store stay as they are.
    ///
    /// # Errors
    /// When they cannot be built; those that run go on.
    pub async fn reload(&self) -> Result<()> {
        let Some((guests, source)) = &self.guests else {
            return Ok(());
        };
        let (manifest, parts) = source.read()?;
        guests.replace(manifest, parts).await?;
        tracing::info!(manifest = %source.manifest.display(), "the components were replaced");
        Ok(())
    }

    /// Returns when every span that has ended was sent to the collector or dropped; at once where traces are off.
    pub async fn flush_traces(&self) {
        self.telemetry.flush().await;
    }

    /// Stops accepting, lets everything that was accepted end, and returns how many connections
    /// were cut off at `server.drain_timeout_ms`.
    pub async fn shut_down(self) -> Result<usize> {
        let deadline = Instant::now() + self.settings.server.connections.drain_timeout;
        self.drain.cancel();
        let mut cut = self.main.await.context("the listener's task ended early")?;
        if let Some(live) = &self.live {
            cut += live.ended(deadline).await;
        }
        if let Some((guests, _)) = &self.guests {
            guests.quiesce(deadline).await;
        }
        self.service.shutdown(deadline).await;
        self.telemetry.shut_down(deadline).await;
        // Last, so that an operator can watch the drain.
        self.admin_drain.cancel();
        self.admin
            .await
            .context("the admin listener's task ended early")?;
        Ok(cut)
    }
}

async fn open_service(
    settings: &Settings,
    files: &Files,
    metrics: &Metrics,
) -> Result<InferService> {
    let library = files.onnxruntime.clone();
    let runtime = tokio::task::spawn_blocking(move || Runtime::load(&library)).await??;
    let loader = FolderLoader {
        models: files.models.clone(),
        runtime,
        inference: settings.inference.clone(),
        batch: settings.batch.clone(),
        metrics: metrics.batch.clone(),
        generate: GenerateOptions {
            config: settings.generate.clone(),
            metrics: metrics.generate.clone(),
        },
    };
    let watched = metrics.repository.clone();
    let repository = Repository::start(Box::new(loader), settings.models.clone(), watched);
    let repository = repository
        .await
        .with_context(|| format!("the models in {}", files.models.display()))?;
    Ok(InferService::of(
        repository,
        settings.results.clone(),
        settings.service.clone(),
        metrics.items.clone(),
    ))
}

/// What an edge is built from, again and again.
struct EdgeSource {
    manifest: PathBuf,
    variables: BTreeMap<String, String>,
    store: Arc<dyn KeyValue>,
    service: InferService,
    settings: Settings,
}

impl EdgeSource {
    fn read(&self) -> Result<(Manifest, GuestParts)> {
        // Beyond loopback, API keys are required unless somebody has said otherwise.
        let is_exposed = !self.settings.server.listen.ip().is_loopback();
        let environment = |name: &str| {
            let required = is_exposed && name == "SPIN_VARIABLE_AUTHENTICATION";
            let default = required.then(|| "required".to_owned());
            std::env::var(name).ok().or(default)
        };
        let overrides = Overrides {
            variables: &self.variables,
            env: &environment,
        };
        let manifest = Manifest::load(&self.manifest, &overrides)?;
        let upstream = LocalUpstream::new(
            self.settings.server.inference_listen.to_string(),
            tower::ServiceExt::map_request(
                api::router(self.service.clone()),
                |request: http::Request<_>| request.map(axum::body::Body::new),
            ),
        );
        let parts = GuestParts {
            config: self.settings.guest.clone(),
            folder: self.manifest.parent().unwrap_or(Path::new("")).to_owned(),
            stores: Stores::new().with("default", self.store.clone()),
            upstreams: vec![upstream],
        };
        Ok((manifest, parts))
    }
}

async fn open_edge(
    settings: &Settings,
    edge: Edge,
    service: &InferService,
    drain: &CancellationToken,
) -> Result<(GuestHost, EdgeSource)> {
    let in_memory = || Arc::new(MemoryStore::new(settings.key_value_bytes)) as Arc<dyn KeyValue>;
    let source = EdgeSource {
        manifest: edge.manifest,
        variables: edge.variables,
        store: edge.store.unwrap_or_else(in_memory),
        service: service.clone(),
        settings: settings.clone(),
    };
    let (manifest, parts) = source.read()?;
    let documents = [
        (Document::Policy, &edge.policy),
        (Document::Tenants, &edge.tenants),
    ];
    for (document, file) in documents {
        if let Some(file) = file {
            let follower = Follower::start(document, file, source.store.clone())?;
            tokio::spawn(follower.follow(drain.clone()));
        }
    }
    let guests = GuestHost::build(manifest, parts).await.with_context(|| {
        let manifest = source.manifest.display();
        format!("the application in {manifest} does not start")
    })?;
    Ok((guests, source))
}
