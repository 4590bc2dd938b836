//! Whose request is this? The `Bearer` scheme of RFC 6750 §2.1, with an API key as the token.

use super::api_key::{KeyHash, MAX_API_KEY_BYTES, is_sendable};
use super::{Tenant, Tenants};

/// Why a request belongs to no tenant. Never repeats what the client sent: a key with one wrong
/// character is still nearly a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` field.
    #[error("an API key is needed: send the header \"Authorization: Bearer <API key>\"")]
    Missing,
    /// Another scheme, or no token.
    #[error("the header \"Authorization\" is not of the form \"Bearer <API key>\"")]
    Malformed,
    /// No tenant has this key.
    #[error("the API key is not known")]
    Unknown,
}

impl AuthError {
    /// The value of `WWW-Authenticate` that goes with status 401 (RFC 6750 §3). A request that
    /// tried nothing gets no error code (§3.1).
    pub fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "Bearer",
            Self::Malformed => "Bearer error=\"invalid_request\"",
            Self::Unknown => "Bearer error=\"invalid_token\"",
        }
    }
}

impl Tenants {
    /// The tenant that the value of `Authorization` stands for; `None` where the field is absent.
    ///
    /// How long this takes leads to no key. The presented key is hashed first, and hashes are
    /// what is compared. The look-up in the index is not of constant time: it may tell that some
    /// stored hash shares its slot, and then all 32 bytes are compared in constant time. So a
    /// client with much patience learns a few bits of stored hashes. Even a whole one would not
    /// help: to find a key for it takes as many tries as to guess the key.
    ///
    /// # Errors
    /// No key, something that is no key, or a key of nobody.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<&Tenant, AuthError> {
        let key = bearer_token(authorization.ok_or(AuthError::Missing)?)?;
        self.owner(&KeyHash::of(key)).ok_or(AuthError::Unknown)
    }
}

/// The token in the value of `Authorization`: `credentials = "Bearer" 1*SP b64token`; the scheme in
/// any case (RFC 9110 §11.1).
///
/// # Errors
/// [`AuthError::Malformed`] for anything else.
pub fn bearer_token(authorization: &str) -> Result<&str, AuthError> {
    let (scheme, rest) = authorization.split_once(' ').ok_or(AuthError::Malformed)?;
    let token = rest.trim_matches(' ');
    let is_fine = scheme.eq_ignore_ascii_case("bearer")
        && token.len() <= MAX_API_KEY_BYTES
        && is_sendable(token);
    is_fine.then_some(token).ok_or(AuthError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{TenantLimits, hash_api_key};
    use super::*;

    const KEYS: [&str; 3] = [
        "sk-acme-0123456789abcdef",
        "sk-acme-fedcba9876543210",
        "sk-other-0123456789abcde",
    ];

    fn tenants() -> Tenants {
        let tenant = |name: &str, keys: &[&str]| Tenant {
            name: name.to_owned(),
            key_hashes: keys.iter().map(|key| hash_api_key(key).unwrap()).collect(),
            limits: TenantLimits::default(),
        };
        let list = vec![
            tenant("acme", &KEYS[..2]),
            tenant("closed", &[]),
            tenant("other", &KEYS[2..]),
        ];
        Tenants::new(list).unwrap()
    }

    #[test]
    fn key_stands_for_its_tenant() {
        let tenants = tenants();
        let check = |authorization: &str, expected: Result<&str, AuthError>| {
            let found = tenants.authenticate(Some(authorization));
            let found = found.map(|tenant| tenant.name.as_str());
            assert_eq!(found, expected, "{authorization:?}");
        };
        check("Bearer sk-acme-0123456789abcdef", Ok("acme"));
        check("bearer sk-acme-fedcba9876543210", Ok("acme"));
        check("BEARER   sk-other-0123456789abcde ", Ok("other"));
        check("Bearer sk-acme-0123456789abcdeF", Err(AuthError::Unknown));
        check("Bearer sk-acme-0123456789abcdef=", Err(AuthError::Unknown));
        check("Bearer x", Err(AuthError::Unknown));
        for malformed in [
            "",
            "Bearer",
            "Bearer ",
            "Basic c2stYWNtZTo=",
            "sk-acme-0123456789abcdef",
            "Bearersk-acme-0123456789abcdef",
            "Bearer\tsk-acme-0123456789abcdef",
            "Bearer sk-acme-0123456789abcdef x",
            "Bearer sk-acme-0123456789abcdef, Bearer x",
            "Bearer é",
        ] {
            check(malformed, Err(AuthError::Malformed));
        }
        check(
            &format!("Bearer {}", "a".repeat(513)),
            Err(AuthError::Malformed),
        );
        assert_eq!(tenants.authenticate(None), Err(AuthError::Missing));
    }

    proptest! {
        /// Only what was hashed opens the door, and no message repeats what was sent.
        #[test]
        fn only_known_keys_are_accepted(key in "[a-z0-9]{20,30}", noise in ".*") {
            let tenants = tenants();
            for sent in [format!("Bearer {key}"), noise] {
                if let Err(error) = tenants.authenticate(Some(&sent)) {
                    prop_assert!(!error.to_string().contains(&key));
                } else {
                    prop_assert!(KEYS.iter().any(|known| sent.contains(known)));
                }
            }
        }
    }
}
