//! Paths that may be appended to an upstream's URL.
//!
//! Whoever resolves such a URL removes dot segments (RFC 3986 §5.2.4), and `..` would lead out of
//! what the policy opens. Services differ in what they take for one: many decode escapes first,
//! some take `\` for `/`, and some cut off what follows a `;` or a zero byte. All of that is
//! refused here, and never mended: a path that needs it is no honest one.

use std::borrow::Cow;

/// Why a path is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    /// It could lead out of the upstream's path.
    #[error("the path has a dot segment, as it is or once its escapes are decoded")]
    DotSegment,
    /// It is no path (RFC 3986 §3.3).
    #[error("the path has a backslash, \"?\", \"#\", white space or a control character")]
    Character,
}

/// Judges what follows an origin's prefix.
pub(super) fn check(rest: &str) -> Result<(), PathRefusal> {
    let is_foreign = |c: char| "\\?#".contains(c) || c.is_whitespace() || c.is_control();
    if rest.contains(is_foreign) {
        return Err(PathRefusal::Character);
    }
    let decoded = if rest.contains('%') {
        Cow::Owned(decode(rest))
    } else {
        Cow::Borrowed(rest.as_bytes())
    };
    let mut segments = decoded.split(|byte| b"/\\".contains(byte));
    if segments.any(is_dot_segment) {
        return Err(PathRefusal::DotSegment);
    }
    Ok(())
}

/// Whether an origin may have this prefix, or an upstream this path: `/`, or plain segments
/// between two of them.
pub(super) fn is_prefix(path: &str) -> bool {
    let rest = path.strip_prefix('/');
    rest.is_some_and(|rest| rest.is_empty() || (rest.ends_with('/') && is_plain(rest)))
}

/// Whether this may follow a prefix in a policy. An escape would be a second way of writing a
/// path, and an empty segment is merged by some services and kept by others.
pub(super) fn is_plain(path: &str) -> bool {
    let segments = path.strip_suffix('/').unwrap_or(path).split('/');
    let is_plain = |segment: &str| {
        let bytes = segment.as_bytes();
        !bytes.is_empty() && bytes.iter().all(is_segment_byte) && !is_dot_segment(bytes)
    };
    segments.into_iter().all(is_plain)
}

/// What a segment may have besides escapes: `pchar` of RFC 3986 §3.3.
fn is_segment_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(byte)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|byte| b";\0".contains(byte)).next();
    matches!(name, Some(b"." | b".."))
}

/// Decodes escapes (RFC 3986 §2.1) until none is left: nobody knows how many services behind an
/// upstream decode once more. The order of decoding makes no difference, as no two escapes overlap.
fn decode(path: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        decoded.push(byte);
        // What was decoded may end an escape in its turn.
        while let [.., b'%', high, low] = decoded[..]
            && let Some(byte) = hexadecimal(high, low)
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(byte);
        }
    }
    decoded
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
