//! Which text is in which slot, what is kept there for later ones, and whose turn it is. Pure.
//!
//! **Memory.** Each text reserves as many tokens as it may come to have, so none that has begun runs out of
//! room. All reservations together stay within the budget.
//!
//! **Prefixes.** A slot that a text has left keeps what the model has read, as far as the budget allows. A new
//! text that begins alike goes on from there: it takes the slot over if it goes on with nearly all of it (the
//! next turn of a conversation), and copies what is common otherwise (a system prompt that many share, also
//! from a text that is still being written). What was used longest ago is forgotten first.
//!
//! **Turns.** Texts whose prompt is read are written in one step, all together. Of the others, the one that
//! has waited longest has a piece of its prompt read.

use std::collections::HashMap;
use std::sync::Arc;

/// Least tokens in common that are worth going on from: fewer are read as fast as anything.
const MIN_PREFIX: usize = 16;
/// Tokens at the end of what is kept that a text may differ in and still take the slot over.
const MAX_LOST: usize = 8;

/// All slots of a model.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// Most tokens of all slots.
    budget: usize,
    /// Rises with everything that happens.
    clock: u64,
}

#[derive(Debug)]
enum Slot<T> {
    Free,
    /// What the model has read of a text that left.
    Kept {
        tokens: Vec<u32>,
        used: u64,
    },
    Busy(Box<Entry<T>>),
}

/// A text in a slot.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) item: T,
    pub(super) tenant: Arc<str>,
    /// Prompt and answer so far.
    pub(super) tokens: Vec<u32>,
    /// Tokens that it may come to have.
    pub(super) reserved: usize,
    /// Those that the model has read.
    pub(super) read: usize,
    entered: u64,
    served: u64,
}

/// What has to be done with the model's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Forget all but the first tokens.
    Truncate { slot: usize, tokens: usize },
    /// Make one slot hold the first tokens of another.
    Copy {
        from: usize,
        to: usize,
        tokens: usize,
    },
}

/// How many slots are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Occupancy {
    pub(super) busy: usize,
    pub(super) kept: usize,
    pub(super) free: usize,
}

impl<T> Entry<T> {
    pub(super) fn new(item: T, tenant: Arc<str>, tokens: Vec<u32>, reserved: usize) -> Box<Self> {
        Box::new(Self {
            item,
            tenant,
            tokens,
            reserved,
            read: 0,
            entered: 0,
            served: 0,
        })
    }

    /// Tokens that the model has not read.
    pub(super) fn unread(&self) -> &[u32] {
        &self.tokens[self.read..]
    }
}

impl<T> Slots<T> {
    /// Empty slots. The budget has to hold one text at least.
    pub(super) fn new(count: usize, budget: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Slot::Free).collect(),
            budget,
            clock: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Puts a text into a slot, if there is one and there is memory. Otherwise the text comes back.
    pub(super) fn enter(
        &mut self,
        mut entry: Box<Entry<T>>,
    ) -> Result<(usize, Vec<Move>), Box<Entry<T>>> {
        if self.reserved() + entry.reserved > self.budget {
            return Err(entry);
        }
        let mut moves = Vec::new();
        let Some((slot, read)) = self.place(&entry.tokens, &mut moves) else {
            return Err(entry);
        };
        entry.read = read;
        entry.entered = self.tick();
        self.slots[slot] = Slot::Busy(entry);
        self.forget_beyond(&mut moves);
        Ok((slot, moves))
    }

    /// Takes a text out. What the model has read is kept, or forgotten.
    pub(super) fn leave(&mut self, slot: usize, keep: bool) -> Option<(Box<Entry<T>>, Vec<Move>)> {
        let used = self.tick();
        let entry = match std::mem::replace(&mut self.slots[slot], Slot::Free) {
            Slot::Busy(entry) => entry,
            other => {
                self.slots[slot] = other;
                return None;
            }
        };
        let tokens = &entry.tokens[..entry.read];
        let mut moves = Vec::new();
        if keep && tokens.len() >= MIN_PREFIX && !self.is_kept(tokens) {
            self.forget_prefixes(tokens, &mut moves);
            let tokens = tokens.to_vec();
            self.slots[slot] = Slot::Kept { tokens, used };
            self.forget_beyond(&mut moves);
        } else {
            moves.push(Move::Truncate { slot, tokens: 0 });
        }
        Some((entry, moves))
    }

