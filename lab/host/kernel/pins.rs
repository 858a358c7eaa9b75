//! The pinned kernels: what `kernels.toml` says, and how a user names some of them.
//!
//! A pin is trusted by hash alone: package, version, pool path, size and SHA-256, taken from the archive's
//! signed indexes when it was made (see `archive`).

pub mod local;
pub mod local_file;
mod place;

use std::fmt;

use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::kernel::pins::local::LocalSource;
use crate::kernel::pins::place::Place;
use bondlab_core::net::clean;
use bondlab_core::net::inner_path::{FileName, InnerPath};
use bondlab_core::net::version::{Bound, KernelVersion, Series, VersionError};

/// The pins built into the lab.
const BUILT_IN: &str = include_str!("../kernels.toml");

/// The set of every kernel, in the cloud flavour; no file defines it.
const ALL: &str = "all";

/// The set of every kernel of the user's own; no file defines it either.
const LOCAL: &str = "local";

/// Names of sets that no file defines.
const RESERVED: [&str; 2] = [ALL, LOCAL];

/// Part of every tree's name: a new number where unpacked trees change, so that old ones are made anew.
pub(crate) const TREE_FORMAT: u32 = 2;

/// Why pins could not be read or selected.
#[derive(Debug, thiserror::Error)]
pub enum KernelsError {
    /// The file is not what is expected; the message has line and column.
    #[error("invalid kernels file: {0}")]
    Invalid(#[from] toml::de::Error),
    /// The file contradicts itself.
    #[error("invalid kernels file: {0}")]
    Inconsistent(String),
    /// No pin is called so.
    #[error("no pinned kernel is called {wanted:?}; there are: {known}")]
    Unknown {
        /// What the user wrote.
        wanted: String,
        /// What could have been written.
        known: String,
    },
    /// A series is not a kernel: its members differ in behaviour.
    #[error(
        "{series} is a series, not one kernel; choose from {known}, or all of them with {series}..{series}"
    )]
    IsSeries {
        /// What the user wrote.
        series: String,
        /// The pins of the series.
        known: String,
    },
    /// A range without a pin in it.
    #[error("no pinned kernel is in the range {range}; there are: {known}")]
    EmptyRange {
        /// What the user wrote.
        range: String,
        /// What there is.
        known: String,
    },
    /// There is no kernel of the user's own.
    #[error("no kernel of your own is pinned; `lab kernels add --deb FILE` pins one")]
    NoLocal,
    /// Neither `cloud` nor `generic`.
    #[error("{0:?} is no flavour: cloud and generic are")]
    UnknownFlavour(String),
    /// Not even a version.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// Debian's builds of one source: small, for virtual machines, or with all drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// `-cloud-amd64`: no igb, no USB gadget; the default.
    Cloud,
    /// `-amd64`: every driver.
    Generic,
    /// No build of Debian's: a kernel of the user's own.
    #[serde(skip)]
    Local,
}

/// Which of Debian's two archives a pool path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The main archive, backports included.
    Debian,
    /// Security updates.
    DebianSecurity,
}

/// A SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hex(String);

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedPackage {
    /// Name of the binary package.
    pub package: String,
    /// Its Debian version.
    pub version: String,
    /// Path below the archive's base address.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Hash of the file.
    pub sha256: Sha256Hex,
    /// Size and hash are of the pool's file, for the signed index had dropped it when the pin was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unindexed: bool,
}

/// One kernel, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KernelPin {
    /// Upstream version: `6.12.57`.
    pub id: String,
    /// Which build of it.
    pub flavour: Flavour,
    /// What `uname -r` prints.
    pub release: String,
    /// The suite it was taken from.
    pub suite: String,
    /// The archive of all its packages.
    pub archive: Archive,
    /// The packages that hold the kernel, its configuration and its modules; none of a kernel of the user's own.
    pub packages: Vec<PinnedPackage>,
    /// What a kernel of the user's own is made of.
    #[serde(skip)]
    pub local: Option<LocalSource>,
}

