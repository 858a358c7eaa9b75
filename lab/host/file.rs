//! Files as they come from a user or a cache: opened only if they are files, read up to a bound, and I/O errors that say
//! what was being done to which of them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A text that a user writes, or a result: the largest of the lab's own, a matrix of everything, has 60 MB.
pub const TEXT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A topology. The largest of the gallery has 20 KB.
pub const TOPOLOGY_BYTES_MAX: u64 = 1024 * 1024;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct FileError {
    /// The verb: "read", "create".
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// An error with the operation and the file that it is about.
    pub fn from_parts(doing: &'static str, path: &Path, source: io::Error) -> FileError {
        FileError { doing, path: path.to_owned(), source }
    }
}

/// Names the operation and the file of an [`io::Error`].
pub trait At<T> {
    /// Turns the error into a [`FileError`].
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, FileError> {
        self.map_err(|source| FileError { doing, path: path.as_ref().to_owned(), source: source.into() })
    }
}

/// Opens a file to read it. What is no file is an error: a FIFO would wait for its writer, a device may have no end.
///
/// # Errors
/// When there is no such file, or it is none.
pub fn open(path: &Path) -> Result<File, FileError> {
    // Without O_NONBLOCK open(2) itself waits at a FIFO. Files do not know the flag.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).at("open", path)?;
    let kind = file.metadata().at("open", path)?.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(file),
        () if kind.is_dir() => "it is a directory",
        () if kind.is_fifo() => "it is a FIFO, not a file",
        () => "it is a device or socket, not a file",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what)).at("open", path)
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// When it is no file, cannot be read, or is larger.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > bytes_max {
        let limit = format!("it has more than {bytes_max} bytes, which is the limit here");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit)).at("read", path);
    }
    Ok(bytes)
}

/// Reads at most so many bytes from standard input.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read_stdin(bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let path = Path::new("standard input");
    let mut bytes = Vec::new();
    io::stdin().lock().take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > bytes_max {
        let limit = format!("it has more than {bytes_max} bytes, which is the limit here");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit)).at("read", path);
    }
    Ok(bytes)
}

/// Replaces a file's text at once, or leaves it as it was. A file that is there keeps its mode.
///
/// # Errors
/// When the folder cannot be written to.
pub fn replace_text(path: &Path, text: &str) -> Result<(), FileError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).at("create a file in", dir)?;
    file.write_all(text.as_bytes()).at("write", path)?;
    file.as_file().sync_all().at("write", path)?;
    // The temporary file is its owner's only.
    let mode =
        fs::metadata(path).map_or(fs::Permissions::from_mode(0o644), |metadata| metadata.permissions());
    file.as_file().set_permissions(mode).at("write", path)?;
    file.persist(path).map_err(|error| error.error).at("replace", path)?;
    Ok(())
}

/// What is in a folder, by name.
///
/// # Errors
/// When it cannot be read.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        all.push(entry.at("read", folder)?.path());
    }
    all.sort();
    Ok(all)
}

/// As [`read`], of a text.
///
/// # Errors
/// As [`read`], and when it is no UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, FileError> {
    let text = String::from_utf8(read(path, bytes_max)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text")).at("read", path)
}

/// The files with this ending (`toml`) below a folder, sorted. Each folder is looked at once, however many links lead to
/// it: a link to a folder above would go on for ever.
///
/// # Errors
/// When a folder cannot be read.
pub fn files_below(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    let mut folders = BTreeSet::from([folder.to_owned()]);
    while let Some(folder) = folders.pop_first() {
        let metadata = fs::metadata(&folder).at("read", &folder)?;
        if !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            if path.is_dir() {
                folders.insert(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The directory for temporary files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot create a temporary directory in {}: {source}; set TMPDIR to a directory that can be written to", .dir.display())]
pub struct NoTemporary {
    /// `TMPDIR`, or /tmp.
    pub dir: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Whether an error comes from a shortage of this machine's: descriptors, processes, memory, room on a disk, or a place for
/// temporary files.
#[must_use]
pub fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    const SHORTAGES: [i32; 6] =
        [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM, libc::ENOSPC, libc::EDQUOT];
    let mut next = Some(error);
    while let Some(error) = next {
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if code.is_some_and(|code| SHORTAGES.contains(&code)) || error.is::<NoTemporary>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn what_is_no_file_is_an_error_and_never_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRUSR).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for (path, expected) in [
            (path("fifo"), "it is a FIFO"),
            (path("folder"), "it is a directory"),
            (PathBuf::from("/dev/zero"), "it is a device"),
            (path("socket"), "socket"),
            (path("none"), "No such file"),
        ] {
            let error = read(&path, 100).unwrap_err();
            let text = format!("{error} {:?}", error.source.raw_os_error());
            assert!(text.contains(expected) || expected == "socket", "{text}");
            assert!(text.starts_with(&format!("cannot open {}", path.display())), "{text}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        let error = read_text(&path, 4).unwrap_err().to_string();
        assert!(error.ends_with("it has more than 4 bytes, which is the limit here"), "{error}");
        fs::write(&path, [0xff]).unwrap();
        assert!(read_text(&path, 5).unwrap_err().to_string().ends_with("it is no UTF-8 text"));
    }

    #[test]
    fn a_folder_with_links_to_itself_is_walked_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("b/c")).unwrap();
        for name in ["a.toml", "b/b.toml", "b/c/c.toml", "b/c/c.json"] {
            fs::write(path(name), "").unwrap();
        }
        for (n, place) in ["b/up", "b/c/up", "b/c/top", "self"].iter().enumerate() {
            symlink(if n == 0 { dir.path().to_owned() } else { path("b") }, path(place)).unwrap();
        }
        let files = files_below(dir.path(), "toml").unwrap();
        let names: Vec<_> = files.iter().map(|file| file.strip_prefix(dir.path()).unwrap()).collect();
        assert_eq!(names, ["a.toml", "b/b.toml", "b/c/c.toml"].map(Path::new));
    }

    #[test]
    fn a_shortage_is_found_under_other_errors() {
        let at = |code| Err::<(), _>(io::Error::from_raw_os_error(code)).at("open", "x").unwrap_err();
        assert!(is_shortage(&at(libc::EMFILE)) && is_shortage(&at(libc::ENOSPC)));
        assert!(!is_shortage(&at(libc::ENOENT)));
    }
}
