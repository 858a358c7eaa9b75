//! Kernels of the user's own in the cache: packages of other distributions, and images with a folder of modules.
//!
//! What is hashed is what is unpacked: a file is read once for both.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache::Scratch;
use crate::file;
use crate::file::{At, FileError};
use crate::kernel::deb::{self, DebError};
use crate::kernel::download::DownloadEvent;
use crate::kernel::modules::{modinfo, module_files};
use crate::kernel::pins::local::{LocalFile, LocalFolder, LocalSource, folder_hash};
use crate::kernel::pins::{KernelPin, Sha256Hex};
use crate::kernel::rpm::{self, RpmError};
use crate::kernel::store::unpack::{MODULES, Staged, finish, missing, place_in_modules};
use crate::kernel::store::{Store, StoreError, is_complete, safe_release};
use crate::kernel::vmlinux;
use bondlab_core::net::clean;
use bondlab_core::net::inner_path::{FileName, InnerPath};

/// The largest package or image that is read. Fedora's kernel-modules has 100 MB.
const PACKAGE_BYTES_MAX: u64 = 2 << 30;

/// Why files are no kernel.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A Debian package is damaged or none.
    #[error("{}: {source}", path.display())]
    Deb {
        /// The package.
        path: PathBuf,
        /// What is wrong.
        source: DebError,
    },
    /// An RPM package is damaged or none.
    #[error("{}: {source}", path.display())]
    Rpm {
        /// The package.
        path: PathBuf,
        /// What is wrong.
        source: RpmError,
    },
    /// No image.
    #[error(
        "there is no kernel image in the packages{}\nhint: Ubuntu's and Debian's are in linux-image-RELEASE, Fedora's and RHEL's in kernel-core", of(.releases)
    )]
    NoImage {
        /// The releases of what is there.
        releases: Vec<String>,
    },
    /// Two images.
    #[error("there are {} kernels in the packages: {}; add them one by one", .0.len(), .0.join(", "))]
    SeveralKernels(Vec<String>),
    /// A part is missing.
    #[error("the {what} of {release} {} missing{}\nhint: {hint}", if *.what == MODULES { "are" } else { "is" }, of(.others))]
    Incomplete {
        /// The kernel.
        release: String,
        /// What is missing.
        what: &'static str,
        /// Other releases of which there is something.
        others: Vec<String>,
        /// Where it is to be had.
        hint: String,
    },
    /// Image and modules are of two kernels.
    #[error("the image is of {release}, and module {module} is for {found}")]
    OtherModules {
        /// Release of the image.
        release: String,
        /// A module.
        module: String,
        /// The release it is for.
        found: String,
    },
    /// What was pinned is not what is there.
    #[error(
        "{} is not what was added as {kernel}: it has SHA-256 {found}, not {expected}\nhint: `lab kernels remove {kernel}`, then add it again", path.display()
    )]
    Changed {
        /// The kernel.
        kernel: String,
        /// The file or folder.
        path: PathBuf,
        /// Hash of the pin.
        expected: String,
        /// Hash of what is there.
        found: String,
    },
    /// A module's path cannot be one in the cache.
    #[error("{}: {why}", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn of(releases: &[String]) -> String {
    if releases.is_empty() { String::new() } else { format!(", only parts of {}", releases.join(", ")) }
}

/// What a kernel is to be made of.
#[derive(Debug, Clone)]
pub enum Given {
    /// Debian packages.
    Deb(Vec<PathBuf>),
    /// RPM packages.
    Rpm(Vec<PathBuf>),
    /// An image and its modules.
    Image {
        /// A bzImage or an ELF kernel.
        vmlinuz: PathBuf,
        /// As `make modules_install` makes it: …/lib/modules/RELEASE.
        modules: PathBuf,
    },
}

impl Given {
    /// The name of its first file.
    fn title(&self) -> String {
        let first = match self {
            Self::Deb(paths) | Self::Rpm(paths) => paths.first(),
            Self::Image { vmlinuz, .. } => Some(vmlinuz),
        };
        let name = first.and_then(|path| path.file_name()).unwrap_or_default();
        clean::line(&name.to_string_lossy()).into_owned()
    }
}

/// Where a part that is missing is to be had.
fn where_it_is(given: &Given, release: &str) -> String {
    let Given::Image { modules, .. } = given else {
        return "name all packages of the kernel: linux-image and linux-modules (Ubuntu), kernel-core and kernel-modules-core \
                (Fedora, RHEL)"
            .to_owned();
    };
    let deeper = ["", "lib/modules", "usr/lib/modules"].map(|between| modules.join(between).join(release));
    match deeper.iter().find(|folder| folder.is_dir()) {
        Some(folder) => format!("`--modules {}`", clean::line(&folder.display().to_string())),
        None => format!(
            "`--modules` names the folder lib/modules/{release} that `make modules_install` makes: modules.builtin is in it, \
             and modules below kernel/"
        ),
    }
}

