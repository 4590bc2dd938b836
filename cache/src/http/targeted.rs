//! `CDN-Cache-Control` (RFC 9213): cache directives for caches like this one only.
//!
//! The field is a Dictionary of structured fields, and its errors are handled otherwise than
//! those of `Cache-Control`: one mistake makes the whole field count as absent.

use std::time::Duration;

use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::response::{LARGEST, ResponseControl};

/// What has the say about a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Governing {
    /// The directives.
    pub control: ResponseControl,
    /// Whether they come from the targeted field; `Expires` counts for nothing then.
    pub is_targeted: bool,
}

/// Chooses between the two fields (RFC 9213 §2.2).
pub fn governing(cache_control: Option<&str>, cdn_cache_control: Option<&str>) -> Governing {
    match cdn_cache_control.and_then(parse) {
        Some(control) => Governing {
            control,
            is_targeted: true,
        },
        None => Governing {
            control: ResponseControl::parse(cache_control.unwrap_or_default()),
            is_targeted: false,
        },
    }
}

/// Reads a targeted field; `None` if it is empty or no Dictionary.
fn parse(value: &str) -> Option<ResponseControl> {
    let members = Parser::new(value).parse::<Dictionary>().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut control = ResponseControl::default();
    for (name, member) in &members {
        match member {
            ListEntry::Item(item) => set(&mut control, name.as_str(), &item.bare_item),
            // No directive has a list for a value.
            ListEntry::InnerList(_) => {}
        }
    }
    Some(control)
}

/// A flag is a Boolean, or a String where the qualified form exists; `?0` is no flag. A
/// lifetime is an Integer.
fn set(control: &mut ResponseControl, name: &str, value: &BareItem) {
    match value {
        BareItem::Boolean(false) => {}
        BareItem::Boolean(true) | BareItem::String(_) | BareItem::Token(_) => {
            if !control.set_flag(name) {
                control.set_lifetime(name, None);
            }
        }
        BareItem::Integer(number) => {
            let seconds = u64::try_from(i64::from(*number)).ok();
            let lifetime = seconds.map(|number| Duration::from_secs(number.min(LARGEST)));
            control.set_lifetime(name, lifetime);
        }
        _ => control.set_lifetime(name, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targeted_field_goes_before_the_others() {
        let check = |rule: &str, cache_control, targeted, expected: (bool, Option<u64>)| {
            let governing = governing(cache_control, targeted);
            let fresh = governing.control.max_age.map(|age| age.as_secs());
            assert_eq!(
                (governing.is_targeted, fresh),
                expected,
                "{targeted:?}: {rule}"
            );
        };
        let rule = "9213 2.2: \"the cache MUST select the first (in target-list order) field with a valid, \
                    non-empty value\" and \"MUST ignore the Cache-Control and Expires header fields\"";
        check(rule, Some("no-store"), Some("max-age=60"), (true, Some(60)));
        check(rule, Some("max-age=5"), Some("no-store"), (true, None));
        check(rule, Some("max-age=5"), None, (false, Some(5)));
        check(rule, None, None, (false, None));
        let rule = "9213 2.1: \"If a targeted field in a given response is empty or a parsing error is \
                    encountered, that field SHOULD be ignored\"";
        for broken in [
            "",
            " ",
            "max-age=60,",
            "max-age=\"60",
            "Max-Age=60",
            "max-age=60 60",
            "max-age=,",
        ] {
            check(rule, Some("max-age=5"), Some(broken), (false, Some(5)));
        }
        check(
            "9651 3.2: the last of equal keys counts",
            None,
            Some("max-age=1, max-age=2"),
            (true, Some(2)),
        );
        check(
            "parameters mean nothing here",
            None,
            Some("max-age=1;x=2"),
            (true, Some(1)),
        );
        check(
            "9213 2.1: max-age \"has an integer value\"",
            None,
            Some("max-age=\"60\""),
            (true, Some(0)),
        );
        check(
            "9213 2.1: max-age \"has an integer value\"",
            None,
            Some("max-age=1.5"),
            (true, Some(0)),
        );
        check(
            "9213 2.1: max-age \"has an integer value\"",
            None,
            Some("max-age=-1"),
            (true, Some(0)),
        );
    }

    #[test]
    fn flags_are_booleans() {
        let check = |value: &str, no_store: bool, no_cache: bool| {
            let control = governing(None, Some(value)).control;
            assert_eq!(
                (control.no_store, control.no_cache),
                (no_store, no_cache),
                "{value}"
            );
        };
        check("no-store", true, false);
        check("no-store=?1", true, false);
        check("no-store=?0", false, false);
        check("no-cache=\"set-cookie\"", false, true);
        check("no-store=(1 2)", false, false);
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value in ".*") {
            governing(Some(&value), Some(&value));
        }
    }
}
