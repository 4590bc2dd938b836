//! What a long prompt does to texts that are being written beside it.
//!
//! Only gaps while all texts are written are counted: a text that ends makes steps shorter, and one that begins has a
//! prompt to read, too. So no text begins while a long prompt is read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::written::{self, Usage};
use super::{Options, WRITTEN, prompts};
use crate::load::Connection;
use crate::process::Server;
use crate::report::{self, Table};

/// Most tokens of the texts beside: with the prompt they fit into the context.
const MAX_TOKENS: u32 = 1000;
/// The transport merges nothing, so that what is measured is the model's pace.
const SETTINGS: &[&str] = &["generate.min_gap_ms=0"];
/// Series of prompts.
const TEXTS: u64 = 1 << 18;
const LONG: u64 = 1 << 19;

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Instant,
    to: Instant,
}

impl Span {
    fn overlaps(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// One stream: when pieces of its texts came, text by text. Empty ones have not begun.
type Texts = Vec<Vec<Instant>>;

pub(super) async fn run(options: &Options) -> Result<Vec<String>> {
    let server = super::start(options, SETTINGS).await?;
    let company = Company::start(&server, options).await?;
    let mut reading = Vec::new();
    let mut usage = Usage::default();
    let pause = Duration::from_secs(options.pause_seconds);
    for number in 0..options.long_prompts {
        report::progress(&format!(
            "chat: long prompt {} of {}",
            number + 1,
            options.long_prompts
        ));
        company.all_write().await?;
        tokio::time::sleep(pause).await;
        // Some may have ended in the meantime.
        company.all_write().await?;
        company.may_begin(false)?;
        let (span, used) = read_long(&server, options, number).await?;
        company.may_begin(true)?;
        reading.push(span);
        usage.add(used);
    }
    company.all_write().await?;
    tokio::time::sleep(pause).await;
    let streams = company.end().await?;
    let gaps = gaps(&streams, &reading);
    let seconds = reading
        .iter()
        .map(|span| (span.to - span.from).as_secs_f64());
    let prompts = options.long_prompts as f64;
    report::line(&format!(
        "{} texts are written while {} prompts of {:.0} tokens are read, one after another, in {:.1} s each:\n",
        options.streams,
        options.long_prompts,
        usage.prompt as f64 / prompts,
        seconds.sum::<f64>() / prompts
    ));
    print(gaps)
}

/// Sends a long prompt. It is read when the first token is there, and no more are asked for.
async fn read_long(server: &Server, options: &Options, number: usize) -> Result<(Span, Usage)> {
    let conversation = prompts::long(LONG, number, options.long_words);
    let call = prompts::call(&conversation, 1, true);
    let mut connection = Connection::open(server.address).await?;
    let from = Instant::now();
    let usage = written::write(&mut connection, &call, |_| {}).await;
    let usage = usage.with_context(|| format!("long prompt {number}"))?;
    let to = Instant::now();
    ensure!(usage.cached == 0, "a long prompt was known already");
    Ok((Span { from, to }, usage))
}

/// The texts beside.
struct Company {
    streams: JoinSet<Result<Texts>>,
    count: usize,
    may_begin: watch::Sender<bool>,
    is_over: watch::Sender<bool>,
    writing: watch::Receiver<usize>,
}

impl Company {
    async fn start(server: &Server, options: &Options) -> Result<Self> {
        let (may_begin, begin) = watch::channel(true);
        let (is_over, over) = watch::channel(false);
        let (writing, watched) = watch::channel(0);
        let writing = Arc::new(writing);
        let mut streams = JoinSet::new();
        for number in 0..options.streams {
            let connection = Connection::open(server.address).await?;
            let stream = Stream {
                number,
                begin: begin.clone(),
                over: over.clone(),
                writing: Arc::clone(&writing),
            };
            streams.spawn(stream.run(connection));
        }
        Ok(Self {
            streams,
            count: options.streams,
            may_begin,
            is_over,
            writing: watched,
        })
    }

    /// Waits until every stream has begun to write.
    async fn all_write(&self) -> Result<()> {
        let mut writing = self.writing.clone();
        let all = writing.wait_for(|writing| *writing >= self.count);
        let waited = timeout(WRITTEN, all).await;
        let all = waited.with_context(|| {
            let writing = *self.writing.borrow();
            format!(
                "{writing} of {} texts are written after {WRITTEN:?}",
                self.count
            )
        })?;
        // Streams that failed are told by `end`.
        all.map(drop).context("a stream has failed")
    }

    fn may_begin(&self, may: bool) -> Result<()> {
        self.may_begin.send(may).context("all streams have failed")
    }

    async fn end(mut self) -> Result<Vec<Texts>> {
        // If nobody listens, all have failed, which is told below.
        let _ = self.is_over.send(true);
        let mut all = Vec::new();
        while let Some(stream) = self.streams.join_next().await {
            all.push(stream??);
        }
        Ok(all)
    }
}

/// Texts, one after another.
struct Stream {
    number: usize,
    begin: watch::Receiver<bool>,
    over: watch::Receiver<bool>,
    /// How many streams write at the moment.
    writing: Arc<watch::Sender<usize>>,
}

impl Stream {
    async fn run(mut self, connection: Connection) -> Result<Texts> {
        // What came so far outlives the text that is given up at the end.
        let texts = Mutex::new(Texts::new());
        let mut over = self.over.clone();
        tokio::select! {
            ended = self.write(connection, &texts) => ended?,
            over = over.wait_for(|over| *over) => drop(over.context("the benchmark was given up")?),
        }
        Ok(texts.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write(&mut self, mut connection: Connection, texts: &Mutex<Texts>) -> Result<()> {
        let locked = || texts.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.begin.wait_for(|may| *may).await?;
            let number = locked().len();
            locked().push(Vec::new());
            let conversation = prompts::endless(TEXTS + self.number as u64, number);
            let call = prompts::call(&conversation, MAX_TOKENS, true);
            let piece = |now| {
                let mut texts = locked();
                let text = texts.last_mut().expect("a text was begun above");
                if text.is_empty() {
                    self.writing.send_modify(|writing| *writing += 1);
                }
                text.push(now);
            };
            written::write(&mut connection, &call, piece).await?;
            if !locked().last().is_none_or(Vec::is_empty) {
                self.writing.send_modify(|writing| *writing -= 1);
            }
        }
    }
}

/// Times between two pieces of a text, sorted.
#[derive(Debug, Default, PartialEq)]
struct Gaps {
    /// While no long prompt was read.
    calm: Vec<Duration>,
    /// While one was read.
    reading: Vec<Duration>,
    /// While some stream wrote nothing.
    left_out: usize,
}

fn gaps(streams: &[Texts], reading: &[Span]) -> Gaps {
    let away: Vec<Span> = streams.iter().flat_map(away).collect();
    let mut gaps = Gaps::default();
    for text in streams.iter().flatten() {
        for (from, to) in text.iter().zip(text.iter().skip(1)) {
            let gap = Span {
                from: *from,
                to: *to,
            };
            if away.iter().any(|span| span.overlaps(&gap)) {
                gaps.left_out += 1;
            } else if reading.iter().any(|span| span.overlaps(&gap)) {
                gaps.reading.push(gap.to - gap.from);
            } else {
                gaps.calm.push(gap.to - gap.from);
            }
        }
    }
    gaps.calm.sort_unstable();
    gaps.reading.sort_unstable();
    gaps
}

/// When a stream wrote nothing: before its first text, between two, and after the last one.
fn away(texts: &Texts) -> Vec<Span> {
    let pieces = texts.iter().filter(|text| !text.is_empty());
    let mut ends = pieces.clone().filter_map(|text| text.last());
    let begins = pieces.filter_map(|text| text.first());
    let between = ends.clone().zip(begins.clone().skip(1));
    let mut spans: Vec<Span> = between
        .map(|(from, to)| Span {
            from: *from,
            to: *to,
        })
        .collect();
    let long = Duration::from_secs(86_400);
    if let (Some(first), Some(last)) = (begins.clone().next(), ends.next_back()) {
        let before = first.checked_sub(long).unwrap_or(*first);
        spans.push(Span {
            from: before,
            to: *first,
        });
        spans.push(Span {
            from: *last,
            to: *last + long,
        });
    }
    spans
}

fn print(gaps: Gaps) -> Result<Vec<String>> {
    for (when, some) in [("none is read", &gaps.calm), ("one is read", &gaps.reading)] {
        ensure!(
            !some.is_empty(),
            "no gap was counted while {when}; {} were left out because some text had ended",
            gaps.left_out
        );
    }
    let mut table = Table::new(&[
        "long prompt",
        "gaps",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "longest ms",
    ]);
    for (name, gaps) in [("none", &gaps.calm), ("being read", &gaps.reading)] {
        let quantiles = [0.5, 0.95, 0.99, 1.0].map(|q| format!("{:.1}", quantile_ms(gaps, q)));
        let cells = [name.to_owned(), gaps.len().to_string()];
        table.row(cells.into_iter().chain(quantiles));
    }
    table.print();
    report::line(&format!(
        "{} gaps were left out: not all texts were being written\n",
        gaps.left_out
    ));
    let p99 = |gaps: &[Duration]| quantile_ms(gaps, 0.99);
    Ok(vec![
        format!(
            "chat_gap_p99_ratio {:.2}",
            p99(&gaps.reading) / p99(&gaps.calm)
        ),
        format!("chat_gap_longest_ms {:.0}", quantile_ms(&gaps.reading, 1.0)),
    ])
}

fn quantile_ms(sorted: &[Duration], q: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
    let gap = sorted.get(index);
    gap.map_or(f64::NAN, |gap| gap.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count_while_all_texts_are_written() {
        let start = Instant::now() + Duration::from_secs(100);
        let at = |ms| start + Duration::from_millis(ms);
        let text = |times: &[u64]| times.iter().map(|ms| at(*ms)).collect::<Vec<_>>();
        // The second stream begins at 10, and is between two texts from 60 to 80.
        let streams = [
            vec![text(&[0, 10, 20, 40, 65, 79, 90, 100])],
            vec![text(&[10, 35, 60]), text(&[80, 100]), vec![]],
        ];
        let reading = [Span {
            from: at(20),
            to: at(50),
        }];
        let ms = |all: &[u64]| -> Vec<Duration> {
            all.iter().map(|ms| Duration::from_millis(*ms)).collect()
        };
        // Left out: 0 to 10, 40 to 65, 65 to 79 and 79 to 90.
        let expected = Gaps {
            calm: ms(&[10, 10, 20]),
            reading: ms(&[20, 25, 25]),
            left_out: 4,
        };
        assert_eq!(gaps(&streams, &reading), expected);
    }

    #[test]
    fn quantiles_are_of_what_is_sorted() {
        let sorted: Vec<_> = (0..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(&sorted, 0.99), 99.0);
        assert_eq!(quantile_ms(&sorted, 1.0), 100.0);
        assert!(quantile_ms(&[], 0.5).is_nan());
    }
}
