//! Kernels on disk, ready to boot: an ELF kernel, its configuration, its modules and their index.

mod error;
mod local;
mod unpack;

pub use error::StoreError;
pub use local::{Given, LocalError};

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::file::{At, FileError};
use crate::kernel::download::{DownloadEvent, fetch};
use crate::kernel::manifest::{Damage, MANIFEST, Manifest};
use crate::kernel::mirror::Mirrors;
use crate::kernel::modules::{ModuleIndex, ModuleTree, module_files};
use crate::kernel::pins::{KernelPin, TREE_FORMAT, hex};
use crate::kernel::vmlinux;
use crate::kernel::vmlinux::Bootable;
use crate::vm::initramfs;
use bondlab_core::net::inner_path::FileName;

/// Room for the kernels of a user's own builds, of about 60 MB each.
const IMAGES_BYTES_MAX: u64 = 2 << 30;

/// What the user calls the kernel in this machine's /boot.
pub const HOST_IMAGE: &str = "host-image";

/// Whether a kernel may be downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallPolicy {
    /// Download what is missing.
    Install,
    /// Use only what is there.
    CachedOnly,
}

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What the user calls it: `6.12.57`, `host-image`, or the file name of an image.
    pub id: String,
    /// `uname -r`.
    pub release: String,
    /// A name no other content has; files made from this kernel are kept under it.
    pub key: String,
    /// The ELF kernel, with a PVH entry; a bzImage where it has none.
    pub vmlinux: PathBuf,
    /// The configuration it was built with, where there is one.
    pub config: Option<PathBuf>,
    /// Its modules.
    pub modules: ModuleTree,
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Nothing of it is in the cache.
    NotCached,
    /// Every file is as it was unpacked.
    Whole {
        /// Their number.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// These are not. The kernel is out of the cache now.
    Removed(Vec<Damage>),
}

/// The kernels of a cache.
#[derive(Debug, Clone)]
pub struct Store {
    cache: Cache,
    mirror: Option<String>,
}

impl Store {
    /// The store in `cache`; `mirror` is the user's argument, see [`Mirrors::find`].
    pub fn new(cache: Cache, mirror: Option<String>) -> Store {
        Store { cache, mirror }
    }

    /// Whether [`Store::ensure`] would need no download.
    pub fn is_cached(&self, pin: &KernelPin) -> bool {
        is_complete(&self.tree(pin), pin)
    }

    /// The pinned kernel, downloaded and unpacked first if `policy` allows and it is not there.
    ///
    /// # Errors
    /// When it cannot be had, or what is there was changed since, as far as sizes and times hint at that.
    pub fn ensure(
        &self,
        pin: &KernelPin,
        policy: InstallPolicy,
        on_event: &mut dyn FnMut(DownloadEvent),
    ) -> Result<Kernel, StoreError> {
        let tree = self.tree(pin);
        if !is_complete(&tree, pin) {
            // A kernel of the user's own is on this machine already.
            if policy == InstallPolicy::CachedOnly && pin.local.is_none() {
                return Err(StoreError::NotCached { kernel: pin.name(), size: pin.size() });
            }
            let lock = self.cache.try_lock(&pin.key())?;
            if lock.is_none() {
                on_event(DownloadEvent::Waiting { kernel: &pin.name() });
            }
            let _held = lock.map_or_else(|| self.cache.lock(&pin.key()), Ok)?;
            // Whoever held the lock may have installed it.
            if !is_complete(&tree, pin) {
                match &pin.local {
                    Some(source) => self.install_local(pin, source, on_event)?,
                    None => self.install(pin, &tree, on_event)?,
                }
            }
        }
        if touched(&tree).is_some() {
            let _held = self.cache.lock(&pin.key())?;
            if let Some(damage) = self.damages(&tree)?.1.into_iter().next() {
                return Err(StoreError::Damaged { kernel: pin.name(), damage });
            }
        }
        self.cache.touch(&tree)?;
        Ok(self.kernel(pin))
    }

