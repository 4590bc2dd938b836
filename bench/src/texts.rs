//! Texts of mixed length: mean about 30 words, up to 110, the same in every run.

/// Common English words: one or two word pieces each, so that words and tokens go together.
const WORDS: &str = "time year people way day man thing woman life child world school state family student group \
country problem hand part place case week company system program question work government number night point home \
water room mother area money story fact month lot right study book eye job word business issue side kind head house \
service friend father power hour game line end member law car city community name president team minute idea kid body \
information back parent face others level office door health person art war history party result change morning reason \
research girl guy moment air teacher force education foot boy age policy music market sense nation plan college \
interest death experience effect use class control field development role effort rate heart drug show leader light voice";

/// Mean 30 words with a long tail: most texts are short, few are long.
const SHORTEST: f64 = 3.0;
const LONGEST: f64 = 110.0;

/// A small generator (xorshift64*): the texts need variety, not secrecy.
pub(crate) struct Random(u64);

impl Random {
    /// A series of its own for every seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `count` distinct texts of a series; another `series` gives other texts.
pub(crate) fn mixed(series: u64, count: usize) -> Vec<String> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = Random::new(series);
    (0..count)
        .map(|index| {
            let length = SHORTEST + (LONGEST - SHORTEST) * random.unit().powi(3);
            let chosen: Vec<&str> = (0..length as usize)
                .map(|_| words[random.below(words.len())])
                .collect();
            format!("{} {index}", chosen.join(" "))
        })
        .collect()
}

/// `count` distinct texts of a series, all of so many words.
pub(crate) fn equal(series: u64, count: usize, words: usize) -> Vec<String> {
    let mut random = Random::new(series);
    let text = |index| format!("{} {index}", of_words(&mut random, words.saturating_sub(1)));
    (0..count).map(text).collect()
}

/// A text of so many words.
pub(crate) fn of_words(random: &mut Random, count: usize) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let chosen: Vec<&str> = (0..count)
        .map(|_| words[random.below(words.len())])
        .collect();
    chosen.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_mixed_and_the_same_in_every_run() {
        let texts = mixed(0, 2000);
        let lengths: Vec<usize> = texts
            .iter()
            .map(|text| text.split_whitespace().count())
            .collect();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((26.0..34.0).contains(&mean), "{mean}");
        assert!(lengths.iter().all(|length| (4..=111).contains(length)));
        assert_eq!(texts[..5], mixed(0, 5)[..]);
        assert_ne!(texts[..5], mixed(1, 5)[..]);
    }
}
