//! Models that come and go in the whole product, by the program's own commands.

use std::path::Path;
use std::process::Output;

use crate::support::{MODEL, Product, files};

/// A folder of models that a test may change, with the default model in it.
fn models() -> tempfile::TempDir {
    let models = tempfile::tempdir().expect("a temporary folder");
    copy(&files().models.join(MODEL), &models.path().join(MODEL));
    models
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    for name in ["model.toml", "model.onnx", "tokenizer.json"] {
        std::fs::copy(from.join(name), to.join(name)).expect("a file of the model");
    }
}

async fn brink(product: &Product, arguments: &[&str]) -> Output {
    let admin = format!("http://{}", product.0.admin_address);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_brink"));
    command
        .arg("models")
        .args(arguments)
        .env("BRINK_ADMIN", admin);
    command.output().await.expect("the program")
}

fn told(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).expect("text")
}

#[tokio::test]
async fn model_is_switched_under_load_without_a_failed_request() {
    let models = models();
    let product = Product::with_models(models.path(), &[("catalog_lifetime_seconds", "1")]).await;
    let list = brink(&product, &["list"]).await;
    assert!(
        told(&list).contains(MODEL) && told(&list).contains("ready"),
        "{}",
        told(&list)
    );

    // Another limit is another model: 32 tokens instead of 256.
    let second = models.path().join("second");
    copy(&models.path().join(MODEL), &second);
    let manifest = std::fs::read_to_string(second.join("model.toml")).expect("a file");
    let manifest = manifest
        .replace("version = \"1\"", "version = \"2\"")
        .replace("max_tokens = 256", "max_tokens = 32");
    std::fs::write(second.join("model.toml"), manifest).expect("a writable folder");

    let mut client = product.client().await;
    let loading = async {
        let loaded = brink(&product, &["load", MODEL]).await;
        assert!(loaded.status.success(), "{}", told(&loaded));
        assert!(
            told(&loaded).contains("version 2; no more served: 1"),
            "{}",
            told(&loaded)
        );
    };
    tokio::pin!(loading);
    let mut asked = 0;
    loop {
        asked += 1;
        tokio::select! {
            biased;
            () = &mut loading => break,
            reply = client.embed(format!("text {asked}")) => assert_eq!(reply.status, 200),
        }
    }
    let long = "word ".repeat(60);
    let reply = product.client().await.embed(long.as_str()).await;
    assert_eq!(reply.status, 400, "the new limit holds");
}

#[tokio::test]
async fn bad_model_is_refused_with_the_reason() {
    let models = models();
    let product = Product::with_models(models.path(), &[]).await;
    let manifest = models.path().join(MODEL).join("model.toml");
    let text = std::fs::read_to_string(&manifest).expect("a file");
    std::fs::write(
        &manifest,
        text.replace("dimensions = 384", "dimensions = 7"),
    )
    .expect("writable");
    let refused = brink(&product, &["load", MODEL]).await;
    assert!(!refused.status.success());
    let told = told(&refused);
    assert!(told.contains("384 numbers where 7 were expected"), "{told}");
    assert_eq!(product.client().await.embed("goes on").await.status, 200);
}
