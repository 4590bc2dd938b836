//! Bodies up to the documented limit, through the real component in its documented memory: each is answered or refused,
//! and none is the end of an instance.

use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, Product};

/// The default of the variable `max_body_bytes`.
const LIMIT: usize = 16 << 20;

/// The header of the binary tensor data extension.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// A field of a protobuf message: a number, or bytes after their length.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn message(fields: &[(u64, Field<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, field) in fields {
        match field {
            Field::Number(value) => {
                varint(number << 3, &mut out);
                varint(*value, &mut out);
            }
            Field::Bytes(bytes) => {
                varint(number << 3 | 2, &mut out);
                varint(bytes.len() as u64, &mut out);
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

/// An ONNX model of one operator, from any number of FP32 to as many as `dimension` says.
fn onnx(operator: &str, dimension: Field<'_>) -> Vec<u8> {
    use Field::{Bytes, Number};

    let any = Bytes(b"n");
    let dimension = match dimension {
        Number(size) => message(&[(1, Number(size))]),
        Bytes(name) => message(&[(2, Bytes(name))]),
    };
    let value = |name: &str, dimension: &[u8]| {
        let shape = message(&[(1, Bytes(dimension))]);
        let tensor = message(&[(1, Number(1)), (2, Bytes(&shape))]);
        let kind = message(&[(1, Bytes(&tensor))]);
        message(&[(1, Bytes(name.as_bytes())), (2, Bytes(&kind))])
    };
    let node = message(&[
        (1, Bytes(b"x")),
        (2, Bytes(b"y")),
        (4, Bytes(operator.as_bytes())),
    ]);
    let graph = message(&[
        (1, Bytes(&node)),
        (2, Bytes(b"g")),
        (11, Bytes(&value("x", &message(&[(2, any)])))),
        (12, Bytes(&value("y", &dimension))),
    ]);
    let opset = message(&[(1, Bytes(b"")), (2, Number(13))]);
    message(&[(1, Number(8)), (7, Bytes(&graph)), (8, Bytes(&opset))])
}

/// `echo` gives what it gets, and `mean` one number.
fn models(folder: &Path) {
    for (name, model) in [
        ("echo", onnx("Identity", Field::Bytes(b"n"))),
        ("mean", onnx("ReduceMean", Field::Number(1))),
    ] {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("model.onnx"), model).unwrap();
        let manifest = format!(
            "name = \"{name}\"\ntask = \"generic\"\nmodel_file = \"model.onnx\"\nbatched = false\ncreated = 1\nowned_by = \"us\"\n"
        );
        std::fs::write(folder.join("model.toml"), manifest).unwrap();
    }
}

/// A body of just so many bytes, and where its JSON ends: one tensor as bytes, asked for as bytes.
fn binary(size: usize) -> (Vec<u8>, Option<usize>) {
    let json = |count: usize| {
        format!(
            r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
            count * 4
        )
    };
    let count = (size - 256) / 4;
    let json = json(count);
    let filled = size - count * 4;
    let mut body = json.into_bytes();
    body.resize(filled, b' ');
    body.extend_from_slice(&0.25f32.to_le_bytes().repeat(count));
    assert_eq!(body.len(), size);
    (body, Some(filled))
}

/// The same as JSON, of numbers that are as long as numbers usually are.
fn json(size: usize) -> (Vec<u8>, Option<usize>) {
    const NUMBER: &str = "0.1234567,";
    let count = (size - 256) / NUMBER.len();
    let numbers = NUMBER.repeat(count);
    let numbers = numbers.trim_end_matches(',');
    let body = format!(
        r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","data":[{numbers}]}}]}}"#
    );
    let mut body = body.into_bytes();
    body.resize(size, b' ');
    (body, None)
}

async fn infer(
    client: &mut Client,
    model: &str,
    (body, length): (Vec<u8>, Option<usize>),
) -> (StatusCode, Bytes) {
    let mut request = Request::post(format!("/v2/models/{model}/infer"));
    if let Some(length) = length {
        request = request.header(HEADER_LENGTH, length);
    }
    let request = request.body(Bytes::from(body)).unwrap();
    let reply = client.request(request).await.unwrap();
    (reply.status, reply.body)
}

fn told(body: &Bytes) -> String {
    let shown = body.len().min(300);
    String::from_utf8_lossy(&body[..shown]).into_owned()
}

/// The answer to a body of which only the length and the beginning are sent: one that is too large is refused unread, and
/// who went on sending could miss why.
async fn announced(product: &Product, size: usize) -> String {
    let mut stream = TcpStream::connect(product.0.address).await.unwrap();
    let head = format!(
        "POST /v2/models/mean/infer HTTP/1.1\r\nhost: brink.test\r\ncontent-length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 128 << 10]).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut length = 0;
    while !answer[..length].ends_with(b"}") {
        let read = stream.read(&mut answer[length..]).await.unwrap();
        assert!(read > 0, "the connection ended first");
        length += read;
    }
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_up_to_the_limit_are_answered_and_larger_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path());
    // As much as an edge takes.
    let set = ["inference.max_output_mib=16"];
    let product = Product::with_models(folder.path(), &[], &set).await;
    let mut client = product.client().await;
    // Down again, too: what an instance has left of a large body must not be in the way of the next one.
    for size in [1 << 20, 6 << 20, 12 << 20, LIMIT, 11 << 20, LIMIT - 1] {
        let (status, body) = infer(&mut client, "mean", binary(size)).await;
        assert_eq!(status, 200, "mean of {size} bytes: {}", told(&body));
        let (status, body) = infer(&mut client, "mean", json(size)).await;
        assert_eq!(status, 200, "mean of {size} bytes of JSON: {}", told(&body));
        let (status, body) = infer(&mut client, "echo", binary(size)).await;
        assert_eq!(status, 200, "echo of {size} bytes: {}", told(&body));
        assert!(body.len() > size - 1024, "all of it comes back");
        let (status, body) = infer(&mut client, "echo", json(size)).await;
        let refused = status == 413 && told(&body).contains("16777216");
        assert!(
            status == 200 || refused,
            "echo of {size} bytes of JSON: {status} {}",
            told(&body)
        );
    }
    let told = announced(&product, LIMIT + 1).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    assert!(told.contains("at most 16777216 are allowed"), "{told}");
    let traps = product
        .metric("brink_guest_traps_total{component=\"gateway\"}")
        .await;
    assert_eq!(traps, 0.0);
}

/// Their text, their elements and little else: all in three times as much memory as they are long.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_numbers_in_json_need_no_more_than_three_times_their_size() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path());
    // Of 10 MB of text; the component itself takes 2 MiB of it.
    let set = ["guest.max_memory_mib=30"];
    let product = Product::with_models(folder.path(), &[], &set).await;
    let mut client = product.client().await;
    for round in 0..3 {
        let (status, body) = infer(&mut client, "mean", json(1_000_000 * 10 + 256)).await;
        assert_eq!(status, 200, "round {round}: {}", told(&body));
    }
}

