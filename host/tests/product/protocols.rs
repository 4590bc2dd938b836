//! The standard protocols, by their own clients.

use std::path::PathBuf;

use tokio::process::Command;

use crate::support::{Product, all_models, workspace};

const REFERENCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/minilm_reference.json"
);

pub(crate) async fn run(script: &str, arguments: &[&str]) {
    let python = std::env::var_os("BRINK_TEST_PYTHON").map(PathBuf::from);
    let python = python.expect("BRINK_TEST_PYTHON is not set; run: cargo xtask test --only tests");
    let output = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .output();
    let output = output.await.expect("Python");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn official_triton_client_works_unmodified() {
    let product = Product::with_models(&all_models(), &[], &[]).await;
    let address = product.0.address.to_string();
    let models = workspace().join("models").display().to_string();
    run(
        include_str!("clients/triton.py"),
        &[&address, REFERENCE, &models],
    )
    .await;
    assert_eq!(
        product.computed().await,
        12.0,
        "each text was computed once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hugging_face_client_works_unmodified() {
    let product = Product::start().await;
    let url = format!("http://{}", product.0.address);
    run(include_str!("clients/tei.py"), &[&url, REFERENCE]).await;
    assert_eq!(
        product.computed().await,
        12.0,
        "each text was computed once"
    );
}
