//! Parameters in the query of a URL, read as strictly as a body's members.

use percent_encoding::percent_decode_str;

use crate::error::{ApiError, shorten};

/// Reads `application/x-www-form-urlencoded` pairs: names and values.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = Result<(String, String), ApiError>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded("the query", name)?;
        let value = decoded(&name, value)?;
        Ok((name, value))
    })
}

fn decoded(param: &str, text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        let message = format!("{} is no UTF-8 once it is percent-decoded", shorten(param));
        ApiError::invalid(param, message)
    })
}

/// Keeps the value of a parameter that may be given once.
pub(super) fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), ApiError> {
    if slot.replace(value).is_some() {
        return Err(ApiError::invalid(name, format!("{name} is given twice")));
    }
    Ok(())
}

/// A whole number.
pub(super) fn number(name: &str, value: &str) -> Result<u64, ApiError> {
    value.parse().map_err(|_| {
        let message = format!("{name} is {}; a whole number is wanted", shorten(value));
        ApiError::invalid(name, message)
    })
}

/// `true` or `false`.
pub(super) fn flag(name: &str, value: &str) -> Result<bool, ApiError> {
    value.parse().map_err(|_| {
        let message = format!("{name} is {}; allowed: true, false", shorten(value));
        ApiError::invalid(name, message)
    })
}

/// 400: a parameter that is ignored silently gives wrong results.
pub(super) fn unknown(name: &str, allowed: &str) -> ApiError {
    let message = format!("unknown parameter {}; allowed: {allowed}", shorten(name));
    ApiError::invalid(name, message)
}
