//! Models that come and go in the whole product, by the program's own commands.

use std::path::Path;
use std::process::Output;

use crate::support::{Client, MODEL, Product, files};

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
    let product =
        Product::with_models(models.path(), &[("catalog_lifetime_seconds", "1")], &[]).await;
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
    let product = Product::with_models(models.path(), &[], &[]).await;
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

/// The status of a question, without its answer.
async fn status(client: &mut Client, path: &str) -> u16 {
    client.get(path).await.status.as_u16()
}

#[tokio::test]
async fn model_that_cannot_be_loaded_is_not_ready_and_the_host_is() {
    const SECOND: &str = "second";
    let models = models();
    let second = models.path().join(SECOND);
    copy(&models.path().join(MODEL), &second);
    let manifest = std::fs::read_to_string(second.join("model.toml")).expect("a file");
    let named = manifest.replace(MODEL, SECOND);
    std::fs::write(second.join("model.toml"), named).expect("a writable folder");
    let variables = [("catalog_lifetime_seconds", "1")];
    let idle = ["models.idle_unload_after_ms=1"];
    let product = Product::with_models(models.path(), &variables, &idle).await;
    let mut client = product.client().await;
    let ready = format!("/v2/models/{SECOND}/ready");
    assert_eq!(status(&mut client, &ready).await, 200);

    // It leaves memory, its files change, and nobody can bring it back.
    let mut admin = Client::connect(product.0.admin_address).await;
    loop {
        let list = admin.get("/models").await.json();
        let models = list["models"].as_array().expect("a list").clone();
        if models.iter().all(|model| model["state"] == "cold") {
            break;
        }
    }
    std::fs::write(second.join("tokenizer.json"), "{}").expect("a writable folder");
    let body = format!("{{\"model\": \"{SECOND}\", \"input\": \"a\"}}");
    let refused = client.send("POST", "/v1/embeddings", body).await;
    assert_eq!(refused.expect("an answer").status, 503);

    // The edge knows once it has read the list of models again.
    while status(&mut client, &ready).await != 503 {}
    let index = client.send("POST", "/v2/repository/index", "").await;
    let states = index.expect("an answer").json();
    let states = states.as_array().expect("a list").clone();
    let states = states.iter().map(|model| model["state"].as_str());
    assert!(states.eq([Some("READY"), Some("UNAVAILABLE")]));
    assert_eq!(status(&mut client, "/v2/health/ready").await, 200);
    assert_eq!(status(&mut admin, "/readyz").await, 200);
    assert_eq!(client.embed("goes on").await.status, 200);
}
