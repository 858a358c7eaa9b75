//! Private directories on the cache's file system, where what enters the cache is made; and the removal of those whose
//! owner has died.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::cache::CacheError;
use crate::file::{At, FileError};

/// A private directory on the cache's file system, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    _held: Flock<File>,
}

impl Scratch {
    /// Makes one in `all`. The caller holds a lock that keeps [`sweep`] away until the directory is held.
    pub(super) fn new_in(all: &Path) -> Result<Scratch, CacheError> {
        let dir = tempfile::Builder::new().prefix("").tempdir_in(all).at("create", all)?.keep();
        let handle = File::open(&dir).at("open", &dir)?;
        let held = Flock::lock(handle, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno);
        Ok(Scratch { _held: held.at("lock", &dir)?, dir })
    }

    /// A path inside the directory.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.join(relative)
    }

    /// Moves the finished file or directory `from` to its final name, durably.
    ///
    /// syncfs(2), not fsync(2), because a module tree has a thousand files; and it has to come before the
    /// rename, or a power cut could leave a tree of the right name with empty files in it.
    pub fn publish(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        let source = File::open(from).at("open", from)?;
        if source.metadata().at("read", from)?.is_dir() {
            nix::unistd::syncfs(&source).at("sync", from)?;
        } else {
            source.sync_all().at("sync", from)?;
        }
        fs::rename(from, to).at("rename into place", to)?;
        let parent = to.parent().ok_or(io::ErrorKind::InvalidInput).at("rename into place", to)?;
        File::open(parent).and_then(|dir| dir.sync_all()).at("sync", parent)
    }

    /// Moves a finished file to its final name. Only for files with a checksum that is verified before each use: they need
    /// not be on the disk first, which would take as long as to make them.
    pub fn publish_checked(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::rename(from, to).at("rename into place", to)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes the directories in `all` that no living process holds.
///
/// A directory may go at any time: its owner removes it when it has done its work.
pub(super) fn sweep(all: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(all).at("read", all)? {
        let entry = entry.at("read", all)?;
        let path = entry.path();
        // Owners make directories only.
        if !entry.file_type().at("read", &path)?.is_dir() {
            unless_gone(fs::remove_file(&path)).at("remove", &path)?;
            continue;
        }
        let Some(handle) = unless_gone(open(&path)).at("open", &path)? else { continue };
        if Flock::lock(handle, FlockArg::LockExclusiveNonblock).is_ok() {
            unless_gone(fs::remove_dir_all(&path)).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Removes the lock files in `dir` that no living process holds.
pub(super) fn sweep_locks(dir: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        let Some(file) = unless_gone(open(&path)).at("open", &path)? else { continue };
        let Ok(held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
        // Removed while it is held: who has opened it meanwhile finds that it is not at its name any more.
        if is_at(&held, &path) {
            unless_gone(fs::remove_file(&path)).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Whether an open file is the one of that name.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// Without O_NONBLOCK open(2) would wait at a FIFO.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
