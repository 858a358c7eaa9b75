//! The lab's directory of things that can be had again: kernels, initramfs images, saved machines.
//!
//! Nothing half made is ever at its final name. Work is done in a [`Scratch`] directory, which its owner
//! holds a flock(2) on, and moved into place by rename(2). A killed process leaves only a scratch directory
//! and locks that no process holds; the next lab removes them when it starts.
//!
//! A cache that cannot be written to is used for what is in it. What a run needs beside that is made in a temporary
//! directory, and gone with the process.

mod owner;
mod scratch;

pub use scratch::Scratch;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access};
use tempfile::TempDir;

use crate::file::{At, FileError, NoTemporary};
use crate::install;
use bondlab_core::net::inner_path::FileName;

/// The directories of a cache.
const PARTS: [&str; 8] =
    ["kernels", "modules", "selftests", "images", "initramfs", "machines", LOCKS, SCRATCH];
const LOCKS: &str = "locks";
const SCRATCH: &str = "scratch";

/// What was used this recently may be about to be opened by a running lab: it is not evicted.
const IN_USE: Duration = Duration::from_secs(3600);
/// How much older than its last use an entry may look.
const USE_MARK_INTERVAL: Duration = Duration::from_secs(IN_USE.as_secs() / 4);

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No variable says where it is to be.
    #[error(
        "no place for the cache: none of LAB_CACHE, XDG_CACHE_HOME and HOME is set; set LAB_CACHE to a directory"
    )]
    NoPlace,
    /// Another user owns a part of it.
    #[error(
        "{} belongs to user {owner}, who could change what is booted; you are user {user}\nhint: `chown -R {user} {root}` makes it yours; or set LAB_CACHE to a directory of your own", path.display()
    )]
    Foreign {
        /// The part.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who is asking.
        user: u32,
        /// The cache, as a word of the shell.
        root: String,
    },
    /// Everyone may write to a part of it.
    #[error(
        "everyone may write to {}, and so change what is booted\nhint: `chmod -R o-w {root}` ends that, and `lab kernels verify` says whether someone did", path.display()
    )]
    Open {
        /// The part.
        path: PathBuf,
        /// The cache, as a word of the shell.
        root: String,
    },
    /// Something is to be put into or taken out of a cache that cannot be written to.
    #[error("cannot change {}: the cache is read-only; set LAB_CACHE to a directory that can be written to", .0.display())]
    ReadOnly(PathBuf),
    /// It is read-only, and there is no other place.
    #[error("{0}, for the cache is read-only")]
    NoTemporary(#[source] NoTemporary),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl CacheError {
    /// What to type, so that there is a cache that can be used.
    #[must_use]
    pub fn mend(&self) -> String {
        match self {
            Self::Foreign { user, root, .. } => install::as_root(&format!("chown -R {user} {root}")),
            Self::Open { root, .. } => format!("chmod -R o-w {root}"),
            Self::NoTemporary(_) => "export TMPDIR=DIR, a directory that you may write to".to_owned(),
            Self::NoPlace | Self::ReadOnly(_) | Self::File(_) => {
                "export LAB_CACHE=DIR, a directory that you may write to".to_owned()
            }
        }
    }
}

/// The cache directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// Where things are made instead when `root` cannot be written to.
    spare: Option<Arc<TempDir>>,
}

/// A lock on a name in the cache, held until dropped or until the process dies.
#[derive(Debug)]
#[must_use = "the lock is held only as long as this value lives"]
pub struct CacheLock {
    /// None in a cache that cannot be written to: there is nothing to exclude others from.
    _held: Option<Flock<File>>,
}

impl Cache {
    /// Opens `$LAB_CACHE`, else `$XDG_CACHE_HOME/bondlab`, else `$HOME/.cache/bondlab`, and removes what labs left there
    /// that were killed.
    pub fn open() -> Result<Cache, CacheError> {
        // Nothing that this process makes may be writable by all, or it would be refused the next time.
        umask(umask(Mode::empty()) | Mode::S_IWOTH);
        let cache = Cache::at(root_from(|name| std::env::var_os(name)).ok_or(CacheError::NoPlace)?)?;
        cache.sweep()?;
        Ok(cache)
    }

