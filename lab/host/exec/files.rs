//! The files that a command leaves for this host: written below one new folder, with names that cannot lead out of it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::exec::error::ExecError;

/// More than a guest's memory holds, where the files are.
const BYTES_MAX: u64 = 4 << 30;
const FILES_MAX: usize = 100_000;

/// Takes files, if any are wanted.
#[derive(Debug)]
pub(super) struct Files {
    folder: Option<PathBuf>,
    current: Option<(PathBuf, File)>,
    count: usize,
    bytes: u64,
}

impl Files {
    /// Makes the folder. It has to be empty, so that no link in it leads anywhere.
    pub(super) fn new(folder: Option<&Path>) -> Result<Self, ExecError> {
        if let Some(folder) = folder {
            let failed = |source| ExecError::File { path: folder.to_owned(), source };
            fs::create_dir_all(folder).map_err(failed)?;
            if fs::read_dir(folder).map_err(failed)?.next().is_some() {
                return Err(failed(io::Error::other("the folder for the command's files is not empty")));
            }
        }
        Ok(Self { folder: folder.map(Path::to_owned), current: None, count: 0, bytes: 0 })
    }

    /// Begins a file, or makes a folder.
    pub(super) fn begin(&mut self, name: &[u8]) -> Result<(), ExecError> {
        let Some(folder) = &self.folder else {
            return Err(ExecError::Protocol("a file that was not asked for".into()));
        };
        let (name, is_folder) = name.strip_suffix(b"/").map_or((name, false), |name| (name, true));
        let relative = Path::new(std::ffi::OsStr::from_bytes(name));
        let is_plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || name.contains(&0) || !is_plain {
            return Err(ExecError::Protocol(format!(
                "a file of the name {:?}",
                String::from_utf8_lossy(name)
            )));
        }
        self.count += 1;
        if self.count > FILES_MAX {
            return Err(ExecError::Protocol(format!("more than {FILES_MAX} files")));
        }
        let path = folder.join(relative);
        let made =
            if is_folder { fs::create_dir(&path).map(|()| None) } else { File::create_new(&path).map(Some) };
        let file = made.map_err(|source| ExecError::File { path: path.clone(), source })?;
        self.current = file.map(|file| (path, file));
        Ok(())
    }

    /// Adds to the last file.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), ExecError> {
        let Some((path, file)) = &mut self.current else {
            return Err(ExecError::Protocol("the content of no file".into()));
        };
        self.bytes += bytes.len() as u64;
        if self.bytes > BYTES_MAX {
            return Err(ExecError::Protocol(format!("files of more than {BYTES_MAX} bytes")));
        }
        file.write_all(bytes).map_err(|source| ExecError::File { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_written_below_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut files = Files::new(Some(&out)).unwrap();
        files.begin(b"logs/").unwrap();
        files.begin(b"logs/a.txt").unwrap();
        files.add(b"one ").unwrap();
        files.add(b"two").unwrap();
        files.begin(b"empty").unwrap();
        assert_eq!(fs::read(out.join("logs/a.txt")).unwrap(), b"one two");
        assert_eq!(fs::read(out.join("empty")).unwrap(), b"");
    }

    #[rstest::rstest]
    #[case(b"../a")]
    #[case(b"a/../../b")]
    #[case(b"/etc/passwd")]
    #[case(b"")]
    #[case(b"/")]
    #[case(b"a\0b")]
    #[case(b"..")]
    fn a_name_that_leads_out_is_a_protocol_error(#[case] name: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(Some(&dir.path().join("out"))).unwrap();
        assert!(matches!(files.begin(name), Err(ExecError::Protocol(_))));
    }

    #[test]
    fn a_folder_with_something_in_it_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("here"), "").unwrap();
        assert!(matches!(Files::new(Some(dir.path())), Err(ExecError::File { .. })));
    }

    #[test]
    fn files_that_nobody_asked_for_are_a_protocol_error() {
        let mut files = Files::new(None).unwrap();
        assert!(matches!(files.begin(b"a"), Err(ExecError::Protocol(_))));
        assert!(matches!(files.add(b"a"), Err(ExecError::Protocol(_))));
    }

    #[test]
    fn a_file_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(Some(&dir.path().join("out"))).unwrap();
        files.begin(b"a").unwrap();
        assert!(matches!(files.begin(b"a"), Err(ExecError::File { .. })));
    }
}