/// What a module that Debian does not build is built of: a kernel's own headers, and the source of the same version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModulePin {
    /// The module: `netdevsim`.
    pub name: String,
    /// The kernel it is for.
    pub kernel: String,
    /// Which build of it.
    pub flavour: Flavour,
    /// The archive of all its packages.
    pub archive: Archive,
    /// Headers, build tools, source; and the C library, where the tools want a newer one than Debian 12 has.
    pub packages: Vec<PinnedPackage>,
}

/// All pins and the named sets of them.
#[derive(Debug, Clone)]
pub struct Kernels {
    sets: IndexMap<String, Vec<String>>,
    pins: IndexMap<Place, KernelPin>,
    modules: Vec<ModulePin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelsFile {
    sets: IndexMap<String, Vec<String>>,
    kernel: Vec<KernelPin>,
    #[serde(default)]
    module: Vec<ModulePin>,
}

impl KernelPin {
    /// The name a user selects it by: `6.12.57`, `6.12.57/generic`.
    pub fn name(&self) -> String {
        match self.flavour {
            Flavour::Cloud | Flavour::Local => self.id.clone(),
            Flavour::Generic => format!("{}/{}", self.id, self.flavour),
        }
    }

    /// A file name that no other content shares: the release and a hash over the packages' hashes.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(TREE_FORMAT.to_le_bytes());
        for package in &self.packages {
            hash.update(package.sha256.as_str());
        }
        self.local.iter().flat_map(LocalSource::hashes).for_each(|sha256| hash.update(sha256));
        format!("{}-{}", self.release, &hex(&hash.finalize())[..12])
    }

    /// What has to be downloaded, in bytes; or, of a kernel of the user's own, read.
    pub fn size(&self) -> u64 {
        let local = self.local.as_ref().map_or(0, LocalSource::size);
        self.packages.iter().map(|package| package.size).sum::<u64>() + local
    }

    fn check(&self) -> Result<KernelVersion, String> {
        let version = self.id.parse::<KernelVersion>().map_err(|error| error.to_string())?;
        if self.packages.is_empty() {
            return Err(format!("kernel {} has no packages", self.name()));
        }
        FileName::parse(&self.release)
            .map_err(|error| format!("kernel {}: no release: {error}", self.name()))?;
        check_paths(&self.packages).map_err(|error| format!("kernel {}: {error}", self.name()))?;
        Ok(version)
    }
}

fn check_paths(packages: &[PinnedPackage]) -> Result<(), String> {
    let is_bad = |path: &&str| !path.starts_with("pool/") || InnerPath::parse(path).is_err();
    match packages.iter().map(|package| package.path.as_str()).find(is_bad) {
        Some(path) => Err(format!("{path:?} is no pool path")),
        None => Ok(()),
    }
}

impl ModulePin {
    /// What the user calls it: `netdevsim for 6.12.57`.
    pub fn title(&self) -> String {
        match self.flavour {
            Flavour::Cloud | Flavour::Local => format!("{} for {}", self.name, self.kernel),
            Flavour::Generic => format!("{} for {}/{}", self.name, self.kernel, self.flavour),
        }
    }

    /// What has to be downloaded, in bytes.
    pub fn size(&self) -> u64 {
        self.packages.iter().map(|package| package.size).sum()
    }
}

impl Kernels {
    /// The pins built into the lab.
    pub fn built_in() -> Result<Kernels, KernelsError> {
        Kernels::parse(BUILT_IN)
    }

    /// The pins of a file in the format of `kernels.toml`.
    pub fn parse(text: &str) -> Result<Kernels, KernelsError> {
        let file: KernelsFile = toml::from_str(text)?;
        for words in [
            serde_json::to_string(&file.sets),
            serde_json::to_string(&file.kernel),
            serde_json::to_string(&file.module),
        ] {
            let words = words.expect("pins have a JSON form");
            if clean::json(&words, &[]) != words {
                return Err(KernelsError::Inconsistent("a name has control characters".into()));
            }
        }
        let mut kernels = Kernels { sets: file.sets, pins: IndexMap::new(), modules: Vec::new() };
        for pin in file.kernel {
            let version = pin.check().map_err(KernelsError::Inconsistent)?;
            let twice = format!("kernel {} is there twice", pin.name());
            if kernels.pins.insert(Place::debian(version, pin.flavour), pin).is_some() {
                return Err(KernelsError::Inconsistent(twice));
            }
        }
        kernels.pins.sort_unstable_keys();
        for module in file.module {
            kernels.add_module(module).map_err(KernelsError::Inconsistent)?;
        }
        for (set, members) in &kernels.sets {
            kernels.check_set(set, members)?;
        }
        Ok(kernels)
    }

