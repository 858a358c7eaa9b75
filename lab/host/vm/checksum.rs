//! SHA-256 of a large file with holes: what is in it, not how the file system keeps it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use sha2::{Digest, Sha256};

const BLOCK_BYTES: u64 = 64 * 1024;

/// Device, inode, size and times of a file: no write leaves all of them as they were.
type Identity = [i64; 7];

/// Files this process has checked. A matrix restores the same machine many times.
static CHECKED: Mutex<BTreeSet<(Identity, String)>> = Mutex::new(BTreeSet::new());

/// Whether `file` from `offset` on has the checksum `want` (in [`hex`]), reading it at most once while it is unchanged.
///
/// # Errors
/// When the file cannot be read.
pub fn matches(file: &File, offset: u64, want: &str) -> io::Result<bool> {
    let key = (identity(file)?, want.to_owned());
    let checked = || CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    if checked().contains(&key) {
        return Ok(true);
    }
    let matches = hex(&of_file(file, offset)?) == want;
    if matches {
        checked().insert(key);
    }
    Ok(matches)
}

/// SHA-256 of the length of `file` and of every block from `offset` on that is not all zero, each with its place.
///
/// # Errors
/// When the file cannot be read.
pub fn of_file(file: &File, offset: u64) -> io::Result<[u8; 32]> {
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    let mut block = vec![0; usize::try_from(BLOCK_BYTES).expect("64 KiB fit into memory")];
    let mut at = next_data(file, offset, length)?;
    while at < length {
        let size = usize::try_from((length - at).min(BLOCK_BYTES)).expect("at most a block");
        let block = &mut block[..size];
        file.read_exact_at(block, at)?;
        if block.iter().any(|&byte| byte != 0) {
            hash.update(at.to_le_bytes());
            hash.update(&*block);
        }
        at = next_data(file, at + BLOCK_BYTES, length)?;
    }
    Ok(hash.finalize().into())
}

/// Bytes as hexadecimal text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The start of the first block from `at` on that may hold data; `length` when there is none.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<u64> {
    if at >= length {
        return Ok(length);
    }
    match lseek(file, at.cast_signed(), Whence::SeekData) {
        Ok(data) => Ok((data.cast_unsigned() / BLOCK_BYTES * BLOCK_BYTES).max(at)),
        Err(Errno::ENXIO) => Ok(length),
        // A file system that knows nothing of holes.
        Err(Errno::EINVAL) => Ok(at),
        Err(errno) => Err(errno.into()),
    }
}

/// With the change time, which nobody can set back.
fn identity(file: &File) -> io::Result<Identity> {
    let meta = file.metadata()?;
    let [dev, ino, size] = [meta.dev(), meta.ino(), meta.size()].map(u64::cast_signed);
    Ok([dev, ino, size, meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_zeros_are_the_same_and_nothing_else_is() {
        let sparse = tempfile::tempfile().unwrap();
        sparse.set_len(1 << 20).unwrap();
        sparse.write_all_at(b"page", 300_000).unwrap();
        let dense = tempfile::tempfile().unwrap();
        dense.write_all_at(&vec![0; 1 << 20], 0).unwrap();
        dense.write_all_at(b"page", 300_000).unwrap();
        let sum = of_file(&sparse, 0).unwrap();
        assert_eq!(sum, of_file(&dense, 0).unwrap());

        dense.write_all_at(b"q", 300_000).unwrap();
        assert_ne!(sum, of_file(&dense, 0).unwrap(), "a changed byte");
        dense.write_all_at(b"p", 300_000).unwrap();
        assert_eq!(sum, of_file(&dense, 0).unwrap());
        dense.set_len((1 << 20) - 1).unwrap();
        assert_ne!(sum, of_file(&dense, 0).unwrap(), "a missing end");
    }

    #[test]
    fn what_is_before_the_offset_does_not_count() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 200_000], 0).unwrap();
        let sum = of_file(&file, BLOCK_BYTES).unwrap();
        file.write_all_at(b"header", 0).unwrap();
        assert_eq!(sum, of_file(&file, BLOCK_BYTES).unwrap());
    }

    #[test]
    fn a_file_that_changes_after_it_was_checked_is_checked_again() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"good", 0).unwrap();
        let sum = hex(&of_file(&file, 0).unwrap());
        assert!(matches(&file, 0, &sum).unwrap());
        file.write_all_at(b"evil", 0).unwrap();
        file.set_len(5).unwrap();
        assert!(!matches(&file, 0, &sum).unwrap());
    }
}
