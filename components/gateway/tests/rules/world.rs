//! A store and a host made of plain values.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use brink_cache::key::Task;
use brink_cache::{Key, ModelDigest, Outcome, Policy, UnixSeconds};
use brink_gateway::error::ApiError;
use brink_gateway::head::Head;
use brink_gateway::hit::{self, Begun, Clock, Known, LookUp, Missing, Pending, Settled};
use brink_gateway::in_force::{InForce, KnownMarks, Tenancy};
use brink_gateway::items::{Answer, Fetched, Prefixes, Stored};
use brink_gateway::reply::Reply;
use brink_protocol::tensor::{Datatype, Tensor, TensorInfo, encode_tensors};
use brink_protocol::{
    Catalog, InferAnswer, InferRequest, InferredItem, Input, ModelInfo, ModelKind, Reads,
    TextLimits, Timings,
};
use bytes::Bytes;
use serde_json::Value;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

const TEXT: TextLimits = TextLimits {
    max_tokens: 8,
    vocabulary: 100,
};

fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> TensorInfo {
    TensorInfo {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    }
}

/// Models of every kind. `m` has two versions.
pub(crate) fn catalog() -> Arc<Catalog> {
    let model = |name: &str, version: &str, digest, kind: &ModelKind| ModelInfo {
        name: name.to_owned(),
        digest: ModelDigest([digest; 32]),
        version: version.to_owned(),
        kind: kind.clone(),
        created: 0,
        owned_by: "tests".to_owned(),
    };
    let embed = ModelKind::Embed {
        text: TEXT,
        dimensions: 2,
    };
    let classify = |reads| ModelKind::Classify {
        reads,
        labels: ["cat", "dog", "owl"].map(str::to_owned).to_vec(),
    };
    let generic = |batched| ModelKind::Generic {
        inputs: vec![
            tensor("x", Datatype::Fp32, &[3]),
            tensor("y", Datatype::Int32, &[-1]),
        ],
        outputs: vec![
            tensor("sum", Datatype::Fp32, &[1]),
            tensor("echo", Datatype::Int32, &[-1]),
        ],
        batched,
    };
    let writes = |chat| ModelKind::Generate {
        text: TEXT,
        max_new_tokens: 8,
        chat,
    };
    Arc::new(Catalog {
        models: vec![
            model("topic", "1", 5, &classify(Reads::Text(TEXT))),
            model("m", "1", 3, &embed),
            model("m", "2", 13, &embed),
            model("n", "1", 4, &embed),
            model("eye", "1", 6, &classify(Reads::Image { max_bytes: 1000 })),
            model("magic", "1", 7, &classify(Reads::Bytes { max_bytes: 1000 })),
            model("generic", "1", 8, &generic(true)),
            model("whole", "1", 9, &generic(false)),
            model("writer", "1", 10, &writes(true)),
            model("goes-on", "1", 11, &writes(false)),
        ],
        ..Catalog::default()
    })
}

/// A clock that stands.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) UnixSeconds);

