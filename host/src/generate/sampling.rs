//! Which token comes next: penalties, temperature, and the cuts `top_k`, `top_p` and `min_p`.
//!
//! Pure, and one for each request, with a generator of random numbers of its own. So what a request gets
//! depends on its logits and its seed, and on no other request.
//!
//! The order is the usual one: penalties are taken from the logits, the rest is divided by the temperature,
//! `min_p`, `top_k` and `top_p` each leave the most probable tokens, and one of those is drawn.

use std::collections::HashMap;

use brink_protocol::generate::Sampling;

use crate::inference::BackendError;

/// Tokens less probable than this, compared with the most probable one, are never drawn: so most of a vocabulary
/// need not be looked at twice. All of them together are less probable than any reader would notice.
const NEGLIGIBLE: f32 = 1e-8;

/// Chooses the tokens of one request.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    random: Random,
    /// How often each token was written.
    written: HashMap<u32, u32>,
    /// Kept from token to token for their memory.
    penalised: Vec<f32>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    /// Its probability times a constant.
    weight: f32,
}

/// The token that comes next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    pub(super) id: u32,
    /// If they were asked for.
    pub(super) logprobs: Option<Logprobs>,
}

/// Logarithms of probabilities, by token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logprobs {
    pub(super) chosen: f32,
    /// The most probable first.
    pub(super) top: Vec<(u32, f32)>,
}

impl Sampler {
    /// `seed` is used where the request brings none.
    pub(super) fn new(sampling: Sampling, seed: u64) -> Self {
        Self {
            random: Random(sampling.seed.unwrap_or(seed)),
            sampling,
            written: HashMap::new(),
            penalised: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// The next token, by the logits of the vocabulary. It counts as written.
    ///
    /// # Errors
    /// When the logits are no numbers to choose by.
    pub(super) fn choose(&mut self, logits: &[f32]) -> Result<Chosen, BackendError> {
        let penalised = self.penalise(logits);
        let id = if penalised {
            let logits = std::mem::take(&mut self.penalised);
            let id = self.pick(&logits);
            self.penalised = logits;
            id
        } else {
            self.pick(logits)
        }?;
        *self.written.entry(id).or_default() += 1;
        let top = self.sampling.logprobs;
        let logprobs = top.map(|top| logprobs(logits, id, usize::from(top)));
        Ok(Chosen { id, logprobs })
    }

    /// Takes the penalties from a copy of the logits, if there are any.
    fn penalise(&mut self, logits: &[f32]) -> bool {
        let Sampling {
            presence_penalty,
            frequency_penalty,
            ..
        } = self.sampling;
        if self.written.is_empty() || (presence_penalty == 0.0 && frequency_penalty == 0.0) {
            return false;
        }
        self.penalised.clear();
        self.penalised.extend_from_slice(logits);
        for (id, times) in &self.written {
            if let Some(logit) = self.penalised.get_mut(*id as usize) {
                *logit -= presence_penalty + frequency_penalty * *times as f32;
            }
        }
        true
    }

    fn pick(&mut self, logits: &[f32]) -> Result<u32, BackendError> {
        let most = most(logits);
        if !most.is_finite() {
            return Err(BackendError::NotFinite);
        }
        let best = logits.iter().position(|logit| *logit == most);
        let best = best.and_then(|place| u32::try_from(place).ok());
        let best = best.ok_or(BackendError::NotFinite)?;
        match self.sampling.temperature {
            0.0 => Ok(best),
            temperature => Ok(self.draw(logits, most, temperature).unwrap_or(best)),
        }
    }

    /// `None` if rounding left nothing to draw.
    fn draw(&mut self, logits: &[f32], most: f32, temperature: f32) -> Option<u32> {
        let least = self.sampling.min_p.max(NEGLIGIBLE);
        // NaN is above nothing.
        let least_logit = most + temperature * least.ln();
        let all = (0..).zip(logits);
        let probable = all.filter(|(_, logit)| **logit >= least_logit);
        self.candidates.clear();
        self.candidates
            .extend(probable.map(|(id, logit)| Candidate {
                id,
                // The most probable one has 1, so that nothing overflows.
                weight: ((logit - most) / temperature).exp(),
            }));
        keep_most(&mut self.candidates, self.sampling.top_k as usize);
        keep_nucleus(&mut self.candidates, self.sampling.top_p);
        let total: f64 = self.candidates.iter().map(|it| f64::from(it.weight)).sum();
        let mut left = self.random.next() * total;
        let drawn = self.candidates.iter().find(|it| {
            left -= f64::from(it.weight);
            left < 0.0
        });
        drawn.map(|it| it.id)
    }
}

/// The largest of some numbers, NaN left out; minus infinity if there is none. In lanes, so that the compiler can do
/// several at a time: this is what each token costs at least.
fn most(numbers: &[f32]) -> f32 {
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *number);
        }
    }
    let rest = rest.iter().copied();
    lanes
        .into_iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, larger)
}

