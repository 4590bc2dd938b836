//! A model of any tensors: the embedding model, fed by hand.

use std::sync::LazyLock;

use brink_host::batch::{BatchConfig, BatchMetrics};
use brink_host::inference::{InferenceConfig, Runtime};
use brink_host::results::{CacheItems, ResultsConfig};
use brink_host::service::{InferService, Model, ServiceConfig};
use brink_protocol::tensor::{Datatype, Tensor, decode_tensors};
use brink_protocol::{FaultCode, InferReply, InferRequest, Input, ModelKind};
use prometheus_client::registry::Registry;

use crate::files;

const MANIFEST: &str = r#"
    name = "raw"
    task = "generic"
    model_file = "model.onnx"
    created = 1
    owned_by = "us"
"#;

static SERVICE: LazyLock<InferService> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("model.toml"), MANIFEST).expect("a writable folder");
    let model = files::model().join("model.onnx");
    std::os::unix::fs::symlink(model, folder.path().join("model.onnx")).expect("a link");
    let mut registry = Registry::default();
    let runtime = Runtime::load(&files::onnxruntime()).expect("ONNX Runtime");
    let metrics = BatchMetrics::register(&mut registry);
    let (inference, batch) = (InferenceConfig::default(), BatchConfig::default());
    let model = Model::open(&runtime, folder.path(), &inference, &batch, &metrics);
    let items = CacheItems::register(&mut registry);
    let (results, config) = (ResultsConfig::default(), ServiceConfig::default());
    let models = vec![model.expect("a model")];
    InferService::new(models, results, config, items).expect("one name")
});

async fn infer(inputs: Vec<Input>) -> InferReply {
    let info = &SERVICE.catalog().models[0];
    let request = InferRequest {
        model: info.name.clone(),
        digest: info.digest,
        task: info.task(),
        ..crate::blank_request(inputs)
    };
    SERVICE.infer(request).await
}

/// One row for each of the model's inputs, in its order.
fn row(ids: &[i64]) -> Vec<Tensor> {
    let ModelKind::Generic { inputs, .. } = &SERVICE.catalog().models[0].kind else {
        panic!("a model of any tensors")
    };
    let tensor = |name: &String| {
        let cells = ids.iter().map(|id| match name.as_str() {
            "input_ids" => *id,
            "attention_mask" => 1,
            _ => 0,
        });
        Tensor {
            name: name.clone(),
            datatype: Datatype::Int64,
            shape: vec![ids.len() as u64],
            data: cells.flat_map(i64::to_le_bytes).collect(),
        }
    };
    inputs.iter().map(|info| tensor(&info.name)).collect()
}

#[tokio::test]
async fn rows_of_unequal_shapes_have_the_vectors_of_the_embedding_task() {
    let ids: [&[i64]; 3] = [
        &[101, 1045, 102],
        &[101, 1045, 2293, 24857, 102],
        &[101, 2293, 102],
    ];
    let answer = infer(ids.iter().map(|ids| Input::Tensors(row(ids))).collect()).await;
    let answer = answer.expect("tensors");
    for (index, ids) in ids.iter().enumerate() {
        let outputs = decode_tensors(&answer.items[index].output).expect("tensors");
        let [vector] = &outputs[..] else {
            panic!("one output")
        };
        assert_eq!(
            (vector.datatype, &vector.shape[..]),
            (Datatype::Fp32, &[384][..])
        );
        let tokens = ids
            .iter()
            .map(|id| u32::try_from(*id).expect("an id"))
            .collect();
        let embedded = crate::embed(vec![Input::Tokens(tokens)]).await;
        let (given, _) = vector.data.as_chunks::<4>();
        let given = given.iter().map(|it| f64::from(f32::from_le_bytes(*it)));
        let cosine = crate::cosine(&given.collect::<Vec<_>>(), &crate::numbers(&embedded, 0));
        assert!(cosine > 0.999999, "{index}: {cosine}");
    }
}

#[tokio::test]
async fn tensors_that_are_not_the_models_are_refused_by_name() {
    let check = async |tensors: Vec<Tensor>, part: &str| {
        let inputs = vec![Input::Tensors(row(&[101, 102])), Input::Tensors(tensors)];
        let fault = infer(inputs).await.expect_err(part);
        assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, Some(1)));
        assert!(fault.message.contains(part), "{}", fault.message);
    };
    let mut wrong = row(&[101, 102]);
    wrong[0].datatype = Datatype::Int32;
    wrong[0].data = vec![0; 8].into();
    let name = wrong[0].name.clone();
    check(
        wrong,
        &format!("the tensor {name} is INT32; the model takes INT64"),
    )
    .await;
    let mut wrong = row(&[101, 102]);
    wrong[0].shape = vec![1, 2];
    check(wrong, "has the shape [1, 2]; the model takes [-1]").await;
    let mut wrong = row(&[101, 102]);
    wrong.pop();
    check(wrong, "the model has the inputs").await;
    let mut wrong = row(&[101, 102]);
    wrong[0].data = vec![0; 7].into();
    check(wrong, "has 7 bytes; its shape and type make 16").await;
}

/// An id far outside the vocabulary: the runtime refuses the run, for that item alone.
#[tokio::test]
async fn row_that_the_model_fails_on_fails_alone() {
    let good = infer(vec![Input::Tensors(row(&[101, 102]))]);
    let bad = infer(vec![Input::Tensors(row(&[101, 99_999_999]))]);
    let (good, bad) = tokio::join!(good, bad);
    assert!(good.is_ok());
    assert_eq!(bad.expect_err("no such id").code, FaultCode::BadRequest);
}