impl Clock for At {
    fn now(&self) -> UnixSeconds {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) fn head(control: &str) -> String {
    format!("POST /v1/embeddings\ncache-control: {control}")
}

pub(crate) fn pending(body: &Value, control: &str) -> Pending {
    pending_under(&Arc::default(), body, control).unwrap()
}

pub(crate) fn pending_under(
    policy: &Arc<InForce>,
    body: &Value,
    control: &str,
) -> Result<Pending, ApiError> {
    begin(policy, &head(control), body.to_string().as_bytes())
}

/// A request whose entries are to be looked up.
pub(crate) fn begin(policy: &Arc<InForce>, head: &str, body: &[u8]) -> Result<Pending, ApiError> {
    match begun(policy, head, body)? {
        Begun::Pending(pending) => Ok(*pending),
        other => panic!("{other:?}"),
    }
}

/// What follows from a request alone.
pub(crate) fn begun(policy: &Arc<InForce>, head: &str, body: &[u8]) -> Result<Begun, ApiError> {
    begun_among(&catalog(), policy, head, body)
}

/// The same, where there are these models.
pub(crate) fn begun_among(
    catalog: &Arc<Catalog>,
    policy: &Arc<InForce>,
    head: &str,
    body: &[u8],
) -> Result<Begun, ApiError> {
    let head = Head::parse(head.as_bytes()).unwrap();
    let known = Known {
        catalog: Some(catalog),
        prefixes: &Prefixes::default(),
        in_force: policy,
        max_body_bytes: 1_000_000,
    };
    hit::begin(&head, Bytes::copy_from_slice(body), known, &At(NOW))
}

pub(crate) fn policy(rule: &str) -> Arc<InForce> {
    let source = format!("version = 1\n[[rule]]\nname = \"test\"\n{rule}\n");
    let policy = Policy::parse(&source).unwrap();
    let marks = KnownMarks::default();
    Arc::new(InForce::new(policy, marks, Tenancy::Open))
}

/// A request to a store that gives the same for every key.
pub(crate) fn missing(body: &Value, always: &Fetched) -> Missing {
    match pending(body, "").settle(&mut Always(always.clone()), &At(NOW)) {
        Ok(Settled::Missing(missing)) => *missing,
        other => panic!("{other:?}"),
    }
}

pub(crate) struct Always(pub(crate) Fetched);

impl LookUp for Always {
    fn get(&mut self, _key: &Key) -> Fetched {
        self.0.clone()
    }
}

/// A vector that tells which text it belongs to.
pub(crate) fn vector(text: &str) -> Vec<u8> {
    let number = text.parse().unwrap_or(text.len() as f32);
    [number, 1.0f32]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect()
}

/// What a host would answer; every item costs one model run.
pub(crate) fn host(call: &InferRequest) -> InferAnswer {
    let item = |input: &Input| InferredItem {
        output: output(call.task, input).into(),
        tokens: 3,
        cost_us: 9,
        outcome: Outcome::Miss,
    };
    InferAnswer {
        items: call.inputs.iter().map(item).collect(),
        timings: Timings::default(),
        model_time: None,
    }
}

fn output(task: Task, input: &Input) -> Vec<u8> {
    match (task, input) {
        (Task::Embed, Input::Text(text)) => vector(text),
        (Task::Classify, Input::Text(text)) => scores(text.as_bytes()),
        (Task::Classify, Input::Blob(blob)) => scores(blob),
        (Task::Generic, Input::Tensors(tensors)) => sums(tensors),
        other => panic!("{other:?}"),
    }
}

/// A quarter for the first label, a half for the one that the length chooses, and the rest.
fn scores(bytes: &[u8]) -> Vec<u8> {
    let mut scores = [0.25f32; 3];
    scores[bytes.len() % 3] = 0.5;
    scores.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// The sum of `x`, and `y` as it is, or its first element if `x` begins below zero.
fn sums(tensors: &[Tensor]) -> Vec<u8> {
    let [x, y] = tensors else {
        panic!("{tensors:?}");
    };
    let (numbers, _) = x.data.as_chunks();
    let sum: f32 = numbers.iter().map(|one| f32::from_le_bytes(*one)).sum();
    let sum = Tensor {
        name: "sum".to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![1],
        data: Bytes::copy_from_slice(&sum.to_le_bytes()),
    };
    let kept = match numbers
        .first()
        .is_some_and(|one| f32::from_le_bytes(*one) < 0.0)
    {
        true => 1,
        false => y.data.len() / 4,
    };
    let echo = Tensor {
        name: "echo".to_owned(),
        shape: vec![kept as u64],
        data: y.data.slice(..kept * 4),
        ..y.clone()
    };
    encode_tensors(&[sum, echo]).to_vec()
}

pub(crate) struct World {
    pub(crate) policy: Arc<InForce>,
    pub(crate) store: HashMap<Key, Vec<u8>>,
    pub(crate) computed: Vec<Input>,
}

impl Default for World {
    fn default() -> Self {
        Self::under("fresh = \"100s\"")
    }
}

impl LookUp for World {
    fn get(&mut self, key: &Key) -> Fetched {
        match self.store.get(key) {
            Some(bytes) => Fetched::Bytes(bytes.clone().into()),
            None => Fetched::Absent,
        }
    }
}

impl World {
    /// A policy of one rule with these keys.
    pub(crate) fn under(rule: &str) -> Self {
        Self {
            policy: policy(rule),
            store: HashMap::new(),
            computed: Vec::new(),
        }
    }

    pub(crate) fn ask(
        &mut self,
        body: &Value,
        control: &str,
        now: UnixSeconds,
    ) -> Result<Answer, ApiError> {
        self.send(&head(control), body.to_string().as_bytes(), now)
    }

    /// Asks, computes what is missing and stores it.
    pub(crate) fn send(
        &mut self,
        head: &str,
        body: &[u8],
        now: UnixSeconds,
    ) -> Result<Answer, ApiError> {
        match begin(&self.policy.clone(), head, body)?.settle(self, &At(now))? {
            Settled::Answered(reply) => Ok(Answer {
                reply,
                store: Vec::new(),
            }),
            Settled::Stale(reply, stale) => {
                let refresh = stale.refresh("id", Duration::from_secs(1));
                let call = refresh.call.whole();
                let answer = host(&call);
                self.computed.extend(call.inputs);
                let store = refresh.complete(&answer, now)?;
                self.keep(&store);
                Ok(Answer { reply, store })
            }
            Settled::Missing(missing) => self.compute(*missing, now),
        }
    }

    pub(crate) fn compute(
        &mut self,
        missing: Missing,
        now: UnixSeconds,
    ) -> Result<Answer, ApiError> {
        let call = missing.upstream_call("id", Duration::from_secs(1)).whole();
        let answer = missing.complete(host(&call), &At(now))?;
        self.computed.extend(call.inputs);
        self.keep(&answer.store);
        Ok(answer)
    }

    pub(crate) fn keep(&mut self, entries: &[Stored]) {
        for stored in entries {
            self.store.insert(stored.key, stored.bytes.clone());
        }
    }
}

pub(crate) fn first_elements(answer: &Answer) -> Vec<f64> {
    let body: Value = serde_json::from_slice(&answer.reply.body).unwrap();
    let data = body["data"].as_array().unwrap();
    for (position, item) in data.iter().enumerate() {
        assert_eq!(item["index"], position);
    }
    data.iter()
        .map(|item| item["embedding"][0].as_f64().unwrap())
        .collect()
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.reply.header(name).unwrap_or_default()
}

pub(crate) fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

/// The answer to a request that needs no entry.
pub(crate) fn begun_reply(head: &str, body: &[u8]) -> Result<Reply, ApiError> {
    match begun(&Arc::default(), head, body)? {
        Begun::Answered(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}
