//! `POST /tokenize`: the call to the host. The rules are in [`crate::tokenize`].

use brink_protocol::{TOKENIZE_PATH, TokenizeReply, message};
use http::Method;

use super::Edge;
use crate::error::ApiError;
use crate::reply::Reply;
use crate::tokenize::{self, Tokenize};

pub(super) async fn answer(edge: &Edge, asked: Tokenize, id: &str) -> Result<Reply, ApiError> {
    let call = asked.call(id);
    let count = call.texts.len();
    let body = message::encode(&call).into();
    let timeout = edge.settings.upstream_timeout;
    let answer: TokenizeReply = edge
        .call(Method::POST, TOKENIZE_PATH, body, timeout)
        .await?;
    tokenize::reply(answer, count)
}
