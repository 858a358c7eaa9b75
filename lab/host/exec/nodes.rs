//! The host's files by the numbers that the guest has for them, and what may be read of them.
//!
//! The guest is not trusted. It names a node and one name below it, never a path. A node's path is made of the names it
//! was found by, and resolved anew each time without following any link (openat2(2)), so that neither a link nor `..`
//! leads anywhere else. Nothing is ever opened for writing.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::{FsType, fstatfs};

use crate::exec::error::ServeError;
use bondlab_core::plan::fuse::{Attributes, Entry, ROOT_NODE};

/// Each takes some hundred bytes.
const NODES_MAX: usize = 1 << 20;
/// The kernel asks for one file's pages in a row; some programs read several files in turn.
const OPEN_FILES_MAX: usize = 64;
const LISTINGS_MAX: usize = 16;

/// Folders that are the guest's own. The host's are empty to it: they are about this machine and not part of its files.
const OWN_OF_GUEST: [&[u8]; 4] = [b"dev", b"proc", b"run", b"sys"];

/// File systems that are windows into the kernel (include/uapi/linux/magic.h): proc, sysfs, devpts, debugfs, tracefs,
/// securityfs, cgroup, cgroup2, bpf, efivarfs, pstore, selinuxfs.
const WINDOWS: [i64; 12] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0xde5e_81e4,
    0x6165_676c,
    0xf97c_ff8c,
];

/// One file that the guest knows.
struct Node {
    parent: u64,
    name: Vec<u8>,
    /// How often it was looked up, minus how often that was taken back.
    lookups: u64,
}

/// Every file that the guest knows.
pub(super) struct Nodes {
    root: OwnedFd,
    nodes: BTreeMap<u64, Node>,
    by_name: BTreeMap<(u64, Vec<u8>), u64>,
    next: u64,
    /// Files that were read of late, the last one at the end.
    open: VecDeque<(u64, File)>,
    listings: VecDeque<(u64, Vec<Entry>)>,
}

impl Nodes {
    /// Knows `root` alone.
    pub(super) fn new(root: &Path) -> Result<Self, ServeError> {
        let root = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(root)
            .map_err(ServeError::Root)?;
        Ok(Self {
            root: root.into(),
            nodes: BTreeMap::new(),
            by_name: BTreeMap::new(),
            next: ROOT_NODE + 1,
            open: VecDeque::new(),
            listings: VecDeque::new(),
        })
    }

    /// A name's node and attributes.
    pub(super) fn lookup(&mut self, parent: u64, name: &[u8]) -> Result<(u64, Attributes), Refusal> {
        let mut path = self.path(parent)?;
        path.push(OsStr::from_bytes(name));
        let (_, stat) = self.stat_at(&path)?;
        let key = (parent, name.to_vec());
        let node = match self.by_name.get(&key) {
            Some(node) => *node,
            None => {
                if self.nodes.len() >= NODES_MAX {
                    return Err(Refusal::TooMany);
                }
                let node = self.next;
                self.next += 1;
                self.by_name.insert(key, node);
                self.nodes.insert(node, Node { parent, name: name.to_vec(), lookups: 0 });
                node
            }
        };
        if let Some(known) = self.nodes.get_mut(&node) {
            known.lookups += 1;
        }
        Ok((node, attributes(&stat)))
    }

    /// How many files the guest knows.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Takes lookups of a node back; without any it is forgotten. The kernel forgets a folder after all that is in it.
    pub(super) fn forget(&mut self, node: u64, lookups: u64) {
        let Some(known) = self.nodes.get_mut(&node) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups == 0
            && let Some(Node { parent, name, .. }) = self.nodes.remove(&node)
        {
            self.by_name.remove(&(parent, name));
            self.open.retain(|(open, _)| *open != node);
            self.listings.retain(|(listed, _)| *listed != node);
        }
    }

