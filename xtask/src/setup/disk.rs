//! Free disk space, asked before a download rather than found out at its end.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;

/// Refuses to begin what cannot fit. Where the free space cannot be found out, writing will tell.
pub(super) fn require_mib(path: &Path, needed_mib: u64) -> Result<(), Error> {
    match free_mib(path) {
        Some(free_mib) if free_mib < needed_mib => Err(Error::DiskFull {
            path: path.to_owned(),
            free_mib,
            needed_mib,
        }),
        _ => Ok(()),
    }
}

/// `df -Pk` is POSIX; the standard library has no call for this.
fn free_mib(path: &Path) -> Option<u64> {
    let output = Command::new("df")
        .arg("-Pk")
        .arg(path)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    available_mib(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the fourth column, in KiB, of the line after the heading.
fn available_mib(table: &str) -> Option<u64> {
    let row = table.lines().nth(1)?;
    let available_kib: u64 = row.split_whitespace().nth(3)?.parse().ok()?;
    Some(available_kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_space_is_read_from_the_table() {
        let table = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                     /dev/sda1        263951740 11981212  83886080      13% /\n";
        assert_eq!(available_mib(table), Some(81_920));
        assert_eq!(available_mib("no table"), None);
    }

    #[test]
    fn what_cannot_fit_is_refused_with_both_numbers() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        require_mib(here, 0).unwrap();
        if free_mib(here).is_some() {
            let error = require_mib(here, u64::MAX).unwrap_err();
            assert!(matches!(
                error,
                Error::DiskFull {
                    needed_mib: u64::MAX,
                    ..
                }
            ));
        }
    }
}
