//! What goes upstream, and under which rule.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use brink_cache::http::shared::keys::primary_key;
use brink_cache::http::shared::{
    Fields, Limits, RequestHead, Reuse, Start, StoredResponse, Terms, hop, reuse,
};
use brink_cache::policy::{Sampling, ToOrigin};
use brink_cache::{Key, Lifetimes, RequestControl};
use brink_protocol::infer::DEFAULT_URGENCY;
use percent_encoding::percent_decode_str;

use crate::error::ApiError;
use crate::head::Head;
use crate::in_force::{Caller, InForce};
use crate::ruling::{Asked, Ruling};

/// Most edges of this kind that a request may pass: more of them call each other in a circle
/// (RFC 8586).
const MAX_HOPS: usize = 8;

/// Fields that tell of the way to this edge, by how they begin. Those of our host are nobody's business behind
/// it. The others are a proxy's to write, and origins believe them: one client's lie about the host would be
/// stored for all, and its lie about its address would open what is closed to it.
const OF_THE_WAY: [&str; 2] = ["spin-", "x-forwarded-"];

/// The same by their names, and those with which a client asks for another path or method than it says.
const MISLEADING: [&str; 15] = [
    "cf-connecting-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-override-url",
    "x-real-ip",
    "x-rewrite-url",
    "brink-debug",
];

/// A request to an origin.
#[derive(Clone, Debug)]
pub struct Call {
    /// The URL to ask.
    pub url: String,
    /// The method.
    pub method: String,
    /// The fields that go upstream.
    pub fields: Fields,
    /// How long the head of the answer may take.
    pub timeout: Duration,
    /// The model that a body asks for; empty where none is named.
    pub model: String,
    /// What the policy says.
    pub ruling: Ruling,
    /// Where the answer lies, for a client that asks to be told.
    pub told_key: Option<Key>,
}

impl Call {
    /// The call that a request becomes. For GET and HEAD the policy is asked about the task "origin".
    ///
    /// # Errors
    /// 508 for a request that goes round in a circle.
    pub fn new(
        head: &Head<'_>,
        to: &ToOrigin<'_>,
        caller: Caller,
        in_force: &Arc<InForce>,
    ) -> Result<Self, ApiError> {
        let asked = Asked {
            // HEAD is answered from what GET stored.
            method: match head.method {
                "HEAD" => "GET".into(),
                method => method.to_owned().into(),
            },
            route: route(head.path).into_owned().into(),
            task: "origin".into(),
            sampling: Sampling::default(),
            caller,
            if_none_match: None,
            wants_key: false,
            urgency: DEFAULT_URGENCY,
        };
        let mut call = Self {
            url: to.url(head.query),
            method: head.method.to_owned(),
            fields: upstream_fields(head, in_force)?,
            timeout: to.origin.timeout,
            model: String::new(),
            ruling: Ruling::new(in_force, asked, ""),
            told_key: None,
        };
        if wants_key(head) {
            call.told_key = Some(call.key());
        }
        Ok(call)
    }

    /// The request as the rules of RFC 9111 see it.
    pub fn request(&self) -> RequestHead<'_> {
        RequestHead::new(&self.method, &self.fields)
    }

    /// The same as a GET without directives, to bring a stored response up to date in the background.
    pub fn for_refresh(mut self) -> Self {
        self.method = "GET".to_owned();
        self.fields.remove("cache-control");
        self.fields.remove("pragma");
        self.fields.remove("range");
        self.fields.remove("if-range");
        self
    }

    /// The conditions that ask whether a stored response is still the current one.
    pub fn conditions(&self, stored: &StoredResponse) -> Fields {
        let strict = RequestHead {
            control: RequestControl {
                no_cache: true,
                ..RequestControl::default()
            },
            ..self.request()
        };
        let terms = Terms {
            limits: self.limits(),
            invalidated: None,
        };
        // Without a clock: what must be validated is so at any age.
        match reuse(&stored.head, &strict, &terms, stored.head.times.received).reuse {
            Reuse::Validate { conditions, .. } => conditions,
            Reuse::Fresh | Reuse::StaleWhileRevalidate | Reuse::Stale => Fields::new(),
        }
    }

    /// Whether the cache may be asked at all, and why not.
    pub fn start(&self) -> Start {
        self.request().start()
    }

    /// Under which key the answer to GET lies.
    pub fn key(&self) -> Key {
        primary_key(&self.ruling.scope(), &self.url)
    }

    /// How long the policy lets answers be used.
    pub fn limits(&self) -> Limits {
        let Lifetimes {
            fresh,
            stale_while_revalidate,
            stale_if_error,
        } = self.ruling.lifetimes();
        Limits {
            max_fresh: fresh,
            stale_while_revalidate,
            stale_if_error,
        }
    }
}

/// The path as rules see it: escapes decoded and slashes merged, as origins may do, so that no spelling evades a
/// rule.
pub(super) fn route(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut route = String::with_capacity(decoded.len());
    for letter in decoded.chars() {
        if letter != '/' || !route.ends_with('/') {
            route.push(letter);
        }
    }
    Cow::Owned(route)
}

/// Whether the client asks to be told under which key its answer lies. Its own, and hashed with its tenant: it
/// tells nothing of others.
pub(crate) fn wants_key(head: &Head<'_>) -> bool {
    head.get("brink-debug") == Some("key")
}

/// The fields of a request that go upstream. An API key of this edge is its secret and stays here;
/// where the edge asks for none, `Authorization` is the origin's.
fn upstream_fields(head: &Head<'_>, in_force: &InForce) -> Result<Fields, ApiError> {
    let mut fields = Fields::new();
    for (name, value) in head.fields() {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let is_ours = name == "authorization" && in_force.takes_api_keys();
        let is_misleading =
            OF_THE_WAY.iter().any(|prefix| name.starts_with(prefix)) || MISLEADING.contains(&name);
        if !is_ours && !is_misleading {
            fields.append(name, value.to_vec());
        }
    }
    let mut fields = hop::forwardable_request(&fields);
    fields.remove("host");
    let via = hop::via(fields.joined("via").as_deref(), "1.1");
    fields.insert("via", via);
    let passed = fields.joined("cdn-loop").unwrap_or_default().into_owned();
    let is_this_kind = |member: &&str| member.trim().split(';').next() == Some(hop::PSEUDONYM);
    if passed.split(',').filter(is_this_kind).count() >= MAX_HOPS {
        return Err(ApiError::loop_detected(MAX_HOPS));
    }
    fields.append("cdn-loop", hop::PSEUDONYM);
    Ok(fields)
}
