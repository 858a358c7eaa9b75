//! `lab report`: results that were kept, put together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lab::report::merge::Merged;

use super::failure::{DIFFERS, Failure};

/// Arguments of `lab report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// One grid of the results of several machines
    #[command(after_help = "Example:\n  lab report merge target/vagrant")]
    Merge {
        /// Folders with results of `--format json`, or such files
        #[arg(required = true, value_name = "DIR")]
        paths: Vec<PathBuf>,
    },
}

/// Does what the arguments say.
pub fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let ReportCommand::Merge { paths } = &args.command;
    let mut merged = Merged::default();
    for file in results(paths)? {
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        merged
            .add(&file.display().to_string(), &text)
            .map_err(|error| Failure::invalid(format!("error: {error}")))?;
    }
    if merged.documents().next().is_none() {
        return Err(Failure::invalid("error: no result in there: lab run T --format json writes one"));
    }
    print!("{}", merged.grid());
    Ok(if merged.is_expected() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

/// The files, in an order that does not depend on the file system.
fn results(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut left = paths.to_vec();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).map_err(|error| unreadable(&path, &error))? {
                let path = entry.map_err(|error| unreadable(&path, &error))?.path();
                if path.is_dir() || path.extension().is_some_and(|ending| ending == "json") {
                    left.push(path);
                }
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::invalid(format!("error: cannot read {}: {error}", path.display()))
}
