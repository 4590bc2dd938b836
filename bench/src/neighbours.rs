//! What others do to hits beside them.
//!
//! Question: do hits stay fast while 2,000 misses wait for a host that does not answer, and while
//! another component of the same process loops, hogs memory or traps on every call of its fast
//! door? Each is measured against the same hits with no neighbour, in the same round. The host
//! that does not answer is this program, so that waiting costs no processor time and what is left
//! is the server's own doing. Budget: p99 at most 1.5 times beside waiting misses, and at most
//! twice beside hostile guests.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Router, body::Bytes};
use brink_cache::{ModelDigest, Outcome};
use brink_protocol::{
    CATALOG_PATH, Catalog, INFER_PATH, InferAnswer, InferReply, InferRequest, InferredItem, Input,
    ModelInfo, ModelKind, TextLimits, Timings, message,
};
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::environment::Environment;
use crate::load::{Call, Connection, Load};
use crate::process::Server;
use crate::report::{self, Table, median};

/// Options of `neighbours`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// The component that misbehaves
    #[arg(
        long,
        env = "BRINK_HOSTILE",
        default_value = "target/components/test-guest.wasm"
    )]
    hostile: std::path::PathBuf,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests per measurement
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Misses that wait
    #[arg(long, default_value_t = 2000)]
    waiting: usize,
}

/// How a hostile guest behaves at its door.
const HOSTILE: [&str; 3] = ["/door/loop", "/door/hog", "/door/trap"];
/// Connections that keep asking the hostile guest.
const HOSTILE_CONNECTIONS: usize = 2;
const HIT_CONNECTIONS: usize = 16;
/// The text that the host answers; all others wait.
const HIT: &str = "hit";

/// Runs the benchmark. Its last line is `neighbours_p99_ratio WAITING HOSTILE`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let upstream = Upstream::start().await?;
    let server = start(&options, &upstream).await?;
    let mut alone = Vec::new();
    let mut beside: Vec<(String, Vec<f64>)> =
        vec![(format!("{} waiting misses", options.waiting), vec![])];
    beside.extend(HOSTILE.map(|path| (format!("guest at {path}"), vec![])));
    let (at_start, mut with_waiting) = (server.resident_mib()?, 0.0f64);
    for round in 1..=options.rounds {
        report::progress(&format!("neighbours: round {round} of {}", options.rounds));
        alone.push(hits_p99(&server, options.requests).await?);
        let texts = (0..options.waiting).map(|index| format!("miss {round} {index}"));
        let waiting = Waiting::start(&server, &upstream, texts).await?;
        beside[0].1.push(hits_p99(&server, options.requests).await?);
        with_waiting = with_waiting.max(server.resident_mib()?);
        waiting.end(&upstream).await?;
        for (index, path) in HOSTILE.into_iter().enumerate() {
            let mut hostile = ask_for_ever(&server, path).await?;
            beside[index + 1]
                .1
                .push(hits_p99(&server, options.requests).await?);
            hostile.shutdown().await;
        }
    }
    print(&alone, &beside, options.rounds);
    report::line(&format!(
        "RSS {at_start:.0} MiB with hits only, {with_waiting:.0} MiB with {} waiting misses beside them\n",
        options.waiting
    ));
    let ratios: Vec<f64> = beside.iter().map(|(_, p99)| ratio(p99, &alone)).collect();
    let hostile = ratios[1..].iter().copied().fold(f64::NAN, f64::max);
    report::line(&format!(
        "neighbours_p99_ratio {:.2} {hostile:.2}",
        ratios[0]
    ));
    Ok(())
}

/// `brink up` with the gateway at its own routes and the hostile guest below `/door`.
async fn start(options: &Options, upstream: &Upstream) -> Result<Server> {
    let environment = &options.environment;
    let manifest = std::fs::read_to_string(&environment.manifest)?;
    let folder = std::path::absolute(&environment.manifest)?;
    let folder = folder.parent().context("the manifest has no folder")?;
    let absolute = |path: &Path| folder.join(path).display().to_string();
    let components = "target/components";
    let manifest = manifest
        .replace(components, &absolute(components.as_ref()))
        .replace(
            "http://127.0.0.1:3002",
            &format!("http://{}", upstream.address),
        );
    let manifest = format!(
        "{manifest}\n[[trigger.http]]\nroute = \"/door/...\"\ncomponent = \"hostile\"\n[component.hostile]\nsource = \"{}\"\n",
        absolute(&options.hostile)
    );
    let file = std::env::temp_dir().join(format!("brink-bench-spin-{}.toml", std::process::id()));
    std::fs::write(&file, manifest)?;
    let room = options.waiting + 64;
    let environment = Environment {
        manifest: file.clone(),
        ..environment.clone()
    };
    let settings = [
        format!("guest.max_instances={room}"),
        format!("server.max_in_flight={room}"),
        // What a hostile guest does is logged as a warning, again and again.
        "log.level=error".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = environment.start_brink(&settings).await?;
    // The address is bound before the manifest is read: only an answer tells that it was.
    warm(&server).await?;
    std::fs::remove_file(file)?;
    Ok(server)
}

fn call(text: &str) -> Call {
    let body = serde_json::json!({"model": "m", "input": text, "encoding_format": "base64"});
    Call::post("/v1/embeddings", body.to_string())
}

async fn warm(server: &Server) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    for _ in 0..200 {
        connection.send(&call(HIT)).await?;
    }
    Ok(())
}

