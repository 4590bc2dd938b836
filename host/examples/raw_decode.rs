//! ONNX Runtime alone, writing texts: the baseline of `cargo xtask bench chat`.
//!
//! Reads the conversations of a JSON file, each `[SYSTEM, USER]`, and writes the most probable tokens that follow, in a
//! bare loop: a prompt is read whole into a row of the batch, then each step writes a token of every row. There is no
//! queue, no pieces of prompts, no server and no stream. For each way it prints `WAY<TAB>TEXTS<TAB>TOKENS<TAB>CPU-SECONDS`:
//!
//! - `one by one`: a text at a time; only some of the conversations, for it takes long.
//! - `batch by batch`: rows whose text has ended stay empty until all have.
//! - `refilled`: a row whose text has ended reads the next prompt at once.
//!
//! Templates, tokenising and turning tokens into bytes are counted, as they are for a server. Tokens are counted as
//! `usage` counts them: the one that ends a text is one of them.
//!
//! The session and its bindings are the host's ([`Decoder`]): inputs are written, and the runtime is called. An emptied
//! row gives its memory back there, which a loop of its own would not do; it is far below a hundredth of a text's time.
//!
//! ```text
//! raw_decode LIBRARY MODEL_FOLDER CONVERSATIONS.json MAX_TOKENS ROWS
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::{Path, PathBuf};

use brink_host::generate::Prompts;
use brink_host::inference::{
    Decoder, DeviceChoice, InferenceConfig, ModelFiles, ModelTask, Runtime, TokenLimits, Tokenizer,
    Vocabulary, open_decoder,
};
use brink_protocol::generate::{Message, Prompt, Role};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Conversations that are written one by one: one of so many.
const ONE_BY_ONE: usize = 16;

/// What the system and the user say.
type Conversation = (String, String);

fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let conversations = std::fs::read(&arguments.conversations)?;
    let conversations: Vec<Conversation> = serde_json::from_slice(&conversations)?;
    let mut bench = Bench::open(&arguments)?;
    let rows = arguments.rows;
    let slots = bench.decoder.slots();
    if rows == 0 || rows > slots {
        return Err(format!("ROWS is {rows}; 1 to {slots} are allowed").into());
    }
    // The first run of each number of rows binds it, and memory is touched.
    bench.write(
        &conversations[..rows.min(conversations.len())],
        rows,
        Way::BatchByBatch,
    )?;
    let some = conversations.len().div_ceil(ONE_BY_ONE);
    bench.measure("one by one", &conversations[..some], 1, Way::Refilled)?;
    bench.measure("batch by batch", &conversations, rows, Way::BatchByBatch)?;
    bench.measure("refilled", &conversations, rows, Way::Refilled)
}

struct Arguments {
    library: PathBuf,
    folder: PathBuf,
    conversations: PathBuf,
    max_tokens: u32,
    rows: usize,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut argument = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
        Ok(Self {
            library: argument("LIBRARY")?.into(),
            folder: argument("MODEL_FOLDER")?.into(),
            conversations: argument("CONVERSATIONS.json")?.into(),
            max_tokens: argument("MAX_TOKENS")?.parse()?,
            rows: argument("ROWS")?.parse()?,
        })
    }
}

/// When a row takes the next prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    BatchByBatch,
    Refilled,
}

/// A text that is being written in a row.
struct Text {
    slot: usize,
    last: u32,
    /// Tokens that may still be written.
    left: usize,
}

struct Bench {
    decoder: Box<dyn Decoder>,
    tokenizer: Tokenizer,
    prompts: Prompts,
    vocabulary: Vocabulary,
    end_tokens: Vec<u32>,
    max_tokens: u32,
    /// The bytes of all texts, one behind the other.
    written: Vec<u8>,
}

impl Bench {
    fn open(arguments: &Arguments) -> Result<Self> {
        let folder: &Path = &arguments.folder;
        let files = ModelFiles::read(folder)?;
        let manifest = &files.manifest;
        let ModelTask::Generate(generation) = &manifest.task else {
            return Err(format!("{} does not write", manifest.name).into());
        };
        let file = manifest.tokenizer_file().ok_or("it has no tokenizer")?;
        let limits = TokenLimits {
            max_tokens: generation.text.max_tokens,
            vocabulary: generation.text.vocabulary,
        };
        let tokenizer = Tokenizer::from_file(&folder.join(file), limits)?;
        let config = InferenceConfig {
            device: DeviceChoice::Cpu,
            ..InferenceConfig::default()
        };
        let runtime = Runtime::load(&arguments.library)?;
        Ok(Self {
            decoder: open_decoder(&runtime, &files, generation, &config)?.decoder,
            prompts: Prompts::load(&manifest.name, folder, generation, &tokenizer)?,
            vocabulary: tokenizer.vocabulary()?,
            tokenizer,
            end_tokens: generation.end_tokens.clone(),
            max_tokens: arguments.max_tokens,
            written: Vec::new(),
        })
    }

