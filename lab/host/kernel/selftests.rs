//! The kernel's own selftests of networking, taken out of Debian's linux-source package into the cache.
//!
//! What is kept is a part of `tools/testing/selftests`, of 3 MB; the package of 150 MB ends with the scratch directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lzma_rust2::XzReader;

use crate::cache::{Cache, CacheError};
use crate::file::{self, FileError};
use crate::kernel::deb::{DebError, for_each_file};
use crate::kernel::download::{DownloadError, DownloadEvent, fetch};
use crate::kernel::limited::Limited;
use crate::kernel::manifest::Manifest;
use crate::kernel::mirror::{MirrorError, Mirrors};
use crate::kernel::pins::{Archive, KernelPin, Kernels, PinnedPackage};
use bondlab_core::net::inner_path::{FileName, InnerPath};
use bondlab_core::net::version::KernelVersion;

/// The folder of the bonding selftests, seen from the root of the selftests.
pub const BONDING: &str = "drivers/net/bonding";

/// The part of the source that is taken, behind the archive's own first folder.
const ROOT: &str = "tools/testing/selftests/";
/// The folders of it: the tests, the libraries they include, and the runner.
const FOLDERS: [&str; 3] = ["drivers/net/", "net/", "kselftest/"];

/// A makefile has a few kB.
const MAKEFILE_BYTES_MAX: u64 = 1 << 20;
/// The largest script has 60 kB; some folders hold captures.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// The selftests of networking have 1,000 files.
const FILES_MAX: usize = 20_000;
/// A kernel's source has 1.8 GB.
const SOURCE_BYTES_MAX: u64 = 8 << 30;

/// Why there are no selftests.
#[derive(Debug, thiserror::Error)]
pub enum SelftestsError {
    /// No source is pinned.
    #[error(
        "no linux-source package is pinned; `lab kernels add {0} --netdevsim` pins the one of {0}, if the archive has it"
    )]
    NoSource(String),
    /// The package holds no selftests.
    #[error("package {package} holds no {BONDING}")]
    NoSelftests {
        /// Name of the package.
        package: String,
    },
    /// The package is damaged.
    #[error("package {package}: {source}")]
    Deb {
        /// Name of the package.
        package: String,
        /// What is wrong.
        source: DebError,
    },
    /// No mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// No download.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The source that a kernel's selftests are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The version whose source it is.
    pub version: String,
    archive: Archive,
    package: PinnedPackage,
}

/// The selftests in the cache.
#[derive(Debug, Clone)]
pub struct Selftests {
    /// `tools/testing/selftests` of the source.
    pub root: PathBuf,
    /// The scripts of the bonding selftests, by their makefile's `TEST_PROGS`.
    pub scripts: Vec<String>,
}

/// The source of a kernel's selftests: its own where that is pinned, else the nearest older one, which a newer kernel has to
/// pass as well; else the oldest.
///
/// # Errors
/// When no source is pinned at all.
pub fn source(kernels: &Kernels, pin: &KernelPin) -> Result<Source, SelftestsError> {
    let mut sources: Vec<(KernelVersion, Source)> = kernels
        .modules()
        .filter_map(|module| {
            let package =
                module.packages.iter().find(|package| package.package.starts_with("linux-source-"))?;
            let source =
                Source { version: module.kernel.clone(), archive: module.archive, package: package.clone() };
            Some((module.kernel.parse().ok()?, source))
        })
        .collect();
    sources.sort_by_key(|(version, _)| *version);
    let version = pin.version();
    let older = sources.iter().rev().find(|(of, _)| *of <= version);
    let found = older.or(sources.first()).map(|(_, source)| source.clone());
    found.ok_or_else(|| SelftestsError::NoSource(pin.name()))
}

