//! What happens to followers, whatever happens to their leader.

use brink_cache::key::{ItemBytes, PrefixParts, Task};
use brink_cache::{KeyPrefix, ModelDigest, Scope};

use super::*;

type Answer = Result<u32, &'static str>;

fn key(text: &str) -> Key {
    let prefix = KeyPrefix::new(PrefixParts {
        scope: &Scope::Public,
        model: "m",
        digest: &ModelDigest([1; 32]),
        task: Task::Embed,
        parameters: "{}",
    });
    prefix.key(ItemBytes::Text(text))
}

fn flights() -> Collapse<Answer> {
    Collapse::new(CollapseLimits {
        max_leader_age: Duration::from_secs(10),
        max_flights: 3,
    })
}

fn lead(flights: &Collapse<Answer>) -> Obligation<Answer> {
    match flights.join(key("a"), Instant::now()) {
        Ok(Joined::Leader(obligation)) => obligation,
        other => panic!("{other:?}"),
    }
}

fn follow(flights: &Collapse<Answer>) -> Waiter<Answer> {
    match flights.join(key("a"), Instant::now()) {
        Ok(Joined::Follower(waiter)) => waiter,
        other => panic!("{other:?}"),
    }
}

async fn answer(waiter: Waiter<Answer>) -> Answer {
    match waiter.verdict().await {
        Verdict::Done(answer) => answer,
        other => panic!("{other:?}"),
    }
}

async fn promoted(waiter: Waiter<Answer>) -> Obligation<Answer> {
    match waiter.verdict().await {
        Verdict::Lead(obligation) => obligation,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_leader_answers_every_follower() {
    let flights = flights();
    let mut obligation = lead(&flights);
    let own = obligation.waiter();
    let followers: Vec<_> = (0..49).map(|_| follow(&flights)).collect();
    obligation.fulfil(Ok(7));
    assert_eq!(answer(own).await, Ok(7));
    for follower in followers {
        assert_eq!(answer(follower).await, Ok(7));
    }
    assert!(flights.is_empty());
}

#[tokio::test]
async fn error_that_all_would_get_is_shared() {
    let flights = flights();
    let obligation = lead(&flights);
    let follower = follow(&flights);
    obligation.fulfil(Err("too long"));
    assert_eq!(answer(follower).await, Err("too long"));
    assert!(flights.is_empty());
}

#[tokio::test]
async fn error_of_the_leader_alone_makes_the_oldest_follower_lead() {
    let flights = flights();
    let mut obligation = lead(&flights);
    let own = obligation.waiter();
    let (first, second) = (follow(&flights), follow(&flights));
    obligation.give_back(Err("overloaded"));
    assert_eq!(answer(own).await, Err("overloaded"));
    let mut obligation = promoted(first).await;
    let own = obligation.waiter();
    obligation.fulfil(Ok(1));
    assert_eq!(answer(own).await, Ok(1));
    assert_eq!(answer(second).await, Ok(1));
}

#[tokio::test]
async fn leader_that_vanishes_or_panics_hands_the_duty_on() {
    let flights = flights();
    let obligation = lead(&flights);
    let (first, second) = (follow(&flights), follow(&flights));
    let task = tokio::spawn(async move {
        let _held = obligation;
        panic!("the leader is defective");
    });
    assert!(task.await.expect_err("it panics").is_panic());
    // The first follower is promoted and goes away without having looked.
    drop(first);
    promoted(second).await.fulfil(Ok(2));
    assert!(flights.is_empty());
}

#[tokio::test]
async fn duty_is_handed_on_a_bounded_number_of_times() {
    let flights = flights();
    let obligation = lead(&flights);
    let followers: Vec<_> = (0..6).map(|_| follow(&flights)).collect();
    drop(obligation);
    let mut lost = 0;
    for follower in followers {
        match follower.verdict().await {
            Verdict::Lead(obligation) => drop(obligation),
            Verdict::Lost => lost += 1,
            Verdict::Done(answer) => panic!("{answer:?}"),
        }
    }
    assert_eq!(lost, 2);
    assert!(flights.is_empty());
}

#[tokio::test]
async fn leader_learns_when_nobody_waits() {
    let flights = flights();
    let mut obligation = lead(&flights);
    let own = obligation.waiter();
    let follower = follow(&flights);
    drop(own);
    assert!(!obligation.is_abandoned(), "the follower still waits");
    let leave = async { drop(follower) };
    tokio::join!(obligation.abandoned(), leave);
    drop(obligation);
    assert!(flights.is_empty());
}

#[tokio::test]
async fn flight_that_is_too_old_gets_no_followers_and_keeps_those_it_has() {
    let flights = flights();
    let old = lead(&flights);
    let follower = follow(&flights);
    let later = Instant::now() + Duration::from_secs(11);
    let Ok(Joined::Leader(new)) = flights.join(key("a"), later) else {
        panic!("the flight is too old to follow");
    };
    old.fulfil(Ok(1));
    assert_eq!(answer(follower).await, Ok(1));
    assert_eq!(flights.len(), 1, "the new flight goes on");
    new.fulfil(Ok(2));
    assert!(flights.is_empty());
}

#[tokio::test]
async fn flights_are_bounded() {
    let flights = flights();
    let now = Instant::now();
    let started: Vec<_> = ["a", "b", "c"]
        .map(|text| flights.join(key(text), now))
        .into();
    assert!(matches!(
        flights.join(key("d"), now),
        Err(TooManyFlights(3))
    ));
    assert!(matches!(
        flights.join(key("a"), now),
        Ok(Joined::Follower(_))
    ));
    drop(started);
    assert!(matches!(flights.join(key("d"), now), Ok(Joined::Leader(_))));
}
