//! `lab import`: a topology of what a reporter pasted.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lab::host::file;
use lab::import::{self, Imported, Known, SOURCES_MAX, Source};
use lab::net::clean;
use lab::net::version::KernelVersion;

use crate::cli::catalogue::CAUSES;
use crate::cli::failure::Failure;
use crate::cli::{PinsArgs, provision};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab import report.md > report.toml && lab run report.toml
  lab import - < report.md | lab run -
  ssh node 'ip -s -d link; ip address; ip route; cat /proc/net/bonding/*; uname -a' | lab import - | lab run -

The topology goes to standard output. What was recognised, what was left out and what was made up goes to standard error, \
and to the head of the topology.";

/// Standard input, as a file.
const STDIN: &str = "-";
/// How deep a folder is looked through.
const DEPTH_MAX: usize = 8;

/// Arguments of `lab import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files, folders, or `-` for standard input: all of one machine
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Imports, and prints the topology.
pub fn import(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let mut sources = Vec::new();
    for path in &args.files {
        read(path, 0, &mut sources)?;
    }
    let kernels = provision::kernels(args.pins.kernels_file.as_deref())?;
    let versions: Vec<KernelVersion> = kernels.pins().filter_map(|pin| pin.name().parse().ok()).collect();
    let known = Known { kernels: &versions, causes: CAUSES };
    let imported = import::import("imported", &sources, &known)
        .map_err(|error| Failure::invalid(format!("error: {error}")))?;
    tell(&imported);
    print!("{}", imported.toml);
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path, depth: usize, sources: &mut Vec<Source>) -> Result<(), Failure> {
    if sources.len() > SOURCES_MAX || depth > DEPTH_MAX {
        return Err(Failure::invalid(format!(
            "error: {}: more than {SOURCES_MAX} files, or folders more than {DEPTH_MAX} deep\nhint: name the files",
            clean::line(&path.display().to_string())
        )));
    }
    let bytes_max = import::SOURCE_BYTES_MAX as u64;
    if path == Path::new(STDIN) {
        let bytes = file::read_stdin(bytes_max).map_err(|error| Failure::unreadable(&error))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        sources.push(Source { name: "standard input".into(), text });
    } else if path.is_dir() {
        for entry in file::entries(path).map_err(|error| Failure::unreadable(&error))? {
            read(&entry, depth + 1, sources)?;
        }
    } else {
        let bytes = file::read(path, bytes_max).map_err(|error| Failure::unreadable(&error))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        sources.push(Source { name: path.display().to_string(), text });
    }
    Ok(())
}

fn tell(imported: &Imported) {
    for found in &imported.found {
        eprintln!("recognised: {found}");
    }
    for note in &imported.notes {
        eprintln!("note: {note}");
    }
}
