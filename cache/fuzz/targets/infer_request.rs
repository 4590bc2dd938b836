//! Requests of the Open Inference Protocol: JSON, the bytes of tensors behind it, and compressed bodies.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use brink_cache::{ModelDigest, UnixSeconds};
use brink_gateway::head::Head;
use brink_gateway::hit::{self, Begun, Clock, Known};
use brink_gateway::in_force::{InForce, KnownMarks, Tenancy};
use brink_gateway::items::Prefixes;
use brink_protocol::tensor::{Datatype, TensorInfo};
use brink_protocol::{Catalog, ModelInfo, ModelKind, Reads, TextLimits};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Most bytes of a body, also once it is no more compressed.
const MAX_BODY: u64 = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Sent<'a> {
    model: u8,
    coding: u8,
    /// Where the JSON ends, if there is a header that says so.
    json: Option<u16>,
    body: &'a [u8],
}

static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let text = TextLimits {
        max_tokens: 16,
        vocabulary: 100,
    };
    let info = |name: &str, datatype, shape: &[i64]| TensorInfo {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    };
    let generic = |batched| ModelKind::Generic {
        inputs: vec![
            info("x", Datatype::Fp32, &[-1, 2]),
            info("s", Datatype::Bytes, &[-1]),
        ],
        outputs: vec![info("y", Datatype::Fp32, &[2])],
        batched,
    };
    let kinds = [
        ModelKind::Embed {
            text,
            dimensions: 4,
        },
        ModelKind::Classify {
            reads: Reads::Image { max_bytes: 64 },
            labels: vec!["a".to_owned(), "b".to_owned()],
        },
        generic(true),
        generic(false),
    ];
    let model = |(index, kind): (usize, ModelKind)| ModelInfo {
        name: format!("m{index}"),
        version: "1".to_owned(),
        digest: ModelDigest([index as u8; 32]),
        kind,
        created: 0,
        owned_by: String::new(),
    };
    Arc::new(Catalog {
        models: kinds.into_iter().enumerate().map(model).collect(),
        ..Catalog::default()
    })
});

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(1_800_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fuzz_target!(|sent: Sent<'_>| {
    let mut head = format!("POST /v2/models/m{}/infer", sent.model % 4);
    head.push_str(match sent.coding % 3 {
        0 => "",
        1 => "\ncontent-encoding: gzip",
        _ => "\ncontent-encoding: deflate",
    });
    if let Some(length) = sent.json {
        head.push_str(&format!("\ninference-header-content-length: {length}"));
    }
    let Some(head) = Head::parse(head.as_bytes()) else {
        panic!("a head as the host writes it");
    };
    let in_force = InForce::new(Default::default(), KnownMarks::default(), Tenancy::Open);
    let known = Known {
        catalog: Some(&CATALOG),
        prefixes: &Prefixes::default(),
        in_force: &Arc::new(in_force),
        max_body_bytes: MAX_BODY,
    };
    match hit::begin(&head, sent.body.to_vec().into(), known, &Stopped) {
        Ok(Begun::Pending(pending)) => assert!(pending.keys().count() <= 2048),
        Ok(_) => panic!("a request for a model needs entries"),
        Err(error) => {
            assert!(error.status.is_client_error(), "{}", error.message);
            // What was sent is never told back.
            assert!(error.message.len() < 2048, "{}", error.message);
        }
    }
});
