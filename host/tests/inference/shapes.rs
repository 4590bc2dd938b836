//! Models whose shapes are free: what they are warmed up with, and how much they may give.

use brink_host::batch::{BatchConfig, BatchMetrics};
use brink_host::inference::{InferenceConfig, Runtime};
use brink_host::results::{CacheItems, ResultsConfig};
use brink_host::service::{InferService, Model, OpenError, ServiceConfig};
use brink_protocol::tensor::{Datatype, Tensor, decode_tensors};
use brink_protocol::{FaultCode, InferReply, InferRequest, Input};
use prometheus_client::registry::Registry;

use crate::files;
use crate::onnx::{FLOAT, INT64, file, node, numbers, tensor};

const MANIFEST: &str = "
    name = \"free\"
    task = \"generic\"
    model_file = \"model.onnx\"
    created = 1
    owned_by = \"us\"
";

fn open(onnx: &[u8], more: &str, config: &InferenceConfig) -> Result<InferService, OpenError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = format!("{MANIFEST}{more}");
    std::fs::write(folder.path().join("model.toml"), manifest).expect("a writable folder");
    std::fs::write(folder.path().join("model.onnx"), onnx).expect("a writable folder");
    let mut registry = Registry::default();
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let metrics = BatchMetrics::register(&mut registry);
    let batch = BatchConfig::default();
    let model = Model::open(&runtime, folder.path(), config, &batch, &metrics)?;
    let items = CacheItems::register(&mut registry);
    let (results, config) = (ResultsConfig::default(), ServiceConfig::default());
    Ok(InferService::new(vec![model], results, config, items).expect("one name"))
}

async fn infer(service: &InferService, inputs: Vec<Tensor>) -> InferReply {
    let info = &service.catalog().models[0];
    let inputs = inputs
        .into_iter()
        .map(|tensor| Input::Tensors(vec![tensor]));
    let request = InferRequest {
        model: info.name.clone(),
        digest: info.digest,
        task: info.task(),
        ..crate::blank_request(inputs.collect())
    };
    service.infer(request).await
}

/// The eighth pixel of each row, so that there have to be eight.
fn eighth_pixel() -> Vec<u8> {
    let free = [None, Some(3), None, None];
    file(
        &node("Gather", &["pixels", "eighth"], "column", Some(("axis", 3))),
        &[numbers("eighth", &[7])],
        &tensor("pixels", FLOAT, &free),
        &tensor("column", FLOAT, &free),
    )
}

fn pixels(width: u64) -> Tensor {
    Tensor {
        name: "pixels".to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![3, 2, width],
        data: vec![0; 3 * 2 * width as usize * 4].into(),
    }
}

#[tokio::test]
async fn model_that_needs_more_than_one_of_a_free_dimension_is_warmed_up_with_what_it_says() {
    let config = InferenceConfig::default();
    let error = open(&eighth_pixel(), "", &config).map(drop);
    let error = error.expect_err("one pixel has no eighth").to_string();
    assert!(error.contains("does not run on cpu"), "{error}");

    let wrong = "[warm_up]\nshapes = { pixels = [1, 4, 8, 8] }";
    let error = open(&eighth_pixel(), wrong, &config).map(drop);
    let error = anyhow::Error::from(error.expect_err("four colours"));
    let error = format!("{error:#}");
    assert!(
        error.contains("is [1, 4, 8, 8]; the model takes [-1, 3, -1, -1]"),
        "{error}"
    );

    let right = "[warm_up]\nshapes = { pixels = [1, 3, 8, 8] }";
    let service = open(&eighth_pixel(), right, &config).expect("it is warmed up");
    assert!(infer(&service, vec![pixels(9)]).await.is_ok());
    // The client's mistake, since the model runs what it was warmed up with.
    let fault = infer(&service, vec![pixels(7)]).await.expect_err("seven");
    assert_eq!(fault.code, FaultCode::BadRequest);
    assert!(infer(&service, vec![pixels(8)]).await.is_ok());
}

/// Zeros of the shape that is asked for.
fn zeros() -> Vec<u8> {
    file(
        &node("ConstantOfShape", &["shape"], "zeros", None),
        &[],
        &tensor("shape", INT64, &[Some(2)]),
        &tensor("zeros", FLOAT, &[None, None]),
    )
}

fn shape(rows: i64, columns: i64) -> Tensor {
    let sizes = [rows, columns].into_iter();
    Tensor {
        name: "shape".to_owned(),
        datatype: Datatype::Int64,
        shape: vec![2],
        data: sizes.flat_map(i64::to_le_bytes).collect(),
    }
}

#[tokio::test]
async fn output_that_no_answer_can_hold_is_the_clients_mistake() {
    let config = InferenceConfig {
        max_output_bytes: 4000,
        ..InferenceConfig::default()
    };
    let service = open(&zeros(), "batched = false", &config).expect("a model");
    let given = infer(&service, vec![shape(10, 90)]).await.expect("3,600");
    let given = decode_tensors(&given.items[0].output).expect("tensors");
    assert_eq!(given[0].shape, [10, 90]);

    let fault = infer(&service, vec![shape(1, 1), shape(10, 101)]).await;
    let fault = fault.expect_err("4,040 bytes");
    assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, Some(1)));
    assert_eq!(
        fault.message,
        "the output zeros of model free has 4040 bytes for this input; at most 4000 are allowed (inference.max_output_mib)"
    );
    // Each fits, and both do not.
    let fault = infer(&service, vec![shape(10, 60), shape(60, 10)]).await;
    let fault = fault.expect_err("4,800 bytes and what is around");
    assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, None));
    assert!(
        fault.message.contains("the outputs of model free have 48"),
        "{}",
        fault.message
    );
    assert!(service.is_ready(), "the model is not to blame");
}
