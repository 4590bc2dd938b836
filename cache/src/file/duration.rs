//! How durations are written in a policy: a whole number and one unit, such as `30s`, `5m`,
//! `12h` or `365d`.
//!
//! Nothing below a second, because HTTP caching counts in seconds (RFC 9111 §1.2.2), and no
//! weeks, months or years, whose length people disagree about.

use std::fmt;
use std::time::Duration;

/// What a duration looks like, for messages.
pub(crate) const NOTATION: &str = "a whole number and a unit (s, m, h or d), such as \"30s\"";

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a duration; `None` for anything but the notation above.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let (_, seconds) = UNITS.into_iter().find(|(letter, _)| *letter == unit)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Writes a duration in the largest unit that gives a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (letter, size) = UNITS
            .into_iter()
            .find(|(_, size)| seconds > 0 && seconds.is_multiple_of(*size))
            .unwrap_or(('s', 1));
        write!(f, "{}{letter}", seconds / size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse(text), expected.map(Duration::from_secs), "{text}");
        };
        check("0s", Some(0));
        check("30s", Some(30));
        check("5m", Some(300));
        check("12h", Some(43_200));
        check("365d", Some(31_536_000));
        for wrong in [
            "", "s", "5", "5 s", "-5s", "+5s", "1.5h", "5ms", "5S", "1h30m", "5é", "٣s",
        ] {
            check(wrong, None);
        }
        check("99999999999999999999s", None);
        check("18446744073709551615d", None);
    }

    proptest! {
        #[test]
        fn written_durations_are_read_back(seconds: u64) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&Written(duration).to_string()), Some(duration));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
