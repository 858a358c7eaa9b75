//! From a kernel's packages to its tree in the cache: which files are taken, and what is made of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::file;
use crate::file::{At, FileError};
use crate::kernel::deb::{DebError, for_each_file};
use crate::kernel::limited::Limited;
use crate::kernel::manifest::Manifest;
use crate::kernel::modules::{ModuleIndex, is_module, module_files};
use crate::kernel::store::StoreError;
use crate::kernel::vmlinux;
use crate::kernel::vmlinux::Bootable;
use bondlab_core::net::inner_path::{FileName, InnerPath};

/// Module directories no test bench for network devices needs: half of a generic kernel's bytes. Not mtd,
/// which sfc depends on.
const UNUSED_MODULES: [&str; 15] = [
    "kernel/sound/",
    "kernel/drivers/comedi/",
    "kernel/drivers/gpu/",
    "kernel/drivers/hid/",
    "kernel/drivers/hwmon/",
    "kernel/drivers/iio/",
    "kernel/drivers/input/",
    "kernel/drivers/media/",
    "kernel/drivers/net/can/",
    "kernel/drivers/net/wireless/",
    "kernel/drivers/platform/",
    "kernel/drivers/scsi/",
    "kernel/drivers/staging/",
    "kernel/drivers/video/",
    "kernel/drivers/watchdog/",
];

/// The most files that are taken of a kernel; a generic one has 4,000 modules.
const FILES_MAX: usize = 50_000;
/// The largest of them: an image with all debugging information has half a gigabyte.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A folder into which files of packages are taken, those of each release in a tree of its own.
#[derive(Debug)]
pub(super) struct Staged {
    dir: PathBuf,
    files: usize,
    releases: BTreeSet<String>,
}

impl Staged {
    /// Stages in `dir`, which is made when the first file comes.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, files: 0, releases: BTreeSet::new() }
    }

    /// Takes a package's file, if it belongs to a kernel.
    pub(super) fn put(&mut self, path: &InnerPath, content: &mut dyn Read) -> io::Result<()> {
        let Some((release, place)) = place_of(path) else { return Ok(()) };
        self.write(&release, &place, content)
    }

    /// Takes a file to a place in the tree of a release.
    pub(super) fn write(
        &mut self,
        release: &FileName,
        place: &Path,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        self.files += 1;
        if self.files > FILES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds more files than any kernel"));
        }
        self.releases.insert(release.to_string());
        let place = self.tree(release.as_str()).join(place);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(&mut Limited::new(content, FILE_BYTES_MAX), &mut File::create(place)?).map(drop)
    }

    /// The tree of a release.
    pub(super) fn tree(&self, release: &str) -> PathBuf {
        self.dir.join(release)
    }

    /// The releases of which there is something, and of which there is an image.
    pub(super) fn releases(&self) -> (Vec<&str>, Vec<&str>) {
        let all: Vec<&str> = self.releases.iter().map(String::as_str).collect();
        let with_image =
            all.iter().copied().filter(|release| self.tree(release).join("vmlinuz").is_file()).collect();
        (all, with_image)
    }
}

/// Takes what is needed out of a package of a kernel whose release is known.
pub(super) fn unpack(deb: &Path, release: &str, tree: &Path) -> Result<(), DebError> {
    let file = io::BufReader::new(File::open(deb)?);
    for_each_file(file, |path, content| {
        let Some((_, place)) = place_of(path).filter(|(of, _)| of.as_str() == release) else {
            return Ok(());
        };
        let place = tree.join(place);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(content, &mut File::create(place)?).map(drop)
    })
}

/// Where a package's file goes, if anywhere: the kernel's release and the place in its tree.
///
/// Debian until 6.18 and Ubuntu have boot/ and lib/modules/ (usr/lib/modules/ in later builds), in one package or several. From
/// 6.19 Debian has three: linux-binary the image, linux-base the configuration and the built-in names, linux-modules
/// the modules; and by 7.2 image and configuration are in usr/lib/modules/ too, where Fedora's and RHEL's always are.
pub(super) fn place_of(path: &InnerPath) -> Option<(FileName, PathBuf)> {
    if let Some(boot) = path.below("boot/") {
        let (name, release) = boot.as_str().split_once('-')?;
        let release = FileName::parse(release).ok()?;
        return ["vmlinuz", "config"].contains(&name).then(|| (release, name.into()));
    }
    let path = path.below("usr/").unwrap_or_else(|| path.clone());
    let modules = path.below("lib/modules/")?;
    let (release, inside) = modules.as_str().split_once('/')?;
    Some((FileName::parse(release).ok()?, place_in_modules(&InnerPath::parse(inside).ok()?)?))
}

