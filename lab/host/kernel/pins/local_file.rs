//! `kernels.local.toml`: where it is, and how `lab kernels` changes it without touching what the user wrote there.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::file;
use crate::file::{FileError, TEXT_BYTES_MAX};
use crate::kernel::pins::local::LocalKernel;
use crate::kernel::pins::{Kernels, KernelsError};

/// The file's name.
pub const LOCAL_FILE: &str = "kernels.local.toml";
/// What a checkout of the lab is recognised by.
const KERNELS_FILE: &str = "kernels.toml";

/// The first lines of a new file.
const HEAD: &str = "\
# Kernels of your own, beside those pinned in the lab. `lab kernels add` and `lab kernels remove` change this file.
# Paths are absolute, or seen from this folder. Sets may name all kernels: [sets] mine = [\"6.12.57\", \"...\"]
";

/// Why the file could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LocalFileError {
    /// The file would be invalid.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KernelsError,
    },
    /// The kernel cannot be written as TOML: a path is no UTF-8.
    #[error("cannot write the pin: {0}")]
    NoToml(#[from] toml::ser::Error),
    /// The entry is not written as `lab kernels add` writes it.
    #[error("cannot find the table [[kernel]] of {name} in {}; remove it by hand", path.display())]
    NotFound {
        /// The kernel.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The file that holds for a folder: its own or that of the nearest folder above.
pub fn find(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|dir| dir.join(LOCAL_FILE)).find(|file| file.is_file())
}

/// The file to add to: the one that holds for a folder; else a new one in the checkout of the lab around it, or there.
pub fn find_or_new(folder: &Path) -> PathBuf {
    find(folder).unwrap_or_else(|| {
        let checkout = folder.ancestors().find(|dir| dir.join(KERNELS_FILE).is_file());
        checkout.unwrap_or(folder).join(LOCAL_FILE)
    })
}

/// Adds the kernels of the file that holds for the working directory to `kernels`.
///
/// # Errors
/// When there is one, and it cannot be read or is invalid.
pub fn load(kernels: &mut Kernels) -> Result<(), LocalFileError> {
    // Without a working directory there is no file either.
    let Some(path) = env::current_dir().ok().and_then(|folder| find(&folder)) else { return Ok(()) };
    let text = file::read_text(&path, TEXT_BYTES_MAX)?;
    check(kernels, &path, &text)
}

/// Appends a kernel. `others` are the pins without the file's.
///
/// # Errors
/// When the file cannot be changed, or would be invalid: it stays as it was then.
pub fn append(path: &Path, kernel: &LocalKernel, others: &Kernels) -> Result<(), LocalFileError> {
    #[derive(Serialize)]
    struct Fragment<'a> {
        kernel: [&'a LocalKernel; 1],
    }
    let old = match file::read_text(path, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error.into()),
    };
    let new = format!("{}\n\n{}", old.trim_end(), toml::to_string(&Fragment { kernel: [kernel] })?);
    check(&mut others.clone(), path, &new)?;
    Ok(file::replace_text(path, &new)?)
}

/// Removes a kernel's table and leaves the rest of the file as it is.
///
/// # Errors
/// As [`append`], and when the table is not to be found.
pub fn remove(path: &Path, name: &str, others: &Kernels) -> Result<(), LocalFileError> {
    let old = file::read_text(path, TEXT_BYTES_MAX)?;
    let not_found = || LocalFileError::NotFound { name: name.to_owned(), path: path.to_owned() };
    let new = without(&old, name).ok_or_else(not_found)?;
    let mut left = others.clone();
    check(&mut left, path, &new)?;
    if left.local(name).is_some() {
        return Err(not_found());
    }
    Ok(file::replace_text(path, &new)?)
}

fn check(kernels: &mut Kernels, path: &Path, text: &str) -> Result<(), LocalFileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let invalid = |source| LocalFileError::Invalid { path: path.to_owned(), source };
    kernels.add_local(text, folder).map_err(invalid)
}

/// The text without the lines of a kernel's table and its sub-tables.
fn without(text: &str, name: &str) -> Option<String> {
    let begins = |line: &str| line.trim_start().starts_with('[');
    let belongs = |line: &str| {
        let header = line.trim_start().trim_start_matches('[').trim_start();
        header.starts_with("kernel.")
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut start = 0;
    while start < lines.len() {
        let length = lines[start + 1..]
            .iter()
            .position(|line| begins(line) && !belongs(line))
            .map_or(lines.len() - start, |more| more + 1);
        let block: String = lines[start..start + length].concat();
        if lines[start].trim() == "[[kernel]]" && id(&block).as_deref() == Some(name) {
            let rest = [lines[..start].concat(), lines[start + length..].concat()].concat();
            return Some(format!("{}\n", rest.trim_end()));
        }
        start += length;
    }
    None
}

/// The id in a block that is one `[[kernel]]` table.
fn id(block: &str) -> Option<String> {
    let table: toml::Table = block.parse().ok()?;
    Some(table.get("kernel")?.get(0)?.get("id")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::pins::Sha256Hex;
    use crate::kernel::pins::local::{LocalFile, LocalSource};

    fn kernel(id: &str) -> LocalKernel {
        let file = LocalFile { path: "k.deb".into(), size: 1, sha256: Sha256Hex::of(&[7; 32]) };
        LocalKernel::new(id.into(), "6.8.0-31-generic".into(), LocalSource::Deb(vec![file.clone(), file]))
    }

    #[test]
    fn a_kernel_is_added_and_removed_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCAL_FILE);
        let pins = Kernels::built_in().unwrap();
        for name in ["one", "two", "three"] {
            append(&path, &kernel(name), &pins).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let with_set = format!("{text}\n[sets]\nmine = [\"one\", \"three\"] # my own\n");
        std::fs::write(&path, &with_set).unwrap();
        remove(&path, "two", &pins).unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(HEAD) && text.contains("# my own") && !text.contains("two"), "{text}");
        let mut left = pins.clone();
        left.add_local(&text, dir.path()).unwrap();
        let names: Vec<String> = left.select("mine").unwrap().iter().map(|pin| pin.name()).collect();
        assert_eq!(names, ["one", "three"]);

        let error = remove(&path, "three", &pins).unwrap_err().to_string();
        assert!(error.contains("set \"mine\": no pinned kernel is called \"three\""), "{error}");
        assert!(matches!(remove(&path, "four", &pins), Err(LocalFileError::NotFound { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "an invalid change is not made");
        assert!(append(&path, &kernel("one"), &pins).is_err(), "the name is taken");
    }

    #[test]
    fn the_file_of_the_nearest_folder_holds() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(find_or_new(&inner), inner.join(LOCAL_FILE));
        std::fs::write(dir.path().join(KERNELS_FILE), "").unwrap();
        assert_eq!(find_or_new(&inner), dir.path().join(LOCAL_FILE));
        std::fs::write(dir.path().join("a").join(LOCAL_FILE), "").unwrap();
        assert_eq!(find(&inner), Some(dir.path().join("a").join(LOCAL_FILE)));
    }
}
