//! Files, folders, tarballs and standard input that `lab import` and `lab diagnose` read.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use bondlab_core::import::{self, SOURCES_MAX, Source, tree};
use bondlab_core::net::clean;
use bondlab_host::archive::{self, Limits, Members};
use bondlab_host::file;

use crate::cli::failure::Failure;

/// Standard input, as a file.
const STDIN: &str = "-";
/// How deep a folder is looked through; an unpacked sosreport has more folders than a person's.
const DEPTH_MAX: usize = 12;
/// Files of one folder that are looked at.
const FILES_MAX: usize = 300_000;
/// An archive on standard input, which has to be kept as a whole, in bytes.
const STDIN_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What is read of one import, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What was named on the command line, as texts.
#[derive(Default)]
pub struct Sources {
    /// In the order of the arguments.
    pub texts: Vec<Source>,
    /// Of archives and folders: what was not read.
    pub notes: Vec<String>,
}

impl Sources {
    /// Reads files, folders, tarballs and standard input.
    pub fn read(arguments: &[PathBuf]) -> Result<Self, Failure> {
        let mut sources = Self::default();
        for path in arguments {
            sources.argument(path)?;
        }
        Ok(sources)
    }

    /// Writes to standard error what was not read.
    pub fn show_notes(&self) {
        for note in &self.notes {
            eprintln!("read: {note}");
        }
    }

    fn argument(&mut self, path: &Path) -> Result<(), Failure> {
        if path == Path::new(STDIN) {
            return self.stdin();
        }
        if path.is_dir() {
            return self.folder(path);
        }
        self.file(path)
    }

    fn stdin(&mut self) -> Result<(), Failure> {
        let bytes = file::read_stdin(STDIN_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
        let begin: Vec<u8> = bytes.iter().take(512).copied().collect();
        if archive::is_archive(&begin) {
            let name = "standard input";
            let members =
                archive::members_of(name, &begin, Cursor::new(bytes), self.limits(), tree::is_wanted);
            return self.members(name, members.map_err(|error| Failure::invalid(format!("error: {error}")))?);
        }
        self.source("standard input".into(), &bytes)
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let begin = archive::begin(path).map_err(|error| Failure::unreadable(&error))?;
        if archive::is_archive(&begin) {
            let members = archive::members(path, self.limits(), tree::is_wanted)
                .map_err(|error| Failure::invalid(format!("error: {error}")))?;
            return self.members(&path.display().to_string(), members);
        }
        let bytes =
            file::read(path, import::SOURCE_BYTES_MAX as u64).map_err(|error| Failure::unreadable(&error))?;
        self.source(path.display().to_string(), &bytes)
    }

    fn source(&mut self, name: String, bytes: &[u8]) -> Result<(), Failure> {
        if self.texts.len() == SOURCES_MAX {
            return Err(Failure::invalid(format!(
                "error: {}: more than {SOURCES_MAX} files\nhint: name the files",
                clean::line(&name)
            )));
        }
        self.texts.push(Source { name, text: String::from_utf8_lossy(bytes).into_owned() });
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            members: SOURCES_MAX - self.texts.len().min(SOURCES_MAX),
            member_bytes: import::SOURCE_BYTES_MAX as u64,
            bytes: BYTES_MAX,
        }
    }

    fn members(&mut self, name: &str, members: Members) -> Result<(), Failure> {
        let name = clean::line(name).into_owned();
        let kind = members.paths.iter().find_map(|path| tree::Report::of(path));
        if members.members.is_empty() {
            return Err(Failure::invalid(format!(
                "error: {name}: none of its {} files is one that sosreport or supportconfig write about the network\nhint: \
                 unpack it, and name the files to import",
                members.paths.len()
            )));
        }
        let word = kind.map_or("archive", tree::Report::word);
        let (read, all) = (members.members.len(), members.paths.len());
        self.notes
            .push(format!("{name}: {word}; {read} of {all} files are read, the others do not show links"));
        self.notes.extend(members.notes.iter().map(|note| format!("{name}: {}", clean::line(note))));
        for member in members.members {
            self.source(member.path, &member.bytes)?;
        }
        Ok(())
    }

    /// All files of a folder; of an unpacked report only those that an archive's would be.
    fn folder(&mut self, folder: &Path) -> Result<(), Failure> {
        let mut files = Vec::new();
        walk(folder, 0, &mut files)?;
        let report = files.iter().find_map(|path| tree::Report::of(&path.display().to_string()));
        let Some(report) = report else {
            return files.iter().try_for_each(|path| self.file(path));
        };
        let all = files.len();
        files.retain(|path| tree::is_wanted(&path.display().to_string()));
        let (name, read, word) = (folder.display().to_string(), files.len(), report.word());
        let name = clean::line(&name).into_owned();
        self.notes
            .push(format!("{name}: {word}; {read} of {all} files are read, the others do not show links"));
        for path in files {
            // One file that is too large does not spoil a whole report.
            match file::read(&path, import::SOURCE_BYTES_MAX as u64) {
                Ok(bytes) => self.source(path.display().to_string(), &bytes)?,
                Err(error) => self.notes.push(clean::line(&error.to_string()).into_owned()),
            }
        }
        Ok(())
    }
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if depth > DEPTH_MAX || files.len() > FILES_MAX {
        return Err(Failure::invalid(format!(
            "error: {}: more than {FILES_MAX} files, or folders more than {DEPTH_MAX} deep\nhint: name the files",
            clean::line(&folder.display().to_string())
        )));
    }
    for path in file::entries(folder).map_err(|error| Failure::unreadable(&error))? {
        // What is reached by a link is there under its own name, or not of this folder.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
