//! Files that operators write: how they are read, and how mistakes in them are told.
//!
//! Reading remembers every mistake instead of stopping at the first, and goes on with a harmless
//! stand-in where a value is wrong. So one run shows all that is to be mended.

pub mod duration;
pub mod mistake;
mod name;
mod notes;
mod table;

pub(crate) use mistake::shown;
pub use mistake::{Mistake, Mistakes, Place};
pub use name::MAX_NAME_BYTES;
pub(crate) use name::name_problem;
pub(crate) use notes::Notes;
pub(crate) use table::{Table, as_texts};
