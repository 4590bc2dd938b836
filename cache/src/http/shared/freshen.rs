//! What a 304 or the answer to HEAD does to a stored response (RFC 9111 §4.3.4 and §4.3.5).

use super::fields::Fields;
use super::head::{ResponseHead, StoredResponse, Times, content_length, date_of, entity_tag};

/// Fields that no update changes (RFC 9111 §3.2), beside those of the connection. They are about
/// the content as it is stored, which a 304 does not bring anew: `Content-Encoding` with them,
/// because content read in another coding is garbage.
const OF_CONTENT: [&str; 3] = ["content-encoding", "content-length", "content-range"];

/// The stored response after the 304 that validated it; `None` if the 304 is about another one,
/// which must not be updated with it. The request is then to be sent again without conditions.
///
/// The 304 may say that the response must no longer be stored, or bring a cookie: whoever writes it
/// back asks [`may_store`](super::may_store) again. `times` are those of the exchange that brought
/// the 304. `Age` is that of the 304: the response
/// was validated by whoever sent it.
pub fn freshen(
    stored: &StoredResponse,
    not_modified: &Fields,
    times: Times,
) -> Option<StoredResponse> {
    if !is_about(not_modified, &stored.head) {
        return None;
    }
    let update = ResponseHead::new(304, not_modified, times).fields;
    let is_replaced = |name: &str| update.contains(name) && !OF_CONTENT.contains(&name);
    let mut fields = stored
        .head
        .fields
        .filtered(|name| name != "age" && !is_replaced(name));
    for (name, value) in update.iter().filter(|(name, _)| is_replaced(name)) {
        fields.append(name, value.clone());
    }
    Some(StoredResponse {
        head: ResponseHead {
            status: stored.head.status,
            fields,
            times,
        },
        body: stored.body.clone(),
    })
}

/// Whether the answer to HEAD (with status 200) shows that the stored response is no longer
/// current. Then it counts as stale, and may be kept to be validated.
pub fn invalidated_by_head(stored: &StoredResponse, head: &Fields) -> bool {
    let differs = |name: &str| head.contains(name) && !is_same(name, head, &stored.head.fields);
    let length = head.joined("content-length");
    let length_differs =
        length.is_some_and(|length| content_length(&length) != Some(stored.body.len() as u64));
    differs("etag") || differs("last-modified") || length_differs
}

/// Whether a 304 is about the stored response. `Last-Modified` counts as weak (RFC 9110 §8.8.2.2).
///
/// A 304 without any validator is taken for an answer to the conditions that were sent, which were
/// those of this one response. §4.3.4 foresees that for stored responses without a validator only,
/// and servers exist that answer so for all.
fn is_about(not_modified: &Fields, stored: &ResponseHead) -> bool {
    if !not_modified.contains("etag") {
        return !not_modified.contains("last-modified")
            || is_same("last-modified", not_modified, &stored.fields);
    }
    let (Some(tag), Some(own)) = (entity_tag(not_modified), stored.entity_tag()) else {
        return false;
    };
    if tag.is_weak {
        tag.matches_weakly(&own)
    } else {
        tag.matches_strongly(&own)
    }
}

/// Whether both have the field with the same value; the same date in any form.
fn is_same(name: &str, one: &Fields, other: &Fields) -> bool {
    match (date_of(one, name), date_of(other, name)) {
        (Some(one), Some(other)) => one == other,
        _ => one.joined_bytes(name) == other.joined_bytes(name),
    }
}
