//! Why a kernel is not to be had from the cache.

use std::path::PathBuf;

use crate::cache::CacheError;
use crate::file::FileError;
use crate::kernel::deb::DebError;
use crate::kernel::download::DownloadError;
use crate::kernel::manifest::Damage;
use crate::kernel::mirror::MirrorError;
use crate::kernel::modules::ModulesError;
use crate::kernel::store::LocalError;
use crate::kernel::vmlinux::VmlinuxError;
use bondlab_core::net::inner_path::UnsafeName;

/// Why a kernel cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It would have to be downloaded, and that is not allowed.
    #[error("kernel {kernel} is not on this machine; `lab kernels fetch {kernel}` downloads it ({} MB)", size / 1_000_000)]
    NotCached {
        /// Name of the kernel.
        kernel: String,
        /// Bytes to download.
        size: u64,
    },
    /// What is in the cache is not what was unpacked.
    #[error(
        "kernel {kernel} in the cache is damaged: {damage}; `lab kernels fetch {kernel}` removes it and gets it again"
    )]
    Damaged {
        /// Name of the kernel.
        kernel: String,
        /// The first file that shows it.
        damage: Damage,
    },
    /// A package is damaged.
    #[error("package {package}: {source}")]
    Deb {
        /// Name of the package.
        package: String,
        /// What is wrong.
        source: DebError,
    },
    /// The packages do not hold what a kernel is made of.
    #[error("the packages of kernel {kernel} hold no {what}: the pin does not name all of them")]
    Incomplete {
        /// Name of the kernel.
        kernel: String,
        /// What is not there.
        what: &'static str,
    },
    /// The packages hold another kernel.
    #[error("the packages of kernel {kernel} hold release {found}, not {release}: the pin is wrong")]
    WrongRelease {
        /// Name of the kernel.
        kernel: String,
        /// Release of the pin.
        release: String,
        /// Release of the image.
        found: String,
    },
    /// An image whose release nothing tells.
    #[error("cannot tell the release of {}: name its module directory (…/lib/modules/RELEASE)", .0.display())]
    UnknownRelease(PathBuf),
    /// An image whose release would name a file elsewhere.
    #[error("the release of {}: {source}", image.display())]
    BadRelease {
        /// The image.
        image: PathBuf,
        /// What is wrong with its release.
        source: UnsafeName,
    },
    /// The machine's own kernel image is not to be found.
    #[error(
        "no kernel image for the running {release}: looked for {looked_for}; name one with --kernel-image FILE --modules DIR"
    )]
    NoHostImage {
        /// `uname -r`.
        release: String,
        /// The paths.
        looked_for: String,
    },
    /// What the user gave is no kernel, or not what was pinned.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The image is not bootable.
    #[error("kernel image {}: {source}", path.display())]
    Vmlinux {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        source: VmlinuxError,
    },
    /// No mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// No download.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Unreadable modules.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}