    /// The texts whose next token can be written, with the token that the model has to read for that.
    pub(super) fn steps(&self) -> Vec<(usize, u32)> {
        let busy = self.busy();
        let steps = busy.filter_map(|(slot, entry)| match entry.unread() {
            [token] => Some((slot, *token)),
            _ => None,
        });
        steps.collect()
    }

    /// The slot whose prompt is read on.
    pub(super) fn next_prompt(&self) -> Option<usize> {
        let prompts = self.busy().filter(|(_, entry)| entry.unread().len() > 1);
        let next = prompts.min_by_key(|(_, entry)| (entry.served, entry.entered));
        next.map(|(slot, _)| slot)
    }

    /// The model has read more tokens of a text.
    pub(super) fn has_read(&mut self, slot: usize, tokens: usize) {
        let served = self.tick();
        if let Some(entry) = self.get_mut(slot) {
            entry.read += tokens;
            entry.served = served;
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Entry<T>> {
        match &self.slots[slot] {
            Slot::Busy(entry) => Some(entry),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry<T>> {
        match &mut self.slots[slot] {
            Slot::Busy(entry) => Some(entry),
            _ => None,
        }
    }

    /// The texts that are in slots.
    pub(super) fn busy(&self) -> impl Iterator<Item = (usize, &Entry<T>)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, it)| match it {
            Slot::Busy(entry) => Some((slot, &**entry)),
            _ => None,
        })
    }

    /// Slots that a tenant has.
    pub(super) fn of_tenant(&self, tenant: &str) -> usize {
        let own = self.busy().filter(|(_, entry)| *entry.tenant == *tenant);
        own.count()
    }

    /// The slot that a tenant may be given at the cost of another one, which has at least two more: its text that
    /// began last. With one more it would only be the other way round afterwards.
    pub(super) fn beyond_its_share(&self, tenant: &str) -> Option<usize> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (_, entry) in self.busy() {
            *counts.entry(&entry.tenant).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        if most < counts.get(tenant).copied().unwrap_or(0) + 2 {
            return None;
        }
        let theirs = self.busy().filter(|(_, it)| counts[&*it.tenant] == most);
        let last = theirs.max_by_key(|(_, entry)| entry.entered);
        last.map(|(slot, _)| slot)
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let mut all = Occupancy::default();
        for slot in &self.slots {
            match slot {
                Slot::Free => all.free += 1,
                Slot::Kept { .. } => all.kept += 1,
                Slot::Busy(_) => all.busy += 1,
            }
        }
        all
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn reserved(&self) -> usize {
        self.busy().map(|(_, entry)| entry.reserved).sum()
    }

    /// A slot for a text, and how many of its tokens are in it already.
    fn place(&mut self, tokens: &[u32], moves: &mut Vec<Move>) -> Option<(usize, usize)> {
        let source = self.longest_prefix(tokens);
        if let Some((slot, common)) = source
            && self
                .kept_len(slot)
                .is_some_and(|len| len - common <= MAX_LOST)
        {
            moves.push(Move::Truncate {
                slot,
                tokens: common,
            });
            return Some((slot, common));
        }
        let from = source.map(|(slot, _)| slot);
        match (self.vacant(from), source) {
            (Some(to), Some((from, common))) => {
                self.touch(from);
                moves.push(Move::Copy {
                    from,
                    to,
                    tokens: common,
                });
                Some((to, common))
            }
            (Some(slot), None) => {
                moves.push(Move::Truncate { slot, tokens: 0 });
                Some((slot, 0))
            }
            // Only the slot itself is left, if nobody writes in it.
            (None, Some((slot, common))) => self.kept_len(slot).map(|_| {
                moves.push(Move::Truncate {
                    slot,
                    tokens: common,
                });
                (slot, common)
            }),
            (None, None) => None,
        }
    }

    /// The slot that holds most of the beginning of these tokens. The last token is never taken from there,
    /// because what follows it has to be computed.
    fn longest_prefix(&self, tokens: &[u32]) -> Option<(usize, usize)> {
        let most = tokens.len().saturating_sub(1);
        let slots = self.slots.iter().enumerate();
        let common = slots.map(|(slot, it)| {
            let (held, kept) = match it {
                Slot::Free => (&[][..], false),
                Slot::Kept { tokens, .. } => (&tokens[..], true),
                Slot::Busy(entry) => (&entry.tokens[..entry.read], false),
            };
            (common(&tokens[..most], held), kept, slot)
        });
        let (common, _, slot) = common.max()?;
        (common >= MIN_PREFIX).then_some((slot, common))
    }

    /// A slot that nobody writes in: a free one, or the kept one that was used longest ago.
    fn vacant(&self, except: Option<usize>) -> Option<usize> {
        let slots = self.slots.iter().enumerate();
        let vacant = slots.filter_map(|(slot, it)| match it {
            Slot::Free => Some((0, slot)),
            Slot::Kept { used, .. } => Some((*used, slot)),
            Slot::Busy(_) => None,
        });
        let vacant = vacant.filter(|(_, slot)| Some(*slot) != except);
        vacant.min().map(|(_, slot)| slot)
    }

    fn kept_len(&self, slot: usize) -> Option<usize> {
        match &self.slots[slot] {
            Slot::Kept { tokens, .. } => Some(tokens.len()),
            _ => None,
        }
    }

    fn touch(&mut self, slot: usize) {
        let now = self.tick();
        if let Slot::Kept { used, .. } = &mut self.slots[slot] {
            *used = now;
        }
    }

    /// Whether something is kept that begins with these tokens.
    fn is_kept(&self, wanted: &[u32]) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, Slot::Kept { tokens, .. } if tokens.starts_with(wanted)))
    }

    /// Forgets what is the beginning of these tokens, which are kept instead.
    fn forget_prefixes(&mut self, longer: &[u32], moves: &mut Vec<Move>) {
        for slot in 0..self.slots.len() {
            if matches!(&self.slots[slot], Slot::Kept { tokens, .. } if longer.starts_with(tokens))
            {
                self.forget(slot, moves);
            }
        }
    }

    /// Forgets what was used longest ago until all is within the budget.
    fn forget_beyond(&mut self, moves: &mut Vec<Move>) {
        while self.reserved() + self.kept_tokens() > self.budget {
            let slots = self.slots.iter().enumerate();
            let kept = slots.filter_map(|(slot, it)| match it {
                Slot::Kept { used, .. } => Some((*used, slot)),
                _ => None,
            });
            let Some((_, slot)) = kept.min() else {
                return;
            };
            self.forget(slot, moves);
        }
    }

    fn forget(&mut self, slot: usize, moves: &mut Vec<Move>) {
        self.slots[slot] = Slot::Free;
        moves.push(Move::Truncate { slot, tokens: 0 });
    }

    fn kept_tokens(&self) -> usize {
        let slots = 0..self.slots.len();
        slots.filter_map(|slot| self.kept_len(slot)).sum()
    }
}

