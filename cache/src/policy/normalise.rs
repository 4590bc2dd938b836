//! Turns texts that mean the same to an operator into one text, so that they share a result.
//!
//! Off by default: keys are byte-exact unless a rule says otherwise. The normalised text is
//! what is keyed *and* what the model reads; were only the key normalised, the answer would
//! depend on who asked first.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Which steps a rule asks for. Their order is fixed, whatever the order in the file: lower
/// case, NFC, white space, ends. Lower case goes first because it can leave sequences that NFC
/// composes (`J` + caron becomes U+01F0), and a second pass must find nothing left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalise {
    /// Remove white space at both ends.
    pub trim: bool,
    /// Replace each run of white space by one space.
    pub collapse_white_space: bool,
    /// Compose characters (Unicode NFC): one form for `é`, whether typed as one or two.
    pub nfc: bool,
    /// Lower case, as Unicode maps it without regard to language.
    pub lower_case: bool,
}

/// The words of the policy file.
pub(super) const WORDS: [&str; 4] = ["trim", "collapse-white-space", "nfc", "lower-case"];

impl Normalise {
    /// Switches on the step that a word of the policy file names; false if there is none.
    pub(super) fn switch_on(&mut self, word: &str) -> bool {
        let step = match word {
            "trim" => &mut self.trim,
            "collapse-white-space" => &mut self.collapse_white_space,
            "nfc" => &mut self.nfc,
            "lower-case" => &mut self.lower_case,
            _ => return false,
        };
        *step = true;
        true
    }

    /// The steps that are on, as the policy file names them.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let on = [
            self.trim,
            self.collapse_white_space,
            self.nfc,
            self.lower_case,
        ];
        WORDS
            .into_iter()
            .zip(on)
            .filter_map(|(w, on)| on.then_some(w))
    }

    /// The normal form of a text; borrowed, and not copied, where nothing changes.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        let mut text = Cow::Borrowed(text);
        if self.lower_case {
            replace(&mut text, lowered);
        }
        if self.nfc {
            replace(&mut text, composed);
        }
        if self.collapse_white_space {
            replace(&mut text, collapsed);
        }
        if self.trim {
            trim(&mut text);
        }
        text
    }
}

/// Applies a step that gives `None` where it would change nothing.
fn replace(text: &mut Cow<'_, str>, step: impl Fn(&str) -> Option<String>) {
    if let Some(changed) = step(text) {
        *text = Cow::Owned(changed);
    }
}

fn lowered(text: &str) -> Option<String> {
    let is_lower = |c: char| !c.is_ascii_uppercase() && (c.is_ascii() || c.to_lowercase().eq([c]));
    (!text.chars().all(is_lower)).then(|| text.to_lowercase())
}

fn composed(text: &str) -> Option<String> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return None;
    }
    Some(text.nfc().collect())
}

/// White space is what Unicode calls so (`White_Space`), line ends included.
fn collapsed(text: &str) -> Option<String> {
    let mut before = None;
    let is_collapsed = text.chars().all(|c| {
        let fine = !c.is_whitespace() || (c == ' ' && before != Some(' '));
        before = Some(c);
        fine
    });
    if is_collapsed {
        return None;
    }
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_whitespace() {
            result.push(c);
        } else if !result.ends_with(' ') {
            result.push(' ');
        }
    }
    Some(result)
}

fn trim(text: &mut Cow<'_, str>) {
    match text {
        Cow::Borrowed(borrowed) => *borrowed = borrowed.trim(),
        Cow::Owned(owned) => {
            owned.truncate(owned.trim_end().len());
            owned.drain(..owned.len() - owned.trim_start().len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(words: &[&str]) -> Normalise {
        let mut normalise = Normalise::default();
        for word in words {
            assert!(normalise.switch_on(word), "{word}");
        }
        normalise
    }

    #[test]
    fn each_step_does_one_thing() {
        let check = |words: &[&str], text: &str, expected: &str| {
            assert_eq!(steps(words).apply(text), expected, "{words:?} {text:?}");
        };
        check(&[], " A\u{0301}  b\n", " A\u{0301}  b\n");
        check(&["trim"], "\t a  b \n", "a  b");
        check(&["trim"], " \u{a0} ", "");
        check(&["collapse-white-space"], " a \t\r\n b", " a b");
        check(&["nfc"], "e\u{0301}", "é");
        check(&["lower-case"], "ÄΣ", "äς");
        check(&["lower-case", "nfc"], "J\u{030c}", "\u{01f0}");
        check(
            &["trim", "collapse-white-space", "lower-case"],
            "  The CAT\n sits ",
            "the cat sits",
        );
    }

    #[test]
    fn text_in_normal_form_is_not_copied() {
        let all = steps(&WORDS);
        assert_eq!(all.words().count(), WORDS.len());
        for text in ["the cat sits", "déjà vu", ""] {
            assert!(matches!(all.apply(text), Cow::Borrowed(_)), "{text}");
        }
    }

    prop_compose! {
        fn any_steps()(trim: bool, collapse_white_space: bool, nfc: bool, lower_case: bool) -> Normalise {
            Normalise { trim, collapse_white_space, nfc, lower_case }
        }
    }

    /// Letters whose case and composition interact, white space of several kinds, and anything.
    fn text() -> impl Strategy<Value = String> {
        let tricky = "[İIıiJjΣσςKΩÅß\u{300}-\u{345}\u{1f80}-\u{1fff} \t\u{2000}\u{a0}A-c]{0,12}";
        prop_oneof![tricky, "\\PC*", any::<String>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// A normal form is its own normal form.
        #[test]
        fn normalisation_is_idempotent(steps in any_steps(), text in text()) {
            let once = steps.apply(&text).into_owned();
            prop_assert_eq!(&*steps.apply(&once), &once);
        }

        /// With NFC, texts that Unicode calls canonically equivalent have one form.
        #[test]
        fn equivalent_texts_have_one_form(text in text(), lower_case: bool) {
            let steps = Normalise { nfc: true, lower_case, ..Normalise::default() };
            let taken_apart: String = text.nfd().collect();
            prop_assert_eq!(steps.apply(&taken_apart), steps.apply(&text));
        }
    }
}