    fn check_set(&self, set: &str, members: &[String]) -> Result<(), KernelsError> {
        if RESERVED.contains(&set) || set.contains(['.', '/', ',']) {
            return Err(KernelsError::Inconsistent(format!("no set can be called {set:?}")));
        }
        for member in members {
            let unknown = |error| KernelsError::Inconsistent(format!("set {set:?}: {error}"));
            self.one(member).map_err(unknown)?;
        }
        Ok(())
    }

    /// All pins, by version, then flavour.
    pub fn pins(&self) -> impl Iterator<Item = &KernelPin> {
        self.pins.values()
    }

    /// The build with all drivers of the same version as `pin`, if one is pinned.
    pub fn with_drivers(&self, pin: &KernelPin) -> Option<&KernelPin> {
        self.pins.values().find(|other| other.id == pin.id && other.flavour == Flavour::Generic)
    }

    /// What modules are built of: of which kernels the source is pinned.
    pub fn modules(&self) -> impl Iterator<Item = &ModulePin> {
        self.modules.iter()
    }

    /// What a module for a kernel is built of, if that is pinned.
    pub fn module(&self, name: &str, of: &KernelPin) -> Option<&ModulePin> {
        let is_it = |pin: &&ModulePin| pin.name == name && pin.kernel == of.id && pin.flavour == of.flavour;
        self.modules.iter().find(is_it)
    }

    fn add_module(&mut self, module: ModulePin) -> Result<(), String> {
        let title = module.title();
        FileName::parse(&module.name).map_err(|error| format!("module {title}: {error}"))?;
        check_paths(&module.packages).map_err(|error| format!("module {title}: {error}"))?;
        let is_its = |pin: &&KernelPin| pin.id == module.kernel && pin.flavour == module.flavour;
        let Some(pin) = self.pins.values().find(is_its) else {
            return Err(format!("module {title}: no such kernel is pinned"));
        };
        if self.module(&module.name, pin).is_some() {
            return Err(format!("module {title} is there twice"));
        }
        self.modules.push(module);
        Ok(())
    }

    /// The named sets, in the file's order.
    pub fn sets(&self) -> &IndexMap<String, Vec<String>> {
        &self.sets
    }

    /// The kernels of a comma list of versions, sets and ranges, each once, in the order named.
    ///
    /// `6.12.57`, `6.12.57/generic`, `quick`, `6.12..6.18` (both ends included, a series with all it has).
    /// Without a flavour, cloud is meant: in `all` too, for a generic kernel differs in drivers, not in behaviour. Kernels
    /// of the user's own are selected by their names, by `local`, by sets, and by ranges like `6.8..6.9/local`.
    pub fn select(&self, selection: &str) -> Result<Vec<&KernelPin>, KernelsError> {
        let mut chosen = IndexSet::new();
        for item in selection.split(',').map(str::trim) {
            if item == ALL {
                let keys = self.pins.keys().enumerate();
                let cloud = keys.filter(|(_, place)| place.flavour == Flavour::Cloud);
                chosen.extend(cloud.map(|(index, _)| index));
            } else if item == LOCAL {
                let keys = self.pins.keys().enumerate();
                let local: Vec<usize> = keys
                    .filter(|(_, place)| place.flavour == Flavour::Local)
                    .map(|(index, _)| index)
                    .collect();
                if local.is_empty() {
                    return Err(KernelsError::NoLocal);
                }
                chosen.extend(local);
            } else if let Some(members) = self.sets.get(item) {
                for member in members {
                    chosen.insert(self.one(member)?);
                }
            } else if let Some((from, to)) = item.split_once("..") {
                chosen.extend(self.range(item, from, to)?);
            } else {
                chosen.insert(self.one(item)?);
            }
        }
        Ok(chosen.into_iter().map(|index| &self.pins[index]).collect())
    }

