//! `lab diagnose`: which of the catalogue's causes look like what a text shows. Nothing runs.

use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_core::diagnose::Catalogue;
use bondlab_core::import::Known;
use bondlab_core::net::version::KernelVersion;
use clap::{Args, ValueEnum};

use crate::cli::catalogue::{CAUSES, STUDIES};
use crate::cli::failure::Failure;
use crate::cli::sources::Sources;
use crate::cli::{PinsArgs, provision};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab capture > node.txt && lab diagnose node.txt
  lab diagnose - < report.md
  ssh node 'ip -s -d link; tc -s qdisc; cat /proc/net/bonding/*; uname -a' | lab diagnose -

No guest is started. Counters, states and errnos of the text are compared with those that were measured for each cause of the \
catalogue on the nearest kernels; they are built into the lab. `lab import FILE | lab run -` tests the causes.";

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One document
    Json,
}

/// Arguments of `lab diagnose`.
#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    /// Files, folders, tarballs of sosreport and supportconfig, or `-` for standard input: all of one machine
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Diagnoses, and prints the ranks.
pub fn diagnose(args: &DiagnoseArgs) -> Result<ExitCode, Failure> {
    let sources = Sources::read(&args.files)?;
    let kernels = provision::kernels(args.pins.kernels_file.as_deref())?;
    let versions: Vec<KernelVersion> = kernels.pins().filter_map(|pin| pin.name().parse().ok()).collect();
    let known = Known { kernels: &versions, causes: &[] };
    let diagnosis = Catalogue::new(CAUSES, STUDIES)
        .diagnose(&sources.texts, &known)
        .map_err(|error| Failure::invalid(format!("error: {error}")))?;
    sources.show_notes();
    match args.format {
        Format::Text => print!("{}", diagnosis.text()),
        Format::Json => {
            println!("{}", serde_json::to_string(&diagnosis).map_err(|error| Failure::internal(&error))?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
