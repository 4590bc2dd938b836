//! What the cache may do with a request.

use super::fields::Fields;
use super::head::content_length;
use crate::control::RequestControl;
use crate::status::Forward;

/// Fields with which clients tell an origin who they are. What RFC 9111 §3.5 says of the first one holds for
/// all of them here: an answer to such a request is for whoever sent it, unless it says otherwise. Cookies
/// are not among them: nearly every request has some, and origins that answer by them say so.
pub const CREDENTIALS: [&str; 9] = [
    "authorization",
    "api-key",
    "ocp-apim-subscription-key",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-key",
    "x-auth-token",
    "x-goog-api-key",
];

/// A request as the rules see it.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method; methods are case-sensitive (RFC 9110 §9.1).
    pub method: &'a str,
    /// The fields that would go upstream.
    pub fields: &'a Fields,
    /// What the client asks of caches.
    pub control: RequestControl,
}

/// What may be done before anything is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Look for a stored response; [`reuse`](super::reuse::reuse) has the next word.
    LookUp,
    /// Forward the request as it is, and store nothing.
    Pass(Pass),
}

/// Why a request passes the cache by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Neither GET nor HEAD.
    Method,
    /// It has content. Upstream may heed it, although it must not (RFC 9110 §9.3.1), and whoever
    /// sends it could choose what others get.
    Content,
    /// It asks for a part, and parts are neither kept nor cut here.
    Range,
    /// It has a precondition that only the origin server may evaluate (RFC 9111 §4.3.2).
    Precondition,
    /// It says `no-store`.
    NoStore,
}

impl<'a> RequestHead<'a> {
    /// Reads the directives. `Pragma: no-cache` counts where there is no `Cache-Control`, for the
    /// clients that RFC 9111 §5.4 tells of.
    pub fn new(method: &'a str, fields: &'a Fields) -> Self {
        let control = match fields.joined("cache-control") {
            Some(value) => RequestControl::parse(&value),
            None => RequestControl {
                no_cache: has_pragma_no_cache(fields),
                ..RequestControl::default()
            },
        };
        Self {
            method,
            fields,
            control,
        }
    }

    /// What the cache may do with the request.
    pub fn start(&self) -> Start {
        match self.pass() {
            Some(reason) => Start::Pass(reason),
            None => Start::LookUp,
        }
    }

    fn pass(&self) -> Option<Pass> {
        let has = |name| self.fields.contains(name);
        if !matches!(self.method, "GET" | "HEAD") {
            Some(Pass::Method)
        } else if self.has_content() {
            Some(Pass::Content)
        } else if self.method == "GET" && has("range") {
            // Ignored with other methods, as If-Range is without it (RFC 9110 §14.2 and §13.1.5).
            Some(Pass::Range)
        } else if has("if-match") || has("if-unmodified-since") {
            Some(Pass::Precondition)
        } else if self.control.no_store {
            Some(Pass::NoStore)
        } else {
            None
        }
    }

    /// As far as the fields tell: over HTTP/2 and HTTP/3 content may come unannounced, and the
    /// caller, who sees it, has to pass the request by.
    fn has_content(&self) -> bool {
        let length = self.fields.joined("content-length");
        length.is_some_and(|length| content_length(&length) != Some(0))
            || self.fields.contains("transfer-encoding")
    }

    /// Whether the client tells who it is.
    pub fn is_authenticated(&self) -> bool {
        CREDENTIALS.iter().any(|name| self.fields.contains(name))
    }

    /// The fields to send upstream instead of the client's: its own conditions are left out, since
    /// only a whole response can be stored, and those of the stored response are put in.
    ///
    /// `conditions` are what [`Reuse::Validate`](super::reuse::Reuse::Validate) holds; none for a
    /// response that is fetched anew.
    pub fn fields_for_upstream(&self, conditions: &Fields) -> Fields {
        let is_condition = |name: &str| matches!(name, "if-none-match" | "if-modified-since");
        let mut fields = self.fields.filtered(|name| !is_condition(name));
        for (name, value) in conditions.iter() {
            fields.append(name, value.clone());
        }
        fields
    }
}

fn has_pragma_no_cache(fields: &Fields) -> bool {
    fields
        .tokens("pragma")
        .any(|directive| directive.eq_ignore_ascii_case("no-cache"))
}

impl Pass {
    /// The reason as RFC 9211 §2.2 names it.
    pub fn forward(self) -> Forward {
        match self {
            Self::Method => Forward::Method,
            Self::Content | Self::Range | Self::Precondition => Forward::Bypass,
            Self::NoStore => Forward::Request,
        }
    }

    /// A token for the detail of `Cache-Status`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Content => "request-content",
            Self::Range => "range",
            Self::Precondition => "precondition",
            Self::NoStore => "request-no-store",
        }
    }
}
