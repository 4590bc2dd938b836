//! Paced tokens over a socket: `{"id":"1","op":"paced","body":{"rate":4,"tokens":100}}`, only with
//! `live.paced_source`. They go through the same outbox as every streamed answer. With `every` nothing is merged.

use super::merge::Key;
use super::outbox::{Sender, Undeliverable};
use crate::generate::{PacedAt, PacedTokens};

/// Makes tokens until there are enough. What is due is made at once, whether or not anybody reads.
pub(super) async fn produce(
    pace: PacedAt,
    sender: &Sender,
    key: &Key,
) -> Result<(), Undeliverable> {
    let mut tokens = PacedTokens::new(pace);
    while let Some((text, _)) = tokens.next().await {
        if pace.sends_every() {
            sender.alone(key, &text)?;
        } else {
            sender.text(key, &text)?;
        }
    }
    Ok(())
}