    fn measure(&mut self, name: &str, all: &[Conversation], rows: usize, way: Way) -> Result<()> {
        let before = cpu_seconds()?;
        let tokens = self.write(all, rows, way)?;
        let spent = cpu_seconds()? - before;
        println!("{name}\t{}\t{tokens}\t{spent:.2}", all.len());
        Ok(())
    }

    /// Writes a text for each conversation, so many at a time, and tells how many tokens they have.
    fn write(&mut self, all: &[Conversation], rows: usize, way: Way) -> Result<usize> {
        self.written.clear();
        let mut waiting = all.iter();
        let mut free: VecDeque<usize> = (0..rows).collect();
        let mut texts: Vec<Text> = Vec::with_capacity(rows);
        let mut tokens = 0;
        loop {
            if way == Way::Refilled || texts.is_empty() {
                tokens += self.fill(&mut waiting, &mut texts, &mut free)?;
            }
            if texts.is_empty() {
                return Ok(tokens);
            }
            tokens += texts.len();
            self.step(&mut texts, &mut free)?;
        }
    }

    /// Begins texts in all free rows, and tells how many were begun: each has a token by then.
    fn fill(
        &mut self,
        waiting: &mut std::slice::Iter<'_, Conversation>,
        texts: &mut Vec<Text>,
        free: &mut VecDeque<usize>,
    ) -> Result<usize> {
        let mut begun = 0;
        while let Some(slot) = free.front().copied() {
            let Some(conversation) = waiting.next() else {
                break;
            };
            begun += 1;
            // A text that ends with its first token leaves the row to the next one.
            if let Some(text) = self.begin(conversation, slot)? {
                texts.push(text);
                free.pop_front();
            }
        }
        Ok(begun)
    }

    /// Reads a prompt whole and writes its first token. `None` if that is the last one.
    fn begin(&mut self, (system, user): &Conversation, slot: usize) -> Result<Option<Text>> {
        let message = |role, content: &String| Message {
            role,
            content: content.clone(),
        };
        let messages = vec![message(Role::System, system), message(Role::User, user)];
        let prompt = Prompt::Messages(messages);
        let read = self
            .prompts
            .read(&self.tokenizer, &prompt, Some(self.max_tokens));
        let read = read.map_err(|fault| fault.message)?;
        self.decoder.truncate(slot, 0);
        let logits = self.decoder.prefill(slot, &read.tokens, true)?;
        let token = best(logits.ok_or("logits follow the last token")?);
        let mut text = Text {
            slot,
            last: token,
            left: read.most,
        };
        Ok(self.take(&mut text, token).then_some(text))
    }

    /// Writes a token of each text. Those that end give their slot back.
    fn step(&mut self, texts: &mut Vec<Text>, free: &mut VecDeque<usize>) -> Result<()> {
        let rows: Vec<(usize, u32)> = texts.iter().map(|text| (text.slot, text.last)).collect();
        let logits = self.decoder.step(&rows)?;
        let chosen: Vec<u32> = (0..rows.len()).map(|row| best(logits.row(row))).collect();
        let mut chosen = chosen.into_iter();
        texts.retain_mut(|text| {
            let goes_on = chosen.next().is_some_and(|token| self.take(text, token));
            if !goes_on {
                free.push_back(text.slot);
            }
            goes_on
        });
        Ok(())
    }

    /// Takes a token into a text, and tells whether that goes on.
    fn take(&mut self, text: &mut Text, token: u32) -> bool {
        text.last = token;
        text.left -= 1;
        if self.end_tokens.contains(&token) {
            return false;
        }
        self.written.extend_from_slice(self.vocabulary.bytes(token));
        text.left > 0
    }
}

/// The most probable token; of equals the first. In lanes, because a loop that carries one maximum along takes
/// noticeable time at 49,152 numbers a token.
fn best(logits: &[f32]) -> u32 {
    const LANES: usize = 32;
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, *logit);
        }
    }
    let most = lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, greater);
    let place = logits.iter().position(|logit| *logit >= most);
    place.map_or(0, |place| u32::try_from(place).unwrap_or(u32::MAX))
}

/// User and system time; Linux counts in hundredths of a second.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
