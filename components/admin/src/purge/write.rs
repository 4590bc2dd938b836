//! Adding marks to a document that others write too.
//!
//! Stores have no compare-and-swap, so two writers that read the same document overwrite each
//! other's mark. Who adds a mark therefore reads the document back and adds again what is missing;
//! adding twice changes nothing.
//!
//! One gap is left: a writer that stalls between reading and writing may remove a mark that another
//! has already read back. Hence a purge looks for its marks once more after its record is finished,
//! which is several round trips later. A stall that is longer than all of that loses a mark; list
//! the marks after a purge that must not be lost while others purge too.

use brink_cache::purge::{AddError, DecodeError, LONGEST_LIFETIME, STORE_KEY};
use brink_cache::{Mark, Marks, UnixSeconds};
use http::StatusCode;

use crate::problem::{Problem, Wrong};
use crate::world::World;

/// Most times that the document is written for one purge. Of writers that go step by step together
/// one succeeds each time, so this many can purge in the same instant.
pub const MAX_ATTEMPTS: usize = 8;

/// The marks in force.
pub(super) async fn read(world: &impl World) -> Result<Marks, Problem> {
    match world.get(STORE_KEY).await? {
        Some(bytes) => Marks::decode(&bytes).map_err(unreadable),
        None => Ok(Marks::default()),
    }
}

/// Whether the marks could be added.
///
/// # Errors
/// A name or the limits; and a document that cannot be read.
pub(super) async fn check(
    world: &impl World,
    wanted: &[Mark],
    now: UnixSeconds,
) -> Result<(), Problem> {
    let stored = read(world).await?;
    with(&stored, wanted, now).map(|_| ())
}

/// Adds marks until they are there, and gives the document that has them.
pub(super) async fn add(
    world: &impl World,
    wanted: &[Mark],
    now: UnixSeconds,
) -> Result<Marks, Problem> {
    for attempt in 0..=MAX_ATTEMPTS {
        let stored = read(world).await?;
        let with = with(&stored, wanted, now)?;
        if with == stored {
            return Ok(stored);
        }
        if attempt < MAX_ATTEMPTS {
            world.set(STORE_KEY, with.encode()).await?;
        }
    }
    Err(Problem::contended(format!(
        "Others changed the purge marks each of {MAX_ATTEMPTS} times that this one was added; it may be lost. \
         Send the purge again."
    )))
}

fn with(stored: &Marks, wanted: &[Mark], now: UnixSeconds) -> Result<Marks, Problem> {
    let mut marks = stored.clone();
    for mark in wanted {
        marks
            .add(mark, now, LONGEST_LIFETIME)
            .map_err(|error| refused(mark, error))?;
    }
    Ok(marks)
}

fn refused(mark: &Mark, error: AddError) -> Problem {
    match error {
        AddError::Name(error) => {
            let name = mark.subject.name().unwrap_or_default();
            let wrong = Wrong::field("the name", format!("is not allowed: {error}"))
                .limit(brink_cache::purge::MAX_NAME_BYTES)
                .value(name.len());
            Problem::unprocessable(wrong)
        }
        AddError::TooMany { .. } | AddError::TooLarge { .. } => {
            let detail = format!(
                "{error}. Nothing was changed. Purge more at once, by a surrogate key, a model or a tenant; a hard purge \
                 of everything makes all earlier marks needless."
            );
            Problem::new(
                StatusCode::CONFLICT,
                "too-many-marks",
                "There is no room for another purge mark",
                detail,
            )
        }
    }
}

fn unreadable(error: DecodeError) -> Problem {
    let detail = format!(
        "{error}. Nothing was changed. While that is so, edges treat every stored result as purged. If the error names a \
         version, deploy edges and this component of one release. Otherwise delete the key {STORE_KEY} with the store's \
         own tools, which forgets all purges, and then purge everything: {{\"all\": true, \"mode\": \"hard\"}}."
    );
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "unreadable-marks",
        "The stored purge marks cannot be read",
        detail,
    )
}
