//! The real model that writes, against the tokens that llama.cpp writes with the same weights.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use brink_host::generate::GenerateMetrics;
use brink_host::inference::{
    Decoder, DeviceChoice, InferenceConfig, Logits, ModelFiles, ModelTask, PromptPiece, Runtime,
    TokenLimits, Tokenizer, open_decoder,
};
use brink_host::results::{CacheItems, ResultsConfig};
use brink_host::service::{
    FolderLoader, GenerateOptions, InferService, Repository, RepositoryConfig, RepositoryMetrics,
    ServiceConfig,
};
use brink_protocol::generate::{
    FinishReason, GenerateEvent, GenerateRequest, Message, Prompt, Role, Sampling, Usage,
};
use brink_protocol::{Fault, FaultCode};
use prometheus_client::registry::Registry;
use serde::Deserialize;

use crate::files;

const NAME: &str = "smollm2-135m-instruct";
/// The model ends a text with these.
const ENDS: [u32; 2] = [2, 0];

/// What the most probable tokens are, one after another.
#[derive(Deserialize)]
struct Reference {
    prompt: String,
    prompt_ids: Vec<u32>,
    #[serde(rename = "gen")]
    written: Vec<u32>,
    text: String,
}

static REFERENCE: LazyLock<Vec<Reference>> = LazyLock::new(|| {
    let text = include_str!("../../../models/smollm2-135m-instruct/reference/greedy.json");
    serde_json::from_str(text).expect("a reference")
});

fn config() -> InferenceConfig {
    InferenceConfig {
        device: DeviceChoice::Cpu,
        ..InferenceConfig::default()
    }
}

/// One decoder for all tests: it takes most of a gigabyte. Each begins with empty slots.
static DECODER: LazyLock<Mutex<Box<dyn Decoder>>> = LazyLock::new(|| Mutex::new(open()));

fn decoder() -> MutexGuard<'static, Box<dyn Decoder>> {
    let mut decoder = DECODER.lock().unwrap_or_else(PoisonError::into_inner);
    for slot in 0..decoder.slots() {
        decoder.truncate(slot, 0);
    }
    decoder
}

fn open() -> Box<dyn Decoder> {
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let files = ModelFiles::read(&files::on_demand().join(NAME)).expect("the model");
    let ModelTask::Generate(generation) = &files.manifest.task else {
        panic!("a model that writes")
    };
    let opened = open_decoder(&runtime, &files, generation, &config());
    opened.expect("the model runs").decoder
}

fn best(logits: &[f32]) -> u32 {
    let ids = 0u32..;
    let most = ids
        .zip(logits)
        .max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a)));
    most.expect("a vocabulary").0
}

/// A text that is being written: which one, in which slot, and what was written.
struct Text {
    place: usize,
    slot: usize,
    written: Vec<u32>,
}

impl Text {
    fn is_done(&self) -> bool {
        let wanted = &REFERENCE[self.place].written;
        let ended = self.written.last().is_some_and(|last| ENDS.contains(last));
        ended || self.written.len() == wanted.len()
    }
}

fn begin(decoder: &mut dyn Decoder, place: usize, slot: usize, piece: usize) -> Text {
    decoder.truncate(slot, 0);
    go_on(decoder, place, slot, piece)
}

/// Reads what of a prompt a slot does not hold.
fn go_on(decoder: &mut dyn Decoder, place: usize, slot: usize, piece: usize) -> Text {
    let ids = &REFERENCE[place].prompt_ids;
    let mut first = None;
    for (index, part) in ids.chunks(piece).enumerate() {
        let last = (index + 1) * piece >= ids.len();
        let logits = decoder.prefill(slot, part, last).expect("a run");
        first = logits.map(best);
    }
    Text {
        place,
        slot,
        written: vec![first.expect("logits follow the last token")],
    }
}

fn step(decoder: &mut dyn Decoder, texts: &mut [Text]) {
    let last = |text: &Text| *text.written.last().expect("a token");
    let rows: Vec<(usize, u32)> = texts.iter().map(|text| (text.slot, last(text))).collect();
    let logits: Logits<'_> = decoder.step(&rows).expect("a run");
    let next: Vec<u32> = (0..rows.len()).map(|row| best(logits.row(row))).collect();
    for (text, token) in texts.iter_mut().zip(next) {
        text.written.push(token);
    }
}

fn check(text: &Text) {
    let wanted = &REFERENCE[text.place].written;
    assert_eq!(&text.written, wanted, "text {}", text.place);
}

