//! Writes the files of `lab run --pcap`.

use std::fs;
use std::path::Path;

use crate::cli::failure::Failure;
use bondlab_core::plan::Plan;
use bondlab_core::report::pcapng;
use bondlab_core::report::plural::s;
use bondlab_host::file::{At, FileError};
use bondlab_host::run::runner::Run;

/// Writes a file for each end of the flows of each trial, and says on standard error what there is and what was cut.
///
/// # Errors
/// The folder cannot be made or written to.
pub fn write(folder: &Path, plan: &Plan, run: &Run) -> Result<(), Failure> {
    let files = pcapng::files(plan, &run.document.kernel.release, &run.records);
    if files.is_empty() {
        let why = match &run.account {
            Some(_) => "the topology sends nothing",
            None => "the run has not come to its end",
        };
        eprintln!("note: no frames for {}: {why}", folder.display());
        return Ok(());
    }
    let write_all = || -> Result<(), FileError> {
        fs::create_dir_all(folder).at("create", folder)?;
        for file in &files {
            let path = folder.join(&file.name);
            fs::write(&path, &file.bytes).at("write", &path)?;
            if let Some(missing) = pcapng::missing(&file.missed) {
                let limit = plan.tapped_bytes_max() / 1024;
                eprintln!(
                    "note: {} is not all: {missing} (limit: {limit} KiB for an end and trial)",
                    path.display()
                );
            }
        }
        Ok(())
    };
    write_all().map_err(|error| Failure::unavailable_for(&error))?;
    let frames: usize = files.iter().map(|file| file.frames).sum();
    let (count, folder) = (files.len(), folder.display());
    eprintln!("wrote {count} file{} with {frames} frame{} to {folder}", s(count), s(frames));
    Ok(())
}
