//! What merges, what does not, and that nothing is lost.

use proptest::prelude::*;

use super::*;

fn key(request: u64) -> Key {
    Key {
        request,
        id: Arc::from(request.to_string()),
        choice: 0,
    }
}

fn outbox(budget: usize, gap_ms: u64) -> Outbox {
    Outbox::new(OutboxLimits {
        budget,
        gap: Duration::from_millis(gap_ms),
    })
}

fn texts(take: Take) -> Vec<(u64, String)> {
    let Take::Pieces(pieces) = take else {
        panic!("{take:?}");
    };
    let read = |piece| match piece {
        Piece::Text { key, text, .. } => (key.request, text),
        Piece::Frame { request, frame } => (request.unwrap_or(0), frame),
    };
    pieces.into_iter().map(read).collect()
}

fn own(pairs: &[(u64, &str)]) -> Vec<(u64, String)> {
    pairs
        .iter()
        .map(|(key, text)| (*key, (*text).to_owned()))
        .collect()
}

#[test]
fn text_is_appended_to_what_waits_of_its_stream() {
    let mut outbox = outbox(1000, 0);
    for (request, text) in [(1, "a"), (2, "x"), (1, "b"), (2, "y"), (1, "")] {
        outbox.push_text(&key(request), text).unwrap();
    }
    let second = Key {
        choice: 1,
        ..key(1)
    };
    outbox.push_text(&second, "other").unwrap();
    outbox.push_text(&key(1), "c").unwrap();
    let taken = texts(outbox.take(Instant::now()));
    assert_eq!(taken, own(&[(1, "abc"), (2, "xy"), (1, "other")]));
    assert_eq!(outbox.take(Instant::now()), Take::Nothing);
}

#[test]
fn text_never_passes_a_frame_of_its_request() {
    let mut outbox = outbox(1000, 0);
    outbox.push_text(&key(1), "a").unwrap();
    outbox.push_frame(Some(1), "{event}".to_owned()).unwrap();
    outbox.push_frame(Some(2), "{other}".to_owned()).unwrap();
    outbox.push_text(&key(1), "b").unwrap();
    outbox.push_text(&key(1), "c").unwrap();
    let expected = own(&[(1, "a"), (1, "{event}"), (2, "{other}"), (1, "bc")]);
    assert_eq!(texts(outbox.take(Instant::now())), expected);
}

#[test]
fn the_first_token_after_a_pause_is_not_delayed_and_a_frame_never_is() {
    let mut outbox = outbox(1000, 40);
    let start = Instant::now();
    let after = |ms: u64| start + Duration::from_millis(ms);
    outbox.push_text(&key(1), "a").unwrap();
    assert_eq!(texts(outbox.take(start)), own(&[(1, "a")]));
    outbox.push_text(&key(1), "b").unwrap();
    assert_eq!(outbox.take(after(10)), Take::NotBefore(after(40)));
    outbox.push_text(&key(1), "c").unwrap();
    assert_eq!(texts(outbox.take(after(40))), own(&[(1, "bc")]));
    outbox.push_text(&key(1), "d").unwrap();
    outbox.push_frame(Some(1), "{done}".to_owned()).unwrap();
    assert_eq!(
        texts(outbox.take(after(41))),
        own(&[(1, "d"), (1, "{done}")])
    );
    outbox.push_text(&key(1), "e").unwrap();
    assert_eq!(texts(outbox.take(after(90))), own(&[(1, "e")]));
}

#[test]
fn beyond_the_budget_text_is_refused_and_frames_wait() {
    let mut outbox = outbox(200, 0);
    outbox.push_text(&key(1), &"x".repeat(100)).unwrap();
    let error = outbox.push_text(&key(1), &"y".repeat(100)).unwrap_err();
    assert_eq!(error, TooSlow { budget: 200 });
    // One frame may be larger than the budget; a second one waits for it.
    outbox.push_frame(Some(2), "z".repeat(1000)).unwrap();
    assert_eq!(
        outbox.push_frame(Some(3), "w".to_owned()),
        Err("w".to_owned())
    );
    assert_eq!(texts(outbox.take(Instant::now())).len(), 2);
    outbox.push_frame(Some(3), "w".to_owned()).unwrap();
    outbox.push_text(&key(1), &"y".repeat(100)).unwrap();
}

#[test]
fn what_is_never_merged_goes_one_by_one() {
    let mut outbox = outbox(1000, 40);
    for text in ["a", "b"] {
        outbox.push_alone(&key(1), text).unwrap();
    }
    outbox.push_text(&key(1), "c").unwrap();
    let now = Instant::now();
    assert_eq!(texts(outbox.take(now)), own(&[(1, "a")]));
    assert_eq!(texts(outbox.take(now)), own(&[(1, "b")]));
    assert!(matches!(outbox.take(now), Take::NotBefore(_)));
}

#[test]
fn a_cancelled_request_leaves_nothing_and_frees_its_budget() {
    let mut outbox = outbox(300, 0);
    outbox.push_text(&key(1), &"x".repeat(150)).unwrap();
    outbox.push_frame(Some(1), "f".repeat(200)).unwrap();
    outbox.push_text(&key(2), "kept").unwrap();
    outbox.forget(1);
    outbox.push_text(&key(3), &"y".repeat(100)).unwrap();
    outbox.push_frame(Some(3), "g".repeat(200)).unwrap();
    let taken = texts(outbox.take(Instant::now()));
    assert_eq!(
        taken
            .iter()
            .map(|(request, _)| *request)
            .collect::<Vec<_>>(),
        [2, 3, 3]
    );
}

proptest! {
    /// Whatever is pushed and taken in whatever order: each stream's text arrives whole and in order, and what waits
    /// never exceeds the budget.
    #[test]
    fn every_stream_arrives_whole(steps in prop::collection::vec((0u64..3, "[a-z]{0,9}", any::<bool>()), 0..200)) {
        let mut outbox = outbox(400, 0);
        let mut sent = [String::new(), String::new(), String::new()];
        let mut got = sent.clone();
        let mut read = |outbox: &mut Outbox| {
            let taken = outbox.take(Instant::now());
            if matches!(taken, Take::Pieces(_)) {
                for (request, text) in texts(taken) {
                    got[request as usize].push_str(&text);
                }
            }
        };
        for (request, text, take) in steps {
            if outbox.push_text(&key(request), &text).is_ok() {
                sent[request as usize].push_str(&text);
            }
            prop_assert!(outbox.text_bytes <= 400 + 3 * PIECE);
            if take {
                read(&mut outbox);
            }
        }
        read(&mut outbox);
        prop_assert_eq!(outbox.text_bytes, 0);
        prop_assert_eq!(sent, got);
    }
}
