//! A server under test: started, watched from outside, and ended.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Longest start: a first run compiles the component and loads the model.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a starting server is asked.
const POLL: Duration = Duration::from_millis(50);

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `program` and waits until it answers.
    pub(crate) async fn start(
        program: &Path,
        arguments: &[String],
        address: SocketAddr,
    ) -> Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut server = Self { child, address };
        server.wait_until_ready().await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server at {} ended with {status}", self.address);
            }
            if Instant::now() > deadline {
                bail!(
                    "the server at {} is not ready after {START_TIMEOUT:?}",
                    self.address
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn stat(&self, file: &str) -> Result<String> {
        let pid = self.child.id().context("the server has ended")?;
        Ok(std::fs::read_to_string(format!("/proc/{pid}/{file}"))?)
    }

    /// Processor time that its threads have spent so far, in seconds, to the nanosecond
    /// (`/proc/PID/task/*/schedstat`). Threads that have ended are not counted.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let pid = self.child.id().context("the server has ended")?;
        let mut nanoseconds = 0u64;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between listing and reading.
            let Ok(stat) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let spent = stat.split_whitespace().next();
            nanoseconds += spent.context("unexpected schedstat")?.parse::<u64>()?;
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    /// User and system time of the process so far, in seconds, ended threads included. Linux tells it in hundredths of
    /// a second, so it is for measurements of many seconds.
    pub(crate) fn process_cpu_seconds(&self) -> Result<f64> {
        let stat = self.stat("stat")?;
        // The name before the parenthesis may have spaces in it.
        let (_, fields) = stat.rsplit_once(')').context("unexpected stat")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut next = || times.next().context("unexpected stat");
        let ticks = next()?.parse::<u64>()? + next()?.parse::<u64>()?;
        Ok(ticks as f64 / 100.0)
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let status = self.stat("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("no VmRSS")?.parse::<f64>()? / 1024.0)
    }
}

/// An address on loopback that nobody listens on at the moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
