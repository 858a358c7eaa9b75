//! Makes a pin for what a module is built of: a kernel's headers, its build tools, and the source of the same version.

use crate::kernel::archive::{
    ArchiveError, Cache, DownloadEvent, KernelPin, Mirrors, ModulePin, SUITES, hash_from_pool, keyring,
    read_suite,
};
use crate::kernel::pins::Archive;

const SOURCE_PACKAGES: &str = "^linux-(headers|kbuild|source)-[0-9]";

/// The suite with the C library that the build tools of Debian 13's kernels are linked with.
const NEWER_LIBC: (&str, &str) = ("trixie", "^libc6$");

/// Pins the packages that `name`, a module of the kernel's own source, is built of for a pinned kernel.
///
/// # Errors
/// When one of them is neither in the index nor in the pool: then nothing of that version can be built.
pub fn resolve_module(
    cache: &Cache,
    mirrors: &Mirrors,
    (name, kernel): (&str, &KernelPin),
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<ModulePin, ArchiveError> {
    let archive = kernel.archive;
    let version = kernel.packages.last().map_or("", |package| &package.version);
    let suite = SUITES.iter().map(|(suite, _)| *suite).find(|suite| *suite == kernel.suite);
    let entries = match suite {
        Some(suite) => {
            let _held = cache.lock("apt")?;
            read_suite(cache, mirrors.base(archive)?, (suite, SOURCE_PACKAGES), keyring()?)?
        }
        None => Vec::new(),
    };
    let mut packages = Vec::new();
    for package in package_names(&kernel.release) {
        let indexed = entries.iter().find(|entry| entry.package == package && entry.version == version);
        packages.push(match indexed {
            Some(entry) => entry.pin()?,
            None => hash_from_pool(cache, mirrors, archive, &package, version, on_event)?,
        });
    }
    if archive == Archive::Debian && !kernel.suite.starts_with("b") {
        let _held = cache.lock("apt")?;
        let found = read_suite(cache, mirrors.base(archive)?, NEWER_LIBC, keyring()?)?;
        packages.extend(found.first().map(|entry| entry.pin()).transpose()?);
    }
    let (name, flavour) = (name.to_owned(), kernel.flavour);
    Ok(ModulePin { name, kernel: kernel.id.clone(), flavour, archive, packages })
}

/// `6.12.57+deb12-cloud-amd64` has build tools of its own, `6.1.0-56-cloud-amd64` those of its series.
fn package_names(release: &str) -> [String; 4] {
    let build = release.trim_end_matches("-amd64").trim_end_matches("-cloud");
    let version = build.split('-').next().unwrap_or(build);
    let mut numbers = version.split(['.', '+']);
    let series = [numbers.next(), numbers.next()].map(Option::unwrap_or_default).join(".");
    let tools = if build == version { build } else { &series };
    [
        format!("linux-headers-{release}"),
        format!("linux-headers-{build}-common"),
        format!("linux-kbuild-{tools}"),
        format!("linux-source-{series}"),
    ]
}

/// Whether a package is the same for all architectures, which its file's name tells.
pub fn is_for_all(package: &str) -> bool {
    package.ends_with("-common") || package.starts_with("linux-source-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(
        "6.12.57+deb12-cloud-amd64",
        "linux-headers-6.12.57+deb12-cloud-amd64 linux-headers-6.12.57+deb12-common \
         linux-kbuild-6.12.57+deb12 linux-source-6.12"
    )]
    #[case(
        "6.1.0-56-amd64",
        "linux-headers-6.1.0-56-amd64 linux-headers-6.1.0-56-common linux-kbuild-6.1 linux-source-6.1"
    )]
    #[case(
        "7.3-cloud-amd64",
        "linux-headers-7.3-cloud-amd64 linux-headers-7.3-common linux-kbuild-7.3 linux-source-7.3"
    )]
    fn names_of_packages(#[case] release: &str, #[case] expected: &str) {
        assert_eq!(package_names(release).join(" "), expected);
    }
}
