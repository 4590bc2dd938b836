//! Files and pictures: base64, data URLs, and what can be told of them without decoding.
//!
//! A picture is decoded by the host. Here only its size and its first bytes are looked at, so that what
//! cannot be one is refused before it crosses the wire.

use base64_simd::STANDARD;
use brink_protocol::Reads;
use brink_protocol::limits::MAX_BLOB_BYTES;
use bytes::Bytes;
use http::StatusCode;

use crate::error::ApiError;

/// What a file has to be for a model.
#[derive(Clone, Copy, Debug)]
pub(in crate::forms) struct Wanted {
    /// Whether it is a picture.
    is_picture: bool,
    /// Most bytes.
    max_bytes: usize,
}

impl Wanted {
    /// `None` if the model reads texts.
    pub(in crate::forms) fn by(reads: Reads) -> Option<Self> {
        let (is_picture, max_bytes) = match reads {
            Reads::Text(_) => return None,
            Reads::Image { max_bytes } => (true, max_bytes),
            Reads::Bytes { max_bytes } => (false, max_bytes),
        };
        Some(Self {
            is_picture,
            max_bytes: (max_bytes as usize).min(MAX_BLOB_BYTES),
        })
    }

    /// What the model reads, in words.
    pub(in crate::forms) fn noun(self) -> &'static str {
        match self.is_picture {
            true => "pictures",
            false => "files",
        }
    }

    /// Checks what can be checked without decoding. `param` is what the client calls it.
    pub(in crate::forms) fn check(self, param: &str, blob: &[u8]) -> Result<(), ApiError> {
        if blob.len() > self.max_bytes {
            return Err(self.too_large(param, blob.len()));
        }
        if self.is_picture && !is_picture(blob) {
            let message = format!("{param} is no picture of a known kind: JPEG, PNG or WebP");
            return Err(ApiError {
                param: Some(param.to_owned()),
                ..ApiError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "media_not_allowed",
                    message,
                )
            });
        }
        Ok(())
    }

    /// The bytes that a text stands for: base64 (RFC 4648 §4), alone or in a data URL (RFC 2397).
    pub(super) fn decode(self, param: &str, text: &str) -> Result<Bytes, ApiError> {
        let base64 = match data_url(text) {
            Some(data) => data.ok_or_else(|| {
                let message = format!("{param} is a data URL without \";base64,\"");
                ApiError::invalid(param, message)
            })?,
            None => text,
        };
        // Three bytes of four characters, less two of padding.
        let least = (base64.len() / 4 * 3).saturating_sub(2);
        if least > self.max_bytes {
            return Err(self.too_large(param, least));
        }
        let bytes = STANDARD.decode_to_vec(base64).map_err(|_| {
            let message = format!(
                "{param} is neither base64 (RFC 4648 section 4, with padding, without white space) nor a data URL of it; \
                 the model reads {}",
                self.noun()
            );
            ApiError::invalid(param, message)
        })?;
        Ok(bytes.into())
    }

    fn too_large(self, param: &str, actual: usize) -> ApiError {
        let message = format!(
            "{param} has {actual} bytes or more; at most {} are allowed",
            self.max_bytes
        );
        ApiError {
            param: Some(param.to_owned()),
            ..ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "input_too_large", message)
        }
    }
}

/// The base64 of a data URL; nothing in it if it has none.
fn data_url(text: &str) -> Option<Option<&str>> {
    let (scheme, rest) = text.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let data = rest.split_once(',').and_then(|(media, data)| {
        let (_, coding) = media.rsplit_once(';')?;
        coding.eq_ignore_ascii_case("base64").then_some(data)
    });
    Some(data)
}

/// Whether the bytes begin as one of the kinds that hosts decode.
fn is_picture(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    bytes.starts_with(b"\xff\xd8\xff") || bytes.starts_with(b"\x89PNG\r\n\x1a\n") || is_webp
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: Wanted = Wanted {
        is_picture: false,
        max_bytes: 6,
    };

    #[test]
    fn base64_is_strict_and_stands_alone_or_in_a_data_url() {
        let check = |text: &str, expected: Option<&[u8]>| {
            let found = FILES.decode("input[0]", text).ok();
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("QUJD", Some(b"ABC"));
        check("QQ==", Some(b"A"));
        check("", Some(b""));
        check("data:image/png;base64,QUJD", Some(b"ABC"));
        check("DATA:;BASE64,QUJD", Some(b"ABC"));
        check("data:text/plain;charset=utf-8;base64,QQ==", Some(b"A"));
        for wrong in [
            "QQ",
            "QR==",
            "QUJD ",
            "QU JD",
            "QUJ-",
            "QUJ_",
            "QUJD\n",
            "é===",
            "data:,abc",
            "data:image/png,QUJD",
            "data:image/png;base64",
            "data:;base64,QQ",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn size_is_checked_before_anything_is_decoded() {
        let error = FILES.decode("input[2]", &"A".repeat(4000)).unwrap_err();
        assert_eq!(error.status.as_u16(), 413);
        assert_eq!(error.param.as_deref(), Some("input[2]"));
        assert!(error.message.contains("at most 6"), "{}", error.message);
        let decoded = FILES.decode("input[2]", "AAAAAAAA").unwrap();
        assert_eq!(FILES.check("input[2]", &decoded), Ok(()));
        assert!(FILES.check("input[2]", &[0; 7]).is_err());
    }

    #[test]
    fn pictures_are_told_by_their_first_bytes() {
        assert!(is_picture(b"\xff\xd8\xff\xe0"));
        assert!(is_picture(b"\x89PNG\r\n\x1a\n"));
        assert!(is_picture(b"RIFF\0\0\0\0WEBPVP8 "));
        for other in [&b"GIF89a"[..], b"RIFF\0\0\0\0WAVE", b"BM", b"", b"\x89PNG"] {
            assert!(!is_picture(other), "{other:?}");
        }
    }
}
