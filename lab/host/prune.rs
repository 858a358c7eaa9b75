//! Finds unused entries of the cache, and removes them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{Cache, CacheError};
use crate::file::At;

/// What is removed, in the order of the output: a directory of the cache, and what one entry of it is.
const PARTS: [(&str, &str); 6] = [
    (KERNELS, "kernel"),
    ("modules", "module built from source"),
    ("selftests", "selftests of a kernel"),
    ("images", "kernel of your own"),
    ("initramfs", "initramfs"),
    ("machines", "saved machine"),
];

/// The only part that a selection keeps; the rest can be made again without a download.
const KERNELS: &str = "kernels";

/// After so long an entry that is not pinned is taken for unused.
pub const UNUSED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// An entry of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What kind of thing it is.
    pub kind: &'static str,
    /// Its file name.
    pub name: String,
    /// What it takes on disk.
    pub bytes: u64,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Gone.
    pub removed: Vec<Entry>,
    /// Still there, only because it was used not long ago, or is being made or read by another lab.
    pub spared: Vec<Entry>,
}

/// A part of the cache, in bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What kind of thing its entries are.
    pub kind: &'static str,
    /// All of it.
    pub bytes: u64,
    /// What [`prune`] removes.
    pub unused: u64,
    /// What it removes where nothing counts as in use.
    pub not_pinned: u64,
}

/// All that [`prune`] looks at, and what it would remove.
///
/// # Errors
/// When the file system refuses.
pub fn survey(cache: &Cache, keep: &BTreeSet<String>, unused_for: Duration) -> Result<Vec<Part>, CacheError> {
    let mut parts = Vec::new();
    for (folder, kind) in PARTS {
        let mut part = Part { kind, bytes: 0, unused: 0, not_pinned: 0 };
        for path in entries(&cache.path(folder))? {
            let bytes = disk_usage(&path);
            part.bytes += bytes;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if folder == KERNELS && keep.contains(&*name) {
                continue;
            }
            part.not_pinned += bytes;
            let used = fs::metadata(&path).and_then(|metadata| metadata.modified());
            if used.is_ok_and(|used| used.elapsed().unwrap_or_default() >= unused_for) {
                part.unused += bytes;
            }
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Removes everything that was not used for `unused_for` but the kernels whose keys are in `keep`.
///
/// # Errors
/// When the file system refuses.
pub fn prune(cache: &Cache, keep: &BTreeSet<String>, unused_for: Duration) -> Result<Pruned, CacheError> {
    let mut pruned = Pruned::default();
    for (part, kind) in PARTS {
        for path in entries(&cache.path(part))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if part == KERNELS && keep.contains(&name) {
                continue;
            }
            // Another lab may be pruning too: what is gone is no concern.
            let Ok(used) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else { continue };
            let entry = Entry { kind, bytes: disk_usage(&path), name };
            // Who installs or verifies a kernel holds the lock of its name.
            let lock = path.is_dir().then(|| cache.try_lock(&entry.name)).transpose()?;
            let is_held = matches!(lock, Some(None));
            if used.elapsed().unwrap_or_default() >= unused_for && !is_held {
                cache.remove(&path)?;
                pruned.removed.push(entry);
            } else {
                pruned.spared.push(entry);
            }
        }
    }
    Ok(pruned)
}

/// What is in a directory, in the order of names; nothing, if it is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(Vec::new()) };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().at("read", dir)?;
    paths.sort();
    Ok(paths)
}

/// Bytes on disk, as du(1) counts them: a saved machine has holes.
fn disk_usage(path: &Path) -> u64 {
    let own = fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * 512);
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    own + inside.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn cache(dir: &Path) -> Cache {
        let cache = Cache::at(dir).unwrap();
        let old = SystemTime::now() - 10 * DAY;
        for (path, is_old) in [
            ("kernels/pinned", true),
            ("kernels/old", true),
            ("kernels/new", false),
            ("images/old", true),
            ("initramfs/old.cpio", true),
            ("initramfs/new.cpio", false),
            ("machines/old.machine", true),
            ("machines/new.machine", false),
        ] {
            let path = cache.path(path);
            if path.parent().unwrap().ends_with("kernels") {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("vmlinux"), "kernel").unwrap();
            } else {
                fs::write(&path, "x").unwrap();
            }
            if is_old {
                File::open(&path).unwrap().set_modified(old).unwrap();
            }
        }
        cache
    }

    fn names(entries: &[Entry]) -> String {
        let all: Vec<String> = entries.iter().map(|entry| format!("{} {}", entry.kind, entry.name)).collect();
        all.join(", ")
    }

    #[test]
    fn keeps_what_is_pinned_or_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let keep = BTreeSet::from(["pinned".to_owned()]);
        let pruned = prune(&cache, &keep, 7 * DAY).unwrap();
        assert_eq!(
            names(&pruned.removed),
            "kernel old, kernel of your own old, initramfs old.cpio, saved machine old.machine"
        );
        assert_eq!(names(&pruned.spared), "kernel new, initramfs new.cpio, saved machine new.machine");
        assert!(!cache.path("kernels/old").exists() && cache.path("kernels/pinned/vmlinux").exists());

        let pruned = prune(&cache, &keep, Duration::ZERO).unwrap();
        assert_eq!(names(&pruned.removed), "kernel new, initramfs new.cpio, saved machine new.machine");
        assert_eq!(prune(&cache, &keep, Duration::ZERO).unwrap(), Pruned::default());
    }

    #[test]
    fn a_survey_has_what_each_part_takes_and_what_can_go() {
        let dir = tempfile::tempdir().unwrap();
        let parts = survey(&cache(dir.path()), &BTreeSet::from(["pinned".to_owned()]), 7 * DAY).unwrap();
        let of = |kind: &str| *parts.iter().find(|part| part.kind == kind).unwrap();
        let kernels = of("kernel");
        // Three of one size: one is pinned, one is old.
        assert_eq!((kernels.unused * 3, kernels.not_pinned * 3), (kernels.bytes, kernels.bytes * 2));
        let machines = of("saved machine");
        assert_eq!((machines.unused * 2, machines.not_pinned), (machines.bytes, machines.bytes));
        assert_eq!(of("selftests of a kernel").bytes, 0);
    }

    #[test]
    fn spares_what_is_being_made() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let _held = cache.lock("old").unwrap();
        let pruned = prune(&cache, &BTreeSet::new(), Duration::ZERO).unwrap();
        assert!(cache.path("kernels/old").exists());
        assert!(names(&pruned.spared).starts_with("kernel old"));
    }
}
