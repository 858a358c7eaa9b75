//! Who may write to the cache. A kernel and a machine from it run as the user who starts the lab, some of it as root: a
//! cache that another user can change is not used.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cache::CacheError;
use crate::file::{At, FileError};
use bondlab_core::net::clean;

/// Permission of everyone else to write (inode(7)).
const S_IWOTH: u32 = 0o002;

const ROOT: u32 = 0;

/// Refuses a cache of which a part can be changed by a user who is neither root nor this one.
///
/// Looked at are the cache, its directories and what is in them; what is deeper is below a directory that was looked at.
///
/// # Errors
/// The first part that another user owns, or everyone may write to.
pub(super) fn check(root: &Path, parts: &[&str]) -> Result<(), CacheError> {
    let user = nix::unistd::geteuid().as_raw();
    check_one(root, root, user)?;
    for part in parts {
        let dir = root.join(part);
        check_one(&dir, root, user)?;
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(error).at("read", &dir)?,
        };
        for entry in entries {
            check_one(&entry.at("read", &dir)?.path(), root, user)?;
        }
    }
    Ok(())
}

fn check_one(path: &Path, root: &Path, user: u32) -> Result<(), CacheError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Another lab has taken it away.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::from_parts("read", path, error).into()),
    };
    let (owner, root) = (metadata.uid(), quoted(root));
    let path = path.to_owned();
    match writers(owner, metadata.mode(), user) {
        Writers::Trusted => Ok(()),
        Writers::Another => Err(CacheError::Foreign { path, owner, user, root }),
        Writers::Everyone => Err(CacheError::Open { path, root }),
    }
}

/// Who can change a file, as far as that matters.
#[derive(Debug, PartialEq, Eq)]
enum Writers {
    /// This user, and root.
    Trusted,
    /// Another user owns it.
    Another,
    /// Everyone may write to it.
    Everyone,
}

/// A group may write: with a group for each user, as Debian has it, a umask of 002 is usual.
fn writers(owner: u32, mode: u32, user: u32) -> Writers {
    match () {
        () if owner != user && owner != ROOT => Writers::Another,
        () if mode & S_IWOTH != 0 => Writers::Everyone,
        () => Writers::Trusted,
    }
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", clean::line(&text).replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cache::Cache;

    #[rstest::rstest]
    #[case::own(1000, 0o755, Writers::Trusted)]
    #[case::own_with_its_group(1000, 0o775, Writers::Trusted)]
    #[case::installed_by_root(0, 0o755, Writers::Trusted)]
    #[case::of_another(1001, 0o755, Writers::Another)]
    #[case::writable_by_all(1000, 0o757, Writers::Everyone)]
    #[case::with_the_sticky_bit_all_the_same(0, 0o1777, Writers::Everyone)]
    fn a_part_is_trusted_by_owner_and_mode(#[case] owner: u32, #[case] mode: u32, #[case] expected: Writers) {
        assert_eq!(writers(owner, mode, 1000), expected);
    }

    #[test]
    fn a_cache_that_everyone_may_write_to_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("it's a cache");
        let cache = Cache::at(&root).unwrap();
        fs::write(cache.path("initramfs/x.cpio"), "x").unwrap();
        for part in ["", "machines", "kernels", "initramfs/x.cpio"] {
            let path = cache.path(part);
            let mode = fs::metadata(&path).unwrap().mode();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | S_IWOTH)).unwrap();
            let error = Cache::at(&root).unwrap_err().to_string();
            assert!(
                error.starts_with("everyone may write to ") && error.contains("chmod -R o-w '"),
                "{error}"
            );
            assert!(error.contains("/it'\\''s a cache'"), "{error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Cache::at(&root).unwrap();
    }

    #[test]
    fn a_cache_of_another_user_is_refused_with_the_command_that_mends_it() {
        if !nix::unistd::geteuid().is_root() {
            return; // Only root can give a file away.
        }
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        std::os::unix::fs::chown(cache.path("kernels"), Some(65_534), None).unwrap();
        let error = Cache::at(cache.path("")).unwrap_err().to_string();
        assert!(error.contains("belongs to user 65534") && error.contains("chown -R 0 /"), "{error}");
    }
}
