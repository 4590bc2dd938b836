//! Requests and their answers.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_request_gets_its_answer_under_its_id() {
    let fixture = begin(config());
    let wire = &fixture.wire;
    wire.asks(r#"{"id":"a","path":"/echo","body":{"x": [1,2]}}"#);
    wire.asks(r#"{"id":"b","path":"/nowhere"}"#);
    let mut messages = wire.messages(2).await;
    messages.sort();
    assert_eq!(
        messages[0],
        r#"{"id":"a","status":200,"result":{"x": [1,2]}}"#
    );
    assert!(
        messages[1]
            .starts_with(r#"{"id":"b","status":404,"retry_after_ms":2000,"error":{"message":"no""#),
        "{}",
        messages[1]
    );
    // Each place is free again.
    for round in 0..5 {
        wire.asks(r#"{"id":"a","path":"/echo","body":1,"head":true}"#);
        let messages = wire.messages(3 + round).await;
        assert_eq!(
            messages[2 + round],
            r#"{"id":"a","status":200,"head":{},"result":1}"#
        );
    }
}

#[tokio::test(start_paused = true)]
async fn text_merges_while_the_client_does_not_read() {
    let fixture = begin(config());
    let (wire, answers) = (&fixture.wire, &fixture.answers);
    wire.asks(r#"{"id":"1","path":"/stream"}"#);
    answers.pieces.0.add_permits(1);
    assert_eq!(wire.messages(1).await, [r#"{"id":"1","t":" word"}"#]);
    wire.reads(false);
    answers.pieces.0.add_permits(1);
    // It is being written, and the next ones wait for that.
    while wire.lock().buffered.is_empty() {
        tokio::task::yield_now().await;
    }
    answers.pieces.0.add_permits(3);
    while answers.pieces.0.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    wire.reads(true);
    let messages = wire.messages(3).await;
    assert_eq!(messages[1], r#"{"t":" word"}"#);
    assert_eq!(messages[2], r#"{"t":" word word word"}"#);
}

#[tokio::test(start_paused = true)]
async fn text_has_an_id_where_it_is_of_another_request_than_the_last() {
    let fixture = begin(config());
    let (wire, answers) = (&fixture.wire, &fixture.answers);
    wire.asks(r#"{"id":"1","path":"/stream"}"#);
    answers.pieces.0.add_permits(1);
    assert_eq!(wire.messages(1).await[0], r#"{"id":"1","t":" word"}"#);
    answers.pieces.0.add_permits(1);
    assert_eq!(wire.messages(2).await[1], r#"{"t":" word"}"#);
    // The same id, and another request.
    wire.asks(r#"{"id":"1","cancel":true}"#);
    wire.asks(r#"{"id":"1","path":"/stream"}"#);
    wire.messages(3).await;
    answers.pieces.0.add_permits(1);
    assert_eq!(wire.messages(4).await[3], r#"{"id":"1","t":" word"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_frees_what_it_held_and_says_so() {
    let fixture = begin(config());
    let (wire, answers) = (&fixture.wire, &fixture.answers);
    wire.asks(r#"{"id":"1","path":"/stream"}"#);
    wire.asks(r#"{"id":"2","path":"/never"}"#);
    answers.pieces.0.add_permits(1);
    wire.messages(1).await;
    wire.asks(r#"{"id":"3","path":"/never"}"#);
    let messages = wire.messages(2).await;
    assert!(
        messages[1].contains(r#""id":"3","status":429"#),
        "{}",
        messages[1]
    );
    for id in ["1", "2", "2", "unknown"] {
        wire.asks(&format!(r#"{{"id":"{id}","cancel":true}}"#));
    }
    let messages = wire.messages(4).await;
    assert_eq!(
        messages[2],
        r#"{"id":"1","done":{"finish_reason":"cancelled"}}"#
    );
    assert_eq!(
        messages[3],
        r#"{"id":"2","done":{"finish_reason":"cancelled"}}"#
    );
    while !answers.is_idle() {
        tokio::task::yield_now().await;
    }
    // Its id and its place can be used again.
    wire.asks(r#"{"id":"1","path":"/echo","body":1}"#);
    assert_eq!(
        wire.messages(5).await[4],
        r#"{"id":"1","status":200,"result":1}"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_repeated_id_does_not_look_like_the_end_of_the_first() {
    let fixture = begin(config());
    let wire = &fixture.wire;
    wire.asks(r#"{"id":"1","path":"/never"}"#);
    wire.asks(r#"{"id":"1","path":"/echo"}"#);
    wire.asks(r#"{"id":"1","op":"unknown"}"#);
    for message in wire.messages(2).await {
        assert!(
            message.starts_with(r#"{"id":null,"status":400"#),
            "{message}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_inside_is_told_and_the_socket_goes_on() {
    let fixture = begin(config());
    let wire = &fixture.wire;
    wire.asks(r#"{"id":"1","path":"/panic"}"#);
    let messages = wire.messages(1).await;
    assert!(messages[0].contains("internal_error"), "{}", messages[0]);
    wire.asks(r#"{"id":"1","path":"/echo","body":1}"#);
    wire.messages(2).await;
}

#[tokio::test(start_paused = true)]
async fn the_paced_source_is_off_unless_it_is_switched_on() {
    let paced = r#"{"id":"1","op":"paced","body":{"rate":100,"tokens":3}}"#;
    let fixture = begin(config());
    fixture.wire.asks(paced);
    let messages = fixture.wire.messages(1).await;
    assert!(messages[0].contains("live.paced_source"), "{}", messages[0]);
    let fixture = begin(LiveConfig {
        paced_source: true,
        ..config()
    });
    fixture.wire.asks(paced);
    let messages = fixture.wire.messages(4).await;
    assert_eq!(messages[3], r#"{"id":"1","done":{}}"#);
}
