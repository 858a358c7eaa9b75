//! Makes a pin for a kernel from the archive's signed indexes.
//!
//! apt does what has to be trusted: it fetches a suite's InRelease, verifies it against the installed
//! Debian keyring, and takes only a Packages index of the hash that is in it. It works in directories of
//! its own in the cache; the machine's package state is not touched.

pub(crate) mod source;

pub use crate::kernel::archive::source::resolve_module;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::cache::{Cache, CacheError};
use crate::child::{APT_AS_CALLER, APT_BOUNDS, die_with_parent, output_within};
use crate::file;
use crate::file::{At, FileError};
use crate::kernel::download::{DownloadError, DownloadEvent, fetch_unpinned};
use crate::kernel::mirror::{MirrorError, Mirrors};
use crate::kernel::pins::{Archive, Flavour, KernelPin, Kernels, KernelsError, ModulePin, PinnedPackage};
use bondlab_core::net::clean;
use bondlab_core::net::version::KernelVersion;

/// Where kernels are looked for, in this order.
const SUITES: [(&str, Archive); 9] = [
    ("bookworm-backports", Archive::Debian),
    ("trixie-backports", Archive::Debian),
    ("bullseye-security", Archive::DebianSecurity),
    ("trixie-security", Archive::DebianSecurity),
    ("bookworm-security", Archive::DebianSecurity),
    ("experimental", Archive::Debian),
    ("sid", Archive::Debian),
    ("bookworm", Archive::Debian),
    ("trixie", Archive::Debian),
];

const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

const KERNEL_PACKAGES: &str = "^linux-(image|binary|base|modules)-[0-9].*-amd64$";

/// More than the largest module package has.
const PACKAGE_BYTES_MAX: u64 = 300_000_000;

