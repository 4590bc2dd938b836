//! What a shared cache must do in front of any HTTP service: one suite, run against our host through
//! both doors, and against the components alone as another host would run them.

mod collapse;
mod freshness;
mod invalidation;
mod json;
mod messages;
mod site;
mod streams;
mod validation;

use site::Front;

#[tokio::test(flavor = "multi_thread")]
async fn embedded_host_is_a_correct_shared_cache() {
    all(&Front::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_alone_are_a_correct_shared_cache() {
    all(&Front::alone().await).await;
}

async fn all(front: &Front) {
    freshness::all(front).await;
    validation::all(front).await;
    invalidation::all(front).await;
    messages::all(front).await;
    json::all(front).await;
    invalidation::purges_by_model_reach_posted_json(front).await;
    // Last: a mark holds for everything.
    invalidation::purges_reach_origins(front).await;
}
