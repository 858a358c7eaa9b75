//! `lab import`: a topology of what a reporter pasted, or of a report's tarball.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lab::host::archive::{self, Limits, Members};
use lab::host::file;
use lab::import::{self, Imported, Known, SOURCES_MAX, Source, tree};
use lab::net::clean;
use lab::net::version::KernelVersion;

use crate::cli::catalogue::CAUSES;
use crate::cli::failure::Failure;
use crate::cli::{PinsArgs, lint, provision};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab import report.md > report.toml && lab run report.toml
  lab import - < report.md | lab run -
  lab import sosreport-node1-2024-05-03.tar.xz | lab run -
  ssh node 'ip -s -d link; ip address; ip route; cat /proc/net/bonding/*; uname -a' | lab import - | lab run -

The topology goes to standard output. What was recognised, what was left out and what was made up goes to standard error, \
and to the head of the topology; what lint finds goes to standard error.";

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

/// Arguments of `lab import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files, folders, tarballs of sosreport and supportconfig, or `-` for standard input: all of one machine
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Imports, and prints the topology.
pub fn import(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let mut reading = Reading::default();
    for path in &args.files {
        reading.argument(path)?;
    }
    let kernels = provision::kernels(args.pins.kernels_file.as_deref())?;
    let versions: Vec<KernelVersion> = kernels.pins().filter_map(|pin| pin.name().parse().ok()).collect();
    let known = Known { kernels: &versions, causes: CAUSES };
    let imported = import::import("imported", &reading.sources, &known)
        .map_err(|error| Failure::invalid(format!("error: {error}")))?;
    report(&reading.notes, &imported);
    print!("{}", imported.toml);
    Ok(ExitCode::SUCCESS)
}

/// Sources while they are collected.
#[derive(Default)]
struct Reading {
    sources: Vec<Source>,
    /// Of archives and folders: what was not read.
    notes: Vec<String>,
}

impl Reading {
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
        if self.sources.len() == SOURCES_MAX {
            return Err(Failure::invalid(format!(
                "error: {}: more than {SOURCES_MAX} files\nhint: name the files",
                clean::line(&name)
            )));
        }
        self.sources.push(Source { name, text: String::from_utf8_lossy(bytes).into_owned() });
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            members: SOURCES_MAX - self.sources.len().min(SOURCES_MAX),
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

fn report(notes: &[String], imported: &Imported) {
    for note in notes {
        eprintln!("read: {note}");
    }
    for found in &imported.found {
        eprintln!("recognised: {found}");
    }
    for note in &imported.notes {
        eprintln!("note: {note}");
    }
    for finding in &imported.lint {
        eprintln!("{}", lint::shown("", finding));
    }
}
