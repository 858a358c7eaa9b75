//! `lab import`: a topology of what a reporter pasted, or of a report's tarball.

use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_core::import::{self, Cause, Imported, Known};
use bondlab_core::net::version::KernelVersion;
use clap::Args;

use crate::cli::catalogue::CAUSES;
use crate::cli::failure::Failure;
use crate::cli::sources::Sources;
use crate::cli::{PinsArgs, provision};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab import report.md > report.toml && lab run report.toml
  lab import - < report.md | lab run -
  lab import sosreport-node1-2024-05-03.tar.xz | lab run -
  ssh node 'ip -s -d link; ip address; ip route; cat /proc/net/bonding/*; uname -a' | lab import - | lab run -

The topology goes to standard output. Lists of what was recognised, left out and assumed go to standard error and to \
the head of the topology; findings of lint go to standard error.";

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
    let sources = Sources::read(&args.files)?;
    let kernels = provision::kernels(args.pins.kernels_file.as_deref())?;
    let versions: Vec<KernelVersion> = kernels.pins().filter_map(|pin| pin.name().parse().ok()).collect();
    let causes: Vec<Cause> = CAUSES.iter().map(|cause| (cause.name, cause.topology)).collect();
    let known = Known { kernels: &versions, causes: &causes };
    let imported = import::import("imported", &sources.texts, &known)
        .map_err(|error| Failure::invalid(format!("error: {error}")))?;
    sources.show_notes();
    report(&imported);
    print!("{}", imported.toml);
    Ok(ExitCode::SUCCESS)
}

fn report(imported: &Imported) {
    for found in &imported.found {
        eprintln!("recognised: {found}");
    }
    for note in &imported.notes {
        eprintln!("note: {note}");
    }
    for finding in &imported.lint {
        eprintln!("{}", finding);
    }
}