#[test]
fn tokenizer_makes_the_same_tokens() {
    let folder = files::on_demand().join(NAME);
    let limits = TokenLimits {
        max_tokens: 2048,
        vocabulary: 49152,
    };
    let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json"), limits);
    let tokenizer = tokenizer.expect("a tokenizer");
    let vocabulary = tokenizer.vocabulary().expect("it is byte-level");
    for reference in REFERENCE.iter() {
        let prompt = [PromptPiece::Text(reference.prompt.clone())];
        let ids = tokenizer.encode_prompt(&prompt).expect("tokens");
        assert_eq!(ids, reference.prompt_ids);
        let bytes = reference
            .written
            .iter()
            .flat_map(|id| vocabulary.bytes(*id));
        let text = String::from_utf8(bytes.copied().collect()).expect("text");
        assert_eq!(text.trim(), reference.text.trim());
    }
    let literal = PromptPiece::Literal("<|im_end|>".to_owned());
    let ids = tokenizer.encode_prompt(&[literal]).expect("tokens");
    assert!(ids.len() > 1 && !ids.contains(&2), "{ids:?}");
}

#[test]
fn tokens_are_those_of_the_reference_alone_and_in_pieces() {
    let mut decoder = decoder();
    for (place, reference) in REFERENCE.iter().enumerate() {
        // Whole, and in pieces of several sizes.
        let piece = [usize::MAX >> 1, 7, 16, 1][place % 4].min(reference.prompt_ids.len());
        let mut text = begin(&mut **decoder, place, place % 3, piece);
        while !text.is_done() {
            step(&mut **decoder, std::slice::from_mut(&mut text));
        }
        check(&text);
    }
}

#[test]
fn tokens_are_those_of_the_reference_while_others_join_and_leave() {
    let mut decoder = decoder();
    let slots = 4;
    let mut free: Vec<usize> = (0..slots).rev().collect();
    let (mut next, mut steps) = (0, 0);
    let mut texts: Vec<Text> = Vec::new();
    let mut done = 0;
    while done < REFERENCE.len() {
        // One joins at every third step at most, so that they are never in step.
        if steps % 3 == 0
            && next < REFERENCE.len()
            && let Some(slot) = free.pop()
        {
            texts.push(begin(&mut **decoder, next, slot, 11 + next));
            next += 1;
        }
        let (ended, going): (Vec<_>, Vec<_>) = texts.into_iter().partition(Text::is_done);
        texts = going;
        for text in ended {
            check(&text);
            free.insert(0, text.slot);
            done += 1;
        }
        if !texts.is_empty() {
            step(&mut **decoder, &mut texts);
        }
        steps += 1;
    }
}

#[test]
fn beginning_of_another_text_is_as_good_as_ones_own() {
    let mut decoder = decoder();
    let (a, b) = (&REFERENCE[0].prompt_ids, &REFERENCE[1].prompt_ids);
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    assert!(common > 16, "they have the system's message in common");
    let mut first = begin(&mut **decoder, 0, 5, a.len());
    decoder.copy_prefix(5, 2, common);
    let logits = decoder.prefill(2, &b[common..], true).expect("a run");
    let mut second = Text {
        place: 1,
        slot: 2,
        written: vec![best(logits.expect("logits follow the last token"))],
    };
    while !first.is_done() {
        step(&mut **decoder, std::slice::from_mut(&mut first));
    }
    check(&first);
    decoder.truncate(5, 0);
    while !second.is_done() {
        step(&mut **decoder, std::slice::from_mut(&mut second));
    }
    check(&second);
}

/// One service for all tests of it.
async fn service() -> InferService {
    let mut registry = Registry::default();
    let loader = FolderLoader {
        models: files::on_demand(),
        runtime: Runtime::load(&files::onnxruntime()).expect("ONNX Runtime"),
        inference: config(),
        batch: brink_host::batch::BatchConfig::default(),
        metrics: brink_host::batch::BatchMetrics::register(&mut registry),
        generate: GenerateOptions {
            metrics: GenerateMetrics::register(&mut registry),
            ..GenerateOptions::default()
        },
    };
    let (config, metrics) = (RepositoryConfig::default(), RepositoryMetrics::default());
    let repository = Repository::start(Box::new(loader), config, metrics).await;
    InferService::of(
        repository.expect("the model"),
        ResultsConfig::default(),
        ServiceConfig::default(),
        CacheItems::register(&mut registry),
    )
}