    pub(super) fn attributes(&self, node: u64) -> Result<Attributes, Refusal> {
        Ok(attributes(&self.stat_at(&self.path(node)?)?.1))
    }

    pub(super) fn read_link(&self, node: u64) -> Result<Vec<u8>, Refusal> {
        let (file, stat) = self.stat_at(&self.path(node)?)?;
        if kind_of(&stat) != SFlag::S_IFLNK {
            return Err(Errno::EINVAL.into());
        }
        Ok(readlinkat(&file, "")?.into_vec())
    }

    /// A part of a plain file; short at its end only.
    pub(super) fn read(&mut self, node: u64, offset: u64, size: u32) -> Result<Vec<u8>, Refusal> {
        let file = match self.open.iter().position(|(open, _)| *open == node) {
            Some(place) => self.open.remove(place).ok_or(Errno::EIO)?.1,
            None => self.open_plain(node)?,
        };
        let mut bytes = vec![0; size as usize];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], offset.saturating_add(length as u64)) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        self.open.push_back((node, file));
        if self.open.len() > OPEN_FILES_MAX {
            self.open.pop_front();
        }
        Ok(bytes)
    }

    /// All entries of a folder, by name; read when the guest begins to read it.
    pub(super) fn list(&mut self, node: u64, is_begin: bool) -> Result<&[Entry], Refusal> {
        if is_begin {
            self.listings.retain(|(listed, _)| *listed != node);
        }
        if !self.listings.iter().any(|(listed, _)| *listed == node) {
            let entries = self.list_anew(node)?;
            self.listings.push_back((node, entries));
            if self.listings.len() > LISTINGS_MAX {
                self.listings.pop_front();
            }
        }
        let found = self.listings.iter().find(|(listed, _)| *listed == node);
        found.map(|(_, entries)| entries.as_slice()).ok_or(Refusal::Errno(Errno::EIO))
    }

    fn list_anew(&self, node: u64) -> Result<Vec<Entry>, Refusal> {
        let path = self.path(node)?;
        let (file, stat) = self.stat_at(&path)?;
        if kind_of(&stat) != SFlag::S_IFDIR {
            return Err(Errno::ENOTDIR.into());
        }
        if is_own_of_guest(&path) {
            return Ok(Vec::new());
        }
        // The descriptor is a folder that was found without following links; its own name leads to it and nowhere else.
        let mut entries = Vec::new();
        for entry in fs::read_dir(own_name(&file))? {
            let entry = entry?;
            let name = entry.file_name().into_vec();
            entries.push(Entry {
                inode: inode(&stat, entry.ino()),
                kind: kind_number(entry.file_type()?),
                name,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn open_plain(&self, node: u64) -> Result<File, Refusal> {
        let (file, stat) = self.stat_at(&self.path(node)?)?;
        match kind_of(&stat) {
            SFlag::S_IFREG => Ok(File::open(own_name(&file))?),
            SFlag::S_IFDIR => Err(Errno::EISDIR.into()),
            // A device of this host's, or a socket, is nothing to the guest.
            _ => Err(Errno::ENXIO.into()),
        }
    }

    /// The path of a node from the root, without `/` at its begin.
    fn path(&self, node: u64) -> Result<PathBuf, Refusal> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = node;
        while at != ROOT_NODE {
            let known = self.nodes.get(&at).ok_or(Errno::ESTALE)?;
            names.push(&known.name);
            at = known.parent;
        }
        Ok(names.iter().rev().map(|name| OsStr::from_bytes(name)).collect())
    }

    /// Opens what has that path now, without following links or opening it for anything but to look at it.
    fn stat_at(&self, path: &Path) -> Result<(OwnedFd, FileStat), Refusal> {
        let is_inside = path.components().count() > 1
            && OWN_OF_GUEST.iter().any(|own| path.starts_with(OsStr::from_bytes(own)));
        if is_inside {
            return Err(Errno::ENOENT.into());
        }
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        // O_PATH and O_NOFOLLOW give a link at the end itself; RESOLVE_NO_SYMLINKS refuses one on the way.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let file = openat2(self.root.as_fd(), path, how)?;
        let stat = fstat(&file)?;
        if !is_own_of_guest(path) && is_window(&file)? {
            return Err(Errno::EACCES.into());
        }
        Ok((file, stat))
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The guest hears it.
    Errno(Errno),
    /// The guest has more names than any program needs.
    TooMany,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Errno(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

fn is_own_of_guest(path: &Path) -> bool {
    OWN_OF_GUEST.iter().any(|own| path.as_os_str().as_bytes() == *own)
}

fn is_window(file: &OwnedFd) -> Result<bool, Errno> {
    let FsType(magic) = fstatfs(file)?.filesystem_type();
    Ok(WINDOWS.contains(&magic))
}

/// The name by which a process opens again what it has open.
fn own_name(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// `DT_*` of readdir(3).
fn kind_number(kind: fs::FileType) -> u8 {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => libc::DT_DIR,
        kind if kind.is_file() => libc::DT_REG,
        kind if kind.is_symlink() => libc::DT_LNK,
        kind if kind.is_fifo() => libc::DT_FIFO,
        kind if kind.is_socket() => libc::DT_SOCK,
        kind if kind.is_char_device() => libc::DT_CHR,
        kind if kind.is_block_device() => libc::DT_BLK,
        _ => libc::DT_UNKNOWN,
    }
}

/// One number for file system and inode: the guest sees one file system.
fn inode(stat: &FileStat, number: u64) -> u64 {
    number ^ (stat.st_dev << 40)
}

fn attributes(stat: &FileStat) -> Attributes {
    let nanoseconds = |ns: i64| u32::try_from(ns).unwrap_or_default();
    Attributes {
        inode: inode(stat, stat.st_ino),
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        blocks: u64::try_from(stat.st_blocks).unwrap_or_default(),
        times: [
            (stat.st_atime, nanoseconds(stat.st_atime_nsec)),
            (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        ],
        mode: stat.st_mode,
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A root with a file, a folder, links, a socket, and a folder that is the guest's own.
    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("etc/hosts"), "localhost").unwrap();
        symlink("hosts", at("etc/link")).unwrap();
        symlink("/etc", at("out")).unwrap();
        fs::create_dir_all(at("run/secret")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
        dir
    }

    fn find(nodes: &mut Nodes, path: &str) -> Result<(u64, Attributes), Refusal> {
        let mut found = (ROOT_NODE, Attributes::default());
        for name in path.split('/') {
            found = nodes.lookup(found.0, name.as_bytes())?;
        }
        Ok(found)
    }

    #[test]
    fn a_file_is_found_and_read() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let (node, attributes) = find(&mut nodes, "etc/hosts").unwrap();
        assert_eq!((attributes.size, attributes.mode & 0o170_000), (9, 0o100_000));
        assert_eq!(attributes.uid, fs::metadata(dir.path().join("etc/hosts")).unwrap().uid());
        assert_eq!(nodes.read(node, 0, 4096).unwrap(), b"localhost");
        assert_eq!(nodes.read(node, 5, 2).unwrap(), b"ho");
        assert_eq!(nodes.read(node, 100, 4096).unwrap(), b"");
        assert_eq!(nodes.read(node, u64::MAX, 4096), Err(Errno::EINVAL.into()));
    }

    #[test]
    fn a_folder_is_listed_by_name() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let names = |entries: &[Entry]| -> Vec<String> {
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
        };
        assert_eq!(names(nodes.list(ROOT_NODE, true).unwrap()), ["etc", "out", "run", "socket"]);
        let (etc, _) = find(&mut nodes, "etc").unwrap();
        assert_eq!(names(nodes.list(etc, true).unwrap()), ["hosts", "link"]);
        let (file, _) = find(&mut nodes, "etc/hosts").unwrap();
        assert_eq!(nodes.list(file, true), Err(Errno::ENOTDIR.into()));
    }

    #[test]
    fn links_are_read_and_never_followed() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let (link, attributes) = find(&mut nodes, "etc/link").unwrap();
        assert_eq!(attributes.mode & 0o170_000, 0o120_000);
        assert_eq!(nodes.read_link(link).unwrap(), b"hosts");
        assert_eq!(nodes.read(link, 0, 10), Err(Errno::ENXIO.into()));
        assert_eq!(find(&mut nodes, "out/passwd"), Err(Errno::ELOOP.into()));
        let (out, _) = find(&mut nodes, "out").unwrap();
        assert_eq!(nodes.list(out, true), Err(Errno::ENOTDIR.into()));
    }

    #[test]
    fn a_folder_that_became_a_link_leads_nowhere() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let (hosts, _) = find(&mut nodes, "etc/hosts").unwrap();
        fs::rename(dir.path().join("etc"), dir.path().join("old")).unwrap();
        symlink("old", dir.path().join("etc")).unwrap();
        assert_eq!(nodes.read(hosts, 0, 10), Err(Errno::ELOOP.into()));
        assert_eq!(nodes.attributes(hosts), Err(Errno::ELOOP.into()));
    }

    #[test]
    fn names_that_lead_up_are_refused_even_if_they_get_here() {
        let dir = root();
        let mut nodes = Nodes::new(&dir.path().join("etc")).unwrap();
        assert_eq!(nodes.lookup(ROOT_NODE, b".."), Err(Errno::EXDEV.into()));
        assert_eq!(nodes.lookup(ROOT_NODE, b"../socket"), Err(Errno::EXDEV.into()));
        assert_eq!(nodes.lookup(ROOT_NODE, b"/etc/passwd"), Err(Errno::EXDEV.into()));
    }

    #[test]
    fn folders_that_are_the_guests_own_are_empty() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let (run, _) = find(&mut nodes, "run").unwrap();
        assert_eq!(nodes.list(run, true), Ok(&[][..]));
        assert_eq!(find(&mut nodes, "run/secret"), Err(Errno::ENOENT.into()));
    }

    #[test]
    fn windows_into_the_kernel_are_closed_wherever_they_are_mounted() {
        let mut nodes = Nodes::new(Path::new("/proc")).unwrap();
        assert_eq!(nodes.lookup(ROOT_NODE, b"version"), Err(Errno::EACCES.into()));
        assert_eq!(nodes.lookup(ROOT_NODE, b"1"), Err(Errno::EACCES.into()));
        assert_eq!(nodes.list(ROOT_NODE, true), Err(Errno::EACCES.into()));
    }

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let (socket, _) = find(&mut nodes, "socket").unwrap();
        assert_eq!(nodes.read(socket, 0, 1), Err(Errno::ENXIO.into()));
        let (folder, _) = find(&mut nodes, "etc").unwrap();
        assert_eq!(nodes.read(folder, 0, 1), Err(Errno::EISDIR.into()));
    }

    #[test]
    fn a_node_is_known_for_as_long_as_the_guest_looks_it_up() {
        let dir = root();
        let mut nodes = Nodes::new(dir.path()).unwrap();
        let (first, _) = find(&mut nodes, "etc").unwrap();
        let (second, _) = find(&mut nodes, "etc").unwrap();
        assert_eq!((first, nodes.len()), (second, 1));
        nodes.forget(first, 1);
        assert!(nodes.attributes(first).is_ok());
        nodes.forget(first, u64::MAX);
        assert_eq!((nodes.attributes(first), nodes.len()), (Err(Errno::ESTALE.into()), 0));
        nodes.forget(first, 1);
        nodes.forget(ROOT_NODE, 1);
        assert!(nodes.attributes(ROOT_NODE).is_ok());
        assert_ne!(find(&mut nodes, "etc").unwrap().0, first, "a number is never used again");
    }
}
