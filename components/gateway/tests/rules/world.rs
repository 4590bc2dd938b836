//! A store and a host made of plain values.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use brink_cache::{Key, ModelDigest, Outcome, Policy, UnixSeconds};
use brink_gateway::error::ApiError;
use brink_gateway::head::Head;
use brink_gateway::hit::{self, Begun, Clock, Known, LookUp, Missing, Pending, Settled};
use brink_gateway::in_force::{InForce, KnownMarks, Tenancy};
use brink_gateway::items::{Answer, Fetched, Prefixes, Stored};
use brink_protocol::{
    Catalog, InferAnswer, InferRequest, InferredItem, Input, ModelInfo, ModelKind, TextLimits,
    Timings,
};
use serde_json::Value;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

pub(crate) fn catalog() -> Arc<Catalog> {
    let model = |name: &str, digest| ModelInfo {
        name: name.to_owned(),
        digest: ModelDigest([digest; 32]),
        version: "1".to_owned(),
        kind: ModelKind::Embed {
            text: TextLimits {
                max_tokens: 8,
                vocabulary: 100,
            },
            dimensions: 2,
        },
        created: 0,
        owned_by: "tests".to_owned(),
    };
    Arc::new(Catalog {
        models: vec![model("m", 3), model("n", 4)],
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
    let head = head(control);
    let head = Head::parse(head.as_bytes()).unwrap();
    let known = Known {
        catalog: Some(&catalog()),
        prefixes: &Prefixes::default(),
        in_force: policy,
        max_body_bytes: 1_000_000,
    };
    match hit::begin(&head, body.to_string().as_bytes(), known, &At(NOW))? {
        Begun::Pending(pending) => Ok(*pending),
        other => panic!("{other:?}"),
    }
}

/// A policy of one rule with these keys.
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

/// What a host would answer; every text costs one model run.
pub(crate) fn host(call: &InferRequest) -> InferAnswer {
    let item = |input: &Input| {
        let Input::Text(text) = input else {
            panic!("only texts here")
        };
        InferredItem {
            output: vector(text).into(),
            tokens: 3,
            cost_us: 9,
            outcome: Outcome::Miss,
        }
    };
    InferAnswer {
        items: call.inputs.iter().map(item).collect(),
        timings: Timings::default(),
        model_time: None,
    }
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
        match pending_under(&self.policy.clone(), body, control)?.settle(self, &At(now))? {
            Settled::Answered(reply) => Ok(Answer {
                reply,
                store: Vec::new(),
            }),
            Settled::Stale(reply, stale) => {
                let refresh = stale.refresh("id", Duration::from_secs(1));
                self.computed.extend(refresh.call.inputs.clone());
                let answer = host(&refresh.call);
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
        let call = missing.upstream_call("id", Duration::from_secs(1));
        self.computed.extend(call.inputs.clone());
        let answer = missing.complete(host(&call), &At(now))?;
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