    /// Opens the cache in `root`, which is made if it is not there.
    pub fn at(root: impl Into<PathBuf>) -> Result<Cache, CacheError> {
        let root = root.into();
        create_dir(&root)?;
        let root = fs::canonicalize(&root).at("resolve", &root)?;
        owner::check(&root, &PARTS)?;
        let spare = if is_writable(&root) {
            None
        } else {
            let dir = std::env::temp_dir();
            let made = tempfile::Builder::new().prefix("bondlab-").tempdir_in(&dir);
            let made = made.map_err(|source| CacheError::NoTemporary(NoTemporary { dir, source }))?;
            Some(Arc::new(made))
        };
        let cache = Cache { root, spare };
        for part in PARTS {
            create_dir(&cache.writable().join(part))?;
        }
        Ok(cache)
    }

    /// Whether nothing can be put into it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.spare.is_some()
    }

    /// A path inside the cache.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Where the entry `relative` is, or is to be made: in the cache, unless that is read-only and has no good one.
    pub fn place(&self, relative: impl AsRef<Path>, is_good: impl Fn(&Path) -> bool) -> PathBuf {
        let inside = self.path(&relative);
        match &self.spare {
            Some(spare) if !is_good(&inside) => spare.path().join(relative),
            _ => inside,
        }
    }

    /// Where scratch directories and locks are, and new entries.
    fn writable(&self) -> &Path {
        self.spare.as_ref().map_or(&self.root, |spare| spare.path())
    }

    /// Refuses to change an entry of a read-only cache.
    fn changeable(&self, path: &Path) -> Result<(), CacheError> {
        let is_fixed = self.is_read_only() && path.starts_with(&self.root);
        if is_fixed { Err(CacheError::ReadOnly(path.to_owned())) } else { Ok(()) }
    }

    fn lock_as(&self, name: &str, how: FlockArg) -> Result<Option<CacheLock>, CacheError> {
        if self.is_read_only() {
            return Ok(Some(CacheLock { _held: None }));
        }
        let dir = self.path(LOCKS);
        let name = FileName::parse(name).map_err(io::Error::other).at("make a lock in", &dir)?;
        let path = dir.join(name);
        loop {
            let options = File::options().write(true).create(true).truncate(false).clone();
            let file = options.clone().custom_flags(libc::O_NONBLOCK).open(&path).at("create", &path)?;
            match Flock::lock(file, how) {
                // A lock file that was swept before it was held excludes no other process.
                Ok(held) if !scratch::is_at(&held, &path) => {}
                Ok(held) => return Ok(Some(CacheLock { _held: Some(held) })),
                Err((_, nix::Error::EWOULDBLOCK)) => return Ok(None),
                Err((_, nix::Error::EINTR)) => {}
                Err((_, errno)) => Err(errno).at("lock", &path)?,
            }
        }
    }

    /// Takes the lock `name` if no process holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<CacheLock>, CacheError> {
        self.lock_as(name, FlockArg::LockExclusiveNonblock)
    }

    /// Takes the lock `name`, waiting for as long as a live process holds it.
    pub fn lock(&self, name: &str) -> Result<CacheLock, CacheError> {
        let lock = self.lock_as(name, FlockArg::LockExclusive)?;
        Ok(lock.expect("only a lock that is not waited for may be refused"))
    }

    /// Notes that the file or directory `path` is used now. Not at every use: a file whose times change is checked again.
    pub fn touch(&self, path: &Path) -> Result<(), FileError> {
        if self.is_read_only() {
            return Ok(());
        }
        let open = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mark = |file: File| match file.metadata()?.modified()?.elapsed() {
            Ok(age) if age < USE_MARK_INTERVAL => Ok(()),
            _ => file.set_modified(SystemTime::now()),
        };
        open.and_then(mark).at("mark as used", path)
    }

    /// Takes a file or directory out of the cache, if it is there.
    pub fn remove(&self, path: &Path) -> Result<(), CacheError> {
        self.changeable(path)?;
        // Renamed first, so that a directory is gone at once; the scratch directory's end removes it.
        let scratch = self.scratch()?;
        match fs::rename(path, scratch.path("removed")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path)?,
            _ => Ok(()),
        }
    }

    /// Removes what has not been used for longest from the directory `part`, down to `bytes_max`.
    pub fn evict(&self, part: &str, bytes_max: u64) -> Result<(), CacheError> {
        if self.is_read_only() {
            return Ok(());
        }
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
        let _sweeping = self.lock(SCRATCH)?;
        let all = self.writable().join(SCRATCH);
        scratch::sweep(&all)?;
        Scratch::new_in(&all)
    }

    /// Removes what killed labs left: scratch directories and locks that no living process holds.
    pub fn sweep(&self) -> Result<(), CacheError> {
        if self.is_read_only() {
            return Ok(());
        }
        let _sweeping = self.lock(SCRATCH)?;
        scratch::sweep(&self.path(SCRATCH))?;
        Ok(scratch::sweep_locks(&self.path(LOCKS))?)
    }
}

