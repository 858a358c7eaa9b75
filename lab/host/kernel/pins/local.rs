//! Kernels of the user's own: what `kernels.local.toml` says, merged with the pins of Debian's.
//!
//! A kernel is pinned as Debian's are, by the SHA-256 of what it is made of: packages of another distribution, or an image
//! with a folder of modules. They are on this machine, so a pin has their paths.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::kernel::pins::place::Place;
use crate::kernel::pins::{Archive, Flavour, KernelPin, Kernels, KernelsError, RESERVED, Sha256Hex};
use bondlab_core::net::clean;
use bondlab_core::net::inner_path::FileName;
use bondlab_core::net::version::{KernelVersion, Running, Series};

/// Words that name a kernel to `--kernel` and are no pins.
const KERNEL_WORDS: [&str; 3] = ["host", "host-image", "default"];

/// One file that a kernel is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalFile {
    /// Where it is: absolute, or seen from the folder of `kernels.local.toml`.
    pub path: PathBuf,
    /// Length in bytes.
    pub size: u64,
    /// Hash of the file.
    pub sha256: Sha256Hex,
}

/// A folder of modules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalFolder {
    /// Where it is: absolute, or seen from the folder of `kernels.local.toml`.
    pub path: PathBuf,
    /// How many files of it are taken.
    pub files: usize,
    /// Their length in bytes.
    pub size: u64,
    /// Hash over a line `SHA256 PATH` for each of them, in the order of paths.
    pub sha256: Sha256Hex,
}

/// What a kernel of the user's own is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSource {
    /// Debian packages, of any distribution.
    Deb(Vec<LocalFile>),
    /// RPM packages.
    Rpm(Vec<LocalFile>),
    /// An image and a folder as `make modules_install` makes it.
    Image {
        /// A bzImage or an ELF kernel.
        vmlinuz: LocalFile,
        /// Its modules.
        modules: LocalFolder,
    },
}

/// A kernel as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalKernel {
    /// The name a user selects it by.
    pub id: String,
    /// What `uname -r` prints.
    pub release: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deb: Vec<LocalFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rpm: Vec<LocalFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vmlinuz: Option<LocalFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modules: Option<LocalFolder>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalKernelsFile {
    #[serde(default)]
    sets: IndexMap<String, Vec<String>>,
    #[serde(default)]
    kernel: Vec<LocalKernel>,
}

impl LocalSource {
    /// A word for lists.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deb(_) => "deb packages",
            Self::Rpm(_) => "rpm packages",
            Self::Image { .. } => "image and modules",
        }
    }

    /// The packages, or the image.
    pub fn files(&self) -> &[LocalFile] {
        match self {
            Self::Deb(files) | Self::Rpm(files) => files,
            Self::Image { vmlinuz, .. } => std::slice::from_ref(vmlinuz),
        }
    }

    /// The hashes of all parts, in order.
    pub fn hashes(&self) -> impl Iterator<Item = &str> {
        let folder = match self {
            Self::Image { modules, .. } => Some(modules.sha256.as_str()),
            Self::Deb(_) | Self::Rpm(_) => None,
        };
        self.files().iter().map(|file| file.sha256.as_str()).chain(folder)
    }

    /// All bytes.
    pub fn size(&self) -> u64 {
        let folder = match self {
            Self::Image { modules, .. } => modules.size,
            Self::Deb(_) | Self::Rpm(_) => 0,
        };
        self.files().iter().map(|file| file.size).sum::<u64>() + folder
    }

    /// The pin of a kernel that is made of this.
    #[must_use]
    pub fn pin(self, id: String, release: String) -> KernelPin {
        KernelPin {
            id,
            flavour: Flavour::Local,
            release,
            suite: self.kind().to_owned(),
            archive: Archive::Debian,
            packages: Vec::new(),
            local: Some(self),
        }
    }

    fn resolve(&mut self, folder: &Path) {
        match self {
            Self::Deb(files) | Self::Rpm(files) => {
                files.iter_mut().for_each(|file| file.path = folder.join(&file.path));
            }
            Self::Image { vmlinuz, modules } => {
                vmlinuz.path = folder.join(&vmlinuz.path);
                modules.path = folder.join(&modules.path);
            }
        }
    }
}

impl LocalKernel {
    /// The entry of a kernel.
    pub fn new(id: String, release: String, source: LocalSource) -> Self {
        let mut kernel = Self { id, release, deb: Vec::new(), rpm: Vec::new(), vmlinuz: None, modules: None };
        match source {
            LocalSource::Deb(files) => kernel.deb = files,
            LocalSource::Rpm(files) => kernel.rpm = files,
            LocalSource::Image { vmlinuz, modules } => {
                (kernel.vmlinuz, kernel.modules) = (Some(vmlinuz), Some(modules));
            }
        }
        kernel
    }

