//! Who may use the operator's API: whoever has one of the admin keys, of which only hashes are set.

use brink_cache::file::MAX_NAME_BYTES;
use brink_cache::tenant::{AuthError, KeyHash, bearer_token, hash_api_key};

/// Most admin keys: one for each operator and each program of a team.
pub const MAX_ADMIN_KEYS: usize = 64;

/// The admin keys' hashes, each with the name that the record of changes gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminKeys(Vec<(String, KeyHash)>);

/// Why the variable cannot be used. Never repeats what is in it: who sets a key in place of its
/// hash must not find it in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// One is no hash.
    #[error(
        "element {0} is no hash: 64 hexadecimal digits are wanted, or a name, a colon and these"
    )]
    Hash(usize),
    /// A name that records and logs cannot carry.
    #[error(
        "the name of element {0} is not allowed: 1 to {MAX_NAME_BYTES} letters, digits, \"-\", \"_\" or \".\" are wanted"
    )]
    Name(usize),
    /// One name or one key would stand for two operators.
    #[error("element {0} has the name or the hash of an earlier one")]
    Repeated(usize),
    /// There are too many.
    #[error("there are {0} elements; at most {MAX_ADMIN_KEYS} are allowed")]
    TooMany(usize),
}

impl AdminKeys {
    /// Reads the variable `admin_key_hashes`: hashes of admin keys, separated by commas, each as
    /// `hash` or `name:hash`. The one at place 2 is called `key-2` if it has no name. `None` if
    /// there are none: the API is switched off.
    ///
    /// # Errors
    /// The first element that cannot be used, by its place from 1.
    pub fn parse(variable: &str) -> Result<Option<Self>, KeysError> {
        let elements = variable.split(',').map(str::trim);
        let elements: Vec<&str> = elements.filter(|element| !element.is_empty()).collect();
        if elements.len() > MAX_ADMIN_KEYS {
            return Err(KeysError::TooMany(elements.len()));
        }
        let mut keys: Vec<(String, KeyHash)> = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            let (name, hash) = read(element, index + 1)?;
            if keys
                .iter()
                .any(|(other, same)| *other == name || *same == hash)
            {
                return Err(KeysError::Repeated(index + 1));
            }
            keys.push((name, hash));
        }
        Ok((!keys.is_empty()).then_some(Self(keys)))
    }

    /// The name of the key that the value of `Authorization` holds; `None` where the field is absent.
    ///
    /// The presented key is hashed, and its hash is compared with every hash, each in constant time,
    /// so that the time tells neither how much of a key is right nor whose it is.
    ///
    /// # Errors
    /// No key, something that is no key, or a key of nobody.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<&str, AuthError> {
        let key = bearer_token(authorization.ok_or(AuthError::Missing)?)?;
        // Too short a key has no hash here, whatever hash is set: it could be guessed.
        let presented = hash_api_key(key).map_err(|_| AuthError::Unknown)?;
        let mut found = None;
        for (name, hash) in &self.0 {
            if *hash == presented {
                found = Some(name.as_str());
            }
        }
        found.ok_or(AuthError::Unknown)
    }
}

fn read(element: &str, place: usize) -> Result<(String, KeyHash), KeysError> {
    let (name, hash) = match element.split_once(':') {
        Some((name, hash)) => (name.trim().to_owned(), hash.trim()),
        None => (format!("key-{place}"), element),
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err(KeysError::Name(place));
    }
    let hash = KeyHash::from_hex(hash).ok_or(KeysError::Hash(place))?;
    Ok((name, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "adm-0123456789abcdef0123456789";

    #[test]
    fn names_and_places_name_the_keys() {
        let hash = |key: &str| hash_api_key(key).unwrap().to_string();
        let other = "adm-another-0123456789abcdef";
        let variable = format!(" ana:{} , {}", hash(KEY), hash(other).to_uppercase());
        let keys = AdminKeys::parse(&variable).unwrap().unwrap();
        let check = |key: &str, expected| {
            let authorization = format!("Bearer {key}");
            assert_eq!(keys.authenticate(Some(&authorization)), expected, "{key}");
        };
        check(KEY, Ok("ana"));
        check(other, Ok("key-2"));
        check("adm-0123456789abcdef0123456780", Err(AuthError::Unknown));
        check("short", Err(AuthError::Unknown));
        assert_eq!(keys.authenticate(None), Err(AuthError::Missing));
        assert_eq!(keys.authenticate(Some(KEY)), Err(AuthError::Malformed));
    }

    #[test]
    fn nothing_set_is_switched_off_and_nonsense_is_an_error_that_repeats_nothing() {
        for empty in ["", "  ", ",", " , "] {
            assert_eq!(AdminKeys::parse(empty), Ok(None), "{empty:?}");
        }
        let hash = hash_api_key(KEY).unwrap();
        let check = |variable: String, expected| {
            let error = AdminKeys::parse(&variable).unwrap_err();
            assert_eq!(error, expected, "{variable}");
            assert!(!error.to_string().contains(KEY));
        };
        check(KEY.to_owned(), KeysError::Hash(1));
        check(format!("{hash},a:{KEY}"), KeysError::Hash(2));
        check(format!("a b:{hash}"), KeysError::Name(1));
        check(format!(":{hash}"), KeysError::Name(1));
        check(format!("{hash},b:{hash}"), KeysError::Repeated(2));
        let many = vec![hash.to_string(); MAX_ADMIN_KEYS + 1].join(",");
        check(many, KeysError::TooMany(MAX_ADMIN_KEYS + 1));
    }

    #[test]
    fn a_key_that_can_be_guessed_opens_nothing_even_if_its_hash_is_set() {
        let hash = blake3::hash(b"brink-api-key-1:admin").to_hex();
        let keys = AdminKeys::parse(&hash).unwrap().unwrap();
        assert_eq!(
            keys.authenticate(Some("Bearer admin")),
            Err(AuthError::Unknown)
        );
    }
}
