//! Bodies that are compressed, as the protocol's clients can send them.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};
use http::StatusCode;

use crate::error::{ApiError, shorten};

/// The body as it was before it was coded. `limit` is in bytes, and holds for what comes out: a few bytes can
/// stand for gigabytes.
pub(super) fn decoded<'a>(
    body: &'a [u8],
    coding: Option<&str>,
    limit: u64,
) -> Result<Cow<'a, [u8]>, ApiError> {
    match coding.map(str::trim).unwrap_or_default() {
        "" => Ok(body.into()),
        coding if coding.eq_ignore_ascii_case("identity") => Ok(body.into()),
        coding if coding.eq_ignore_ascii_case("gzip") => inflated(GzDecoder::new(body), limit),
        // The zlib form, as RFC 9110 §8.4.1.2 says.
        coding if coding.eq_ignore_ascii_case("deflate") => inflated(ZlibDecoder::new(body), limit),
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

fn inflated(decoder: impl Read, limit: u64) -> Result<Cow<'static, [u8]>, ApiError> {
    let mut bytes = Vec::new();
    let read = decoder
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes);
    if read.is_err() {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "content_encoding_broken",
            "the body is not what its content-encoding says",
        ));
    }
    match bytes.len() as u64 {
        length if length > limit => Err(ApiError::body_too_large(length, limit)),
        _ => Ok(bytes.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

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
