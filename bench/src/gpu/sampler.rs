//! What `nvidia-smi` says about a device while something runs on it.

use std::process::Stdio;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Asks five times a second, until it is stopped.
pub(super) struct Sampler {
    child: Child,
    output: ChildStdout,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// Share of the time in which something ran on the device, in percent: the mean.
    pub(super) utilisation: f64,
    /// The most memory in use, in MiB.
    pub(super) memory_mib: f64,
}

impl Sampler {
    /// Starts to ask; `None` without a device, or where there is no such program.
    pub(super) fn start(device: &str) -> Option<Self> {
        let number = device.strip_prefix("cuda")?;
        let number = number.strip_prefix(':').unwrap_or("0");
        let mut child = Command::new("nvidia-smi")
            .args(["--query-gpu=utilization.gpu,memory.used", "-lms", "200"])
            .args(["--format=csv,noheader,nounits", "-i", number])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let output = child.stdout.take()?;
        Some(Self { child, output })
    }

    /// Ends it, and sums up.
    pub(super) async fn stop(mut self) -> Result<Option<Seen>> {
        self.child.start_kill()?;
        let mut lines = BufReader::new(self.output).lines();
        let mut text = Vec::new();
        while let Some(line) = lines.next_line().await? {
            text.push(line);
        }
        self.child.wait().await?;
        Ok(sum_up(&text))
    }
}

/// `UTILISATION, MEMORY`, a sample a line. The last one may be cut.
fn sum_up(lines: &[String]) -> Option<Seen> {
    let sample = |line: &String| {
        let (utilisation, memory) = line.split_once(',')?;
        let number = |text: &str| text.trim().parse::<f64>().ok();
        Some((number(utilisation)?, number(memory)?))
    };
    let samples: Vec<(f64, f64)> = lines.iter().filter_map(sample).collect();
    let sum: f64 = samples.iter().map(|(utilisation, _)| utilisation).sum();
    (!samples.is_empty()).then(|| Seen {
        utilisation: sum / samples.len() as f64,
        memory_mib: samples
            .iter()
            .map(|(_, memory)| *memory)
            .fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_up_and_others_left_out() {
        let lines = ["80, 1200", "100, 1500", "[N/A], 9", "9"].map(str::to_owned);
        let seen = sum_up(&lines).expect("two samples");
        assert_eq!((seen.utilisation, seen.memory_mib), (90.0, 1500.0));
        assert_eq!(sum_up(&[]), None);
    }
}