impl From<&LocalSource> for Given {
    fn from(source: &LocalSource) -> Self {
        let paths = |files: &[LocalFile]| files.iter().map(|file| file.path.clone()).collect();
        match source {
            LocalSource::Deb(files) => Self::Deb(paths(files)),
            LocalSource::Rpm(files) => Self::Rpm(paths(files)),
            LocalSource::Image { vmlinuz, modules } => {
                Self::Image { vmlinuz: vmlinuz.path.clone(), modules: modules.path.clone() }
            }
        }
    }
}

impl Store {
    /// Puts a kernel of the user's own into the cache; its pin, called by its release.
    ///
    /// # Errors
    /// When the files are no kernel, or not a whole one.
    pub fn add_local(
        &self,
        given: &Given,
        on_event: &mut dyn FnMut(DownloadEvent),
    ) -> Result<KernelPin, StoreError> {
        let scratch = self.cache.scratch()?;
        on_event(DownloadEvent::Unpacking { kernel: &given.title() });
        let (release, source) = self.make(given, &scratch)?;
        let pin = source.pin(release.clone(), release);
        let tree = self.tree(&pin);
        let _held = self.cache.lock(&pin.key())?;
        if !is_complete(&tree, &pin) {
            self.cache.remove(&tree)?;
            scratch.publish(&scratch.path("staged").join(&pin.release), &tree)?;
        }
        Ok(pin)
    }

    /// Makes the tree of a pinned kernel anew, if its files are still what was pinned.
    pub(super) fn install_local(
        &self,
        pin: &KernelPin,
        source: &LocalSource,
        on_event: &mut dyn FnMut(DownloadEvent),
    ) -> Result<(), StoreError> {
        let scratch = self.cache.scratch()?;
        on_event(DownloadEvent::Unpacking { kernel: &pin.name() });
        let (release, found) = self.make(&source.into(), &scratch)?;
        check_unchanged(pin, source, &found)?;
        if release != pin.release {
            let (kernel, wanted) = (pin.name(), pin.release.clone());
            return Err(StoreError::WrongRelease { kernel, release: wanted, found: release });
        }
        let tree = self.tree(pin);
        self.cache.remove(&tree)?;
        scratch.publish(&scratch.path("staged").join(&release), &tree)?;
        Ok(())
    }

    /// Makes `staged/RELEASE` in a scratch directory; the release and what it was made of.
    fn make(&self, given: &Given, scratch: &Scratch) -> Result<(String, LocalSource), StoreError> {
        let mut staged = Staged::new(scratch.path("staged"));
        let source = match given {
            Given::Deb(paths) => LocalSource::Deb(each(paths, |path, package| {
                let read = deb::for_each_file(package, |path, content| staged.put(path, content));
                read.map_err(|source| LocalError::Deb { path: path.to_owned(), source })
            })?),
            Given::Rpm(paths) => LocalSource::Rpm(each(paths, |path, package| {
                let read = rpm::for_each_file(package, |path, content| staged.put(path, content));
                read.map_err(|source| LocalError::Rpm { path: path.to_owned(), source })
            })?),
            Given::Image { vmlinuz, modules } => take_image(vmlinuz, modules, &mut staged)?,
        };
        let (all, with_image) = staged.releases();
        let owned = |releases: &[&str]| releases.iter().map(ToString::to_string).collect::<Vec<_>>();
        let release = match with_image[..] {
            [one] => one.to_owned(),
            [] => return Err(LocalError::NoImage { releases: owned(&all) }.into()),
            _ => return Err(LocalError::SeveralKernels(owned(&with_image)).into()),
        };
        let tree = staged.tree(&release);
        let modules = tree.join("modules");
        fs::create_dir_all(&modules).at("create", &modules)?;
        if let Some(what) = missing(&tree, false)? {
            let others = all.into_iter().filter(|other| *other != release).map(str::to_owned).collect();
            let hint = where_it_is(given, &release);
            return Err(LocalError::Incomplete { release, what, others, hint }.into());
        }
        check_modules(&modules, &release)?;
        finish(&tree, (&release, &release))?;
        Ok((release, source))
    }
}

/// Reads packages one after the other; their sizes and hashes.
fn each(
    paths: &[PathBuf],
    mut read: impl FnMut(&Path, &mut dyn Read) -> Result<(), LocalError>,
) -> Result<Vec<LocalFile>, StoreError> {
    let mut files = Vec::new();
    for path in paths {
        let path = fs::canonicalize(path).at("find", path)?;
        let mut package = Hashing::open(&path)?;
        read(&path, &mut package)?;
        files.push(package.finish(path)?);
    }
    Ok(files)
}