    /// The index of the pin called `name`.
    fn one(&self, name: &str) -> Result<usize, KernelsError> {
        if let Some(index) = self.pins.values().position(|pin| pin.local.is_some() && pin.id == name) {
            return Ok(index);
        }
        let (id, flavour) = split_flavour(name)?;
        if let Ok(version) = id.parse::<KernelVersion>()
            && let Some(index) = self.pins.get_index_of(&Place::debian(version, flavour))
        {
            return Ok(index);
        }
        match id.parse::<Series>() {
            Ok(series) if self.pins.keys().any(|place| place.is_debians_of(series)) => {
                let known = self.names(|version| version.series() == series);
                Err(KernelsError::IsSeries { series: id.to_owned(), known })
            }
            _ => Err(KernelsError::Unknown { wanted: name.to_owned(), known: self.known() }),
        }
    }

    fn range(&self, range: &str, from: &str, to: &str) -> Result<Vec<usize>, KernelsError> {
        let (to, flavour) = split_flavour(to)?;
        let unknown = || KernelsError::Unknown { wanted: range.to_owned(), known: self.known() };
        let from = Bound::parse(from).ok_or_else(unknown)?;
        let to = Bound::parse(to).ok_or_else(unknown)?;
        let inside = |version: &KernelVersion| from.is_at_most(version) && to.is_at_least(version);
        let keys = self.pins.keys().enumerate();
        let found: Vec<usize> = keys
            .filter(|(_, place)| place.flavour == flavour && inside(&place.version))
            .map(|(index, _)| index)
            .collect();
        if found.is_empty() {
            return Err(KernelsError::EmptyRange { range: range.to_owned(), known: self.known() });
        }
        Ok(found)
    }

    fn names(&self, wanted: impl Fn(&KernelVersion) -> bool) -> String {
        let pins = self.pins.iter().filter(|(place, _)| wanted(&place.version));
        pins.map(|(_, pin)| pin.name()).collect::<Vec<_>>().join(", ")
    }

    fn known(&self) -> String {
        let sets: String = self.sets.keys().map(|set| format!(", {set}")).collect();
        format!("{}{sets}, {ALL}", self.names(|_| true))
    }
}

impl Sha256Hex {
    /// The sixty-four digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash as it comes from a hasher.
    pub fn of(digest: &[u8]) -> Sha256Hex {
        Sha256Hex(hex(digest))
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Sha256Hex(text))
        } else {
            Err(format!("{text:?} is no SHA-256: 64 lowercase hexadecimal digits are"))
        }
    }
}

impl From<Sha256Hex> for String {
    fn from(hash: Sha256Hex) -> String {
        hash.0
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Cloud => "cloud",
            Flavour::Generic => "generic",
            Flavour::Local => "local",
        })
    }
}

/// Lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the name of one kernel, pinned or not: `6.12.88`, `6.12.88/generic`.
///
/// # Errors
/// When it is no version, or its flavour is none.
pub fn parse_name(name: &str) -> Result<(KernelVersion, Flavour), KernelsError> {
    let (id, flavour) = split_flavour(name)?;
    if flavour == Flavour::Local {
        return Err(KernelsError::UnknownFlavour(flavour.to_string()));
    }
    Ok((id.parse()?, flavour))
}

