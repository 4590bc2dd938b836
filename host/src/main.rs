//! The program `brink`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use brink_host::application::{Edge, Files, Running, start};
use brink_host::cli::{
    Check, Cli, Command, ModelsCommand, PolicyCommand, TenantsCommand, WarmUp, variables,
};
use brink_host::config::Settings;
use brink_host::guest::{Manifest, Overrides};
use brink_host::{logging, policy, warm_up};
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// For Rust's allocations only: ONNX Runtime keeps the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(up) => {
            let edge = Edge {
                manifest: up.manifest.clone(),
                variables: variables(&up.variables),
                policy: up.policy.clone(),
                tenants: up.tenants.clone(),
                store: None,
            };
            serve(up.settings()?, &up.files.files(), Some(edge))
        }
        Command::Host(host) => serve(host.settings()?, &host.files.files(), None),
        Command::Check(options) => check(&options),
        Command::Policy(command) => answer_about_policy(&command),
        Command::Models(command) => answer_about_models(&command),
        Command::Tenants(command) => answer_about_tenants(&command),
        Command::WarmUp(command) => warm(&command),
    }
}

fn serve(settings: Settings, files: &Files, edge: Option<Edge>) -> Result<()> {
    let _log = logging::start(settings.log);
    let runtime = runtime(&settings)?;
    let served = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let running = tokio::select! {
            running = start(settings, files, edge) => running?,
            () = signals.next() => return Ok(()),
        };
        signals.until_the_end(&running).await;
        tracing::info!("draining; a second signal ends at once");
        tokio::select! {
            drained = drain(running) => drained,
            () = signals.next() => anyhow::bail!("ended by a second signal before the drain was over"),
        }
    });
    // Work on other threads (a picture that is decoded, a model that is loaded) is for nobody now.
    runtime.shutdown_timeout(LAST_WORK);
    served
}

/// How long work on other threads may go on once everything is answered.
const LAST_WORK: Duration = Duration::from_secs(1);

async fn drain(running: Running) -> Result<()> {
    let cut = running.shut_down().await?;
    anyhow::ensure!(
        cut == 0,
        "{cut} connections were cut off: they outlived server.drain_timeout_ms"
    );
    tracing::info!("drained");
    Ok(())
}

fn runtime(settings: &Settings) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if settings.server.worker_threads > 0 {
        builder.worker_threads(settings.server.worker_threads);
    }
    builder
        .enable_all()
        .build()
        .context("no threads for the server")
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Until a signal ends the program; SIGHUP replaces the components.
    async fn until_the_end(&mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    if let Err(error) = running.reload().await {
                        tracing::error!(error = format!("{error:#}"), "the components that run go on");
                    }
                }
            }
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn check(options: &Check) -> Result<()> {
    options.common.settings()?;
    let variables = variables(&options.variables);
    let overrides = Overrides {
        variables: &variables,
        env: &|name| std::env::var(name).ok(),
    };
    let manifest = Manifest::load(&options.manifest, &overrides)?;
    println!(
        "settings and manifest are in order: application {}, {} route(s), {} component(s)",
        manifest.name,
        manifest.routes.len(),
        manifest.components.len()
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn answer_about_policy(command: &PolicyCommand) -> Result<()> {
    let answer = match command {
        PolicyCommand::Check { file } => policy::check(file)?,
        PolicyCommand::Explain { request, policy } => policy::explain(request, policy.as_deref())?,
    };
    println!("{answer}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn answer_about_models(command: &ModelsCommand) -> Result<()> {
    let answer = Runtime::new()?.block_on(command.run())?;
    println!("{answer}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn answer_about_tenants(command: &TenantsCommand) -> Result<()> {
    let answer = match command {
        TenantsCommand::Check { file } => policy::check_tenants(file)?,
        TenantsCommand::HashKey => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            brink_cache::tenant::hash_api_key(line.trim())?.to_string()
        }
    };
    println!("{answer}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
#[expect(clippy::print_stderr, reason = "what is no answer of the command")]
fn warm(command: &WarmUp) -> Result<()> {
    let edge = command.edge(|name| std::env::var(name).ok())?;
    let list = command.list()?;
    let options = command.options(std::io::stderr().is_terminal());
    let tally = Runtime::new()?.block_on(warm_up::run(list, &edge, options, &mut |line| {
        eprintln!("{line}");
    }));
    println!("{tally}");
    let failures = tally.failures();
    anyhow::ensure!(failures == 0, "{failures} line(s) have no result");
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the program's last word")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
