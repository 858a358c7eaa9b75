//! What an unpacked tree was made of: size, time and SHA-256 of each file, to tell later that none has changed.
//!
//! Two checks: what stat(2) says of every file, before each use; what is in them, when the user asks.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::file::{At, FileError};
use crate::kernel::download::measure;
use crate::kernel::pins::Sha256Hex;

/// The manifest's own name in its tree.
pub const MANIFEST: &str = "manifest";

/// One file as it was when the tree was made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    sha256: Sha256Hex,
    size: u64,
    mtime_ns: i128,
}

/// The files of a tree, by their path in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: BTreeMap<String, Entry>,
}

/// A file that is not what it was, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its path in the tree.
    pub file: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file, self.what)
    }
}

impl Damage {
    /// A tree without its manifest cannot be checked.
    pub fn no_manifest() -> Damage {
        Damage { file: MANIFEST.to_owned(), what: "is gone or not whole" }
    }
}

impl Manifest {
    /// Reads every file of a tree.
    ///
    /// # Errors
    /// When one cannot be read, or has a name that is not UTF-8.
    pub fn of(tree: &Path) -> Result<Manifest, FileError> {
        let files = files_of(tree)?;
        // Half a second for a generic kernel on one core.
        let hashed = std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let hash = |part: &[String]| -> Result<Vec<Entry>, FileError> {
                part.iter().map(|file| Entry::of(&tree.join(file))).collect()
            };
            let share = files.len().div_ceil(threads).max(1);
            let started: Vec<_> = files.chunks(share).map(|part| scope.spawn(move || hash(part))).collect();
            let ended =
                started.into_iter().map(|thread| thread.join().expect("hashing a file does not panic"));
            ended.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Manifest { entries: files.into_iter().zip(hashed.into_iter().flatten()).collect() })
    }

    /// The manifest of `tree`, as [`Manifest::write`] left it; `None` if it is not there or is no manifest.
    pub fn read(tree: &Path) -> Option<Manifest> {
        Manifest::parse(&fs::read_to_string(tree.join(MANIFEST)).ok()?)
    }

    /// Puts the manifest into its tree.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, tree: &Path) -> Result<(), FileError> {
        let path = tree.join(MANIFEST);
        fs::write(&path, self.to_string()).at("write", &path)
    }

    /// The first file that, by its size and time, was touched since; cheap enough to ask before every use.
    pub fn touched(&self, tree: &Path) -> Option<Damage> {
        self.entries.iter().find_map(|(file, entry)| {
            let what = match fs::metadata(tree.join(file)) {
                Err(_) => "is gone",
                Ok(now) if now.len() != entry.size => "has another size",
                Ok(now) if mtime_ns(&now) != entry.mtime_ns => "was written to",
                Ok(_) => return None,
            };
            Some(Damage { file: file.clone(), what })
        })
    }

    /// The files that differ from what `now`, the manifest of the same tree made anew, says of them.
    pub fn differences(&self, now: &Manifest) -> Vec<Damage> {
        let what = |file: &String, was: &Entry| match now.entries.get(file) {
            None => Some("is gone"),
            Some(is) if is.size != was.size => Some("has another size"),
            Some(is) if is.sha256 != was.sha256 => Some("has another content"),
            Some(_) => None,
        };
        let changed = self.entries.iter().filter_map(|(file, was)| Some((file, what(file, was)?)));
        let foreign = now.entries.keys().filter(|file| !self.entries.contains_key(*file));
        let foreign = foreign.map(|file| (file, "does not belong there"));
        changed.chain(foreign).map(|(file, what)| Damage { file: file.clone(), what }).collect()
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes they have together.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.size).sum()
    }

    fn parse(text: &str) -> Option<Manifest> {
        let line = |line: &str| {
            let mut parts = line.splitn(4, ' ');
            let sha256 = parts.next()?.to_owned().try_into().ok()?;
            let (size, mtime_ns) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some((parts.next()?.to_owned(), Entry { sha256, size, mtime_ns }))
        };
        // A manifest that was cut short would vouch for fewer files.
        let (lines, count) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let entries: BTreeMap<String, Entry> = lines.lines().map(line).collect::<Option<_>>()?;
        (count.strip_suffix(" files")?.parse() == Ok(entries.len())).then_some(Manifest { entries })
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, Entry { sha256, size, mtime_ns }) in &self.entries {
            writeln!(f, "{} {size} {mtime_ns} {file}", sha256.as_str())?;
        }
        writeln!(f, "{} files", self.entries.len())
    }
}

