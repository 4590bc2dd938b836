//! `model.toml` of every task, and mistakes in them.

use super::*;

const EMBED: &str = r#"
    name = "all-MiniLM-L6-v2"
    task = "embed"
    model_file = "model.onnx"
    tokenizer_file = "tokenizer.json"
    dimensions = 384
    max_tokens = 256
    vocabulary = 30522
    created = 1661990400
    owned_by = "sentence-transformers"
"#;

const IMAGE: &str = r#"
    name = "efficientnet-lite0"
    version = "2"
    task = "classify"
    model_file = "model.onnx"
    labels_file = "labels.txt"
    created = 1
    owned_by = "us"
    [input]
    kind = "image"
    tensor = "image"
    width = 224
    height = 224
    crop = 0.875
    resize = "bicubic"
    mean = [127, 127.0, 127.0]
    std = [128.0, 128.0, 128.0]
    channels = "rgb"
    layout = "nchw"
    [output]
    tensor = "probs"
    scores = "probabilities"
    [run]
    device = "cpu"
    instances = 2
    fp16_file = "model_fp16.onnx"
    [batching]
    max_items = 1
    max_queue_delay_ms = 5
    shape_buckets = [8, 16]
"#;

const BYTES: &str = r#"
    name = "magika"
    task = "classify"
    model_file = "model.onnx"
    labels_file = "labels.txt"
    created = 1
    owned_by = "us"
    [input]
    kind = "bytes"
    tensor = "bytes"
    begin = 1024
    end = 1024
    block = 4096
    padding = 256
    strip = true
"#;

#[test]
fn embedding_is_read() {
    let manifest = Manifest::parse(EMBED).expect("no mistake");
    assert_eq!(
        (&*manifest.name, &*manifest.version),
        ("all-MiniLM-L6-v2", "1")
    );
    assert_eq!(manifest.created, 1_661_990_400);
    let ModelTask::Embed(embedding) = &manifest.task else {
        panic!("an embedding")
    };
    assert_eq!(
        (embedding.dimensions, embedding.text.max_tokens),
        (384, 256)
    );
    assert_eq!(
        (embedding.pooling, embedding.normalize),
        (Pooling::Inside, false)
    );
    assert_eq!(manifest.batching, BatchSettings::default());
}

#[test]
fn classifiers_are_read() {
    let manifest = Manifest::parse(IMAGE).expect("no mistake");
    assert_eq!(manifest.version, "2");
    let ModelTask::Classify(classification) = manifest.task else {
        panic!("a classifier")
    };
    let ClassifierInput::Image(image) = classification.input else {
        panic!("of pictures")
    };
    assert_eq!(
        (image.width, image.crop, image.mean[0]),
        (224, 0.875, 127.0)
    );
    assert_eq!(manifest.run.instances, Some(2));
    let half = manifest.run.fp16_file.as_deref();
    assert_eq!(half, Some("model_fp16.onnx"));
    assert_eq!(
        manifest.batching.max_queue_delay,
        Some(Duration::from_millis(5))
    );
    assert_eq!(manifest.batching.shape_buckets, [8, 16]);

    let manifest = Manifest::parse(BYTES).expect("no mistake");
    let ModelTask::Classify(classification) = manifest.task else {
        panic!("a classifier")
    };
    let ClassifierInput::Bytes(bytes) = classification.input else {
        panic!("of files")
    };
    assert_eq!((bytes.begin, bytes.block, bytes.padding), (1024, 4096, 256));
}

