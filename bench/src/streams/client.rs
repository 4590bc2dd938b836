//! One client that is streamed to. It reads frames and events by hand, so that thousands of them take little of the
//! processor that the host needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A model that writes: in its name clients ask for paced tokens.
const WRITER: &str = "smollm2-135m-instruct";

/// How tokens come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// `/v1/ws`
    WebSocket,
    /// `/v1/streams`
    Events,
    /// `/v1/completions`: chunks of OpenAI's API
    Chunks,
}

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket",
            Self::Events => "SSE",
            Self::Chunks => "SSE, OpenAI",
        }
    }

    /// What precedes the text of an update.
    fn mark(self) -> &'static [u8] {
        match self {
            Self::WebSocket | Self::Events => b"\"t\":\"",
            Self::Chunks => b"\"text\":\"",
        }
    }
}

/// What clients do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    Opening,
    Streaming,
    Counted,
    Over,
}

/// What all clients got while it was counted.
pub(super) struct Tally {
    /// Updates whose oldest token was so many milliseconds old.
    ages: Vec<AtomicU32>,
    tokens: AtomicU64,
    updates: AtomicU64,
    bytes: AtomicU64,
}

/// Older ones are counted as this old.
const OLDEST_MS: usize = 60_000;
/// A space and six digits.
const TOKEN: usize = 7;
/// Tokens repeat after so many milliseconds.
const PERIOD: u64 = 36u64.pow(6);

