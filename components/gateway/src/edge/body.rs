//! Reading bodies within a limit.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use spin_sdk::wasip3::http_compat::IncomingRequestBody;

use crate::error::ApiError;
use crate::gathered::{Gathered, TooLarge};
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

impl From<TooLarge> for ReadError {
    fn from(TooLarge(length): TooLarge) -> Self {
        Self::TooLarge(length)
    }
}

/// Reads a request's body. One that announces to be too large is refused unread.
pub(super) async fn read_request(
    body: Incoming,
    head: &Head<'_>,
    limit: u64,
) -> Result<Bytes, ApiError> {
    let announced = head
        .get("content-length")
        .and_then(|value| value.parse().ok());
    read(body, announced, limit)
        .await
        .map_err(|error| match error {
            ReadError::TooLarge(actual) => ApiError::body_too_large(actual, limit),
            ReadError::Broken => ApiError::body_broken(),
        })
}

/// A body that may not be there: `None` if it is empty.
pub(super) async fn whole_if_any(body: Incoming, limit: u64) -> Result<Option<Bytes>, ApiError> {
    match read(body, None, limit).await {
        Ok(body) => Ok((!body.is_empty()).then_some(body)),
        Err(ReadError::TooLarge(actual)) => Err(ApiError::body_too_large(actual, limit)),
        Err(ReadError::Broken) => Err(ApiError::body_broken()),
    }
}

/// The length that a head announces.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes, of which so many were announced.
pub(super) async fn read<B>(
    mut body: B,
    announced: Option<u64>,
    limit: u64,
) -> Result<Bytes, ReadError>
where
    B: http_body_util::BodyExt<Data = Bytes> + Unpin,
{
    let mut gathered = Gathered::new(announced, limit)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ReadError::Broken)?;
        if let Ok(data) = frame.into_data() {
            gathered.push(data)?;
        }
    }
    Ok(gathered.finish())
}
