//! W3C Trace Context: the header fields `traceparent` and `tracestate`, in and out.
//!
//! Reading is strict, as <https://www.w3.org/TR/trace-context/> wants it: what is malformed is as good as absent.
//! The propagator of the SDK is not used, because it takes what the specification refuses: short ids, a plus
//! sign, an empty last part, several fields. Members of `tracestate` are checked by the SDK.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of `00-` trace id `-` span id `-` flags; later versions may go on behind another dash.
const LENGTH: usize = 55;

/// Most bytes of `tracestate` that are passed on: what the specification (§3.3.1.5) asks for at least. Beyond
/// it all of it is dropped.
const MAX_STATE: usize = 512;

/// Flags that are passed on: sampled, and that the trace id is random (level 2).
const KNOWN_FLAGS: u8 = 0b11;

/// The caller's span, if it tells one.
pub(super) fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next()?;
    if parents.next().is_some() {
        return None;
    }
    let (trace_id, span_id, flags) = parse(parent.as_bytes())?;
    let state = state(headers).unwrap_or_default();
    Some(SpanContext::new(trace_id, span_id, flags, true, state))
}

/// Says where the request that these belong to comes from.
pub(super) fn write(context: &SpanContext, headers: &mut HeaderMap) {
    let flags = context.trace_flags().to_u8() & KNOWN_FLAGS;
    let parent = format!(
        "00-{}-{}-{flags:02x}",
        context.trace_id(),
        context.span_id()
    );
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let parent = value(&parent).expect("digits and dashes are valid in a header");
    headers.insert(TRACEPARENT, parent);
    // Whatever stands there belongs to another `traceparent`.
    headers.remove(TRACESTATE);
    let state = context.trace_state().header();
    if let Some(state) = value(&state).filter(|state| !state.is_empty()) {
        headers.insert(TRACESTATE, state);
    }
}

fn parse(parent: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, later) = parent.split_at_checked(LENGTH)?;
    let dashes = [2, 35, 52].into_iter().all(|place| known[place] == b'-');
    let version = digits(&known[..2])?;
    let ends = match version {
        0 => later.is_empty(),
        0xff => false,
        _ => later.is_empty() || later[0] == b'-',
    };
    if !dashes || !ends {
        return None;
    }
    let trace_id = TraceId::from(digits(&known[3..35])?);
    let span_id = SpanId::from(u64::try_from(digits(&known[36..52])?).ok()?);
    let flags = u8::try_from(digits(&known[53..])?).ok()? & KNOWN_FLAGS;
    let valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    valid.then_some((trace_id, span_id, TraceFlags::new(flags)))
}

/// Hexadecimal digits in lower case.
fn digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// All fields of that name are one list (RFC 9110 §5.3).
fn state(headers: &HeaderMap) -> Option<TraceState> {
    let mut list = String::new();
    for value in headers.get_all(TRACESTATE) {
        let value = value.to_str().ok()?;
        if list.len() + 1 + value.len() > MAX_STATE {
            return None;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(value);
    }
    list.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn check(parent: &str, sampled: Option<bool>) {
        let context = read(&headers(&[("traceparent", parent)]));
        assert_eq!(
            context.map(|context| context.is_sampled()),
            sampled,
            "{parent}"
        );
    }

    #[test]
    fn well_formed_parents_are_read() {
        check(PARENT, Some(true));
        check(&PARENT.replace("-01", "-00"), Some(false));
        check(&PARENT.replace("-01", "-03"), Some(true));
        check(&PARENT.replace("-01", "-ff"), Some(true));
        check(&PARENT.replace("00-", "cc-"), Some(true));
        check(&format!("cc-{}-what-comes", &PARENT[3..]), Some(true));
    }

    #[test]
    fn malformed_parents_are_as_good_as_absent() {
        for parent in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-"),
            &format!("{PARENT}-00"),
            &PARENT.replace("00-", "ff-"),
            &PARENT.replace("00-", "+0-"),
            &PARENT.to_uppercase(),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
            &PARENT.replace("0af7", "0ag7"),
            &PARENT.replace("-b7ad", "_b7ad"),
            &PARENT.replace("-01", "-0x"),
            &format!("cc-{}.", &PARENT[3..]),
            &format!(" {PARENT}"),
        ] {
            check(parent, None);
        }
        let twice = headers(&[("traceparent", PARENT), ("traceparent", PARENT)]);
        assert_eq!(read(&twice), None);
        assert_eq!(read(&HeaderMap::new()), None);
    }

    #[test]
    fn what_was_read_is_written() {
        let mut fields = headers(&[
            ("traceparent", PARENT),
            ("tracestate", "a=1, b=2"),
            ("tracestate", "c@d=3"),
        ]);
        let context = read(&fields).unwrap();
        fields.insert("tracestate", HeaderValue::from_static("stale=1"));
        write(&context, &mut fields);
        assert_eq!(fields["traceparent"], PARENT);
        assert_eq!(fields["tracestate"], "a=1,b=2,c@d=3");
    }

    #[test]
    fn a_broken_or_endless_state_leaves_the_parent_alone() {
        for state in ["no member", "A=1", &format!("a={}", "x".repeat(600))] {
            let fields = headers(&[("traceparent", PARENT), ("tracestate", state)]);
            let mut written = headers(&[("tracestate", "stale=1")]);
            write(&read(&fields).unwrap(), &mut written);
            assert_eq!(written["traceparent"], PARENT, "{state}");
            assert!(!written.contains_key("tracestate"), "{state}");
        }
    }
}
