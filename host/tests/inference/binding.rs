//! The way of a CUDA device, gone on a processor: bound tensors, fixed addresses, and where nodes ran.
//!
//! What differs on a device is whose memory the tensors are in, and that is asked of the runtime; so results
//! must be equal to the bit here. Pinning, copies and captured graphs themselves need a device.

use std::path::Path;

use brink_host::inference::{
    Backend, Device, DeviceChoice, InferenceConfig, ModelFiles, Output, Payload, Runtime, Session,
    Sessions, open_sessions,
};

use crate::files;

/// Items of the batches, growing and shrinking; the last is as large as one that was before.
const BATCHES: [usize; 7] = [1, 3, 8, 2, 5, 1, 8];

fn config() -> InferenceConfig {
    InferenceConfig {
        device: DeviceChoice::Cpu,
        sessions: Some(1),
        ..InferenceConfig::default()
    }
}

fn rehearsed() -> InferenceConfig {
    InferenceConfig {
        rehearsed: true,
        ..config()
    }
}

fn open(folder: &Path, config: &InferenceConfig) -> Sessions {
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let files = ModelFiles::read(folder).expect("the model");
    open_sessions(&runtime, &files, config).expect("a session")
}

fn session(folder: &Path, config: &InferenceConfig) -> Session {
    open(folder, config).sessions.remove(0)
}

fn tokens(seed: usize) -> Payload {
    let length = 3 + seed * 7 % 40;
    let ids = (0..length).map(|word| 1000 + (seed * 31 + word * 37) as u32 % 20_000);
    Payload::Tokens([101].into_iter().chain(ids).chain([102]).collect())
}

fn picture(seed: usize) -> Payload {
    let pixels = (0..224 * 224 * 3).map(|at| (at * 7 + at / 224 * seed + seed * 13) as u8);
    Payload::Pixels(pixels.collect::<Vec<_>>().into())
}

fn file(seed: usize) -> Payload {
    Payload::Tokens((0..2048).map(|at| (at * seed + 5) as u32 % 257).collect())
}

fn run(session: &mut Session, items: &[Payload]) -> Vec<Output> {
    let batch: Vec<&Payload> = items.iter().collect();
    session.run(&batch).expect("results")
}

fn check(model: &str, item: fn(usize) -> Payload) {
    let folder = files::named(model);
    let mut plain = session(&folder, &config());
    let mut bound = session(&folder, &rehearsed());
    for (round, size) in BATCHES.into_iter().enumerate() {
        let items: Vec<Payload> = (0..size).map(|index| item(round * 10 + index)).collect();
        let expected = run(&mut plain, &items);
        assert_eq!(run(&mut bound, &items), expected, "{model}, {size} items");
        if round == 3 {
            bound.shrink().expect("memory is given back");
        }
    }
}

#[test]
fn bound_texts_have_the_same_bits() {
    check("all-MiniLM-L6-v2", tokens);
}

#[test]
fn bound_pictures_have_the_same_bits() {
    check("efficientnet-lite0", picture);
}

#[test]
fn bound_files_have_the_same_bits() {
    check("magika", file);
}

/// A batch that fails leaves nothing behind that the next one could see.
#[test]
fn bound_session_goes_on_after_a_batch_that_failed() {
    let mut bound = session(&files::model(), &rehearsed());
    let before = run(&mut bound, &[tokens(1)]);
    let foreign = Payload::Tokens(vec![101, 99_999_999, 102]);
    assert!(bound.run(&[&foreign]).is_err());
    assert!(bound.run(&[&picture(1)]).is_err());
    assert_eq!(run(&mut bound, &[tokens(1)]), before);
}

/// Each bucket's tensors are bound once, and stay where they are when memory is given back.
#[test]
fn fixed_addresses_give_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = std::fs::read_to_string(files::model().join("model.toml")).expect("a file");
    let buckets = "[batching]\nshape_buckets = [16, 32]\nbucket_items = 4";
    let path = folder.path().join("model.toml");
    std::fs::write(path, format!("{manifest}\n{buckets}")).expect("a writable folder");
    for file in ["model.onnx", "tokenizer.json"] {
        let link = folder.path().join(file);
        std::os::unix::fs::symlink(files::model().join(file), link).expect("a link");
    }
    let mut plain = session(folder.path(), &config());
    let captured = InferenceConfig {
        cuda_graphs: true,
        ..rehearsed()
    };
    let mut bound = session(folder.path(), &captured);
    for round in 0..4 {
        // Both buckets, the longest beyond them, and fewer and more items than a bucket has.
        for (seed, size) in [(1, 4), (4, 4), (5, 2), (1, 1), (3, 6)] {
            let items: Vec<Payload> = (0..size)
                .map(|index| tokens(seed + index * round))
                .collect();
            let expected = run(&mut plain, &items);
            assert_eq!(run(&mut bound, &items), expected, "{round}: {seed}, {size}");
        }
        if round == 2 {
            bound.shrink().expect("memory is given back");
        }
    }
}

#[test]
fn nodes_are_found_where_they_ran() {
    let placement = open(&files::model(), &rehearsed()).placement;
    let placement = placement.expect("it was looked at");
    assert!(placement.nodes() > 10, "{placement:?}");
    assert_eq!(placement.on(Device::Cpu), placement.nodes());
    assert_eq!(placement.on(Device::Cuda(0)), 0);
    assert_eq!(open(&files::model(), &config()).placement, None);
}