#[test]
fn all_mistakes_are_reported_at_once_with_key_and_value() {
    let wrong = EMBED
        .replace("\"embed\"", "\"chat\"")
        .replace("name =", "nmae =");
    let mistakes = Manifest::parse(&wrong).expect_err("mistakes");
    assert_eq!(mistakes[0], "name is missing");
    assert_eq!(
        mistakes[1],
        "task is \"chat\"; it must be \"embed\" or \"classify\" or \"generic\" or \"generate\""
    );
    assert_eq!(mistakes[2], "nmae is not a key of model.toml");

    let wrong = EMBED
        .replace("384", "0")
        .replace("\"tokenizer.json\"", "\"../tokenizer.json\"")
        .replace("all-MiniLM", "all MiniLM");
    assert_eq!(
        Manifest::parse(&wrong),
        Err(vec![
            "tokenizer_file is \"../tokenizer.json\"; it must be the name of a file in this folder"
                .to_owned(),
            "dimensions is 0; it must be a whole number from 1 to 4294967295".to_owned(),
            "name must consist of letters, digits and -_./:+".to_owned(),
        ])
    );
}

#[test]
fn mistakes_in_tables_name_the_table() {
    let wrong = IMAGE
        .replace("width = 224", "width = 99999")
        .replace("std = [128.0, 128.0, 128.0]", "std = [1, 0, 1]")
        .replace("crop = 0.875", "crop = 2")
        .replace("max_items = 1", "max_items = 0")
        .replace("[8, 16]", "[16, 8]")
        .replace("instances", "instance");
    assert_eq!(
        Manifest::parse(&wrong),
        Err(vec![
            "input.width is 99999; it must be at most 4096".to_owned(),
            "input.std has a number that is not above 0".to_owned(),
            "input.crop is 2; it must be a number from 0.01 to 1".to_owned(),
            "batching.max_items is 0; it must be a whole number from 1 to 65536".to_owned(),
            "batching.shape_buckets is [16, 8]; it must be a list of whole numbers that rise from 1"
                .to_owned(),
            "run.instance is not a key of model.toml".to_owned(),
        ])
    );
}

#[test]
fn broken_toml_is_one_mistake() {
    let mistakes = Manifest::parse("name = ").expect_err("a mistake");
    assert_eq!(mistakes.len(), 1);
}

const GENERIC: &str = r#"
    name = "g"
    task = "generic"
    model_file = "model.onnx"
    created = 1
    owned_by = "us"
"#;

#[test]
fn shapes_to_warm_up_with_are_read_as_the_onnx_file_has_them() {
    let read = |more: &str| Manifest::parse(&format!("{GENERIC}{more}")).expect("no mistake");
    assert_eq!(read("").warm_up, WarmUp::default());
    let batched = read("[warm_up]\nshapes = { \"pixels\" = [1, 3, 8, 8] }");
    assert_eq!(batched.warm_up.shapes["pixels"], [1, 3, 8, 8]);
    let whole = read("batched = false\n[warm_up.shapes]\nx = [4]\ny = []");
    assert_eq!(whole.warm_up.shapes["x"], [4]);
    assert!(whole.warm_up.shapes["y"].is_empty(), "a scalar");
}

#[test]
fn shapes_that_no_item_has_are_told_with_the_input() {
    let check = |more: &str, part: &str| {
        let mistakes = Manifest::parse(&format!("{GENERIC}{more}")).expect_err(part);
        assert!(mistakes[0].contains(part), "{mistakes:?}");
    };
    let key = "warm_up.shapes.pixels is";
    check("warm_up.shapes.pixels = [3, 8]", "that of the batch, is 1");
    check("warm_up.shapes.pixels = []", "that of the batch, is 1");
    for shape in [
        "[1, 0]",
        "[1, -1]",
        "[1, \"a\"]",
        "8",
        "[1, 9999999, 9999999]",
    ] {
        check(&format!("warm_up.shapes.pixels = {shape}"), key);
    }
    check("warm_up.shapes.pixels = [1,1,1,1,1,1,1,1,1]", "up to 8");
    check("warm_up.shape.pixels = [1]", "warm_up.shape is not a key");
    let mistakes = Manifest::parse(&format!("{EMBED}warm_up.shapes.x = [1]")).expect_err("a text");
    assert!(
        mistakes[0].contains("only task = \"generic\" has it"),
        "{mistakes:?}"
    );
}