    /// The pinned kernel as it is, or would be, in the cache.
    #[must_use]
    pub fn kernel(&self, pin: &KernelPin) -> Kernel {
        let tree = self.tree(pin);
        Kernel {
            id: pin.name(),
            release: pin.release.clone(),
            key: pin.key(),
            vmlinux: tree.join("vmlinux"),
            config: Some(tree.join("config")).filter(|config| pin.local.is_none() || config.is_file()),
            modules: ModuleTree {
                release: pin.release.clone(),
                dir: tree.join("modules"),
                index: tree.join("modules.index"),
                built: Vec::new(),
            },
        }
    }

    /// Reads every file of a cached kernel. A damaged one is removed, so that nothing boots it.
    ///
    /// Its initramfs images go in any case: they are packed again, from what was verified, when they are needed.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn verify(&self, pin: &KernelPin) -> Result<Verified, StoreError> {
        let tree = self.tree(pin);
        let _held = self.cache.lock(&pin.key())?;
        if !tree.is_dir() {
            return Ok(Verified::NotCached);
        }
        let (now, damages) = self.damages(&tree)?;
        if damages.is_empty() {
            initramfs::forget(&self.cache, &pin.release)?;
            return Ok(Verified::Whole { files: now.files(), bytes: now.bytes() });
        }
        self.remove(pin)?;
        Ok(Verified::Removed(damages))
    }

    /// Takes a kernel and the initramfs images made of it out of the cache.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self, pin: &KernelPin) -> Result<(), StoreError> {
        self.cache.remove(&self.tree(pin))?;
        initramfs::forget(&self.cache, &pin.release)?;
        Ok(())
    }

    /// A kernel of the user's own: a bzImage or an ELF vmlinux, and its modules, if it has any.
    ///
    /// `modules` is what `make modules_install` makes (`…/lib/modules/RELEASE`) or a build tree.
    pub fn from_image(&self, image: &Path, modules: Option<&Path>) -> Result<Kernel, StoreError> {
        let image = fs::canonicalize(image).at("find", image)?;
        let modules = modules.map(|dir| fs::canonicalize(dir).at("find", dir)).transpose()?;
        let key = image_key(&image, modules.as_deref())?;
        let tree = self.cache.place(format!("images/{key}"), |tree| touched(tree).is_none());
        if touched(&tree).is_some() {
            let _held = self.cache.lock(&key)?;
            if touched(&tree).is_some() {
                self.cache.remove(&tree)?;
                self.unpack_image(&image, modules.as_deref(), &tree)?;
            }
        }
        self.cache.touch(&tree)?;
        let release = tree.join("release");
        let release = fs::read_to_string(&release).at("read", &release)?;
        let release = safe_release(&image, &release)?;
        let extracted = tree.join("vmlinux");
        let dir = modules.unwrap_or_else(|| tree.clone());
        let configs =
            [dir.join("config"), dir.join(".config"), image.with_file_name(format!("config-{release}"))];
        Ok(Kernel {
            id: image.file_name().map_or_else(String::new, |name| {
                bondlab_core::net::clean::line(&name.to_string_lossy()).into_owned()
            }),
            key: format!("image-{key}"),
            vmlinux: if extracted.exists() { extracted } else { image },
            config: configs.into_iter().find(|config| config.exists()),
            modules: ModuleTree {
                release: release.clone(),
                dir,
                index: tree.join("modules.index"),
                built: Vec::new(),
            },
            release,
        })
    }

    /// The kernel this machine runs, from /boot and /lib/modules.
    pub fn host_image(&self) -> Result<Kernel, StoreError> {
        let uname = nix::sys::utsname::uname().at("ask for", "uname")?;
        let release = uname.release().to_string_lossy().into_owned();
        let modules = PathBuf::from(format!("/lib/modules/{release}"));
        let images = [PathBuf::from(format!("/boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let Some(image) = images.iter().find(|image| image.exists()) else {
            let looked_for = images.map(|image| image.display().to_string()).join(", ");
            return Err(StoreError::NoHostImage { release, looked_for });
        };
        let kernel = self.from_image(image, modules.is_dir().then_some(&modules))?;
        Ok(Kernel { id: HOST_IMAGE.to_owned(), ..kernel })
    }

    /// What a tree's files are now, and those that are not what they were.
    fn damages(&self, tree: &Path) -> Result<(Manifest, Vec<Damage>), StoreError> {
        let now = Manifest::of(tree)?;
        let damages =
            Manifest::read(tree).map_or_else(|| vec![Damage::no_manifest()], |was| was.differences(&now));
        if damages.is_empty() && touched(tree).is_some() && !self.cache.is_read_only() {
            // The whole cache was copied, and not the times: the content is what counts.
            let scratch = self.cache.scratch()?;
            now.write(&scratch.path(""))?;
            scratch.publish(&scratch.path(MANIFEST), &tree.join(MANIFEST))?;
        }
        Ok((now, damages))
    }

    fn tree(&self, pin: &KernelPin) -> PathBuf {
        self.cache.path("kernels").join(pin.key())
    }

    fn install(
        &self,
        pin: &KernelPin,
        tree: &Path,
        on_event: &mut dyn FnMut(DownloadEvent),
    ) -> Result<(), StoreError> {
        let mirrors = Mirrors::find(self.mirror.as_deref())?;
        let scratch = self.cache.scratch()?;
        for (index, package) in pin.packages.iter().enumerate() {
            let url = mirrors.url(pin.archive, &package.path)?;
            fetch(&url, package, &scratch.path(format!("{index}.deb")), on_event)?;
        }
        on_event(DownloadEvent::Unpacking { kernel: &pin.name() });
        let made = scratch.path("tree");
        for (index, package) in pin.packages.iter().enumerate() {
            let deb = scratch.path(format!("{index}.deb"));
            unpack::unpack(&deb, &pin.release, &made)
                .map_err(|source| StoreError::Deb { package: package.package.clone(), source })?;
        }
        if let Some(what) = unpack::missing(&made, true)? {
            return Err(StoreError::Incomplete { kernel: pin.name(), what });
        }
        unpack::finish(&made, (&pin.name(), &pin.release))?;
        if tree.exists() {
            // Someone removed a part of it by hand.
            fs::rename(tree, scratch.path("damaged")).at("replace", tree)?;
        }
        scratch.publish(&made, tree)?;
        Ok(())
    }

    fn unpack_image(&self, image: &Path, modules: Option<&Path>, tree: &Path) -> Result<(), StoreError> {
        let bytes = fs::read(image).at("read", image)?;
        let from_dir = modules.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let release = vmlinux::release(&bytes).or(from_dir);
        let release = release.ok_or_else(|| StoreError::UnknownRelease(image.to_owned()))?;
        let release = safe_release(image, &release)?;
        let is_elf = bytes.starts_with(b"\x7fELF");
        let bootable = vmlinux::bootable(&bytes)
            .map_err(|source| StoreError::Vmlinux { path: image.to_owned(), source })?;
        let index = modules.map_or_else(|| Ok(ModuleIndex::default()), ModuleIndex::build)?;

        let scratch = self.cache.scratch()?;
        let made = scratch.path("tree");
        fs::create_dir(&made).at("create", &made)?;
        write(&made.join("release"), release.as_bytes())?;
        // An ELF image is booted where it is; it may be half a gigabyte of debugging information.
        if let (false, Bootable::Elf(elf)) = (is_elf, bootable) {
            write(&made.join("vmlinux"), &elf)?;
        }
        index.write(&made.join("modules.index"))?;
        Manifest::of(&made)?.write(&made)?;
        scratch.publish(&made, tree)?;
        self.cache.evict("images", IMAGES_BYTES_MAX)?;
        Ok(())
    }
}

/// A release becomes part of the names of files: of the kernel's configuration, and of all that is made of it.
fn safe_release(image: &Path, release: &str) -> Result<String, StoreError> {
    FileName::parse(release)
        .map(|name| name.to_string())
        .map_err(|source| StoreError::BadRelease { image: image.to_owned(), source })
}

/// The parts [`Kernel`] names; a tree is published whole, so this fails only if someone took a part away.
fn is_complete(tree: &Path, pin: &KernelPin) -> bool {
    let config = pin.local.is_none().then_some("config");
    let parts = ["vmlinux", "modules.index", MANIFEST].into_iter().chain(config);
    parts.into_iter().all(|part| tree.join(part).is_file())
}

/// The first file of a tree that was changed or lost since it was made; all of it, if there is none.
fn touched(tree: &Path) -> Option<Damage> {
    Manifest::read(tree).map_or_else(|| Some(Damage::no_manifest()), |manifest| manifest.touched(tree))
}

/// Names an image and its modules as they are now, by what stat(2) says: a rebuild has new times.
fn image_key(image: &Path, modules: Option<&Path>) -> Result<String, FileError> {
    let mut hash = Sha256::new();
    hash.update(TREE_FORMAT.to_le_bytes());
    let mut add = |path: &Path| -> Result<(), FileError> {
        let metadata = fs::metadata(path).at("read", path)?;
        hash.update(path.as_os_str().as_encoded_bytes());
        for number in [metadata.ino(), metadata.size(), metadata.mtime() as u64, metadata.mtime_nsec() as u64]
        {
            hash.update(number.to_le_bytes());
        }
        Ok(())
    };
    add(image)?;
    if let Some(dir) = modules {
        module_files(dir)?.iter().try_for_each(|module| add(module))?;
        add(dir)?;
    }
    Ok(hex(&hash.finalize())[..16].to_owned())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    fs::write(path, bytes).at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::pins::Kernels;

    /// A store with 6.12.57 in it, as if installed.
    fn installed(dir: &Path) -> (Store, KernelPin, PathBuf) {
        let store = Store::new(Cache::at(dir).unwrap(), None);
        let pin = Kernels::built_in().unwrap().select("6.12.57").unwrap()[0].clone();
        let tree = store.tree(&pin);
        fs::create_dir(&tree).unwrap();
        for part in ["vmlinux", "config", "modules.index"] {
            fs::write(tree.join(part), part).unwrap();
        }
        Manifest::of(&tree).unwrap().write(&tree).unwrap();
        (store, pin, tree)
    }

    #[test]
    fn boots_nothing_that_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, pin, tree) = installed(dir.path());
        let ensure = || store.ensure(&pin, InstallPolicy::CachedOnly, &mut |_| ());
        assert_eq!(ensure().unwrap().id, "6.12.57");

        fs::write(tree.join("vmlinux"), "vmlinux").unwrap();
        ensure().expect("the same content, written again, is whole");
        assert_eq!(touched(&tree), None, "and so it is from now on");

        fs::write(tree.join("vmlinux"), "vmlinuX").unwrap();
        let error = ensure().unwrap_err().to_string();
        assert!(
            error.contains("is damaged: vmlinux has another content; `lab kernels fetch 6.12.57`"),
            "{error}"
        );
        let Verified::Removed(damages) = store.verify(&pin).unwrap() else { panic!("it is damaged") };
        assert_eq!(damages[0].file, "vmlinux");
        assert!(matches!(ensure(), Err(StoreError::NotCached { .. })));
        assert_eq!(store.verify(&pin).unwrap(), Verified::NotCached);
    }

    #[test]
    fn verifying_forgets_the_initramfs_images_of_that_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let (store, pin, _) = installed(dir.path());
        let image = |release: &str| store.cache.path(format!("initramfs/{release}-0123456789abcdef.cpio"));
        let (own, other) = (image(&pin.release), image("6.12.57+deb12-amd64"));
        fs::write(&own, "cpio").unwrap();
        fs::write(&other, "cpio").unwrap();
        assert!(matches!(store.verify(&pin).unwrap(), Verified::Whole { files: 3, .. }));
        assert!(!own.exists() && other.exists());
    }

    #[test]
    fn the_image_key_follows_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let (image, modules) = (dir.path().join("bzImage"), dir.path().join("modules"));
        fs::create_dir(&modules).unwrap();
        fs::write(&image, "1").unwrap();
        fs::write(modules.join("bonding.ko"), "1").unwrap();
        let key = || image_key(&image, Some(&modules)).unwrap();
        let first = key();
        assert_eq!(key(), first);
        fs::write(modules.join("bonding.ko"), "22").unwrap();
        let second = key();
        assert_ne!(second, first);
        fs::write(&image, "22").unwrap();
        assert_ne!(key(), second);
    }
}
