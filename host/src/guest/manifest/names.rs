//! The two shapes of names in a manifest.

/// `lower_snake_case`: words of lower-case letters and digits, each beginning with a letter.
pub(super) fn is_lower_snake(name: &str) -> bool {
    is_words(name, '_', char::is_lowercase)
}

/// `kebab-case`, as component ids are.
pub(super) fn is_kebab(name: &str) -> bool {
    is_words(name, '-', |_| true)
}

/// Labels of stores: either shape.
pub(super) fn is_label(name: &str) -> bool {
    is_kebab(name) || is_lower_snake(name)
}

fn is_words(name: &str, separator: char, case: impl Fn(char) -> bool) -> bool {
    name.split(separator).all(|word| {
        word.starts_with(|first: char| first.is_ascii_alphabetic())
            && word.chars().all(|letter| {
                letter.is_ascii_digit() || (letter.is_ascii_alphabetic() && case(letter))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_that_begin_with_a_letter() {
        for name in ["a", "a1", "a_b2"] {
            assert!(is_lower_snake(name), "{name}");
        }
        for name in ["", "A", "a-b", "1a", "a__b", "a_", "a_1"] {
            assert!(!is_lower_snake(name), "{name}");
        }
        for name in ["a", "A-b1", "edge-gateway"] {
            assert!(is_kebab(name), "{name}");
        }
        for name in ["", "a_b", "-a", "a--b", "a b", "ä"] {
            assert!(!is_kebab(name), "{name}");
        }
    }
}