/// Most probable first, of equals the lower id: an order in which nothing is left to chance.
fn by_rank(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

/// Leaves the most probable `count`; 0 for all.
fn keep_most(candidates: &mut Vec<Candidate>, count: usize) {
    if count > 0 && count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, by_rank);
        candidates.truncate(count);
        // A cut leaves them in any order, and the draw goes by their order.
        candidates.sort_unstable_by_key(|it| it.id);
    }
}

/// Leaves the fewest candidates that together have so much of all probability.
fn keep_nucleus(candidates: &mut Vec<Candidate>, share: f32) {
    if share >= 1.0 {
        return;
    }
    let total: f64 = candidates.iter().map(|it| f64::from(it.weight)).sum();
    let wanted = total * f64::from(share);
    // All that are below this together have less than what may be left out. So most of a vocabulary need
    // not be sorted.
    let negligible = (total - wanted) / candidates.len().max(1) as f64;
    candidates.retain(|it| f64::from(it.weight) >= negligible);
    candidates.sort_unstable_by(by_rank);
    let mut sum = 0.0;
    let enough = candidates.iter().position(|it| {
        sum += f64::from(it.weight);
        sum >= wanted
    });
    candidates.truncate(enough.map_or(candidates.len(), |place| place + 1));
}

fn logprobs(logits: &[f32], chosen: u32, count: usize) -> Logprobs {
    let most = most(logits);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - most).exp())
        .sum();
    let of = |logit: f32| (f64::from(logit - most) - sum.ln()) as f32;
    let ids = 0..u32::try_from(logits.len()).unwrap_or(u32::MAX);
    let mut all: Vec<Candidate> = match count {
        0 => Vec::new(),
        _ => ids
            .zip(logits)
            .map(|(id, weight)| Candidate {
                id,
                weight: *weight,
            })
            .collect(),
    };
    keep_most(&mut all, count);
    all.sort_unstable_by(by_rank);
    Logprobs {
        chosen: logits.get(chosen as usize).map_or(f32::MIN, |it| of(*it)),
        top: all.iter().map(|it| (it.id, of(it.weight))).collect(),
    }
}

