//! The door and the thread behind it.

use brink_protocol::generate::FinishReason;

use super::super::fake::{Clock, END, Letters, vocabulary};
use super::super::metrics::GenerateMetrics;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn generator(slots: usize, max_waiting: usize) -> Generator {
    let decoder = Letters::new(slots, 2048, Clock::new());
    let options = GeneratorOptions {
        prompts: Prompts::of_letters(2048, vocabulary(), END),
        kv_memory_bytes: 100_000,
        config: GenerateConfig {
            max_waiting,
            ..GenerateConfig::default()
        },
        metrics: GenerateMetrics::default().for_model("letters"),
    };
    Generator::start(Box::new(decoder), options).expect("a thread")
}

fn submission(tenant: &str, most: usize) -> Submission {
    Submission {
        tenant: tenant.into(),
        urgency: 3,
        prompt: ReadPrompt {
            tokens: vec![1, 2, 3],
            most,
        },
        sampling: Sampling {
            // Never the end.
            stop: Vec::new(),
            temperature: 0.0,
            ..Sampling::default()
        },
        arrived: Instant::now(),
        deadline: Instant::now() + MINUTE,
    }
}

async fn end(mut answer: Answer) -> GenerateEvent {
    let mut last = None;
    while let Some(event) = answer.next().await {
        last = Some(event);
    }
    last.expect("an end")
}

#[tokio::test]
async fn texts_are_written_and_the_thread_ends_when_drained() {
    let generator = generator(2, 16);
    assert!(generator.is_ready());
    let answers: Vec<Answer> = (0..5)
        .map(|_| generator.submit(submission("a", 30)).expect("room"))
        .collect();
    let drained = generator.drain(Instant::now() + MINUTE);
    let ends = futures_util::future::join_all(answers.into_iter().map(end));
    let (ends, ()) = tokio::join!(ends, drained);
    for end in ends {
        let finished = matches!(
            end,
            GenerateEvent::Finished {
                reason: FinishReason::Length | FinishReason::Stop,
                ..
            }
        );
        assert!(finished, "{end:?}");
    }
    assert!(!generator.is_ready());
    let refused = generator
        .submit(submission("a", 30))
        .expect_err("it drains");
    assert_eq!(refused.code, FaultCode::Overloaded);
}

#[tokio::test]
async fn as_many_wait_as_may_and_no_more() {
    // Nothing leaves the queue, because nobody serves it.
    let generator = generator(1, 4);
    generator.drain(Instant::now()).await;
    generator.shared.change(|state| state.closed = false);
    let waiting: Vec<Answer> = ["a", "a", "b", "c"]
        .map(|tenant| generator.submit(submission(tenant, 10)).expect("room"))
        .into();
    let refused = generator.submit(submission("d", 10)).expect_err("full");
    assert_eq!(refused.code, FaultCode::Overloaded);
    assert!(refused.retry_after_ms.is_some_and(|ms| ms >= 1000));
    drop(waiting);
    for _ in 0..2 {
        std::mem::forget(generator.submit(submission("a", 10)).expect("room again"));
    }
    let refused = generator
        .submit(submission("a", 10))
        .expect_err("its share");
    assert_eq!(refused.code, FaultCode::TooManyInFlight);
    assert!(generator.submit(submission("b", 10)).is_ok());
}

#[tokio::test]
async fn dropping_the_model_fails_what_is_not_written() {
    let generator = generator(1, 16);
    let answers: Vec<Answer> = (0..3)
        .map(|_| generator.submit(submission("a", 2000)).expect("room"))
        .collect();
    drop(generator);
    for answer in answers {
        let end = end(answer).await;
        assert!(
            matches!(
                end,
                GenerateEvent::Failed(_) | GenerateEvent::Finished { .. }
            ),
            "{end:?}"
        );
    }
}
