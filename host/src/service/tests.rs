//! The service's promises, on a backend that does as it is told.

use std::collections::HashSet;
use std::time::Duration;

use brink_cache::{Outcome, OutcomeCounts};
use brink_protocol::{InferAnswer, Input};
use proptest::prelude::*;

use super::*;
use crate::batch::BatchLimits;
use crate::testing::{Harness, MAX_TOKENS, MODEL, Options, POISON, request, vector};

fn gated() -> Options {
    Options {
        gated: true,
        ..Options::default()
    }
}

fn outcomes(answer: &InferAnswer) -> OutcomeCounts {
    answer.items.iter().map(|item| item.outcome).collect()
}

fn assert_in_order(answer: &InferAnswer, texts: &[String]) {
    assert_eq!(answer.items.len(), texts.len());
    for (item, text) in answer.items.iter().zip(texts) {
        assert_eq!(item.output, vector(text), "{text}");
        assert_eq!(item.tokens as usize, text.split(' ').count() + 2);
    }
}

async fn embed(harness: &Harness, request: InferRequest) -> InferAnswer {
    harness.service.infer(request).await.expect("an answer")
}

async fn refuse(harness: &Harness, request: InferRequest) -> Fault {
    harness.service.infer(request).await.expect_err("a fault")
}

/// Starts a call in a task of its own.
fn call(harness: &Harness, request: InferRequest) -> tokio::task::JoinHandle<InferReply> {
    let service = harness.service.clone();
    tokio::spawn(async move { service.infer(request).await })
}

#[tokio::test]
async fn a_call_whose_inputs_take_too_much_once_read_is_refused_before_they_are() {
    let harness = Harness::new(Options {
        config: ServiceConfig {
            max_decoded_bytes: 1000,
            ..ServiceConfig::default()
        },
        ..Options::default()
    });
    // A text of 90 bytes can be so many tokens, of which the model takes 16.
    let texts = |count: usize| (0..count).map(|word| format!("w{word} {}", "w1 ".repeat(20)));
    let fault = refuse(&harness, request(texts(16))).await;
    assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, None));
    assert!(
        fault.message.contains("take 1024 bytes"),
        "{}",
        fault.message
    );
    assert!(fault.message.contains("at most 1000"), "{}", fault.message);
    assert_eq!(harness.computed_items(), 0);
    let fewer = (0..15).map(|word| format!("w{word} w1 w2 w3 w4 w5 w6 w7 w8"));
    assert_eq!(embed(&harness, request(fewer)).await.items.len(), 15);
}