/// SplitMix64: eight bytes of state, and the same numbers on every machine and in every release, which a
/// seed is a promise of. Not for secrets.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// A number from 0 up to and without 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY];

    fn tokens(sampling: &Sampling, seed: u64, count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling.clone(), seed);
        let chosen = (0..count).map(|_| sampler.choose(&LOGITS).expect("numbers").id);
        chosen.collect()
    }

    fn hot() -> Sampling {
        Sampling {
            temperature: 2.0,
            ..Sampling::default()
        }
    }

    #[test]
    fn greedy_takes_the_most_probable_and_of_equals_the_first() {
        let greedy = Sampling {
            temperature: 0.0,
            ..Sampling::default()
        };
        assert_eq!(tokens(&greedy, 1, 3), [1, 1, 1]);
    }

    #[test]
    fn penalties_make_written_tokens_less_probable() {
        let penal = |presence_penalty, frequency_penalty| Sampling {
            temperature: 0.0,
            presence_penalty,
            frequency_penalty,
            ..Sampling::default()
        };
        assert_eq!(tokens(&penal(1.5, 0.0), 1, 4), [1, 3, 2, 1]);
        assert_eq!(tokens(&penal(0.0, 0.6), 1, 5), [1, 3, 1, 3, 2]);
        assert_eq!(tokens(&penal(-2.0, 0.0), 1, 3), [1, 1, 1]);
    }

    #[test]
    fn seed_decides_and_nothing_else() {
        assert_eq!(tokens(&hot(), 7, 50), tokens(&hot(), 7, 50));
        assert_ne!(tokens(&hot(), 7, 50), tokens(&hot(), 8, 50));
        let seeded = Sampling {
            seed: Some(7),
            ..hot()
        };
        assert_eq!(tokens(&seeded, 99, 50), tokens(&hot(), 7, 50));
        // A promise to those who wrote a seed down.
        let mut random = Random(1);
        let numbers = [random.next(), random.next()].map(|it| (it * 1e6) as u32);
        assert_eq!(numbers, [566_561, 745_781]);
    }

    #[test]
    fn cuts_leave_the_most_probable() {
        let check = |change: fn(&mut Sampling), allowed: &[u32]| {
            let mut sampling = hot();
            change(&mut sampling);
            let mut seen = tokens(&sampling, 3, 500);
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, allowed, "{sampling:?}");
        };
        check(|_| {}, &[0, 1, 2, 3]);
        check(|it| it.top_k = 1, &[1]);
        check(|it| it.top_k = 3, &[1, 2, 3]);
        check(|it| it.top_p = 0.01, &[1]);
        check(|it| it.top_p = 0.6, &[1, 3]);
        check(|it| it.min_p = 0.9, &[1, 3]);
        check(|it| it.min_p = 0.5, &[1, 2, 3]);
    }

    #[test]
    fn logprobs_are_those_of_the_model_itself() {
        let sampling = Sampling {
            temperature: 0.0,
            presence_penalty: 2.0,
            logprobs: Some(2),
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(sampling, 1);
        sampler.choose(&LOGITS).expect("numbers");
        let chosen = sampler.choose(&LOGITS).expect("numbers");
        let logprobs = chosen.logprobs.expect("they were asked for");
        let total: f64 = LOGITS.iter().map(|it| f64::from(*it).exp()).sum();
        let expected = (f64::from(LOGITS[3]) - total.ln()) as f32;
        assert_eq!((chosen.id, logprobs.chosen), (3, expected));
        assert_eq!(logprobs.top, [(1, expected), (3, expected)]);
    }

    #[test]
    fn logits_that_are_no_numbers_are_an_error() {
        for logits in [&[f32::NAN, f32::NAN][..], &[f32::NEG_INFINITY], &[]] {
            let chosen = Sampler::new(hot(), 1).choose(logits);
            assert!(matches!(chosen, Err(BackendError::NotFinite)));
        }
    }

    proptest! {
        /// Whatever the settings, a token comes out, and never one that is impossible.
        #[test]
        fn every_setting_draws_a_possible_token(
            logits in prop::collection::vec(-50.0f32..50.0, 1..200),
            temperature in 0.0f32..2.0, top_p in 0.001f32..=1.0, top_k in 0u32..50, min_p in 0.0f32..=1.0, seed: u64,
        ) {
            let sampling = Sampling { temperature, top_p, top_k, min_p, ..Sampling::default() };
            let chosen = Sampler::new(sampling, seed).choose(&logits).expect("numbers");
            prop_assert!((chosen.id as usize) < logits.len());
            if top_k == 1 {
                let most = logits.iter().copied().fold(f32::MIN, f32::max);
                prop_assert_eq!(logits[chosen.id as usize], most);
            }
        }
    }
}