/// The selftests of a source, fetched and unpacked first if they are not in the cache.
///
/// # Errors
/// When they are not to be had.
pub fn ensure(
    cache: &Cache,
    mirror: Option<&str>,
    source: &Source,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<Selftests, SelftestsError> {
    let key = format!("selftests-{}-{}", source.version, &source.package.sha256.as_str()[..12]);
    let tree = cache.place(format!("selftests/{key}"), is_whole);
    if !is_whole(&tree) {
        let _held = cache.lock(&key)?;
        if !is_whole(&tree) {
            cache.remove(&tree)?;
            let scratch = cache.scratch()?;
            let deb = scratch.path("deb");
            let url = Mirrors::find(mirror)?.url(source.archive, &source.package.path)?;
            fetch(&url, &source.package, &deb, on_event)?;
            on_event(DownloadEvent::Unpacking { kernel: &format!("the selftests of {}", source.version) });
            let made = scratch.path("made");
            unpack(&deb, &made).map_err(|error| SelftestsError::Deb {
                package: source.package.package.clone(),
                source: error,
            })?;
            if !made.join(BONDING).join("Makefile").is_file() {
                return Err(SelftestsError::NoSelftests { package: source.package.package.clone() });
            }
            Manifest::of(&made)?.write(&made)?;
            scratch.publish(&made, &tree)?;
        }
    }
    cache.touch(&tree)?;
    let makefile = file::read_text(&tree.join(BONDING).join("Makefile"), MAKEFILE_BYTES_MAX)?;
    Ok(Selftests { root: tree, scripts: programs(&makefile) })
}

/// Programs whose output and errors the scripts throw away: where they are missing a script says of the kernel that it failed, or that
/// it passed.
const SILENCED: [&str; 2] = ["ping", "ping6"];

impl Selftests {
    /// The programs that a script runs without showing what they print, and that are in no folder of PATH.
    ///
    /// # Errors
    /// When the script cannot be read.
    pub fn missing_tools(&self, script: &str) -> Result<Vec<&'static str>, FileError> {
        let folder = self.root.join(BONDING);
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut wanted = vec![script.to_owned()];
        while let Some(name) = wanted.pop() {
            let text = file::read_text(&folder.join(&name), MAKEFILE_BYTES_MAX)?;
            let names = text.split(|c: char| c.is_whitespace() || "/\"'".contains(c));
            let included = names.filter(|name| name.ends_with(".sh") && folder.join(name).is_file());
            let new = included.filter(|name| !texts.contains_key(*name)).map(str::to_owned);
            wanted.extend(new.collect::<BTreeSet<_>>());
            texts.insert(name, text);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |tool: &&str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
        let texts: Vec<&str> = texts.values().map(String::as_str).collect();
        Ok(silenced(&texts).into_iter().filter(|tool| !is_there(tool)).collect())
    }
}

/// Those of [`SILENCED`] that a script and the files it includes come to: in lines that are run, and in functions that these name.
fn silenced(texts: &[&str]) -> Vec<&'static str> {
    let mut functions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for text in texts {
        let mut function = "";
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if let Some((name, _)) =
                line.split_once("()").filter(|(name, _)| !name.contains([' ', '\t', '$']))
            {
                function = name;
                continue;
            }
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            functions.entry(function).or_default().extend(words);
            if line.starts_with('}') {
                function = "";
            }
        }
    }
    let (mut seen, mut wanted) = (BTreeSet::new(), vec![""]);
    while let Some(words) = wanted.pop().map(|function| functions.get(function)) {
        let new = words.into_iter().flatten().filter(|word| seen.insert(**word));
        wanted.extend(new.filter(|word| functions.contains_key(*word)));
    }
    SILENCED.into_iter().filter(|tool| seen.contains(tool)).collect()
}

/// A few megabytes are read at every use: what was changed is unpacked again.
fn is_whole(tree: &Path) -> bool {
    let now = Manifest::of(tree).ok();
    Manifest::read(tree).zip(now).is_some_and(|(was, now)| was.differences(&now).is_empty())
}

/// The names in `TEST_PROGS` of a makefile.
fn programs(makefile: &str) -> Vec<String> {
    let joined = makefile.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim_end_matches([':', '+', ' ', '\t']).trim() == "TEST_PROGS").then_some(value)
    });
    let words = lines.flat_map(|value| value.split('#').next().unwrap_or_default().split_whitespace());
    words.filter_map(|word| Some(FileName::parse(word).ok()?.to_string())).collect()
}

fn unpack(deb: &Path, made: &Path) -> Result<(), DebError> {
    let package = io::BufReader::new(File::open(deb)?);
    for_each_file(package, |path, content| {
        let path = path.as_str();
        if path.starts_with("usr/src/linux-source-") && path.ends_with(".tar.xz") {
            take_source(content, made)?;
        }
        Ok(())
    })
}