/// A suite's package lists are 50 MB at the most: at 100 kB/s that is 500 s.
const APT_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a kernel could not be pinned.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Without the keyring no index can be trusted.
    #[error(
        "the Debian archive keyring is not installed; `apt-get install debian-archive-keyring` does that"
    )]
    NoKeyring,
    /// apt is not there or failed.
    #[error("{program} failed for suite {suite}: {message}")]
    Apt {
        /// The program.
        program: &'static str,
        /// The suite.
        suite: &'static str,
        /// What it said.
        message: String,
    },
    /// No suite has it.
    #[error("no suite has kernel {wanted}; those of the {flavour} flavour are: {known}")]
    NotFound {
        /// What was asked for.
        wanted: KernelVersion,
        /// Its flavour.
        flavour: Flavour,
        /// Versions that could be pinned.
        known: String,
    },
    /// An index entry without what a pin needs.
    #[error("the index entry of {0} has no valid Filename, Size and SHA256")]
    BadEntry(String),
    /// The new pin contradicts the file.
    #[error(transparent)]
    Kernels(#[from] KernelsError),
    /// The pin cannot be written as TOML.
    #[error("cannot write the pin: {0}")]
    Toml(#[from] toml::ser::Error),
    /// No mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A package that is only in the pool could not be fetched.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The fields of an index entry that a pin is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    package: String,
    version: String,
    depends: String,
    filename: String,
    size: String,
    sha256: String,
}

/// Finds a kernel in Debian's suites and pins it. Reads no more suites than it must.
pub fn resolve(
    cache: &Cache,
    mirrors: &Mirrors,
    wanted: KernelVersion,
    flavour: Flavour,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<KernelPin, ArchiveError> {
    let mut index = Index::default();
    for suite in SUITES {
        index.read_suite(cache, mirrors, suite)?;
        if let Some(pin) = index.pin(cache, mirrors, wanted, flavour, on_event)? {
            return Ok(pin);
        }
    }
    let known = index.versions(flavour).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(ArchiveError::NotFound { wanted, flavour, known })
}

/// The kernel packages of suites, as their signed indexes list them.
#[derive(Debug, Default)]
pub struct Index {
    suites: Vec<(&'static str, Archive, Vec<Entry>)>,
}

impl Index {
    /// Reads every suite.
    ///
    /// # Errors
    /// When one of them cannot be fetched or trusted.
    pub fn read(cache: &Cache, mirrors: &Mirrors) -> Result<Index, ArchiveError> {
        let mut index = Index::default();
        for suite in SUITES {
            index.read_suite(cache, mirrors, suite)?;
        }
        Ok(index)
    }

    fn read_suite(
        &mut self,
        cache: &Cache,
        mirrors: &Mirrors,
        (suite, archive): (&'static str, Archive),
    ) -> Result<(), ArchiveError> {
        let keyring = keyring()?;
        let _held = cache.lock("apt")?;
        let entries = read_suite(cache, mirrors.base(archive)?, (suite, KERNEL_PACKAGES), keyring)?;
        self.suites.push((suite, archive, entries));
        Ok(())
    }

    /// The versions there are, sorted.
    pub fn versions(&self, flavour: Flavour) -> Vec<KernelVersion> {
        let kernels = self.suites.iter().flat_map(|(_, _, entries)| kernels_of(entries, flavour));
        let mut versions: Vec<KernelVersion> = kernels.map(|(version, _)| version).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// A pin for a version, of the first suite that has it.
    ///
    /// # Errors
    /// When a package that is only in the pool cannot be fetched to hash it.
    pub fn pin(
        &self,
        cache: &Cache,
        mirrors: &Mirrors,
        wanted: KernelVersion,
        flavour: Flavour,
        on_event: &mut dyn FnMut(DownloadEvent),
    ) -> Result<Option<KernelPin>, ArchiveError> {
        for (suite, archive, entries) in &self.suites {
            let kernels = kernels_of(entries, flavour);
            // A version can be there twice, rebuilt: the later Debian revision is the longer or greater text.
            let found = kernels.iter().filter(|(version, _)| *version == wanted).map(|(_, entry)| *entry);
            let Some(image) = found.max_by_key(|entry| (entry.version.len(), &entry.version)) else {
                continue;
            };
            let release = image.package.trim_start_matches("linux-image-").to_owned();
            let mut packages = Vec::new();
            for name in package_names(image, &release) {
                let indexed = entries.iter().find(|entry| entry.package == name);
                packages.push(match indexed {
                    Some(entry) => entry.pin()?,
                    None => hash_from_pool(cache, mirrors, *archive, &name, &image.version, on_event)?,
                });
            }
            let (id, suite) = (wanted.to_string(), (*suite).to_owned());
            let pin = KernelPin { id, flavour, release, suite, archive: *archive, packages, local: None };
            return Ok(Some(pin));
        }
        Ok(None)
    }
}

/// Appends a pin to a file in the format of `kernels.toml`, which stays valid or stays as it is.
pub fn append(path: &Path, pin: &KernelPin) -> Result<(), ArchiveError> {
    #[derive(Serialize)]
    struct Fragment<'a> {
        kernel: [&'a KernelPin; 1],
    }
    append_text(path, &toml::to_string(&Fragment { kernel: [pin] })?)
}

/// The same for what a module is built of.
pub fn append_module(path: &Path, pin: &ModulePin) -> Result<(), ArchiveError> {
    #[derive(Serialize)]
    struct Fragment<'a> {
        module: [&'a ModulePin; 1],
    }
    append_text(path, &toml::to_string(&Fragment { module: [pin] })?)
}

fn append_text(path: &Path, fragment: &str) -> Result<(), ArchiveError> {
    let old = fs::read_to_string(path).at("read", path)?;
    let new = format!("{}\n\n{fragment}", old.trim_end());
    Kernels::parse(&new)?;
    Ok(file::replace_text(path, &new)?)
}

/// The kernel packages among a suite's entries: all but metapackages, unsigned and debugging ones.
fn kernels_of(entries: &[Entry], flavour: Flavour) -> Vec<(KernelVersion, &Entry)> {
    let is_kernel = |entry: &Entry| {
        let release = entry.package.strip_prefix("linux-image-")?;
        let build = release.strip_suffix("-amd64")?;
        let built = match build.strip_suffix("-cloud") {
            Some(_) => Flavour::Cloud,
            None if build.ends_with("-rt") => return None,
            None => Flavour::Generic,
        };
        let is_meta =
            entry.depends.contains("linux-image-") || !release.starts_with(|c: char| c.is_ascii_digit());
        (built == flavour && !is_meta).then(|| upstream_version(&entry.version))?
    };
    entries.iter().filter_map(|entry| Some((is_kernel(entry)?, entry))).collect()
}

/// `6.12.57-1~bpo12+1` is 6.12.57, `7.3~rc7-1~exp1` is 7.3-rc7, `7.3-1` is 7.3.0.
fn upstream_version(debian: &str) -> Option<KernelVersion> {
    let upstream = debian.rsplit_once('-')?.0.replace('~', "-");
    upstream.parse().or_else(|_| format!("{upstream}.0").parse()).ok()
}

/// From 6.19 on linux-image is empty and depends on three packages that have the parts.
fn package_names(image: &Entry, release: &str) -> Vec<String> {
    if image.depends.contains(&format!("linux-binary-{release}")) {
        ["binary", "base", "modules"].map(|part| format!("linux-{part}-{release}")).to_vec()
    } else {
        vec![image.package.clone()]
    }
}

/// Pins a package that the index no longer lists, as the pool has it.
///
/// The index drops packages of a superseded source, and linux-modules has another source than the signed
/// linux-binary. Its modules carry signatures that the kernel of linux-binary checks: one of another build
/// would taint the kernel (TAINT_UNSIGNED_MODULE).
fn hash_from_pool(
    cache: &Cache,
    mirrors: &Mirrors,
    archive: Archive,
    package: &str,
    version: &str,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<PinnedPackage, ArchiveError> {
    let pool = match archive {
        Archive::Debian => "pool/main",
        Archive::DebianSecurity => "pool/updates/main",
    };
    let built = if source::is_for_all(package) { "all" } else { "amd64" };
    let path = format!("{pool}/l/linux/{package}_{version}_{built}.deb");
    let scratch = cache.scratch()?;
    let url = mirrors.url(archive, &path)?;
    let (size, sha256) = fetch_unpinned(&url, package, PACKAGE_BYTES_MAX, &scratch.path("deb"), on_event)?;
    let (package, version) = (package.to_owned(), version.to_owned());
    Ok(PinnedPackage { package, version, path, size, sha256, unindexed: true })
}

fn keyring() -> Result<&'static str, ArchiveError> {
    KEYRINGS.into_iter().find(|path| Path::new(path).exists()).ok_or(ArchiveError::NoKeyring)
}

/// All entries of a suite's index that are named like this.
fn read_suite(
    cache: &Cache,
    base: &str,
    (suite, names): (&'static str, &str),
    keyring: &str,
) -> Result<Vec<Entry>, ArchiveError> {
    let dir = cache.path("apt").join(suite);
    for part in ["lists/partial", "archives/partial"] {
        let part = dir.join(part);
        fs::create_dir_all(&part).at("create", &part)?;
    }
    let sources = dir.join("sources.list");
    let source = format!("deb [arch=amd64 signed-by={keyring}] {base} {suite} main\n");
    fs::write(&sources, source).at("write", &sources)?;
    // Without this mode apt takes an old index for a new one it could not get, and says it went well.
    run_apt("apt-get", suite, &dir, &["-o", "APT::Update::Error-Mode=any", "update"])?;
    let text = run_apt("apt-cache", suite, &dir, &["--names-only", "--full", "search", names])?;
    Ok(parse_entries(&text))
}

fn run_apt(
    program: &'static str,
    suite: &'static str,
    dir: &Path,
    arguments: &[&str],
) -> Result<String, ArchiveError> {
    let option = |name: &str, path: PathBuf| format!("{name}={}", path.display());
    let mut command = Command::new(program);
    for option in [
        option("Dir::Etc::SourceList", dir.join("sources.list")),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        option("Dir::State::lists", dir.join("lists")),
        option("Dir::State::status", PathBuf::from("/dev/null")),
        option("Dir::Cache", dir.to_owned()),
        "APT::Architecture=amd64".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
    ] {
        command.args(["-o", &option]);
    }
    die_with_parent(command.args(APT_AS_CALLER).args(APT_BOUNDS).args(arguments));
    let failed = |message: String| ArchiveError::Apt { program, suite, message };
    let output = output_within(&mut command, APT_TIMEOUT).map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(clean::output(&output.stderr).trim().replace('\n', "; ")));
    }
    Ok(clean::output(&output.stdout))
}

/// Reads deb822 paragraphs.
fn parse_entries(text: &str) -> Vec<Entry> {
    let paragraph = |text: &str| {
        let mut entry = Entry::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            let field = match key {
                "Package" => &mut entry.package,
                "Version" => &mut entry.version,
                "Depends" => &mut entry.depends,
                "Filename" => &mut entry.filename,
                "Size" => &mut entry.size,
                "SHA256" => &mut entry.sha256,
                _ => continue,
            };
            *field = value.to_owned();
        }
        entry
    };
    text.split("\n\n").map(paragraph).filter(|entry| !entry.package.is_empty()).collect()
}

impl Entry {
    fn pin(&self) -> Result<PinnedPackage, ArchiveError> {
        let bad = || ArchiveError::BadEntry(self.package.clone());
        Ok(PinnedPackage {
            package: self.package.clone(),
            version: self.version.clone(),
            path: self.filename.clone(),
            size: self.size.parse().map_err(|_| bad())?,
            sha256: self.sha256.clone().try_into().map_err(|_| bad())?,
            unindexed: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: linux-image-6.12-cloud-amd64
Version: 6.12.57-1~bpo12+1
Depends: linux-image-6.12.57+deb12-cloud-amd64 (= 6.12.57-1~bpo12+1)

Package: linux-image-6.12.57+deb12-cloud-amd64
Version: 6.12.57-1~bpo12+1
Depends: kmod
Description: Linux
 Depends: not a field
Filename: pool/main/l/x.deb
Size: 7
SHA256: 080b964380f4b2a97dac32db9ce1912e6c271c0b49554337d54d3fe92461306b

Package: linux-image-6.12.57+deb12-amd64-unsigned
Version: 6.12.57-1~bpo12+1

Package: linux-image-6.12.57+deb12-rt-amd64
Version: 6.12.57-1~bpo12+1

Package: linux-image-7.3-cloud-amd64
Version: 7.3~rc7-1~exp1
Depends: kmod, linux-binary-7.3-cloud-amd64 (= 7.3~rc7-1~exp1)
";

    #[test]
    fn finds_kernels_among_the_entries() {
        let entries = parse_entries(INDEX);
        let found: Vec<String> = kernels_of(&entries, Flavour::Cloud)
            .iter()
            .map(|(version, entry)| {
                let release = entry.package.trim_start_matches("linux-image-");
                format!("{version}: {}", package_names(entry, release).join(" "))
            })
            .collect();
        let expected = [
            "6.12.57: linux-image-6.12.57+deb12-cloud-amd64",
            "7.3-rc7: linux-binary-7.3-cloud-amd64 linux-base-7.3-cloud-amd64 linux-modules-7.3-cloud-amd64",
        ];
        assert_eq!(found, expected);
        assert!(kernels_of(&entries, Flavour::Generic).is_empty());
        assert_eq!(entries[1].pin().unwrap().size, 7);
        assert!(matches!(entries[0].pin(), Err(ArchiveError::BadEntry(_))));
    }

    #[test]
    fn upstream_versions() {
        for (debian, expected) in
            [("6.1.192-2", "6.1.192"), ("7.3~rc7-1~exp1", "7.3-rc7"), ("7.3-1~exp1", "7.3.0")]
        {
            assert_eq!(upstream_version(debian).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn appends_only_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernels.toml");
        fs::write(&path, "[sets]\nkernel = []\n".replace("kernel = []", "")).unwrap();
        let pin = Kernels::built_in().unwrap().select("6.12.57").unwrap()[0].clone();
        // The format wants at least one kernel, so the first comes with the sets.
        append(&path, &pin).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(Kernels::parse(&text).unwrap().select("all").unwrap(), [&pin]);
        assert!(append(&path, &pin).unwrap_err().to_string().contains("is there twice"));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