/// Where a file of a kernel's module directory goes.
pub(super) fn place_in_modules(inside: &InnerPath) -> Option<PathBuf> {
    match inside.as_str() {
        "vmlinuz" | "config" => Some(inside.as_str().into()),
        "modules.builtin" | "modules.builtin.modinfo" => Some(Path::new("modules").join(inside)),
        _ => {
            let unused = UNUSED_MODULES.iter().any(|prefix| inside.as_str().starts_with(prefix));
            (is_module(inside.as_ref()) && !unused).then(|| Path::new("modules").join(inside))
        }
    }
}

/// What is missing where there is no module.
pub(super) const MODULES: &str = "modules";

/// What a kernel cannot do without and this tree has not; the configuration only if it is asked for.
pub(super) fn missing(tree: &Path, needs_config: bool) -> Result<Option<&'static str>, FileError> {
    let parts = [
        ("vmlinuz", "kernel image", true),
        ("config", "configuration", needs_config),
        ("modules/modules.builtin", "list of built-in modules", true),
    ];
    for (part, what, is_needed) in parts {
        if is_needed && !tree.join(part).is_file() {
            return Ok(Some(what));
        }
    }
    Ok(module_files(&tree.join("modules"))?.is_empty().then_some(MODULES))
}

/// Makes what is booted, and the index of the modules, in a tree that misses nothing.
pub(super) fn finish(tree: &Path, (name, release): (&str, &str)) -> Result<(), StoreError> {
    let image = tree.join("vmlinuz");
    let bytes = file::read(&image, FILE_BYTES_MAX)?;
    if let Some(found) = vmlinux::release(&bytes).filter(|found| *found != release) {
        let (kernel, release) = (name.to_owned(), release.to_owned());
        return Err(StoreError::WrongRelease { kernel, release, found });
    }
    let bootable =
        vmlinux::bootable(&bytes).map_err(|source| StoreError::Vmlinux { path: image.clone(), source })?;
    let place = tree.join("vmlinux");
    match bootable {
        Bootable::Elf(elf) => {
            fs::write(&place, elf).at("write", &place)?;
            fs::remove_file(&image).at("remove", &image)?;
        }
        Bootable::Itself => fs::rename(&image, &place).at("rename", &image)?,
    }
    ModuleIndex::build(&tree.join("modules"))?.write(&tree.join("modules.index"))?;
    Manifest::of(tree)?.write(tree)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("boot/vmlinuz-R", Some("vmlinuz"))]
    #[case("boot/config-R", Some("config"))]
    #[case("boot/System.map-R", None)]
    #[case("boot/vmlinuz-S", None)]
    #[case("usr/lib/modules/R/vmlinuz", Some("vmlinuz"))]
    #[case("usr/lib/modules/R/config", Some("config"))]
    #[case("lib/modules/R/modules.builtin", Some("modules/modules.builtin"))]
    #[case("usr/lib/modules/R/modules.order", None)]
    #[case("lib/modules/R/kernel/drivers/net/veth.ko", Some("modules/kernel/drivers/net/veth.ko"))]
    #[case("usr/lib/modules/R/kernel/net/8021q/8021q.ko.xz", Some("modules/kernel/net/8021q/8021q.ko.xz"))]
    #[case("lib/modules/R/kernel/net/8021q/8021q.ko.zst", Some("modules/kernel/net/8021q/8021q.ko.zst"))]
    #[case("lib/modules/R/extra/dummy.ko.gz", Some("modules/extra/dummy.ko.gz"))]
    #[case("lib/modules/R/kernel/sound/soundcore.ko.xz", None)]
    #[case("lib/modules/RR/kernel/x.ko", None)]
    #[case("lib/modules/R", None)]
    #[case("usr/share/doc/x.ko", None)]
    fn keeps_what_is_needed(#[case] path: &str, #[case] expected: Option<&str>) {
        let path = InnerPath::parse(path).unwrap();
        let found = place_of(&path).filter(|(release, _)| release.as_str() == "R").map(|(_, place)| place);
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_release_with_hyphens_is_whole() {
        let path = InnerPath::parse("boot/vmlinuz-6.8.0-31-generic").unwrap();
        assert_eq!(place_of(&path).unwrap().0.as_str(), "6.8.0-31-generic");
    }
}