#[tokio::test]
async fn only_what_is_not_stored_is_computed_and_order_is_kept() {
    let harness = Harness::new(Options::default());
    let texts: Vec<String> = (0..100)
        .map(|word| format!("w{} w{}", word % 50, word / 50))
        .collect();
    let missing = [3, 42, 77];
    let known = texts
        .iter()
        .enumerate()
        .filter(|(index, _)| !missing.contains(index));
    embed(&harness, request(known.map(|(_, text)| text))).await;
    assert_eq!(harness.computed_items(), 97);

    let answer = embed(&harness, request(&texts)).await;
    assert_eq!(harness.computed_items(), 100);
    assert_in_order(&answer, &texts);
    assert_eq!(outcomes(&answer).to_string(), "hit=97, miss=3");
    let metrics = harness.metrics();
    for line in [
        "brink_cache_items_total{tier=\"host\",outcome=\"hit\"} 97",
        "brink_cache_items_total{tier=\"host\",outcome=\"miss\"} 100",
        "brink_inference_items_total{model=\"words\"} 100",
        "brink_queue_depth{model=\"words\"} 0",
        "brink_queue_tokens{model=\"words\"} 0",
        "brink_queue_seconds_count 100",
        "brink_inference_seconds_count",
        "brink_batch_items_sum 100",
        "brink_batch_padding_ratio_count",
        "brink_sessions{model=\"words\",device=\"cpu\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn fifty_identical_calls_cost_one_run() {
    let mut harness = Harness::new(gated());
    let calls: Vec<_> = (0..50)
        .map(|_| call(&harness, request(["w1 w2"])))
        .collect();
    harness.until_computed(1).await;
    harness.gate = None;
    let mut collapsed = 0;
    for call in calls {
        let answer = call.await.expect("no panic").expect("an answer");
        assert_in_order(&answer, &["w1 w2".to_owned()]);
        collapsed += outcomes(&answer).get(Outcome::Collapsed);
    }
    assert_eq!(harness.computed_items(), 1);
    assert!(collapsed > 0);
}

#[tokio::test]
async fn followers_get_the_result_of_a_client_that_went_away() {
    let mut harness = Harness::new(gated());
    let leader = call(&harness, request(["w1"]));
    harness.until_computed(1).await;
    let follower = call(&harness, request(["w1"]));
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.is_err());
    harness.gate = None;
    assert!(follower.await.expect("no panic").is_ok());
    assert_eq!(harness.computed_items(), 1);
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_not_run() {
    let mut harness = Harness::new(gated());
    let blocker = call(&harness, request(["w0"]));
    harness.until_computed(1).await;
    let gone = call(&harness, request(["w1", "w2"]));
    harness
        .until_metric("brink_queue_depth{model=\"words\"} 2")
        .await;
    gone.abort();
    harness
        .until_metric("brink_queue_depth{model=\"words\"} 0")
        .await;
    harness.gate = None;
    assert!(blocker.await.expect("no panic").is_ok());
    assert_eq!(harness.computed_items(), 1);
}

#[tokio::test]
async fn deadline_of_the_leader_is_not_the_followers() {
    let mut harness = Harness::new(gated());
    let blocker = call(&harness, request(["w0"]));
    harness.until_computed(1).await;
    let hurried = InferRequest {
        timeout_ms: 20,
        ..request(["w1"])
    };
    let leader = call(&harness, hurried);
    harness
        .until_metric("brink_queue_depth{model=\"words\"} 1")
        .await;
    let follower = call(&harness, request(["w1"]));
    let fault = leader.await.expect("no panic").expect_err("20 ms are over");
    assert_eq!(fault.code, FaultCode::DeadlineExceeded);
    harness.gate = None;
    assert!(follower.await.expect("no panic").is_ok());
    assert!(blocker.await.expect("no panic").is_ok());
    assert_eq!(harness.computed_items(), 2);
}

#[tokio::test]
async fn follower_that_waited_too_long_computes_for_itself() {
    let mut options = gated();
    options.results.max_follower_wait = Duration::from_millis(20);
    let mut harness = Harness::new(options);
    let leader = call(&harness, request(["w1"]));
    harness.until_computed(1).await;
    let follower = call(&harness, request(["w1"]));
    harness
        .until_metric("brink_queue_depth{model=\"words\"} 1")
        .await;
    harness.gate = None;
    assert!(leader.await.expect("no panic").is_ok());
    let answer = follower.await.expect("no panic").expect("an answer");
    assert_eq!(outcomes(&answer).get(Outcome::Miss), 1);
    assert_eq!(harness.computed_items(), 2);
}

#[tokio::test]
async fn refused_input_is_named_and_nothing_of_its_call_is_run() {
    let harness = Harness::new(Options::default());
    let long = "w1 ".repeat(MAX_TOKENS as usize);
    let fault = refuse(&harness, request(["w1", "w2", long.trim(), "w3"])).await;
    assert_eq!((fault.code, fault.item), (FaultCode::InputTooLong, Some(2)));
    assert!(fault.message.contains("18 tokens") && fault.message.contains("at most 16"));

    let mut unknown = request(["w1"]);
    unknown.inputs.push(Input::Tokens(vec![5, 104]));
    let fault = refuse(&harness, unknown).await;
    assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, Some(1)));
    assert_eq!(refuse(&harness, request([""])).await.item, Some(0));
    assert_eq!(harness.computed_items(), 0);

    let cut = InferRequest {
        truncate: true,
        ..request([long.trim()])
    };
    assert_eq!(embed(&harness, cut).await.items[0].tokens, MAX_TOKENS);
}

#[tokio::test]
async fn input_that_the_model_fails_on_is_named_and_the_others_are_kept() {
    let harness = Harness::new(Options::default());
    let fault = refuse(&harness, request(["w1", POISON, "w2"])).await;
    assert_eq!((fault.code, fault.item), (FaultCode::ModelFailed, Some(1)));
    let answer = embed(&harness, request(["w1", "w2"])).await;
    assert_eq!(outcomes(&answer).get(Outcome::Hit), 2);
    let failed = "brink_inference_failures_total{model=\"words\",reason=\"not-finite\"} 1";
    assert!(harness.metrics().contains(failed));
}

#[tokio::test]
async fn full_queue_refuses_with_a_time_to_come_back() {
    let limits = BatchLimits {
        max_queue_items: 1,
        ..gated().limits
    };
    let mut harness = Harness::new(Options { limits, ..gated() });
    let blocker = call(&harness, request(["w0"]));
    harness.until_computed(1).await;
    let waiting = call(&harness, request(["w1"]));
    harness
        .until_metric("brink_queue_depth{model=\"words\"} 1")
        .await;
    let fault = refuse(&harness, request(["w2"])).await;
    assert_eq!((fault.code, fault.item), (FaultCode::Overloaded, None));
    assert!(fault.retry_after_ms.is_some());
    harness.gate = None;
    for accepted in [blocker, waiting] {
        assert!(accepted.await.expect("no panic").is_ok());
    }
    assert_eq!(harness.computed_items(), 2);
}

