//! Records of a shared cache: what was read is stored, and read again; and what may be done with it is
//! decided without a panic.

#![no_main]

use std::time::Duration;

use brink_cache::UnixSeconds;
use brink_cache::http::shared::{
    Fields, Limits, Record, RequestHead, Terms, Times, answer, freshen, may_store, reuse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    let Ok(record) = Record::decode(stored.to_vec().into()) else {
        return;
    };
    if let Ok(encoded) = record.encode() {
        assert_eq!(Record::decode(encoded.into()).as_ref(), Ok(&record));
    }
    let Record::Response(response) = &record else {
        return;
    };
    let limits = Limits {
        max_fresh: Duration::from_secs(60),
        stale_while_revalidate: Duration::from_secs(60),
        stale_if_error: Duration::from_secs(60),
    };
    let terms = Terms {
        limits,
        invalidated: None,
    };
    // The response's own fields are as good as any for those of a request.
    let request = RequestHead::new("GET", &response.head.fields);
    let now = UnixSeconds(response.head.times.received.0.saturating_add(30));
    reuse(&response.head, &request, &terms, now);
    answer(response, &request, now);
    let _ = may_store(&request, &response.head, &limits);
    let times = Times {
        requested: now,
        received: now,
    };
    if let Some(fresh) = freshen(response, &Fields::new(), times) {
        assert_eq!(fresh.body, response.body);
    }
});
