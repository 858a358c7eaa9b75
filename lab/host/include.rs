//! A topology file with the files that it includes, read from its folder.

use std::path::{Path, PathBuf};

use crate::file::{self, FileError};
use bondlab_core::topology::TopologyErrors;
use bondlab_core::topology::source::{DEPTH_MAX, FILES_MAX, Include, Source};

/// Why there is no topology to read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file itself cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What it includes cannot be; the mistake is in the file that includes it.
    #[error(transparent)]
    Include(TopologyErrors),
}

/// Reads a topology file and all that it includes: files in its folder or below it, each once.
///
/// # Errors
/// A file that cannot be read, is too large, is elsewhere, or includes itself.
pub fn read(path: &Path) -> Result<Source, SourceError> {
    let text = file::read_text(path, file::TOPOLOGY_BYTES_MAX)?;
    let mut reader = Reader { source: Source::default(), done: Vec::new(), open: Vec::new(), bytes: 0 };
    reader.file(path, &text)?;
    Ok(reader.source)
}

struct Reader {
    source: Source,
    /// Files that are in the source.
    done: Vec<PathBuf>,
    /// Files that are being read, each included by the one before it.
    open: Vec<PathBuf>,
    bytes: usize,
}

impl Reader {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), SourceError> {
        let shown = path.display().to_string();
        self.open.push(real(path).unwrap_or_else(|_| path.to_owned()));
        self.bytes += text.len();
        for include in Include::all(text) {
            let refuse = |message: &str, hint: &str| {
                SourceError::Include(include.problem(&shown, text, message, hint))
            };
            include.check().map_err(|(message, hint)| refuse(message, hint))?;
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let path = folder.join(&include.name);
            let is_there = |error: FileError| {
                refuse(&error.to_string(), "include a file of the same folder, or below it")
            };
            let real_path = real(&path).map_err(is_there)?;
            if !real_path.starts_with(real(folder).map_err(is_there)?) {
                return Err(refuse(
                    "a link that leads out of the file's folder",
                    "copy the file into the folder",
                ));
            }
            if self.open.contains(&real_path) {
                return Err(refuse(
                    "this file is being included already",
                    "take the circle out: files include others one way",
                ));
            }
            if self.done.contains(&real_path) {
                continue;
            }
            if self.open.len() >= DEPTH_MAX {
                let message = format!("files include one another {DEPTH_MAX} deep at the most");
                return Err(refuse(&message, "include it from a file further up"));
            }
            if self.done.len() + self.open.len() >= FILES_MAX {
                return Err(refuse(
                    &format!("{FILES_MAX} files of one topology at the most"),
                    "put some of them into one",
                ));
            }
            let included = file::read_text(&path, file::TOPOLOGY_BYTES_MAX).map_err(is_there)?;
            if (self.bytes + included.len()) as u64 > file::TOPOLOGY_BYTES_MAX {
                let message = format!("more than {} bytes with what is included", file::TOPOLOGY_BYTES_MAX);
                return Err(refuse(&message, "make several topologies of it"));
            }
            self.file(&path, &included)?;
        }
        self.done.extend(self.open.pop());
        self.source.push(&shown, text);
        Ok(())
    }
}

/// The path without links.
fn real(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(|source| FileError::from_parts("include", path, source))
}