impl Entry {
    fn of(path: &Path) -> Result<Entry, FileError> {
        let mtime_ns = mtime_ns(&fs::metadata(path).at("read", path)?);
        let (size, sha256) = measure(path)?;
        Ok(Entry { sha256, size, mtime_ns })
    }
}

fn mtime_ns(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// The paths in `tree` of all its files but the manifest.
fn files_of(tree: &Path) -> Result<Vec<String>, FileError> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let full = tree.join(&dir);
        for entry in fs::read_dir(&full).at("read", &full)? {
            let entry = entry.at("read", &full)?;
            let path = dir.join(entry.file_name());
            if entry.file_type().at("read", entry.path())?.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.to_str().filter(|name| !name.contains('\n'));
            let name = name.ok_or(io::ErrorKind::InvalidFilename).at("list", entry.path())?;
            if name != MANIFEST {
                files.push(name.to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("modules/kernel")).unwrap();
        for file in ["vmlinux", "config", "modules/kernel/bonding.ko.xz"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        Manifest::of(dir.path()).unwrap().write(dir.path()).unwrap();
        dir
    }

    fn cheap(tree: &Path) -> Option<String> {
        Manifest::read(tree).unwrap().touched(tree).map(|damage| damage.to_string())
    }

    fn full(tree: &Path) -> Vec<String> {
        let now = Manifest::of(tree).unwrap();
        Manifest::read(tree).unwrap().differences(&now).iter().map(ToString::to_string).collect()
    }

    /// Writes `content` and sets the time back to what it was, as a failing disk would.
    fn rot(path: &Path, content: &str) {
        let time = fs::metadata(path).unwrap().modified().unwrap();
        fs::write(path, content).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_whole_tree_passes_both_checks() {
        let dir = tree();
        assert_eq!(cheap(dir.path()), None);
        assert!(full(dir.path()).is_empty());
        let manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!((manifest.files(), manifest.bytes()), (3, 7 + 6 + 28));
    }

    #[test]
    fn each_damage_is_named() {
        let dir = tree();
        let vmlinux = dir.path().join("vmlinux");
        rot(&vmlinux, "vmlinuX");
        assert_eq!(cheap(dir.path()), None, "size and time are as before");
        assert_eq!(full(dir.path()), ["vmlinux has another content"]);
        rot(&vmlinux, "vmlin");
        assert_eq!(cheap(dir.path()).unwrap(), "vmlinux has another size");
        rot(&vmlinux, "vmlinux");
        assert_eq!(cheap(dir.path()), None);

        let later = SystemTime::now() + Duration::from_secs(1);
        File::options().write(true).open(&vmlinux).unwrap().set_modified(later).unwrap();
        assert_eq!(cheap(dir.path()).unwrap(), "vmlinux was written to");
        assert!(full(dir.path()).is_empty(), "the content is what counts");

        fs::remove_file(dir.path().join("modules/kernel/bonding.ko.xz")).unwrap();
        fs::write(dir.path().join("modules/extra.ko"), "").unwrap();
        assert_eq!(
            full(dir.path()),
            ["modules/kernel/bonding.ko.xz is gone", "modules/extra.ko does not belong there"]
        );
    }

    #[test]
    fn a_manifest_that_is_not_whole_is_none() {
        let dir = tree();
        let path = dir.path().join(MANIFEST);
        let text = fs::read_to_string(&path).unwrap();
        let fewer: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
        for broken in ["", "3 files\n", &text[..text.len() - 1], &text[5..], &fewer] {
            fs::write(&path, broken).unwrap();
            assert_eq!(Manifest::read(dir.path()), None, "{broken:?}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(Manifest::read(dir.path()), None);
    }
}
