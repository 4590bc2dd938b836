//! The bare decode loop, in a process of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use super::prompts::Conversation;
use super::{MODEL, Options};

/// Longest run of the loop: it is given what a server did in `--seconds`.
const LONGEST: Duration = Duration::from_secs(1800);
/// The way that writes a text at a time; all others write as many as the server.
pub(super) const ONE_BY_ONE: &str = "one by one";

/// What one way of the loop did.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raw {
    pub(super) way: String,
    pub(super) texts: usize,
    pub(super) tokens: u64,
    pub(super) cpu_seconds: f64,
}

/// Lets the loop answer these conversations.
pub(super) async fn measure(options: &Options, conversations: &[Conversation]) -> Result<Vec<Raw>> {
    let file = std::env::temp_dir().join(format!("brink-bench-chats-{}", std::process::id()));
    std::fs::write(&file, serde_json::to_vec(conversations)?)?;
    let run = Command::new(&options.baseline)
        .arg(&options.environment.onnxruntime)
        .arg(options.environment.models.join(MODEL))
        .arg(&file)
        .arg(options.max_tokens.to_string())
        .arg(options.chats.to_string())
        .kill_on_drop(true)
        .output();
    let output = timeout(LONGEST, run).await;
    std::fs::remove_file(&file)?;
    let output = output
        .with_context(|| format!("the baseline was not done within {LONGEST:?}"))?
        .with_context(|| format!("{} does not start", options.baseline.display()))?;
    ensure!(
        output.status.success(),
        "the baseline failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8(output.stdout)?;
    told.lines().map(read).collect()
}

fn read(line: &str) -> Result<Raw> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [way, texts, tokens, cpu_seconds] = fields[..] else {
        bail!("unexpected line of the baseline: {line}");
    };
    Ok(Raw {
        way: way.to_owned(),
        texts: texts.parse()?,
        tokens: tokens.parse()?,
        cpu_seconds: cpu_seconds.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let raw = read("refilled\t12\t700\t3.25").unwrap();
        assert_eq!(
            (raw.way.as_str(), raw.texts, raw.tokens),
            ("refilled", 12, 700)
        );
        assert!(read("refilled\t12").is_err());
    }
}