/// Takes the files, and a copy of what a link leads to where that is among them: no link is made.
fn take_source(content: &mut dyn Read, made: &Path) -> io::Result<()> {
    let xz = Limited::new(XzReader::new(content, false), SOURCE_BYTES_MAX);
    let mut archive = tar::Archive::new(xz);
    let mut links = BTreeMap::new();
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(inside) = inside(&path) else { continue };
        count += 1;
        if count > FILES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds more selftests than are read"));
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() {
            let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            if let Some(target) = target.and_then(|target| resolve(&inside, &target)) {
                links.insert(inside, target);
            }
        } else if kind.is_file() {
            let mode = if entry.header().mode()? & 0o111 == 0 { 0o644 } else { 0o755 };
            write(&made.join(&inside), &mut Limited::new(&mut entry, FILE_BYTES_MAX), mode)?;
        }
    }
    for (link, target) in links {
        let target = made.join(target);
        if target.is_file() {
            let mode = fs::metadata(&target)?.permissions().mode() & 0o777;
            write(&made.join(link), &mut File::open(&target)?, mode)?;
        }
    }
    Ok(())
}

/// The path below the root of the selftests of a file that is taken.
fn inside(path: &str) -> Option<InnerPath> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let inside = path.split_once('/')?.1.strip_prefix(ROOT)?;
    FOLDERS.iter().any(|folder| inside.starts_with(folder)).then(|| InnerPath::parse(inside).ok())?
}

/// What a relative link leads to, if that is below the root.
fn resolve(link: &InnerPath, target: &str) -> Option<InnerPath> {
    let mut parts: Vec<&str> = link.as_str().split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            "." => {}
            _ => parts.push(part),
        }
    }
    InnerPath::parse(&parts.join("/")).ok()
}

fn write(path: &Path, content: &mut dyn Read, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(path)?;
    io::copy(content, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_a_makefile_are_its_scripts() {
        let makefile = "# x\nTEST_PROGS := \\\n\ta.sh \\\n\tb-c.sh \\\n# end of TEST_PROGS\n\nTEST_FILES := lib.sh\nTEST_PROGS += d.sh\n";
        assert_eq!(programs(makefile), ["a.sh", "b-c.sh", "d.sh"]);
        assert_eq!(programs("TEST_PROGS := ../../x.sh /bin/sh ok.sh\n"), ["ok.sh"]);
    }

    #[rstest::rstest]
    #[case(&["ip netns exec a ping -c 5 b >/dev/null\n"], &["ping"])]
    #[case(&["# ping\nTESTS=\"one\"\n. lib.sh\n", "one()\n{\n\ttwo\n}\ntwo() {\n\tping6 a &> /dev/null\n}\n"], &["ping6"])]
    #[case(&[". lib.sh\nother\n", "one()\n{\n\tping a\n}\nother()\n{\n\tip link\n}\n"], &[])]
    fn programs_without_a_shown_error_are_found(#[case] texts: &[&str], #[case] expected: &[&str]) {
        assert_eq!(silenced(texts), expected);
    }

    #[rstest::rstest]
    #[case("linux-source-6.1/tools/testing/selftests/net/lib.sh", Some("net/lib.sh"))]
    #[case("./linux-source-6.1/tools/testing/selftests/kselftest/runner.sh", Some("kselftest/runner.sh"))]
    #[case("linux-source-6.1/tools/testing/selftests/bpf/x.c", None)]
    #[case("linux-source-6.1/tools/testing/selftests/net/../../x", None)]
    #[case("linux-source-6.1/net/core/dev.c", None)]
    fn the_selftests_of_networking_are_taken(#[case] path: &str, #[case] expected: Option<&str>) {
        assert_eq!(inside(path).as_ref().map(InnerPath::as_str), expected);
    }

    #[rstest::rstest]
    #[case("../../../net/forwarding/lib.sh", Some("net/forwarding/lib.sh"))]
    #[case("lag_lib.sh", Some("drivers/net/bonding/lag_lib.sh"))]
    #[case("../../../../../../etc/passwd", None)]
    #[case("/etc/passwd", None)]
    fn a_link_is_followed_within_the_selftests(#[case] target: &str, #[case] expected: Option<&str>) {
        let link = InnerPath::parse("drivers/net/bonding/net_forwarding_lib.sh").unwrap();
        assert_eq!(resolve(&link, target).as_ref().map(InnerPath::as_str), expected);
    }

    #[test]
    fn a_kernel_without_source_gets_the_nearest_older_one() {
        let kernels = Kernels::built_in().unwrap();
        for (kernel, expected) in [
            ("5.10.262", "6.1.192"),
            ("6.1.192", "6.1.192"),
            ("6.12.117", "6.12.57"),
            ("6.18.15", "6.12.57"),
            ("7.3.4", "7.3.4"),
        ] {
            let pin = kernels.select(kernel).unwrap()[0];
            assert_eq!(source(&kernels, pin).unwrap().version, expected, "{kernel}");
        }
    }
}
