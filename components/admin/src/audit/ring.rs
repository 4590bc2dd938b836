//! Where records are kept: the last [`KEPT`], each under a key of its own.
//!
//! A record is one value, so that no writer can damage another's. Two that race for a slot are told
//! apart by reading it back: whoever finds another's record there moves on to the next slot. One
//! gap is left, because stores have no compare-and-swap: a writer that stalls between looking at a
//! free slot and writing to it may replace a record that was already read back. Each change is
//! therefore looked for once more when it is finished, and written anew if it is gone.
//!
//! The head only says where to begin. It may lag behind, and a store in memory may evict it: then
//! the slots themselves are looked through.

use super::record::Record;
use crate::problem::Problem;
use crate::world::{StoreError, World};

/// How many records are kept. One is below 2 KiB.
pub const KEPT: u64 = 1000;

/// Where the search for a free slot begins.
const HEAD_KEY: &str = "brink/audit/1/head";

/// Most slots that a writer tries: more operators do not change things in the same instant.
const MAX_ATTEMPTS: usize = 64;

/// The key of the slot for a sequence number. Keys of results are 64 hexadecimal digits, so this
/// one can never be one of theirs.
pub fn slot_key(sequence: u64) -> String {
    format!("brink/audit/1/{}", sequence % KEPT)
}

/// Writes a new record, and gives it its number.
pub(super) async fn append(world: &impl World, record: &mut Record) -> Result<(), Problem> {
    record.sequence = next(world).await?;
    for _ in 0..MAX_ATTEMPTS {
        let key = slot_key(record.sequence);
        if let Some(other) = read(world, &key).await?
            && other.sequence >= record.sequence
        {
            record.sequence = other.sequence + 1;
            continue;
        }
        world.set(&key, record.encode()).await?;
        if is_there(world, record).await? {
            let next = (record.sequence + 1).to_string();
            world.set(HEAD_KEY, next.into_bytes()).await?;
            return Ok(());
        }
        record.sequence += 1;
    }
    Err(Problem::contended(format!(
        "{MAX_ATTEMPTS} places for the record of this change were taken by others; nothing was changed."
    )))
}

/// Writes how the change ended.
pub(super) async fn finish(world: &impl World, record: &mut Record) -> Result<(), Problem> {
    if !is_there(world, record).await? {
        return append(world, record).await;
    }
    world
        .set(&slot_key(record.sequence), record.encode())
        .await?;
    Ok(())
}

/// The newest records, newest first; fewer where some were lost.
pub(super) async fn newest(world: &impl World, limit: u64) -> Result<Vec<Record>, Problem> {
    let mut end = next(world).await?;
    // Where the head lags behind. Each step raises `end`, and no record has a number above those
    // that writers gave, so this ends.
    while let Some(record) = read(world, &slot_key(end)).await?
        && record.sequence >= end
    {
        end = record.sequence + 1;
    }
    let mut records = Vec::new();
    for sequence in (end.saturating_sub(limit)..end).rev() {
        let found = read(world, &slot_key(sequence)).await?;
        records.extend(found.filter(|record| record.sequence == sequence));
    }
    Ok(records)
}

async fn is_there(world: &impl World, record: &Record) -> Result<bool, StoreError> {
    let stored = read(world, &slot_key(record.sequence)).await?;
    Ok(stored.is_some_and(|stored| stored.is_same(record)))
}

/// The number after the last one that is known.
async fn next(world: &impl World) -> Result<u64, StoreError> {
    let head = world.get(HEAD_KEY).await?;
    let head = head.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
    match head.filter(|next| is_plausible(*next)) {
        Some(next) => Ok(next),
        None => search(world).await,
    }
}

async fn search(world: &impl World) -> Result<u64, StoreError> {
    let mut next = 0;
    for slot in 0..KEPT {
        if let Some(record) = read(world, &slot_key(slot)).await? {
            next = next.max(record.sequence + 1);
        }
    }
    Ok(next)
}

/// What others wrote under the key counts as nothing.
async fn read(world: &impl World, key: &str) -> Result<Option<Record>, StoreError> {
    let bytes = world.get(key).await?;
    let record = bytes.and_then(|bytes| Record::decode(&bytes));
    Ok(record.filter(|record| is_plausible(record.sequence)))
}

/// No number of ours comes near the end of the range, so that counting on never overflows.
fn is_plausible(sequence: u64) -> bool {
    sequence < u64::MAX / 2
}