fn split_flavour(name: &str) -> Result<(&str, Flavour), KernelsError> {
    match name.split_once('/') {
        None => Ok((name, Flavour::Cloud)),
        Some((id, "cloud")) => Ok((id, Flavour::Cloud)),
        Some((id, "generic")) => Ok((id, Flavour::Generic)),
        Some((id, "local")) => Ok((id, Flavour::Local)),
        Some((_, other)) => Err(KernelsError::UnknownFlavour(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kernels: &[(&str, &str)]) -> String {
        let mut text = "[sets]\nquick = [\"6.12.57\", \"6.18.15\"]\n".to_owned();
        for (id, flavour) in kernels {
            text += &format!(
                "[[kernel]]\nid = \"{id}\"\nflavour = \"{flavour}\"\nrelease = \"{id}-amd64\"\nsuite = \"s\"\n\
                 archive = \"debian\"\n[[kernel.packages]]\npackage = \"p\"\nversion = \"1\"\npath = \"pool/p.deb\"\n\
                 size = 1\nsha256 = \"{:064}\"\n",
                0
            );
        }
        text
    }

    const SOME: [(&str, &str); 6] = [
        ("7.3-rc7", "cloud"),
        ("6.18.15", "cloud"),
        ("6.12.57", "generic"),
        ("6.12.57", "cloud"),
        ("6.12.117", "cloud"),
        ("5.10.262", "cloud"),
    ];

    #[rstest::rstest]
    #[case("6.12.57", "6.12.57")]
    #[case("6.12.57/generic", "6.12.57/generic")]
    #[case("quick", "6.12.57 6.18.15")]
    #[case("6.12..6.18", "6.12.57 6.12.117 6.18.15")]
    #[case("6.12..6.12", "6.12.57 6.12.117")]
    #[case("6.12..6.18/generic", "6.12.57/generic")]
    #[case("6.12.100..7.3", "6.12.117 6.18.15 7.3-rc7")]
    #[case("7.3-rc7, 6.12.57, 7.3-rc7", "7.3-rc7 6.12.57")]
    #[case("all", "5.10.262 6.12.57 6.12.117 6.18.15 7.3-rc7")]
    fn selects(#[case] selection: &str, #[case] expected: &str) {
        let kernels = Kernels::parse(&file(&SOME)).unwrap();
        let names: Vec<String> = kernels.select(selection).unwrap().iter().map(|pin| pin.name()).collect();
        assert_eq!(names.join(" "), expected);
    }

    #[rstest::rstest]
    #[case("6.12.58", "no pinned kernel is called \"6.12.58\"; there are: 5.10.262, 6.12.57")]
    #[case("6.12", "6.12 is a series, not one kernel; choose from 6.12.57, 6.12.57/generic, 6.12.117")]
    #[case("6.13..6.17", "no pinned kernel is in the range 6.13..6.17")]
    #[case("6.12.57/rt", "\"rt\" is no flavour")]
    #[case("6.12.57..x", "no pinned kernel is called \"6.12.57..x\"")]
    #[case("", "no pinned kernel is called \"\"")]
    fn says_why_not(#[case] selection: &str, #[case] expected: &str) {
        let kernels = Kernels::parse(&file(&SOME)).unwrap();
        let error = kernels.select(selection).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn refuses_a_wrong_file() {
        let good = file(&SOME);
        for (from, to, expected) in [
            ("size = 1", "size = 1\nmd5 = 1", "unknown field"),
            ("[sets]", "[sets]\nall = []", "no set can be called \"all\""),
            ("6.18.15\"]", "6.18.16\"]", "set \"quick\": no pinned kernel"),
            ("id = \"6.12.117\"", "id = \"6.12.57\"", "6.12.57 is there twice"),
            ("pool/p.deb", "pool/../p.deb", "is no pool path"),
            ("000\"", "00\"", "is no SHA-256"),
            ("id = \"7.3-rc7\"", "id = \"7.3\"", "\"7.3\" is not a kernel version"),
        ] {
            let error = Kernels::parse(&good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_key_follows_the_content() {
        let kernels = Kernels::parse(&file(&SOME)).unwrap();
        let pin = kernels.select("6.12.57").unwrap()[0].clone();
        let mut other = pin.clone();
        other.packages[0].sha256 = Sha256Hex::of(&[1; 32]);
        assert!(pin.key().starts_with("6.12.57-amd64-"));
        assert_ne!(pin.key(), other.key());
    }

    #[test]
    fn built_in_pins_are_valid() {
        let kernels = Kernels::built_in().unwrap();
        assert_eq!(kernels.select("6.12.57").unwrap()[0].release, "6.12.57+deb12-cloud-amd64");
        for set in kernels.sets().keys() {
            assert!(!kernels.select(set).unwrap().is_empty(), "{set}");
        }
    }
}