/// Whether entries can be made in the cache and in each of its directories.
fn is_writable(root: &Path) -> bool {
    let parts = PARTS.iter().map(|part| root.join(part)).filter(|part| part.exists());
    parts.chain([root.to_owned()]).all(|dir| access(&dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}

fn create_dir(dir: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir).at("create", dir)
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
    fn a_start_sweeps_what_killed_labs_left_and_no_lock_that_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let held = cache.lock("held").unwrap();
        for left in ["locks/left", "scratch/file"] {
            fs::write(cache.path(left), "").unwrap();
        }
        nix::unistd::mkfifo(&cache.path("scratch/fifo"), Mode::S_IRUSR).unwrap();
        cache.sweep().unwrap();
        let exists = |name: &str| cache.path(name).exists();
        assert!(exists("locks/held") && !exists("locks/left"));
        assert!(!exists("scratch/file") && !exists("scratch/fifo"));
        assert!(cache.try_lock("held").unwrap().is_none());
        drop(held);
    }

    /// What a lab makes and removes, another one sweeps at the same time: none of that is an error to either.
    #[test]
    fn labs_at_once_do_not_meet_in_scratch() {
        let dir = tempfile::tempdir().unwrap();
        let work = || {
            let cache = Cache::at(dir.path()).unwrap();
            for n in 0..200 {
                let scratch = cache.scratch().unwrap();
                let (made, place) = (scratch.path("x"), cache.path(format!("initramfs/{}", n % 3)));
                fs::write(&made, "x").unwrap();
                scratch.publish_checked(&made, &place).unwrap();
                assert!(scratch.path("").exists());
                drop(scratch);
                cache.sweep().unwrap();
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert_eq!(fs::read_dir(dir.path().join(SCRATCH)).unwrap().count(), 0);
    }

    /// Two holders of one lock would both count here.
    #[test]
    fn a_lock_that_is_swept_while_it_is_waited_for_is_still_one_lock() {
        let dir = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            let cache = Cache::at(dir.path()).unwrap();
            for _ in 0..200 {
                let held = cache.lock("one").unwrap();
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(held);
                cache.sweep().unwrap();
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
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
    fn a_file_that_is_used_again_and_again_is_marked_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let path = cache.path("initramfs").join("image");
        fs::write(&path, "image").unwrap();
        let file = File::open(&path).unwrap();
        let modified = || file.metadata().unwrap().modified().unwrap();
        for (age_s, is_marked) in [(60, false), (3600, true)] {
            let used = SystemTime::now() - Duration::from_secs(age_s);
            file.set_modified(used).unwrap();
            cache.touch(&path).unwrap();
            assert_eq!(modified() > used + Duration::from_secs(1), is_marked, "{age_s} s ago");
        }
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
