//! Sends the files that a command left for the host: folders and plain files, each with its path.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bondlab_core::plan::exec_frame::Kind;

use crate::exec::output::Output;

const READ_BYTES: usize = 32 * 1024;

/// Sends everything below `folder` in the order of names. Links and special files are left out.
pub(crate) fn send(folder: &Path, output: &Output) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = Vec::new();
    list(folder, &mut paths)?;
    let mut chunk = vec![0; READ_BYTES];
    for path in paths {
        let name = path.strip_prefix(folder).unwrap_or(&path).as_os_str().as_bytes();
        if path.is_dir() {
            output.send(Kind::File, &[name, b"/"].concat())?;
            continue;
        }
        output.send(Kind::File, name)?;
        let mut file = File::open(&path)?;
        loop {
            match file.read(&mut chunk)? {
                0 => break,
                length => output.send(Kind::FileData, &chunk[..length])?,
            }
        }
    }
    Ok(())
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            paths.push(entry.path());
            list(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}
