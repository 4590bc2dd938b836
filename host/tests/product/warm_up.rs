//! A recorded list is warm once it was sent.

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::time::Duration;

use brink_cache::outcome::Outcome;
use brink_host::warm_up::{self, Edge, List, Options, Tally};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{MODEL, Product};

const TEXTS: usize = 20;
/// Longest wait for something that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn text(number: usize) -> String {
    format!("text number {number} of a recorded list")
}

/// Sends the list as it was recorded for an earlier model.
async fn warm(product: &Product) -> Tally {
    let lines = (0..TEXTS).map(|number| json!({"model": "earlier", "input": text(number)}));
    let lines: Vec<_> = lines.map(|line| line.to_string()).collect();
    let list = List::new(Cursor::new(lines.join("\n")));
    let edge = Edge::new(&format!("http://{}", product.0.address), None).unwrap();
    let options = Options {
        model: Some(MODEL.to_owned()),
        concurrency: NonZeroUsize::new(4).unwrap(),
        progress_every: Duration::from_secs(3600),
    };
    warm_up::run(list, &edge, options, &mut |told| panic!("{told}")).await
}

/// Results are stored after their answers are sent.
async fn until_all_is_stored(product: &Product) {
    let start = Instant::now();
    let busy = r#"brink_instances{component="gateway",state="busy"}"#;
    while product.metric(busy).await > 0.0 {
        assert!(start.elapsed() < PATIENCE, "an instance stays busy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_warmed_is_a_hit_for_clients() {
    let product = Product::start().await;
    let tally = warm(&product).await;
    assert_eq!((tally.answered, tally.failures()), (TEXTS as u64, 0));
    assert_eq!(tally.items, [(Outcome::Miss, TEXTS as u64)].into());

    until_all_is_stored(&product).await;
    let mut client = product.client().await;
    for number in 0..TEXTS {
        let reply = client.embed(text(number)).await;
        assert_eq!(reply.header("brink-items"), "hit=1", "{number}");
    }
    let again = warm(&product).await;
    assert_eq!(again.items, [(Outcome::Hit, TEXTS as u64)].into());
    assert_eq!(product.computed().await, TEXTS as f64);
}