    fn source(self) -> Result<LocalSource, String> {
        match (self.deb.is_empty(), self.rpm.is_empty(), self.vmlinuz, self.modules) {
            (false, true, None, None) => Ok(LocalSource::Deb(self.deb)),
            (true, false, None, None) => Ok(LocalSource::Rpm(self.rpm)),
            (true, true, Some(vmlinuz), Some(modules)) => Ok(LocalSource::Image { vmlinuz, modules }),
            _ => Err(format!(
                "kernel {} is made of deb, of rpm, or of vmlinuz and modules, and of one of these only",
                self.id
            )),
        }
    }

    /// The pin, with paths seen from `folder`.
    fn pin(self, folder: &Path) -> Result<KernelPin, String> {
        let (id, release) = (self.id.clone(), self.release.clone());
        check_name(&id)?;
        FileName::parse(&release).map_err(|error| format!("kernel {id}: no release: {error}"))?;
        let mut source = self.source()?;
        source.resolve(folder);
        Ok(source.pin(id, release))
    }
}

/// Checks the name of a user's kernel: none that could mean another kernel, a set or a range.
///
/// # Errors
/// Why the name cannot be one.
pub fn check_name(name: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("no kernel of your own can be called {name:?}: {why}"));
    if let Err(error) = FileName::parse(name) {
        return bad(error.why);
    }
    if name.starts_with('-') || name.contains("..") || name.contains([',', ' ']) {
        return bad("it has `..`, a comma or a space in it, or begins with `-`");
    }
    if name.chars().any(char::is_whitespace) || !name.is_ascii() {
        return bad("it has other than visible ASCII characters");
    }
    if name.parse::<KernelVersion>().is_ok() || name.parse::<Series>().is_ok() {
        return bad("this is the name of a kernel of Debian's");
    }
    if RESERVED.contains(&name) || KERNEL_WORDS.contains(&name) {
        return bad("it has another meaning");
    }
    Ok(())
}

/// The name of a kernel that the user gives none: its release, unless that could be one of Debian's.
pub fn default_name(release: &str) -> String {
    match check_name(release) {
        Ok(()) => release.to_owned(),
        Err(_) => format!("{release}-local"),
    }
}

impl KernelPin {
    /// Where the kernel belongs in the order of versions: by its id, or by its release, which may tell only a series
    /// (`6.8.0-31-generic`).
    #[must_use]
    pub fn version(&self) -> KernelVersion {
        match Running::of(if self.local.is_some() { "" } else { &self.id }, &self.release) {
            Some(Running::Version(version)) => version,
            Some(Running::Series(series)) => series.first(),
            None => Series::new(0, 0).first(),
        }
    }
}

impl Kernels {
    /// Adds the kernels and sets of a file in the format of `kernels.local.toml`, whose paths are seen from `folder`.
    ///
    /// # Errors
    /// When the file is invalid, or gives a name that has another meaning.
    pub fn add_local(&mut self, text: &str, folder: &Path) -> Result<(), KernelsError> {
        let file: LocalKernelsFile = toml::from_str(text)?;
        let inconsistent = KernelsError::Inconsistent;
        for words in [serde_json::to_string(&file.sets), serde_json::to_string(&file.kernel)] {
            // A path that is no UTF-8 cannot come from a TOML file.
            let words = words.map_err(|error| inconsistent(error.to_string()))?;
            if clean::json(&words, &[]) != words {
                return Err(inconsistent("a name has control characters".into()));
            }
        }
        for kernel in file.kernel {
            let pin = kernel.pin(folder).map_err(inconsistent)?;
            if self.is_name(&pin.id) {
                return Err(inconsistent(format!("two kernels or sets are called {:?}", pin.id)));
            }
            let place = Place::local(pin.version(), &pin.id);
            self.pins.insert(place, pin);
        }
        self.pins.sort_unstable_keys();
        for (set, members) in file.sets {
            if self.is_name(&set) {
                return Err(inconsistent(format!("two kernels or sets are called {set:?}")));
            }
            self.check_set(&set, &members)?;
            self.sets.insert(set, members);
        }
        Ok(())
    }

    /// Whether a kernel or a set is called so.
    pub fn is_name(&self, name: &str) -> bool {
        self.sets.contains_key(name) || self.pins.values().any(|pin| pin.name() == name)
    }

    /// The kernel of the user's own that is called so.
    pub fn local(&self, name: &str) -> Option<&KernelPin> {
        self.pins.values().find(|pin| pin.local.is_some() && pin.id == name)
    }

    /// The sets of which a kernel is a member.
    pub fn sets_with<'k>(&'k self, name: &'k str) -> impl Iterator<Item = &'k str> {
        let with = self.sets.iter().filter(move |(_, members)| members.iter().any(|member| member == name));
        with.map(|(set, _)| set.as_str())
    }
}

