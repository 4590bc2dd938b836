//! `GET` and `DELETE /v1/streams/{id}`: goes on with a text that is kept, or gives it up.

use std::sync::Arc;
use std::time::Duration;

use brink_protocol::generate::{StreamAsk, StreamRequest};
use http::StatusCode;

use crate::error::{ApiError, shorten};
use crate::forms::text::compact::{CompactWriter, END};
use crate::forms::text::event_stream;
use crate::head::Head;
use crate::in_force::Caller;
use crate::reply::Reply;

/// A question about a kept text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStream {
    tenant: Arc<str>,
    id: String,
    /// From which byte of the text on; `None` to give it up.
    from: Option<u64>,
}

/// What follows from a request alone.
#[derive(Clone, Debug)]
pub enum Read {
    /// The host is asked.
    Ask(KeptStream),
    /// There is nothing to go on with. Browsers ask no more after that (HTML, server-sent events §9.2.3).
    AtEnd(Reply),
}

impl KeptStream {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 for a cursor that is none.
    pub fn read(head: &Head<'_>, id: &str, caller: &Caller) -> Result<Read, ApiError> {
        let ask = |from| {
            Read::Ask(Self {
                tenant: caller.name.clone(),
                id: id.to_owned(),
                from,
            })
        };
        if head.method == "DELETE" {
            return Ok(ask(None));
        }
        let named = |pair: &str| pair.strip_prefix("cursor=").map(str::to_owned);
        let query = head.query.unwrap_or_default().split('&').find_map(named);
        // The header is of the browser's reconnecting, and newer than what the page has asked for.
        let cursor = head.get("last-event-id").map(str::to_owned).or(query);
        match cursor.as_deref() {
            None | Some("") => Ok(ask(Some(0))),
            Some(END) => Ok(Read::AtEnd(Reply::empty(StatusCode::NO_CONTENT))),
            Some(place) => match place.parse() {
                Ok(from) => Ok(ask(Some(from))),
                Err(_) => Err(ApiError::invalid(
                    "cursor",
                    format!(
                        "the cursor is {}; it must be the id of an event of this stream",
                        shorten(place)
                    ),
                )),
            },
        }
    }

    /// The call to the host.
    pub fn call(&self, request_id: &str, heartbeat: Duration) -> StreamRequest {
        StreamRequest {
            request_id: request_id.to_owned(),
            tenant: self.tenant.to_string(),
            id: self.id.clone(),
            ask: match self.from {
                None => StreamAsk::GiveUp,
                Some(from) => StreamAsk::Read {
                    from,
                    heartbeat_ms: heartbeat.as_millis().try_into().unwrap_or(u32::MAX),
                },
            },
        }
    }

    /// The head of the answer, and what writes its body; `None` where there is no more to say than that it is done.
    pub fn begin(&self) -> (Reply, Option<CompactWriter>) {
        match self.from {
            None => (Reply::empty(StatusCode::NO_CONTENT), None),
            Some(from) => {
                let writer = CompactWriter::new(None, from);
                (event_stream(""), Some(writer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Read, ApiError> {
        let head = Head::parse(head.as_bytes()).unwrap();
        KeptStream::read(&head, "abc", &Caller::unlimited("a".into()))
    }

    #[test]
    fn a_place_comes_from_the_browser_or_from_the_page() {
        let check = |head: &str, expected: StreamAsk| {
            let Ok(Read::Ask(stream)) = read(head) else {
                panic!("{head}");
            };
            let call = stream.call("r", Duration::from_secs(1));
            assert_eq!((call.ask, &*call.tenant, &*call.id), (expected, "a", "abc"));
        };
        let from = |from| StreamAsk::Read {
            from,
            heartbeat_ms: 1000,
        };
        check("GET /v1/streams/abc", from(0));
        check("GET /v1/streams/abc?x=1&cursor=7", from(7));
        check("GET /v1/streams/abc?cursor=7\nlast-event-id: 9", from(9));
        check("DELETE /v1/streams/abc?cursor=7", StreamAsk::GiveUp);
    }

    #[test]
    fn the_end_has_no_content_and_nonsense_is_refused() {
        let Ok(Read::AtEnd(reply)) = read("GET /v1/streams/abc\nlast-event-id: end") else {
            panic!();
        };
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
        let error = read("GET /v1/streams/abc?cursor=-1").expect_err("no place");
        assert_eq!(error.param.as_deref(), Some("cursor"));
    }
}
