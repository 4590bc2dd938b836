//! The component's variables (`[component.gateway.variables]` in `spin.toml`), read once per
//! instance.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use brink_cache::Lifetimes;
use http::StatusCode;
use spin_sdk::variables;

use crate::error::ApiError;

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
    /// How long a catalogue is used before the host is asked again.
    pub(super) catalog_lifetime: Duration,
    /// How long results stay usable.
    pub(super) lifetimes: Lifetimes,
}

impl Settings {
    pub(super) async fn read() -> Result<Self, ApiError> {
        let upstream: String = read("upstream").await?;
        Ok(Self {
            upstream: upstream.trim_end_matches('/').to_owned(),
            cors_allow_origin: read("cors_allow_origin").await?,
            max_body_bytes: read("max_body_bytes").await?,
            upstream_timeout: Duration::from_millis(read("upstream_timeout_ms").await?),
            catalog_lifetime: Duration::from_secs(read("catalog_lifetime_seconds").await?),
            lifetimes: Lifetimes {
                fresh: Duration::from_secs(read("freshness_seconds").await?),
                ..Lifetimes::IMMUTABLE
            },
        })
    }
}

async fn read<T: FromStr<Err: Display>>(name: &str) -> Result<T, ApiError> {
    let value = variables::get(name)
        .await
        .map_err(|error| misconfigured(name, &error))?;
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
    }
}
