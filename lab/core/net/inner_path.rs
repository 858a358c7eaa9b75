//! Names from outside (packages, images, results, topologies) as parts of a path: none of them leads out of the folder
//! that it is joined to.
//!
//! `Path::join` takes an absolute second path for the whole, and `..` goes up; a name from outside becomes part of a
//! path only as one of the two types here.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::net::clean::is_unsafe;

/// `NAME_MAX` of Linux.
const NAME_BYTES_MAX: usize = 255;

/// A name that is not to be made a path of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} {why}, so no file is called so here")]
pub struct UnsafeName {
    /// The name as it came.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The name of one file or folder: not empty, no `/`, neither `.` nor `..`, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

/// Names of folders and a file, one in the other: `kernel/drivers/net/dummy.ko`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InnerPath(String);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is more or less than the name of one file.
    pub fn parse(name: &str) -> Result<Self, UnsafeName> {
        let unsafe_because = |why| Err(UnsafeName { name: name.to_owned(), why });
        match name {
            "" => unsafe_because("is no name"),
            "." | ".." => unsafe_because("is another folder"),
            _ if name.contains('/') => unsafe_because("is a path"),
            _ if name.contains(is_unsafe) => unsafe_because("has control characters"),
            _ if name.len() > NAME_BYTES_MAX => unsafe_because("is longer than 255 bytes"),
            _ => Ok(Self(name.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InnerPath {
    /// Checks a path, each part of it as a [`FileName`]. No `/` at either end, and no two of them together.
    ///
    /// # Errors
    /// When a part is no name of a file.
    pub fn parse(path: &str) -> Result<Self, UnsafeName> {
        match path.split('/').find_map(|part| FileName::parse(part).err()) {
            Some(part) => Err(UnsafeName { name: path.to_owned(), why: part.why }),
            None => Ok(Self(path.to_owned())),
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is below `folder`, which ends in `/`.
    #[must_use]
    pub fn below(&self, folder: &str) -> Option<Self> {
        Self::parse(self.0.strip_prefix(folder)?).ok()
    }

    /// This path below another.
    #[must_use]
    pub fn within(&self, folder: &FileName) -> Self {
        Self(format!("{folder}/{self}"))
    }
}

impl From<FileName> for InnerPath {
    fn from(name: FileName) -> Self {
        Self(name.0)
    }
}

impl AsRef<Path> for FileName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl AsRef<Path> for InnerPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl From<InnerPath> for PathBuf {
    fn from(path: InnerPath) -> Self {
        Self::from(path.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InnerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths that leave the folder they are joined to, or are no path at all.
    const OUTSIDE: [&str; 12] =
        ["", ".", "..", "/", "/etc/x", "a/../x", "../x", "a//x", "a/./x", "a/", "a\nb", "a/\u{1b}[2J"];

    #[test]
    fn only_names_below_the_folder_are_paths() {
        for path in OUTSIDE {
            assert!(InnerPath::parse(path).is_err(), "{path:?}");
            assert!(FileName::parse(path).is_err(), "{path:?}");
        }
        for path in ["a", "...", "a/b", "a b/c+d~e.ko", ".config"] {
            let inner = InnerPath::parse(path).unwrap();
            assert!(Path::new("/cache").join(&inner).starts_with("/cache"), "{path:?}");
            assert_eq!(FileName::parse(path).is_ok(), !path.contains('/'));
        }
        assert!(FileName::parse(&"x".repeat(256)).is_err());
        let error = InnerPath::parse("lib//tmp/x").unwrap_err().to_string();
        assert_eq!(error, "\"lib//tmp/x\" is no name, so no file is called so here");
    }

    #[test]
    fn what_is_below_a_folder_is_checked_again() {
        let path = InnerPath::parse("lib/modules/R/x.ko").unwrap();
        assert_eq!(path.below("lib/modules/").unwrap().as_str(), "R/x.ko");
        assert_eq!(path.below("lib/modules/R"), None, "a folder ends in a slash");
        assert_eq!(path.below("usr/"), None);
        assert_eq!(path.within(&FileName::parse("top").unwrap()).as_str(), "top/lib/modules/R/x.ko");
    }
}
