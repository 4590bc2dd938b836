//! Reading bodies within a limit.

use bytes::{Bytes, BytesMut};
use spin_sdk::wasip3::http_compat::IncomingRequestBody;

use crate::error::ApiError;
use crate::head::Head;

/// A request's body.
pub(super) type Incoming = IncomingRequestBody;

/// Why a body could not be read.
pub(super) enum ReadError {
    /// It has at least so many bytes.
    TooLarge(u64),
    /// The other side went away.
    Broken,
}

/// Reads a request's body. One that announces to be too large is refused unread.
pub(super) async fn read_request(
    body: Incoming,
    head: &Head<'_>,
    limit: u64,
) -> Result<Bytes, ApiError> {
    let announced = head
        .get("content-length")
        .and_then(|value| value.parse::<u64>().ok());
    if let Some(length) = announced.filter(|length| *length > limit) {
        return Err(ApiError::body_too_large(length, limit));
    }
    read(body, limit).await.map_err(|error| match error {
        ReadError::TooLarge(actual) => ApiError::body_too_large(actual, limit),
        ReadError::Broken => ApiError::body_broken(),
    })
}

/// A body that may not be there: `None` if it is empty.
pub(super) async fn whole_if_any(body: Incoming, limit: u64) -> Result<Option<Bytes>, ApiError> {
    match read(body, limit).await {
        Ok(body) => Ok((!body.is_empty()).then_some(body)),
        Err(ReadError::TooLarge(actual)) => Err(ApiError::body_too_large(actual, limit)),
        Err(ReadError::Broken) => Err(ApiError::body_broken()),
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read<B>(mut body: B, limit: u64) -> Result<Bytes, ReadError>
where
    B: http_body_util::BodyExt<Data = Bytes> + Unpin,
{
    let mut whole = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ReadError::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = (first.len() + whole.len() + data.len()) as u64;
        if length > limit {
            return Err(ReadError::TooLarge(length));
        }
        // Most bodies are one frame; those are never copied.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}
