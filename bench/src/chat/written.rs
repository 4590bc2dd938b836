//! One streamed answer, as its reader sees it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::WRITTEN;
use crate::load::{Call, Connection};

/// Asks that nothing is looked up and nothing is kept.
const NO_STORE: &[(&str, &str)] = &[("cache-control", "no-store")];
/// Most bytes of an event that has not ended yet.
const MAX_EVENT: usize = 1 << 20;
/// Pieces that come closer together were read as one.
const ONE_PIECE: Duration = Duration::from_millis(1);

/// What a text took, as its `usage` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) completion: u64,
}

impl Usage {
    /// Out of an answer or a chunk; `None` where it has none.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let usage = value.get("usage").filter(|usage| usage.is_object())?;
        let count = |pointer| usage.pointer(pointer).and_then(Value::as_u64);
        Some(Self {
            prompt: count("/prompt_tokens")?,
            cached: count("/prompt_tokens_details/cached_tokens").unwrap_or(0),
            completion: count("/completion_tokens")?,
        })
    }

    pub(super) fn add(&mut self, other: Self) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.completion += other.completion;
    }
}

/// Asks for a text that nobody knows and reads it to its end. `piece` is told when a piece of text came.
pub(super) async fn write(
    connection: &mut Connection,
    call: &Call,
    piece: impl FnMut(Instant),
) -> Result<Usage> {
    let read = timeout(WRITTEN, read(connection, call, piece)).await;
    read.with_context(|| format!("a text was not written within {WRITTEN:?}"))?
}

async fn read(
    connection: &mut Connection,
    call: &Call,
    mut piece: impl FnMut(Instant),
) -> Result<Usage> {
    let response = connection.begin(call, NO_STORE).await?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let body = body.collect().await?.to_bytes();
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    let mut events = Events::default();
    let mut last: Option<Instant> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let now = Instant::now();
        if events.take(&data)? && last.is_none_or(|last| now - last >= ONE_PIECE) {
            piece(now);
            last = Some(now);
        }
    }
    ensure!(events.is_done, "a stream was cut off");
    events.usage.context("a stream without `usage`")
}

/// Reads server-sent events.
#[derive(Default)]
struct Events {
    /// What has not ended yet.
    rest: Vec<u8>,
    usage: Option<Usage>,
    is_done: bool,
}

impl Events {
    /// Takes what came, and tells whether there is text in it.
    fn take(&mut self, data: &[u8]) -> Result<bool> {
        self.rest.extend_from_slice(data);
        let mut has_text = false;
        let mut taken = 0;
        while let Some(length) = end_of_event(&self.rest[taken..]) {
            let event = std::str::from_utf8(&self.rest[taken..taken + length])?;
            if let Some(data) = event.strip_prefix("data: ") {
                let (text, usage, is_done) = chunk(data)?;
                has_text |= text;
                self.usage = usage.or(self.usage);
                self.is_done |= is_done;
            }
            taken += length + 2;
        }
        self.rest.drain(..taken);
        let open = self.rest.len();
        ensure!(
            open <= MAX_EVENT,
            "an event has {open} bytes and no end; at most {MAX_EVENT} are read"
        );
        Ok(has_text)
    }
}

fn end_of_event(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\n\n")
}

/// Whether an event has text, its usage, and whether it is the last one.
fn chunk(data: &str) -> Result<(bool, Option<Usage>, bool)> {
    if data == "[DONE]" {
        return Ok((false, None, true));
    }
    let chunk: Value = serde_json::from_str(data)?;
    if let Some(error) = chunk.get("error") {
        bail!("a stream failed: {error}");
    }
    let text = chunk.pointer("/choices/0/delta/content");
    let has_text = text
        .and_then(Value::as_str)
        .is_some_and(|text| !text.is_empty());
    Ok((has_text, Usage::of(&chunk), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whatever_they_come_in() {
        let stream = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n\
                      : ping\n\n\
                      data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n\
                      data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\
                      \"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\ndata: [DONE]\n\n";
        for size in [1, 7, 1000] {
            let mut events = Events::default();
            let parts = stream.as_bytes().chunks(size);
            let texts = parts.filter(|part| events.take(part).unwrap()).count();
            assert_eq!(texts, 1, "{size}");
            let usage = Usage {
                prompt: 9,
                cached: 1,
                completion: 2,
            };
            assert_eq!((events.usage, events.is_done), (Some(usage), true));
        }
    }

    #[test]
    fn failed_stream_is_an_error() {
        let mut events = Events::default();
        let failed = events.take(b"data: {\"error\":{\"message\":\"late\"}}\n\n");
        assert!(failed.unwrap_err().to_string().contains("late"));
    }
}