/// A body of just under the limit, of one element again and again.
fn filled(head: &str, element: &str, end: &str) -> Vec<u8> {
    let count = (LIMIT - head.len() - end.len()) / element.len();
    let elements = element.repeat(count);
    let elements = elements.trim_end_matches(',');
    format!("{head}{elements}{end}").into_bytes()
}

/// The same as `data` of a tensor.
fn tensor(shape: &str, datatype: &str, element: &str) -> Vec<u8> {
    let head =
        format!(r#"{{"inputs":[{{"name":"x","shape":[{shape}],"datatype":"{datatype}","data":["#);
    filled(&head, element, "]}]}")
}

const INFER: &str = "/v2/models/mean/infer";

/// Paths, what their body repeats, and how it is refused.
const REPEATED: [(&str, [&str; 3], u16); 11] = [
    (
        INFER,
        [
            r#"{"inputs":[{"name":"x","datatype":"FP32","data":[],"shape":["#,
            "1,",
            "]}]}",
        ],
        400,
    ),
    (
        INFER,
        [
            r#"{"inputs":["#,
            r#"{"name":"x","shape":[],"datatype":"FP32","data":[1]},"#,
            "]}",
        ],
        400,
    ),
    (
        INFER,
        [r#"{"inputs":[],"outputs":["#, r#"{"name":""},"#, "]}"],
        400,
    ),
    (
        INFER,
        [r#"{"inputs":[],"parameters":{"a":["#, "[],", "]}}"],
        400,
    ),
    (
        INFER,
        [r#"{"inputs":[],"parameters":{"a":1,"#, r#""a":1,"#, "}}"],
        400,
    ),
    (INFER, [r#"{"id":""#, "a", r#"","inputs":[]}"#], 400),
    (
        "/similarity",
        [
            r#"{"inputs":{"source_sentence":"a","sentences":["#,
            r#""","#,
            "]}}",
        ],
        413,
    ),
    ("/predict", [r#"{"inputs":["#, r#"[""],"#, "]}"], 413),
    ("/embed", [r#"{"inputs":["#, "1,", "]}"], 422),
    (
        "/v1/embeddings",
        [r#"{"model":"m","input":["#, "[1],", "]}"],
        400,
    ),
    (
        "/v1/embeddings",
        [r#"{"model":"m","input":["#, "1,", "]}"],
        400,
    ),
];

/// Bodies of the size that is allowed which are many times as large once they are read, if one lets them.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_grow_when_they_are_read_are_refused_and_never_trap() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path());
    let product = Product::with_models(folder.path(), &[], &[]).await;
    let mut client = product.client().await;
    for (shape, datatype, element, status) in [
        ("8388608", "FP64", "1,", 413),
        ("8388608", "INT64", "1,", 413),
        ("5592405", "BYTES", r#""","#, 413),
        ("8388608", "FP32", "1,", 413),
        ("1", "UINT8", "[],", 400),
    ] {
        let body = tensor(shape, datatype, element);
        let reply = client.send("POST", INFER, body).await.unwrap();
        let told = told(&reply.body);
        assert_eq!(reply.status, status, "{datatype}: {told}");
        let names_limit = told.contains("at most 16777216 are allowed");
        assert_eq!(names_limit, status == 413, "{datatype}: {told}");
    }
    for (path, [head, element, end], status) in REPEATED {
        let body = filled(head, element, end);
        let reply = client.send("POST", path, body).await.unwrap();
        assert_eq!(
            reply.status,
            status,
            "{path}, {head}: {}",
            told(&reply.body)
        );
    }
    let traps = product
        .metric("brink_guest_traps_total{component=\"gateway\"}")
        .await;
    assert_eq!(traps, 0.0);
}
