//! The component's variables (`[component.gateway.variables]` in `spin.toml`), read once per
//! instance, through an interface that both doors can use.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use brink_cache::{SealKey, Seals};
use http::StatusCode;

use super::bindings::wasi::config::store as variables;
use crate::error::ApiError;
use crate::in_force::Deployment;
use crate::items::TextWaits;

/// What operators may set; `spin.toml` documents each.
pub(super) struct Settings {
    /// `scheme://host:port` of the inference host.
    pub(super) upstream: String,
    /// `*`, or origins separated by commas.
    pub(super) cors_allow_origin: String,
    /// Largest request body, in bytes.
    pub(super) max_body_bytes: u64,
    /// How long the host may take.
    pub(super) upstream_timeout: Duration,
    /// How long the host may take for a text.
    pub(super) generate_timeout: Duration,
    /// After how long without a token a stream tells that it is still there; zero for never.
    pub(super) stream_heartbeat: Duration,
    /// Whether clients need API keys.
    pub(super) authentication: Authentication,
    /// What rulings need to know of this deployment.
    pub(super) deployment: Deployment,
    /// How long a request waits for an equal one that an origin is asked for already.
    pub(super) collapse_wait: Duration,
    /// How long a catalogue is used before the host is asked again.
    pub(super) catalog_lifetime: Duration,
}

/// The secrets, separated by commas; the first one seals, all of them open.
fn seals(secrets: &str) -> Result<Option<Seals>, ApiError> {
    let mut keys = secrets
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .map(SealKey::from_hex);
    let Some(current) = keys.next() else {
        return Ok(None);
    };
    let seals = current.and_then(|current| Seals::new(current, keys.collect::<Result<_, _>>()?));
    seals
        .map(Some)
        .map_err(|error| misconfigured("seal_keys", &error))
}

/// Whether clients need API keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    /// Once tenants are stored.
    Optional,
    /// Always: without tenants nobody is answered.
    Required,
    /// Never: everybody is one tenant.
    Off,
}

impl FromStr for Authentication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            "off" => Ok(Self::Off),
            other => Err(format!(
                "{other:?} is none of \"optional\", \"required\", \"off\""
            )),
        }
    }
}

impl Settings {
    /// How long texts are waited for.
    pub(super) fn text_waits(&self) -> TextWaits {
        TextWaits {
            timeout: self.generate_timeout,
            heartbeat: self.stream_heartbeat,
        }
    }

    pub(super) fn read() -> Result<Self, ApiError> {
        let upstream: String = read("upstream")?;
        Ok(Self {
            upstream: upstream.trim_end_matches('/').to_owned(),
            cors_allow_origin: read("cors_allow_origin")?,
            max_body_bytes: read("max_body_bytes")?,
            upstream_timeout: Duration::from_millis(read("upstream_timeout_ms")?),
            generate_timeout: Duration::from_millis(read("generate_timeout_ms")?),
            stream_heartbeat: Duration::from_millis(read("stream_heartbeat_ms")?),
            authentication: read("authentication")?,
            deployment: Deployment {
                seals: seals(&read::<String>("seal_keys")?)?,
                default_model: read("default_model")?,
                client_max_age: Duration::from_secs(read("client_max_age_seconds")?),
            },
            collapse_wait: Duration::from_millis(read("collapse_wait_ms")?),
            catalog_lifetime: Duration::from_secs(read("catalog_lifetime_seconds")?),
        })
    }
}

fn read<T: FromStr<Err: Display>>(name: &str) -> Result<T, ApiError> {
    let value = variables::get(name)
        .map_err(|error| misconfigured(name, &format!("{error:?}")))?
        .ok_or_else(|| misconfigured(name, &"it is not set"))?;
    value
        .trim()
        .parse()
        .map_err(|error| misconfigured(name, &error))
}

fn misconfigured(name: &str, error: &dyn Display) -> ApiError {
    ApiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: format!("the gateway's variable {name} is not usable: {error}"),
        param: None,
        code: "misconfigured",
        retry_after_ms: None,
        allow: None,
        challenge: None,
        age: None,
    }
}