/// Takes an image and the modules in a folder.
fn take_image(vmlinuz: &Path, folder: &Path, staged: &mut Staged) -> Result<LocalSource, StoreError> {
    let vmlinuz = fs::canonicalize(vmlinuz).at("find", vmlinuz)?;
    let folder = fs::canonicalize(folder).at("find", folder)?;
    let bytes = file::read(&vmlinuz, PACKAGE_BYTES_MAX)?;
    let from_folder = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let release = vmlinux::release(&bytes).or_else(from_folder);
    let release = release.ok_or_else(|| StoreError::UnknownRelease(vmlinuz.clone()))?;
    let release = safe_release(&vmlinuz, &release)?;
    let bad =
        |path: &Path, why: &dyn ToString| LocalError::BadPath { path: path.to_owned(), why: why.to_string() };
    let release = FileName::parse(&release).map_err(|error| bad(&vmlinuz, &error))?;
    staged.write(&release, Path::new("vmlinuz"), &mut &bytes[..]).at("copy", &vmlinuz)?;
    let image =
        LocalFile { path: vmlinuz, size: bytes.len() as u64, sha256: Sha256Hex::of(&Sha256::digest(&bytes)) };
    let mut wanted = module_files(&folder)?;
    let lists = ["modules.builtin", "modules.builtin.modinfo", "config"].map(|name| folder.join(name));
    wanted.extend(lists.into_iter().filter(|path| path.is_file()));
    wanted.sort();
    let mut taken: Vec<(String, LocalFile)> = Vec::new();
    for path in wanted {
        let inside = path.strip_prefix(&folder).unwrap_or(&path);
        let inside = inside.to_str().ok_or_else(|| bad(&path, &"its name is no UTF-8"))?;
        let inside = InnerPath::parse(inside).map_err(|error| bad(&path, &error))?;
        let Some(place) = place_in_modules(&inside) else { continue };
        let mut content = Hashing::open(&path)?;
        staged.write(&release, &place, &mut content).at("copy", &path)?;
        taken.push((inside.to_string(), content.finish(path)?));
    }
    let modules = LocalFolder {
        path: folder,
        files: taken.len(),
        size: taken.iter().map(|(_, file)| file.size).sum(),
        sha256: folder_hash(taken.iter().map(|(path, file)| (path.as_str(), &file.sha256))),
    };
    Ok(LocalSource::Image { vmlinuz: image, modules })
}

/// The first module says which kernel it is for (`vermagic`), and that is the image's.
fn check_modules(modules: &Path, release: &str) -> Result<(), StoreError> {
    let Some(module) = module_files(modules)?.into_iter().next() else { return Ok(()) };
    let vermagic = modinfo(&module, "vermagic")?.unwrap_or_default();
    match vermagic.split(' ').next() {
        Some(found) if !found.is_empty() && found != release => {
            let name = module.strip_prefix(modules).unwrap_or(&module).display().to_string();
            let found = found.to_owned();
            Err(LocalError::OtherModules { release: release.to_owned(), module: name, found }.into())
        }
        _ => Ok(()),
    }
}

/// Compares what is there with what was pinned, part by part.
fn check_unchanged(pin: &KernelPin, was: &LocalSource, is: &LocalSource) -> Result<(), LocalError> {
    let paths = |source: &LocalSource| {
        let folder = match source {
            LocalSource::Image { modules, .. } => Some(modules.path.clone()),
            LocalSource::Deb(_) | LocalSource::Rpm(_) => None,
        };
        source.files().iter().map(|file| file.path.clone()).chain(folder).collect::<Vec<_>>()
    };
    for ((path, expected), found) in paths(was).into_iter().zip(was.hashes()).zip(is.hashes()) {
        if expected != found {
            return Err(LocalError::Changed {
                kernel: pin.name(),
                path,
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
    }
    Ok(())
}

/// A file that is hashed while it is read.
struct Hashing {
    inner: io::Take<fs::File>,
    hash: Sha256,
    size: u64,
}

impl Hashing {
    fn open(path: &Path) -> Result<Self, FileError> {
        let file = file::open(path)?;
        if file.metadata().at("read", path)?.len() > PACKAGE_BYTES_MAX {
            let limit = format!("it has more than {PACKAGE_BYTES_MAX} bytes, which is the limit here");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit)).at("read", path);
        }
        Ok(Self { inner: file.take(PACKAGE_BYTES_MAX), hash: Sha256::new(), size: 0 })
    }

    /// Size and hash, when what nothing has read yet is read too.
    fn finish(mut self, path: PathBuf) -> Result<LocalFile, FileError> {
        io::copy(&mut self, &mut io::sink()).at("read", &path)?;
        Ok(LocalFile { path, size: self.size, sha256: Sha256Hex::of(&self.hash.finalize()) })
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hash.update(&buffer[..got]);
        self.size += got as u64;
        Ok(got)
    }
}
