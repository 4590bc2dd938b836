//! From the bytes of tokens to text: whole characters, up to a stop string.
//!
//! Tokens end in the middle of characters, and stop strings begin in the middle of tokens. What is not
//! certain yet is held back: at most three bytes of a character, and less than the longest stop string.

/// The text of one answer.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// What may become a stop string.
    held: String,
    stops: Vec<String>,
}

/// Text that is certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Certain {
    pub(super) text: String,
    /// Whether a stop string came; nothing of it is in the text.
    pub(super) stopped: bool,
}

impl Text {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self {
            bytes: Vec::new(),
            held: String::new(),
            stops,
        }
    }

    /// Adds the bytes of a token.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Certain {
        self.bytes.extend_from_slice(bytes);
        let whole = self.bytes.len() - unfinished(&self.bytes);
        self.held
            .push_str(&String::from_utf8_lossy(&self.bytes[..whole]));
        self.bytes.drain(..whole);
        if let Some(start) = self.stop_at() {
            self.held.truncate(start);
            return Certain {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        let certain = self.held.len() - self.may_stop();
        let held = self.held.split_off(certain);
        Certain {
            text: std::mem::replace(&mut self.held, held),
            stopped: false,
        }
    }

    /// What was held back, once no token follows.
    pub(super) fn finish(&mut self) -> String {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(&String::from_utf8_lossy(&self.bytes));
        self.bytes.clear();
        text
    }

    /// Where the first stop string begins.
    fn stop_at(&self) -> Option<usize> {
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop));
        found.min()
    }

    /// Bytes at the end that are the beginning of a stop string.
    fn may_stop(&self) -> usize {
        let held = self.held.as_bytes();
        let begun = |stop: &String| {
            let most = held.len().min(stop.len() - 1);
            let lengths = (1..=most).rev();
            let mut begun = lengths.filter(|length| held.ends_with(&stop.as_bytes()[..*length]));
            begun.next().unwrap_or(0)
        };
        // A stop string begins with a whole character, so this is a border of characters.
        self.stops.iter().map(begun).max().unwrap_or(0)
    }
}

/// Bytes at the end that are the beginning of a character and may become a whole one.
fn unfinished(bytes: &[u8]) -> usize {
    for length in 1..=bytes.len().min(3) {
        let first = bytes[bytes.len() - length];
        let wanted = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // In the middle of one: look further back.
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if wanted > length { length } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(stops: &[&str]) -> Text {
        Text::new(stops.iter().map(|stop| (*stop).to_owned()).collect())
    }

    #[test]
    fn characters_come_whole() {
        let mut text = text(&[]);
        let euro = "€".as_bytes();
        assert_eq!(text.push(&[b'1', euro[0]]).text, "1");
        assert_eq!(text.push(&euro[1..2]).text, "");
        assert_eq!(text.push(&[euro[2], b'!']).text, "€!");
        assert_eq!(text.push(&euro[..2]).text, "");
        assert_eq!(text.push(b"a").text, "\u{fffd}a", "it never became one");
        assert_eq!(text.push(&euro[..1]).text, "");
        assert_eq!(text.finish(), "\u{fffd}");
        assert_eq!(text.push(&[0x80, 0x80, 0x80, 0x80]).text.len(), 12);
    }

    #[test]
    fn text_ends_before_a_stop_string() {
        let mut text = text(&["\n\nUser:", "END"]);
        assert_eq!(text.push(b"Hello\n").text, "Hello");
        assert_eq!(text.push(b"\nUse").text, "");
        assert_eq!(text.push(b"d E").text, "\n\nUsed ");
        let certain = text.push(b"ND of it");
        assert_eq!((&*certain.text, certain.stopped), ("", true));
    }

    #[test]
    fn first_of_several_stop_strings_counts() {
        let certain = text(&["later", "so"]).push(b"and so on, later");
        assert_eq!((&*certain.text, certain.stopped), ("and ", true));
    }

    #[test]
    fn what_was_held_back_comes_at_the_end() {
        let mut text = text(&["END"]);
        assert_eq!(text.push(b"the EN").text, "the ");
        assert_eq!(text.finish(), "EN");
    }

    proptest! {
        /// However the bytes are cut into tokens, the text is the same, and ends where it must.
        #[test]
        fn cuts_change_nothing(words in "[aéb€𝄞N-]{0,40}", size in 1usize..6, stop in "[aéb€N]{1,3}") {
            let mut text = text(&[&stop]);
            let mut all = String::new();
            let mut stopped = false;
            for piece in words.as_bytes().chunks(size) {
                let certain = text.push(piece);
                all.push_str(&certain.text);
                stopped = certain.stopped;
                if stopped {
                    break;
                }
            }
            if !stopped {
                all.push_str(&text.finish());
            }
            let expected = words.find(&stop).map_or(&words[..], |at| &words[..at]);
            prop_assert_eq!(all, expected);
        }
    }
}