#[tokio::test]
async fn models_are_checked_by_name_and_digest() {
    let harness = Harness::new(Options::default());
    let other = InferRequest {
        model: "x".repeat(1_000),
        ..request(["w1"])
    };
    let fault = refuse(&harness, other).await;
    assert_eq!(fault.code, FaultCode::UnknownModel);
    assert!(fault.message.contains(MODEL) && fault.message.len() < 100);
    let changed = InferRequest {
        digest: brink_cache::ModelDigest([8; 32]),
        ..request(["w1"])
    };
    assert_eq!(
        refuse(&harness, changed).await.code,
        FaultCode::ModelChanged
    );
    assert_eq!(harness.computed_items(), 0);
}

#[tokio::test]
async fn shutdown_answers_what_was_accepted_and_refuses_the_rest() {
    let mut harness = Harness::new(gated());
    let accepted = call(&harness, request(["w1"]));
    harness.until_computed(1).await;
    let service = harness.service.clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    let shutdown = tokio::spawn(async move { service.shutdown(deadline).await });
    while harness.service.is_ready() {
        tokio::task::yield_now().await;
    }
    let fault = refuse(&harness, request(["w2"])).await;
    assert_eq!(fault.code, FaultCode::Overloaded);
    harness.gate = None;
    assert!(accepted.await.expect("no panic").is_ok());
    shutdown.await.expect("no panic");
}

/// A call of words below ten, and what it may do with the store.
fn calls() -> impl Strategy<Value = Vec<(Vec<u32>, bool, bool)>> {
    let words = prop::collection::vec(0u32..10, 1..20);
    prop::collection::vec(
        (words, prop::bool::weighted(0.8), prop::bool::weighted(0.8)),
        1..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever pattern of hits, misses and repetitions: each vector is at its own index, and
    /// exactly the inputs that are not stored are computed, once a call.
    #[test]
    fn every_input_gets_its_own_vector_and_only_misses_are_computed(calls in calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let harness = Harness::new(Options::default());
            let mut stored = HashSet::new();
            let mut computed = 0;
            for (words, look_up, store) in calls {
                let texts: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
                let request = InferRequest { look_up, store, ..request(&texts) };
                let answer = embed(&harness, request).await;
                assert_in_order(&answer, &texts);
                let distinct: HashSet<_> = words.into_iter().collect();
                computed += distinct.iter().filter(|word| !look_up || !stored.contains(*word)).count();
                if store {
                    stored.extend(distinct);
                }
                assert_eq!(harness.computed_items(), computed);
            }
        });
    }
}

#[tokio::test]
async fn tenant_with_as_many_calls_as_it_may_have_is_refused_alone() {
    let mut harness = Harness::new(gated());
    let of = |tenant: &str, text: &str| InferRequest {
        share: Some(brink_protocol::TenantShare {
            tenant: tenant.to_owned(),
            max_concurrent: std::num::NonZeroU32::new(1),
            model_ms_per_minute: None,
        }),
        ..request([text])
    };
    let first = call(&harness, of("a", "w1"));
    tokio::task::yield_now().await;
    let fault = refuse(&harness, of("a", "w2")).await;
    assert_eq!(fault.code, FaultCode::TooManyInFlight);
    let other = call(&harness, of("b", "w1"));
    tokio::task::yield_now().await;
    harness.gate = None;
    first.await.expect("no panic").expect("an answer");
    other.await.expect("no panic").expect("an answer");
    embed(&harness, of("a", "w2")).await;
}

#[tokio::test]
async fn results_that_are_too_large_for_one_answer_are_refused_with_model_and_limit() {
    // A vector of n words has n + 2 numbers; what the model's `dimensions` say is 16 bytes.
    let options = Options {
        max_output_bytes: 40,
        ..Options::default()
    };
    let harness = Harness::new(options);
    let refused = |fault: Fault, bytes: &str| {
        assert_eq!((fault.code, fault.item), (FaultCode::BadRequest, None));
        for part in [bytes, MODEL, "at most 40", "inference.max_output_mib"] {
            assert!(fault.message.contains(part), "{}", fault.message);
        }
    };
    refused(
        refuse(&harness, request(["w1", "w2", "w3"])).await,
        "48 bytes",
    );
    assert_eq!(harness.computed_items(), 0, "known before anything runs");

    embed(&harness, request(["w1 w2 w3", "w4 w5"])).await;
    let again = request(["w1 w2 w3 w4", "w1 w2 w3 w4"]);
    refused(refuse(&harness, again).await, "48 bytes");
    // Results that are stored count as well.
    refused(
        refuse(&harness, request(["w1 w2 w3", "w1 w2 w3 w4"])).await,
        "44 bytes",
    );
    let metrics = harness.metrics();
    assert!(metrics.contains("brink_queue_depth{model=\"words\"} 0"));
}
