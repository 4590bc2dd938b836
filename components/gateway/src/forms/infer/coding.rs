//! Bodies that are compressed, as the protocol's clients can send them.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::StatusCode;

use crate::error::{ApiError, shorten};

/// The body as it was before it was coded. `limit` is in bytes, and holds for what comes out: a few bytes can
/// stand for gigabytes.
pub(super) fn decoded(body: Bytes, coding: Option<&str>, limit: u64) -> Result<Bytes, ApiError> {
    match coding.map(str::trim).unwrap_or_default() {
        "" => Ok(body),
        coding if coding.eq_ignore_ascii_case("identity") => Ok(body),
        coding if coding.eq_ignore_ascii_case("gzip") => {
            inflated(|| GzDecoder::new(&body[..]), limit)
        }
        // The zlib form, as RFC 9110 §8.4.1.2 says.
        coding if coding.eq_ignore_ascii_case("deflate") => {
            inflated(|| ZlibDecoder::new(&body[..]), limit)
        }
        other => {
            let message = format!(
                "the content-encoding is {}; allowed: gzip, deflate, identity",
                shorten(other)
            );
            Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content_encoding_not_allowed",
                message,
            ))
        }
    }
}

/// Inflates twice: first to count, and then into just as much room. Room that grows would be needed two to three times
/// over, and an instance has not so much.
fn inflated<D: Read>(decoder: impl Fn() -> D, limit: u64) -> Result<Bytes, ApiError> {
    let broken = |_| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "content_encoding_broken",
            "the body is not what its content-encoding says",
        )
    };
    let mut counted = decoder().take(limit.saturating_add(1));
    let length = io::copy(&mut counted, &mut io::sink()).map_err(broken)?;
    let room = usize::try_from(length).ok().filter(|_| length <= limit);
    let room = room.ok_or_else(|| ApiError::body_too_large(length, limit))?;
    let mut bytes = vec![0; room];
    decoder().read_exact(&mut bytes).map_err(broken)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn decoded(body: &[u8], coding: Option<&str>, limit: u64) -> Result<Bytes, ApiError> {
        super::decoded(Bytes::copy_from_slice(body), coding, limit)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn both_codings_are_undone() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"abc").unwrap();
        assert_eq!(*decoded(&gzip(b"abc"), Some("gzip"), 3).unwrap(), *b"abc");
        assert_eq!(
            *decoded(&zlib.finish().unwrap(), Some("Deflate"), 3).unwrap(),
            *b"abc"
        );
        assert_eq!(*decoded(b"abc", Some("identity"), 0).unwrap(), *b"abc");
    }

    #[test]
    fn what_comes_out_is_limited_and_what_is_wrong_is_told() {
        let bomb = gzip(&vec![0; 1_000_000]);
        assert!(bomb.len() < 2_000);
        let status = |body: &[u8], coding| {
            decoded(body, Some(coding), 999_999)
                .unwrap_err()
                .status
                .as_u16()
        };
        assert_eq!(status(&bomb, "gzip"), 413);
        assert_eq!(status(&bomb[..100], "gzip"), 400);
        assert_eq!(status(b"abc", "deflate"), 400);
        assert_eq!(status(b"abc", "br"), 415);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes: Vec<u8>) {
            for coding in ["gzip", "deflate"] {
                let _ = decoded(&bytes, Some(coding), 100);
            }
        }
    }
}
