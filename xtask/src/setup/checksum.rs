//! Checksums: nothing fetched is used before its sha256 has been compared with the pinned one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// Fails unless the file has exactly the pinned content.
pub(super) fn verify(path: &Path, expected: &str) -> Result<(), Error> {
    let found = of_file(path)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::Checksum {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found,
    })
}

/// The sha256 of a file in lower-case hexadecimal.
pub(super) fn of_file(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn pinned_content_passes_and_anything_else_tells_both_sums() {
        let scratch = Scratch::new("checksum");
        let file = scratch.path().join("file");
        std::fs::write(&file, "abc").unwrap();
        verify(&file, ABC).unwrap();

        std::fs::write(&file, "abd").unwrap();
        let error = verify(&file, ABC).unwrap_err();
        assert!(
            matches!(&error, Error::Checksum { path, expected, found }
                if *path == file && expected == ABC && found.starts_with("a52d159f")),
            "{error:?}"
        );
    }
}
