//! The lab's directory of things that can be had again: kernels, initramfs images.
//!
//! Nothing half made is ever at its final name. Work is done in a [`Scratch`] directory, which its owner
//! holds a flock(2) on, and moved into place by rename(2). A killed process leaves only a scratch directory
//! that nobody holds; the next one that needs a scratch directory removes it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use crate::host::file::{At, FileError};
use crate::net::inner_path::FileName;

/// What was used this recently may be about to be opened by a running lab: it is not evicted.
const IN_USE: Duration = Duration::from_secs(3600);

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No variable says where it is to be.
    #[error(
        "no place for the cache: none of LAB_CACHE, XDG_CACHE_HOME and HOME is set; set LAB_CACHE to a directory"
    )]
    NoPlace,
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The cache directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A lock on a name in the cache, held until dropped or until the process dies.
#[derive(Debug)]
#[must_use = "the lock is held only as long as this value lives"]
pub struct CacheLock {
    _held: Flock<File>,
}

/// A private directory on the cache's file system, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    _held: Flock<File>,
}

impl Cache {
    /// Opens `$LAB_CACHE`, else `$XDG_CACHE_HOME/bondlab`, else `$HOME/.cache/bondlab`.
    pub fn open() -> Result<Cache, CacheError> {
        Cache::at(root_from(|name| std::env::var_os(name)).ok_or(CacheError::NoPlace)?)
    }

    /// Opens the cache in `root`, which is made if it is not there.
    pub fn at(root: impl Into<PathBuf>) -> Result<Cache, CacheError> {
        let root = root.into();
        for part in ["", "kernels", "modules", "images", "initramfs", "locks", "scratch"] {
            let dir = root.join(part);
            fs::create_dir_all(&dir).at("create", &dir)?;
        }
        let root = fs::canonicalize(&root).at("resolve", &root)?;
        Ok(Cache { root })
    }

    /// A path inside the cache.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File), FileError> {
        let dir = self.path("locks");
        let name = FileName::parse(name).map_err(io::Error::other).at("make a lock in", &dir)?;
        let path = dir.join(name);
        let file = File::create(&path).at("create", &path)?;
        Ok((path, file))
    }

    /// Takes the lock `name` if nobody holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<CacheLock>, CacheError> {
        let (path, file) = self.lock_file(name)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(CacheLock { _held: held })),
            Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno).at("lock", &path)?,
        }
    }

    /// Takes the lock `name`, waiting for as long as a live process holds it.
    pub fn lock(&self, name: &str) -> Result<CacheLock, CacheError> {
        let (path, file) = self.lock_file(name)?;
        let held = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
        Ok(CacheLock { _held: held.at("lock", &path)? })
    }

    /// Notes that the file or directory `path` is used now.
    pub fn touch(&self, path: &Path) -> Result<(), FileError> {
        let now = SystemTime::now();
        File::open(path).and_then(|file| file.set_modified(now)).at("mark as used", path)
    }

    /// Takes a file or directory out of the cache, if it is there.
    pub fn remove(&self, path: &Path) -> Result<(), CacheError> {
        // Renamed first, so that a directory is gone at once; the scratch directory's end removes it.
        let scratch = self.scratch()?;
        match fs::rename(path, scratch.path("removed")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path)?,
            _ => Ok(()),
        }
    }

    /// Removes what has not been used for longest from the directory `part`, down to `bytes_max`.
    pub fn evict(&self, part: &str, bytes_max: u64) -> Result<(), CacheError> {
        let dir = self.path(part);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&dir).at("read", &dir)? {
            let path = entry.at("read", &dir)?.path();
            // Another lab may be evicting too: what is gone needs no room.
            if let Ok(metadata) = fs::metadata(&path) {
                entries.push((metadata.modified().at("read", &path)?, size_of(&path), path));
            }
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (used, size, path) in entries {
            if bytes <= bytes_max || used.elapsed().unwrap_or_default() < IN_USE {
                break;
            }
            if self.remove(&path).is_ok() {
                bytes -= size;
            }
        }
        Ok(())
    }

    /// Makes a scratch directory, and removes those whose owner has died.
    pub fn scratch(&self) -> Result<Scratch, CacheError> {
        // Without this lock a sweep could take the directory made here before it is held.
        let _sweeping = self.lock("scratch")?;
        let all = self.path("scratch");
        for entry in fs::read_dir(&all).at("read", &all)? {
            let dir = entry.at("read", &all)?.path();
            let handle = File::open(&dir).at("open", &dir)?;
            if Flock::lock(handle, FlockArg::LockExclusiveNonblock).is_ok() {
                fs::remove_dir_all(&dir).at("remove", &dir)?;
            }
        }
        let dir = tempfile::Builder::new().prefix("").tempdir_in(&all).at("create", &all)?.keep();
        let handle = File::open(&dir).at("open", &dir)?;
        let held = Flock::lock(handle, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno);
        Ok(Scratch { _held: held.at("lock", &dir)?, dir })
    }
}

impl Scratch {
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
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Bytes of a file, or of the files in a directory.
fn size_of(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum(),
        Err(_) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}

fn root_from(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LAB_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("bondlab")))
        .or_else(|| Some(set("HOME")?.join(".cache/bondlab")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(vars: &[(&str, &str)]) -> Option<PathBuf> {
        root_from(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn place_by_precedence() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("LAB_CACHE", "/l")]), path("/l"));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), path("/x/bondlab"));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "")]), path("/h/.cache/bondlab"));
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn sweeps_only_what_nobody_holds() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let live = cache.scratch().unwrap();
        let stale = cache.path("scratch/stale");
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("partial"), "x").unwrap();
        let next = cache.scratch().unwrap();
        assert!(!stale.exists());
        assert!(live.path("").exists() && next.path("").exists());
        let gone = next.path("");
        drop(next);
        assert!(!gone.exists());
    }

    #[test]
    fn a_held_lock_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let held = cache.lock("a").unwrap();
        assert!(cache.try_lock("a").unwrap().is_none());
        assert!(cache.try_lock("b").unwrap().is_some());
        drop(held);
        assert!(cache.try_lock("a").unwrap().is_some());
    }

    #[test]
    fn evicts_the_oldest_not_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let put = |name: &str, age_s| {
            let path = cache.path("initramfs").join(name);
            fs::write(&path, [0; 10]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(age_s);
            File::open(&path).unwrap().set_modified(used).unwrap();
            path
        };
        let files = [put("oldest", 9000), put("old", 8000), put("new", 60), put("newer", 50)];
        let left = || files.iter().filter(|path| path.exists()).count();
        cache.evict("initramfs", 40).unwrap();
        assert_eq!(left(), 4);
        cache.evict("initramfs", 30).unwrap();
        assert!(!files[0].exists() && left() == 3);
        cache.evict("initramfs", 0).unwrap();
        assert!(!files[1].exists() && left() == 2);
    }

    #[test]
    fn publishes_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let scratch = cache.scratch().unwrap();
        fs::create_dir(scratch.path("tree")).unwrap();
        fs::write(scratch.path("tree/file"), "x").unwrap();
        scratch.publish(&scratch.path("tree"), &cache.path("kernels/k")).unwrap();
        assert_eq!(fs::read(cache.path("kernels/k/file")).unwrap(), b"x");
    }
}