fn request(service: &InferService, said: &str, sampling: Sampling) -> GenerateRequest {
    let info = service.catalog().find(NAME).cloned().expect("the model");
    GenerateRequest {
        request_id: "test".to_owned(),
        tenant: "default".to_owned(),
        urgency: 3,
        model: NAME.to_owned(),
        digest: info.digest,
        timeout_ms: 300_000,
        share: None,
        sharing: None,
        keep: false,
        heartbeat_ms: 0,
        prompt: Prompt::Messages(vec![Message {
            role: Role::User,
            content: said.to_owned(),
        }]),
        sampling,
    }
}

fn greedy(max_tokens: usize) -> Sampling {
    Sampling {
        temperature: 0.0,
        max_tokens: u32::try_from(max_tokens).ok(),
        ..Sampling::default()
    }
}

type Said = Result<(String, FinishReason, Usage), Fault>;

async fn write(service: &InferService, request: GenerateRequest) -> Said {
    let mut stream = service.generate(request).await?;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event {
            GenerateEvent::Kept { .. } | GenerateEvent::Started { .. } | GenerateEvent::Idle => {}
            GenerateEvent::Delta(delta) => text.push_str(&delta.text),
            GenerateEvent::Finished { reason, usage } => return Ok((text, reason, usage)),
            GenerateEvent::Failed(fault) => return Err(fault),
        }
    }
    panic!("a stream has an end")
}

/// What the user says in a prompt of the reference.
fn said(reference: &Reference) -> &str {
    let (_, rest) = reference
        .prompt
        .split_once("<|im_start|>user\n")
        .expect("a user");
    rest.split("<|im_end|>").next().expect("the end of a turn")
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_answered_as_the_reference_does() {
    let service = service().await;
    let all = REFERENCE
        .iter()
        .filter(|it| !said(it).contains("<|im_start|>"));
    let all: Vec<_> = all
        .filter(|it| it.prompt.matches("<|im_start|>").count() == 3)
        .collect();
    assert!(all.len() >= 4, "most have one turn");
    let answers = all.iter().map(|reference| {
        let request = request(&service, said(reference), greedy(reference.written.len()));
        write(&service, request)
    });
    // All at once.
    let answers = futures_util::future::join_all(answers).await;
    for (reference, answer) in all.iter().zip(answers) {
        let (text, _, usage) = answer.expect("a text");
        assert_eq!(text.trim(), reference.text.trim());
        assert_eq!(usage.completion_tokens as usize, reference.written.len());
        assert_eq!(usage.prompt_tokens as usize, reference.prompt_ids.len());
    }
    bad_requests_are_refused(&service).await;
    seed_makes_texts_reproducible(&service).await;
    service
        .shutdown(tokio::time::Instant::now() + std::time::Duration::from_secs(60))
        .await;
}

async fn bad_requests_are_refused(service: &InferService) {
    let refused = |request: GenerateRequest, part: &'static str| async move {
        let fault = write(service, request).await.expect_err(part);
        assert!(fault.message.contains(part), "{}", fault.message);
        fault.code
    };
    let base = || request(service, "Hello", greedy(4));
    let long = request(service, &"word ".repeat(3000), greedy(4));
    let code = refused(long, "takes at most 2047").await;
    assert_eq!(code, FaultCode::InputTooLong);
    let many = request(service, "Hello", greedy(5000));
    assert_eq!(
        refused(many, "writes at most 1024").await,
        FaultCode::BadRequest
    );
    let unknown = GenerateRequest {
        prompt: Prompt::Tokens(vec![1, 49152]),
        ..base()
    };
    assert_eq!(
        refused(unknown, "token 1 is 49152").await,
        FaultCode::BadRequest
    );
    let other = GenerateRequest {
        model: "other".to_owned(),
        ..base()
    };
    assert_eq!(
        refused(other, "no such model").await,
        FaultCode::UnknownModel
    );
}

async fn seed_makes_texts_reproducible(service: &InferService) {
    let sampling = |seed| Sampling {
        seed: Some(seed),
        temperature: 1.2,
        ..greedy(24)
    };
    let say = |seed| {
        write(
            service,
            request(service, "Tell me a story.", sampling(seed)),
        )
    };
    let (a, b, c) = tokio::join!(say(1), say(1), say(2));
    let [a, b, c] = [a, b, c].map(|said| said.expect("a text").0);
    assert_eq!(a, b);
    assert_ne!(a, c);
}