async fn hits_p99(server: &Server, requests: usize) -> Result<f64> {
    let load = Load {
        address: server.address,
        connections: HIT_CONNECTIONS,
        calls: vec![call(HIT)].into(),
        rate: None,
    };
    Ok(load.run(requests).await?.quantile_us(0.99))
}

/// Misses that the upstream holds back.
struct Waiting(JoinSet<Result<Bytes>>);

impl Waiting {
    async fn start(
        server: &Server,
        upstream: &Upstream,
        texts: impl Iterator<Item = String>,
    ) -> Result<Self> {
        let mut requests = JoinSet::new();
        for text in texts {
            let mut connection = Connection::open(server.address).await?;
            requests.spawn(async move { connection.send(&call(&text)).await });
        }
        let all = u32::try_from(requests.len())?;
        upstream.arrived.acquire_many(all).await?.forget();
        Ok(Self(requests))
    }

    /// Lets all of them be answered.
    async fn end(mut self, upstream: &Upstream) -> Result<()> {
        upstream.open.add_permits(self.0.len());
        while let Some(answer) = self.0.join_next().await {
            answer??;
        }
        Ok(())
    }
}

async fn ask_for_ever(server: &Server, path: &'static str) -> Result<JoinSet<Result<()>>> {
    let call = Call {
        content_type: "application/json",
        method: http::Method::GET,
        path,
        body: Bytes::new(),
    };
    let mut clients = JoinSet::new();
    for _ in 0..HOSTILE_CONNECTIONS {
        let mut connection = Connection::open(server.address).await?;
        let call = call.clone();
        clients.spawn(async move {
            loop {
                connection.send(&call).await?;
            }
        });
    }
    Ok(clients)
}

fn ratio(p99: &[f64], alone: &[f64]) -> f64 {
    let ratios: Vec<f64> = p99
        .iter()
        .zip(alone)
        .map(|(own, base)| own / base)
        .collect();
    median(&ratios)
}

fn print(alone: &[f64], beside: &[(String, Vec<f64>)], rounds: usize) {
    report::line(&format!(
        "hits on {HIT_CONNECTIONS} connections, medians of {rounds} rounds:\n"
    ));
    let mut table = Table::new(&["beside", "p99 µs", "p99 ratio"]);
    table.row([
        "nobody".to_owned(),
        format!("{:.0}", median(alone)),
        "1.00".to_owned(),
    ]);
    for (name, p99) in beside {
        let ratio = format!("{:.2}", ratio(p99, alone));
        table.row([name.clone(), format!("{:.0}", median(p99)), ratio]);
    }
    table.print();
}

/// A host that answers one text, and holds all others back until told.
struct Upstream {
    address: std::net::SocketAddr,
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

#[derive(Clone)]
struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Upstream {
    async fn start() -> Result<Self> {
        let gate = Gate {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        };
        let (arrived, open) = (gate.arrived.clone(), gate.open.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route(CATALOG_PATH, get(async || message::encode(&catalog())))
            .route(INFER_PATH, post(embed))
            .with_state(gate);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            arrived,
            open,
        })
    }
}

async fn embed(State(gate): State<Gate>, body: Bytes) -> Vec<u8> {
    let inputs = message::decode::<InferRequest>(&body).map_or(vec![], |call| call.inputs);
    if inputs != [Input::Text(HIT.to_owned())] {
        gate.arrived.add_permits(1);
        // Never closed, and the server's own time-out ends a wait that is too long.
        if let Ok(permit) = gate.open.acquire().await {
            permit.forget();
        }
    }
    let item = InferredItem {
        output: 0.05f32.to_le_bytes().repeat(384).into(),
        tokens: 8,
        cost_us: 1,
        outcome: Outcome::Miss,
    };
    let reply: InferReply = Ok(InferAnswer {
        items: vec![item; inputs.len()],
        timings: Timings::default(),
        model_time: None,
    });
    message::encode(&reply)
}

fn catalog() -> Catalog {
    Catalog {
        models: vec![ModelInfo {
            name: "m".to_owned(),
            version: "1".to_owned(),
            digest: ModelDigest([1; 32]),
            kind: ModelKind::Embed {
                text: TextLimits {
                    max_tokens: 256,
                    vocabulary: 30_522,
                },
                dimensions: 384,
            },
            created: 0,
            owned_by: "benchmark".to_owned(),
        }],
        ..Catalog::default()
    }
}
