//! Names of policies, rules and tenants.

use super::mistake::shown;

/// Most bytes of a name.
pub const MAX_NAME_BYTES: usize = 64;

/// What is wrong with a name, if something is. Names appear in headers, metrics and logs, so
/// they are letters, digits, "-", "_" and ".", which need no quoting anywhere.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let length_is_fine = (1..=MAX_NAME_BYTES).contains(&name.len());
    if length_is_fine && name.bytes().all(is_allowed) {
        return None;
    }
    let wanted = format!("1 to {MAX_NAME_BYTES} letters, digits, \"-\", \"_\" or \".\"");
    Some(format!("is {}; {wanted} are wanted", shown(name)))
}