/// Tokens that both begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tenant: &str, tokens: impl IntoIterator<Item = u32>, more: usize) -> Box<Entry<()>> {
        let tokens: Vec<u32> = tokens.into_iter().collect();
        let reserved = tokens.len() + more;
        Entry::new((), tenant.into(), tokens, reserved)
    }

    fn read_all(slots: &mut Slots<()>, slot: usize) {
        let unread = slots.get(slot).expect("a text").unread().len();
        slots.has_read(slot, unread);
    }

    #[test]
    fn texts_enter_while_there_are_slots_and_memory() {
        let mut slots = Slots::new(3, 100);
        assert!(slots.enter(text("a", 0..10, 50)).is_ok());
        assert!(slots.enter(text("a", 0..10, 31)).is_err(), "101 tokens");
        assert!(slots.enter(text("a", 0..10, 20)).is_ok());
        assert!(slots.enter(text("a", 0..2, 5)).is_ok());
        assert!(slots.enter(text("a", 0..1, 0)).is_err(), "no slot");
        let occupancy = Occupancy {
            busy: 3,
            ..Occupancy::default()
        };
        assert_eq!(slots.occupancy(), occupancy);
    }

    #[test]
    fn prompts_are_read_by_turns_and_then_written_together() {
        let mut slots = Slots::new(3, 1000);
        for _ in 0..2 {
            slots.enter(text("a", 0..10, 10)).expect("room");
        }
        assert_eq!(slots.next_prompt(), Some(0));
        slots.has_read(0, 4);
        assert_eq!(slots.next_prompt(), Some(1));
        slots.has_read(1, 9);
        assert_eq!(slots.next_prompt(), Some(0));
        assert_eq!(slots.steps(), [(1, 9)]);
        slots.has_read(0, 5);
        assert_eq!(slots.next_prompt(), None);
        assert_eq!(slots.steps(), [(0, 9), (1, 9)]);
    }

    #[test]
    fn next_turn_of_a_conversation_takes_the_slot_over() {
        let mut slots = Slots::new(2, 1000);
        let (slot, _) = slots.enter(text("a", 0..40, 10)).expect("room");
        read_all(&mut slots, slot);
        let (_, moves) = slots.leave(slot, true).expect("it was there");
        assert_eq!(moves, []);
        let (again, moves) = slots.enter(text("a", 0..60, 10)).expect("room");
        assert_eq!(again, slot);
        assert_eq!(moves, [Move::Truncate { slot, tokens: 40 }]);
        assert_eq!(slots.get(slot).map(|it| it.read), Some(40));
    }

    #[test]
    fn last_token_is_always_read_anew() {
        let mut slots = Slots::new(1, 1000);
        let (slot, _) = slots.enter(text("a", 0..40, 10)).expect("room");
        read_all(&mut slots, slot);
        slots.leave(slot, true);
        slots.enter(text("a", 0..40, 10)).expect("room");
        assert_eq!(slots.steps(), [(slot, 39)]);
    }

    #[test]
    fn shared_beginning_is_copied_also_from_a_text_that_is_written() {
        let mut slots = Slots::new(3, 1000);
        let shared = || 0..30;
        let (first, _) = slots
            .enter(text("a", shared().chain(100..120), 10))
            .expect("room");
        read_all(&mut slots, first);
        let (second, moves) = slots
            .enter(text("b", shared().chain(200..220), 10))
            .expect("room");
        let copy = |from, to| Move::Copy {
            from,
            to,
            tokens: 30,
        };
        assert_eq!(moves, [copy(first, second)]);
        slots.leave(first, true);
        let (third, moves) = slots
            .enter(text("b", shared().chain(300..320), 10))
            .expect("room");
        assert_eq!(moves, [copy(first, third)], "of equals the kept one");
        assert_eq!(slots.occupancy().kept, 1);
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_for_those_who_write() {
        let mut slots = Slots::new(4, 100);
        for start in [0, 1000, 2000] {
            let (slot, _) = slots.enter(text("a", start..start + 30, 0)).expect("room");
            read_all(&mut slots, slot);
            slots.leave(slot, true);
        }
        let (_, moves) = slots.enter(text("a", 5000..5020, 20)).expect("room");
        let forgotten = |slot| Move::Truncate { slot, tokens: 0 };
        assert_eq!(
            moves,
            [forgotten(3), forgotten(0)],
            "its own slot, and the oldest"
        );
        assert_eq!((slots.occupancy().kept, slots.kept_tokens()), (2, 60));
    }

    #[test]
    fn only_the_longest_of_texts_that_begin_alike_is_kept() {
        let mut slots = Slots::new(3, 1000);
        let (long, _) = slots.enter(text("a", 0..60, 0)).expect("room");
        let (short, _) = slots.enter(text("a", 0..40, 0)).expect("room");
        read_all(&mut slots, long);
        read_all(&mut slots, short);
        slots.leave(short, true);
        let (_, moves) = slots.leave(long, true).expect("it was there");
        let gone = Move::Truncate {
            slot: short,
            tokens: 0,
        };
        assert_eq!(moves, [gone]);
        assert_eq!(slots.occupancy().kept, 1);
    }

    #[test]
    fn tenant_with_two_more_gives_one_up() {
        let mut slots = Slots::new(3, 1000);
        for _ in 0..3 {
            slots.enter(text("many", 0..5, 5)).expect("room");
        }
        assert_eq!(slots.beyond_its_share("many"), None);
        assert_eq!(slots.beyond_its_share("few"), Some(2), "the last");
        slots.leave(2, true);
        slots.enter(text("few", 0..5, 5)).expect("room");
        assert_eq!(slots.beyond_its_share("few"), None);
        assert_eq!(slots.beyond_its_share("other"), Some(1));
        assert_eq!(slots.of_tenant("many"), 2);
    }
}