/// The hash of a folder of which these files are taken, each with its own hash.
pub fn folder_hash<'a>(files: impl Iterator<Item = (&'a str, &'a Sha256Hex)>) -> Sha256Hex {
    let mut hash = Sha256::new();
    for (path, sha256) in files {
        hash.update(format!("{} {path}\n", sha256.as_str()));
    }
    Sha256Hex::of(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> LocalFile {
        LocalFile { path: path.into(), size: 10, sha256: Sha256Hex::of(&Sha256::digest(path)) }
    }

    /// The tables of kernels, as `lab kernels add` writes them.
    fn tables(kernel: &[LocalKernel]) -> String {
        #[derive(Serialize)]
        struct Tables<'a> {
            kernel: &'a [LocalKernel],
        }
        if kernel.is_empty() { String::new() } else { toml::to_string(&Tables { kernel }).unwrap() }
    }

    fn text(kernels: &[(&str, &str)]) -> String {
        let entry = |(id, release): &(&str, &str)| {
            let source = LocalSource::Deb(vec![file(&format!("{id}.deb"))]);
            LocalKernel::new((*id).into(), (*release).into(), source)
        };
        tables(&kernels.iter().map(entry).collect::<Vec<_>>())
    }

    fn kernels(kernels: &[(&str, &str)], sets: &str) -> Result<Kernels, KernelsError> {
        let mut all = Kernels::built_in()?;
        all.add_local(&format!("{sets}{}", text(kernels)), Path::new("/srv/bonds"))?;
        Ok(all)
    }

    const SOME: [(&str, &str); 4] = [
        ("6.8.0-100-generic", "6.8.0-100-generic"),
        ("6.8.0-31-generic", "6.8.0-31-generic"),
        ("talos", "6.18.9-talos"),
        ("6.18.16-200.fc43.x86_64", "6.18.16-200.fc43.x86_64"),
    ];

    #[rstest::rstest]
    #[case("talos", "talos")]
    #[case("6.12.57,6.8.0-31-generic", "6.12.57 6.8.0-31-generic")]
    #[case("local", "6.8.0-31-generic 6.8.0-100-generic talos 6.18.16-200.fc43.x86_64")]
    #[case("mine", "6.18.15 talos")]
    #[case("6.8..6.18.10/local", "6.8.0-31-generic 6.8.0-100-generic talos")]
    fn own_kernels_are_selected_by_name_set_and_range(#[case] selection: &str, #[case] expected: &str) {
        let kernels = kernels(&SOME, "[sets]\nmine = [\"6.18.15\", \"talos\"]\n").unwrap();
        let names: Vec<String> = kernels.select(selection).unwrap().iter().map(|pin| pin.name()).collect();
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn own_kernels_are_in_no_set_or_range_of_debians() {
        let (with, without) = (kernels(&SOME, "").unwrap(), Kernels::built_in().unwrap());
        for selection in ["all", "quick", "6.12..7.3"] {
            let names = |kernels: &Kernels| {
                kernels.select(selection).unwrap().iter().map(|pin| pin.name()).collect::<Vec<_>>()
            };
            assert_eq!(names(&with), names(&without), "{selection}");
        }
        assert!(without.select("local").unwrap_err().to_string().contains("`lab kernels add --deb FILE`"));
    }

    #[rstest::rstest]
    #[case(&[("6.12.57", "6.12.57")], "", "the name of a kernel of Debian's")]
    #[case(&[("all", "6.8.0")], "", "it has another meaning")]
    #[case(&[("host", "6.8.0")], "", "it has another meaning")]
    #[case(&[("quick", "6.8.0")], "", "two kernels or sets are called \"quick\"")]
    #[case(&[("a/b", "6.8.0")], "", "it is a path")]
    #[case(&[("a..b", "6.8.0")], "", "it has `..`")]
    #[case(&[("a", "../6.8.0")], "", "no release")]
    #[case(&[("a", "6.8.0"), ("a", "6.9.0")], "", "two kernels or sets are called \"a\"")]
    #[case(&[], "[sets]\nquick = []\n", "two kernels or sets are called \"quick\"")]
    #[case(&[], "[sets]\nlocal = []\n", "no set can be called \"local\"")]
    #[case(&[], "[sets]\nmine = [\"nothing\"]\n", "set \"mine\": no pinned kernel is called \"nothing\"")]
    fn wrong_names_are_rejected(#[case] own: &[(&str, &str)], #[case] sets: &str, #[case] expected: &str) {
        let error = kernels(own, sets).unwrap_err().to_string();
        let expected = expected.replace("it is a path", "is a path");
        assert!(error.contains(&expected), "{error}");
    }

    #[test]
    fn a_kernel_is_made_of_one_kind_of_thing() {
        let mut both = LocalKernel::new("a".into(), "6.8.0".into(), LocalSource::Deb(vec![file("a")]));
        both.rpm = vec![file("b")];
        let error =
            Kernels::built_in().unwrap().add_local(&tables(&[both]), Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("of one of these only"), "{error}");
    }

    #[test]
    fn paths_are_seen_from_the_folder_of_the_file() {
        let kernels = kernels(&SOME, "").unwrap();
        let Some(LocalSource::Deb(files)) = &kernels.local("talos").unwrap().local else { panic!() };
        assert_eq!(files[0].path, Path::new("/srv/bonds/talos.deb"));
    }

    #[test]
    fn a_name_is_made_of_the_release() {
        assert_eq!(default_name("6.8.0-31-generic"), "6.8.0-31-generic");
        assert_eq!(default_name("6.12.57"), "6.12.57-local");
    }
}