impl Default for Tally {
    fn default() -> Self {
        Self {
            ages: (0..=OLDEST_MS).map(|_| AtomicU32::new(0)).collect(),
            tokens: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Tally {
    fn count(&self, update: &[u8]) {
        let made = update.get(1..TOKEN).map_or(0, |digits| {
            digits.iter().fold(0, |sum, digit| {
                let digit = (*digit as char).to_digit(36).unwrap_or(0);
                sum * 36 + u64::from(digit)
            })
        });
        let age = (now_ms() % PERIOD + PERIOD - made) % PERIOD;
        // A clock that was set back by a little makes no token old.
        let age = if age > PERIOD / 2 { 0 } else { age };
        let age = usize::try_from(age).unwrap_or(OLDEST_MS).min(OLDEST_MS);
        self.ages[age].fetch_add(1, Ordering::Relaxed);
        self.updates.fetch_add(1, Ordering::Relaxed);
        let tokens = (update.len() / TOKEN) as u64;
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    pub(super) fn updates(&self) -> u64 {
        self.updates.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A quantile of the ages.
    pub(super) fn age_ms(&self, q: f64) -> f64 {
        let wanted = (self.updates() as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (age, count) in self.ages.iter().enumerate() {
            seen += u64::from(count.load(Ordering::Relaxed));
            if seen >= wanted {
                return age as f64;
            }
        }
        f64::NAN
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the host stamps tokens by this clock"
)]
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0)
}

/// A client that is connected and has not asked yet.
pub(super) struct Client {
    stream: TcpStream,
    transport: Transport,
    /// As the paced source reads it.
    pace: String,
    delay: Duration,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects, and opens the socket if it is to be one.
    pub(super) async fn open(
        address: SocketAddr,
        transport: Transport,
        pace: String,
        delay: Duration,
    ) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            transport,
            pace,
            delay,
            buffer: Vec::new(),
        };
        if transport == Transport::WebSocket {
            let head = "GET /v1/ws HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            client.stream.write_all(head.as_bytes()).await?;
            client.head(101).await?;
        }
        Ok(client)
    }

    /// Reads an answer's head.
    async fn head(&mut self, status: u16) -> Result<()> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                let expected = format!("HTTP/1.1 {status}");
                ensure!(
                    head.starts_with(&expected),
                    "{}",
                    head.lines().next().unwrap_or("")
                );
                self.buffer.drain(..end + 4);
                return Ok(());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<usize> {
        let mut part = [0; 4096];
        let read = self.stream.read(&mut part).await?;
        if read == 0 {
            bail!("the host closed the connection");
        }
        self.buffer.extend_from_slice(&part[..read]);
        Ok(read)
    }

    /// Asks when it is told to, and reads until it is over.
    pub(super) async fn run(
        mut self,
        mut phase: watch::Receiver<Phase>,
        tally: Arc<Tally>,
    ) -> Result<()> {
        phase.wait_for(|phase| *phase >= Phase::Streaming).await?;
        tokio::time::sleep(self.delay).await;
        self.ask().await?;
        let mut over = phase.clone();
        tokio::select! {
            ended = self.stream(&phase, &tally) => ended,
            over = over.wait_for(|phase| *phase == Phase::Over) => over.map(|_| ()).map_err(Into::into),
        }
    }

    async fn ask(&mut self) -> Result<()> {
        match self.transport {
            Transport::Events => self.post("/v1/streams", "").await,
            Transport::Chunks => self.post("/v1/completions", ",\"stream\":true").await,
            Transport::WebSocket => {
                let pace = &self.pace;
                let message = format!("{{\"id\":\"1\",\"op\":\"paced\",\"body\":{pace}}}");
                self.stream.write_all(&masked(message.as_bytes())?).await?;
                Ok(())
            }
        }
    }

    /// Asks a model's way for tokens, where the host puts paced ones in the place of the model's.
    async fn post(&mut self, path: &str, members: &str) -> Result<()> {
        let prompt = format!("paced {}", self.pace).replace('"', "\\\"");
        let body = format!("{{\"model\":\"{WRITER}\",\"prompt\":\"{prompt}\"{members}}}");
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.head(200).await
    }

    async fn stream(&mut self, phase: &watch::Receiver<Phase>, tally: &Tally) -> Result<()> {
        loop {
            let read = self.read().await?;
            let is_counted = *phase.borrow() == Phase::Counted;
            if is_counted {
                tally.bytes.fetch_add(read as u64, Ordering::Relaxed);
            }
            let mut done = 0;
            while let Some((text, end)) = update(&self.buffer[done..], self.transport.mark()) {
                if is_counted {
                    tally.count(text);
                }
                done += end;
            }
            self.buffer.drain(..done);
            // A refusal has no text and is never more than this.
            ensure!(
                self.buffer.len() < 64 << 10,
                "what came is no stream of tokens"
            );
        }
    }
}

/// A short text message, masked with zeros (RFC 6455 §5.3 asks for a mask, and not which).
fn masked(message: &[u8]) -> Result<Vec<u8>> {
    let length = u8::try_from(message.len())?;
    ensure!(length < 126, "the message is too long for a short frame");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(message);
    Ok(frame)
}

/// The text of the next whole update, and where that ends. Tokens have no quotes and no escapes.
fn update<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], usize)> {
    let begin = bytes.windows(mark.len()).position(|some| some == mark)? + mark.len();
    let length = bytes[begin..].iter().position(|byte| *byte == b'"')?;
    Some((&bytes[begin..begin + length], begin + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_found_whole() {
        let mark = Transport::WebSocket.mark();
        let bytes =
            b"\x81\x15{\"id\":\"1\",\"t\":\" 000001 000002\"}\x81\x15{\"id\":\"1\",\"t\":\" 00";
        let (text, end) = update(bytes, mark).unwrap();
        assert_eq!(text, b" 000001 000002");
        assert_eq!(update(&bytes[end..], mark), None);
    }

    #[test]
    fn the_oldest_token_tells_the_age() {
        let tally = Tally::default();
        let made = (now_ms() - 1000) % PERIOD;
        let digits = (0..6).rev().map(|place| {
            let digit = made / 36u64.pow(place) % 36;
            char::from_digit(digit as u32, 36).unwrap()
        });
        let token: String = [' '].into_iter().chain(digits).collect();
        tally.count(format!("{token} zzzzzz").as_bytes());
        assert_eq!((tally.tokens(), tally.updates()), (2, 1));
        assert!((1000.0..2000.0).contains(&tally.age_ms(0.99)));
    }
}
