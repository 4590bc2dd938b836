//! `POST /tokenize`: the call to the host. The rules are in [`crate::tokenize`].

use super::Edge;
use crate::error::ApiError;
use crate::reply::Reply;
use crate::tokenize::{self, Tokenize};

pub(super) async fn answer(edge: &Edge, asked: Tokenize, id: &str) -> Result<Reply, ApiError> {
    let call = asked.call(id);
    let count = call.texts.len();
    let answer = edge.fetch_tokens(&call).await?;
    tokenize::reply(answer, count)
}
