//! Dates of header fields (RFC 9110 §5.6.7).

use std::time::{Duration, UNIX_EPOCH};

use crate::time::UnixSeconds;

/// 9999-12-31T23:59:59Z: a year has four digits.
const LATEST: u64 = 253_402_300_799;

/// Reads a date in any of the three formats; `None` for anything else. Upper and lower case may
/// be wrong, as RFC 9111 §4.2 wants it for caches.
///
/// Years of two digits are 1970 to 2069, which is what the rule of fifty years gives until 2020
/// and, past that, takes a date for past where in doubt.
pub fn parse(text: &str) -> Option<UnixSeconds> {
    let text = text.trim();
    let read = |text: &str| httpdate::parse_http_date(text).ok();
    let time = read(text).or_else(|| read(&recased(text)))?;
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixSeconds(since_epoch.as_secs()))
}

/// Writes a date as RFC 9110 wants it from senders; the last second of 9999 for what is later.
pub fn format(at: UnixSeconds) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.0.min(LATEST)))
}

/// The text with words as they have to be: `Sun`, `Nov`, and `GMT`.
fn recased(text: &str) -> String {
    let mut is_inside = false;
    let recased: String = text
        .chars()
        .map(|letter| {
            let first = !std::mem::replace(&mut is_inside, letter.is_ascii_alphabetic());
            if first {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            }
        })
        .collect();
    recased.replace("Gmt", "GMT")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_read_in_three_formats() {
        let check = |rule: &str, text: &str, expected: Option<u64>| {
            assert_eq!(parse(text).map(|at| at.0), expected, "{text}: {rule}");
        };
        let at = Some(784_111_777);
        let rule = "9110 5.6.7: a recipient \"MUST accept all three HTTP-date formats\"";
        check(rule, "Sun, 06 Nov 1994 08:49:37 GMT", at);
        check(rule, "Sunday, 06-Nov-94 08:49:37 GMT", at);
        check(rule, "Sun Nov  6 08:49:37 1994", at);
        let rule =
            "9111 4.2: \"a cache recipient SHOULD match the field value case-insensitively\"";
        check(rule, "sun, 06 nov 1994 08:49:37 gmt", at);
        check(rule, "SUN NOV  6 08:49:37 1994", at);
        let rule = "9111 4.2: \"SHOULD consider a date with a zone abbreviation other than \"GMT\" to be invalid\"";
        check(rule, "Sun, 06 Nov 1994 08:49:37 UTC", None);
        check(rule, "Sun, 06 Nov 1994 08:49:37 +0000", None);
        for broken in [
            "",
            "0",
            "-1",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "784111777",
        ] {
            check("9110 5.6.7: no HTTP-date", broken, None);
        }
    }

    #[test]
    fn dates_are_written_in_one_format() {
        assert_eq!(
            format(UnixSeconds(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            format(UnixSeconds(u64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }

    proptest! {
        #[test]
        fn written_dates_are_read_back(at in 0..=LATEST) {
            prop_assert_eq!(parse(&format(UnixSeconds(at))), Some(UnixSeconds(at)));
        }

        #[test]
        fn any_value_is_read_without_a_panic(value in ".*", tricky in "[a-zA-Z]{3,9},? [0-9 -]{0,12}[a-z]{0,3}[0-9: ]{0,14}(GMT)?") {
            parse(&value);
            parse(&tricky);
        }
    }
}
