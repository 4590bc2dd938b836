//! How sessions end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_everything() {
    for (received, expected) in [
        (Received::Closed, Ended::Client),
        (Received::Failed(Fault::Gone), Ended::Gone),
    ] {
        let fixture = begin(config());
        fixture.wire.asks(r#"{"id":"1","path":"/stream"}"#);
        fixture.answers.pieces.0.add_permits(1);
        fixture.wire.messages(1).await;
        fixture.wire.says(received);
        assert_eq!(fixture.session.await.unwrap(), expected);
        while !fixture.answers.is_idle() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_given_up_after_a_ping() {
    let fixture = begin(config());
    let start = Instant::now();
    assert_eq!(fixture.session.await.unwrap(), Ended::HalfOpen);
    assert_eq!(
        start.elapsed().as_secs(),
        40,
        "30 of silence, 10 of waiting"
    );
    assert_eq!(fixture.wire.lock().taken, [Outgoing::Ping]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays() {
    let fixture = begin(config());
    for round in 1..=5 {
        while fixture.wire.lock().taken.len() < round {
            let changed = fixture.wire.0.changed.notified();
            changed.await;
        }
        fixture.wire.says(Received::Alive);
    }
    assert!(!fixture.session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_merged_for_and_then_closed() {
    let fixture = begin(config());
    let (wire, answers) = (&fixture.wire, &fixture.answers);
    wire.reads(false);
    wire.asks(r#"{"id":"1","path":"/stream"}"#);
    answers.pieces.0.add_permits(10_000);
    assert_eq!(fixture.session.await.unwrap(), Ended::Slow);
    assert_eq!(wire.close_code(), Some(4008));
    let waited = 10_000 - answers.pieces.0.available_permits();
    assert!(
        (700..1000).contains(&waited),
        "4096 bytes of 5 each: {waited}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_without_headway_ends_the_socket() {
    let fixture = begin(config());
    fixture.wire.reads(false);
    fixture.wire.asks(r#"{"id":"1","path":"/echo","body":1}"#);
    let start = Instant::now();
    assert_eq!(fixture.session.await.unwrap(), Ended::Slow);
    assert_eq!(start.elapsed().as_secs(), 13, "10, and 3 to say goodbye");
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_protocol_are_told_by_a_code() {
    for (received, ended, code) in [
        (Received::Failed(Fault::TooBig), Ended::TooBig, 1009),
        (Received::Failed(Fault::NotUtf8), Ended::Protocol, 1007),
        (Received::Failed(Fault::Protocol), Ended::Protocol, 1002),
        (Received::Binary, Ended::Protocol, 1003),
    ] {
        let fixture = begin(config());
        fixture.wire.says(received);
        assert_eq!(fixture.session.await.unwrap(), ended);
        assert_eq!(fixture.wire.close_code(), Some(code));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nonsense_is_told_so_often_and_then_closed() {
    let fixture = begin(config());
    for _ in 0..=MAX_MISTAKES {
        fixture.wire.asks("nonsense");
    }
    assert_eq!(fixture.session.await.unwrap(), Ended::Policy);
    assert_eq!(fixture.wire.close_code(), Some(1008));
    assert_eq!(fixture.wire.messages(16).await.len(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_requests_end_and_takes_no_more() {
    let fixture = begin(config());
    let (wire, answers) = (&fixture.wire, &fixture.answers);
    wire.asks(r#"{"id":"1","path":"/stream"}"#);
    answers.pieces.0.add_permits(1);
    wire.messages(1).await;
    fixture.stop.drain.cancel();
    tokio::task::yield_now().await;
    wire.asks(r#"{"id":"2","path":"/echo"}"#);
    let messages = wire.messages(2).await;
    assert!(
        messages[1].contains(r#""id":"2","status":503"#),
        "{}",
        messages[1]
    );
    assert_eq!(wire.close_code(), None);
    answers.pieces.0.close();
    assert_eq!(fixture.session.await.unwrap(), Ended::Drain);
    assert_eq!(wire.close_code(), Some(1001));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_old_ends_like_in_a_drain() {
    let fixture = begin(LiveConfig {
        max_lifetime: Duration::from_secs(20),
        ..config()
    });
    assert_eq!(fixture.session.await.unwrap(), Ended::Lifetime);
    assert_eq!(fixture.wire.close_code(), Some(1001));
}

#[tokio::test(start_paused = true)]
async fn what_has_not_ended_in_time_is_cut() {
    let fixture = begin(config());
    fixture.wire.asks(r#"{"id":"1","path":"/never"}"#);
    fixture.stop.drain.cancel();
    tokio::task::yield_now().await;
    assert!(!fixture.session.is_finished());
    fixture.stop.cut.cancel();
    assert_eq!(fixture.session.await.unwrap(), Ended::Cut);
    let cancelled = fixture.metrics.requests(RequestOutcome::Cancelled);
    assert_eq!(cancelled, 1);
}
