//! The binary tensor data extension: a body that is JSON first, and the bytes of tensors after that.
//!
//! Nothing is reserved for a size that is only claimed: what is taken is a slice of what is there.

use bytes::Bytes;

use crate::error::ApiError;

/// Where the JSON ends and the tensors begin; in requests and in answers.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// The bytes of tensors that are not yet taken. `None` of a body that is JSON to its end.
#[derive(Debug)]
pub(super) struct Tail(Option<Bytes>);

/// Splits a body into its JSON and what follows. `length` is the value of [`HEADER_LENGTH`].
pub(super) fn split(body: Bytes, length: Option<&str>) -> Result<(Bytes, Tail), ApiError> {
    let Some(value) = length else {
        return Ok((body, Tail(None)));
    };
    let length: usize = value.parse().map_err(|_| {
        let message = format!(
            "the header {HEADER_LENGTH} is {}; a number of bytes is wanted",
            crate::error::shorten(value)
        );
        ApiError::invalid(HEADER_LENGTH, message)
    })?;
    if length == 0 {
        let message = format!(
            "the header {HEADER_LENGTH} is 0; tensors without JSON before them are not taken, because nothing would \
             name them"
        );
        return Err(ApiError::invalid(HEADER_LENGTH, message));
    }
    if length > body.len() {
        let message = format!(
            "the header {HEADER_LENGTH} is {length}; the body has {} bytes",
            body.len()
        );
        return Err(ApiError::invalid(HEADER_LENGTH, message));
    }
    let mut json = body;
    let tail = json.split_off(length);
    Ok((json, Tail(Some(tail))))
}

impl Tail {
    /// The next tensor's bytes. `name` is the tensor's.
    pub(super) fn take(&mut self, name: &str, size: u64) -> Result<Bytes, ApiError> {
        let Some(rest) = &mut self.0 else {
            let message = format!(
                "the tensor {name} has binary_data_size, and the header {HEADER_LENGTH} is missing"
            );
            return Err(ApiError::invalid(HEADER_LENGTH, message));
        };
        let wanted = usize::try_from(size)
            .ok()
            .filter(|size| *size <= rest.len());
        let Some(wanted) = wanted else {
            let message = format!(
                "the tensor {name} has binary_data_size {size}; {} bytes are left in the body",
                rest.len()
            );
            return Err(ApiError::invalid("inputs", message));
        };
        Ok(rest.split_to(wanted))
    }

    /// Checks that all bytes were taken.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0 {
            Some(rest) if !rest.is_empty() => {
                let message = format!(
                    "the body has {} bytes more than its JSON and the binary_data_size of its tensors",
                    rest.len()
                );
                Err(ApiError::invalid("inputs", message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(body: &[u8], length: Option<&str>) -> Result<(Bytes, Tail), ApiError> {
        split(Bytes::copy_from_slice(body), length)
    }

    #[test]
    fn tensors_are_slices_of_the_body() {
        let body = Bytes::from(b"{}abcde".to_vec());
        let (_, mut tail) = split(body.clone(), Some("2")).unwrap();
        assert_eq!(tail.take("x", 3).unwrap().as_ptr(), body[2..].as_ptr());
    }

    #[test]
    fn what_is_taken_was_there_and_nothing_is_left() {
        let (json, mut tail) = parts(b"{}abcde", Some("2")).unwrap();
        assert_eq!(json, "{}");
        assert_eq!(tail.take("x", 3).unwrap(), "abc");
        assert_eq!(tail.take("y", 0).unwrap(), "");
        assert!(tail.take("z", 3).is_err());
        assert_eq!(tail.take("z", 2).unwrap(), "de");
        assert_eq!(tail.finish(), Ok(()));
    }

    #[test]
    fn lengths_that_cannot_be_are_told() {
        let check = |length: &str, part: &str| {
            let error = parts(b"{}abc", Some(length)).unwrap_err();
            assert!(error.message.contains(part), "{}", error.message);
        };
        check("6", "the body has 5 bytes");
        check("0", "without JSON");
        check("-1", "a number of bytes");
        check("", "a number of bytes");
        check("18446744073709551616", "a number of bytes");
        let (_, mut tail) = parts(b"{}abc", Some("2")).unwrap();
        assert!(tail.take("x", u64::MAX).is_err());
        assert!(tail.finish().unwrap_err().message.contains("3 bytes more"));
        let (_, mut tail) = parts(b"{}", None).unwrap();
        assert!(
            tail.take("x", 0)
                .unwrap_err()
                .message
                .contains(HEADER_LENGTH)
        );
    }

    proptest! {
        #[test]
        fn no_sizes_make_the_parser_panic(body: Vec<u8>, length in "[0-9]{0,3}", sizes: Vec<u64>) {
            if let Ok((_, mut tail)) = parts(&body, Some(&length)) {
                for size in sizes {
                    let _ = tail.take("x", size % 7);
                    let _ = tail.take("x", size);
                }
                let _ = tail.finish();
            }
        }
    }
}
