//! `lab init`: a folder for one's own topologies, with a first one that passes and the files of two CI systems.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::failure::Failure;

pub const EXAMPLES: &str =
    "Example:\n  lab init bonding-tests && cd bonding-tests && lab run topologies/first.toml";

/// The files, by their path in the folder.
const FILES: [(&str, &str); 6] = [
    // What the CI files leave.
    (".gitignore", "/.cache/\n/result.*\n"),
    ("README.md", include_str!("init/readme.md")),
    ("topologies/first.toml", include_str!("init/first.toml")),
    ("snapshots/.gitkeep", ""),
    (".github/workflows/topologies.yml", include_str!("init/github.yml")),
    (".gitlab-ci.yml", include_str!("init/gitlab.yml")),
];

/// Arguments of `lab init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder; created if it does not exist
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// Writes the files; nothing that is there is changed.
pub fn init(args: &InitArgs) -> Result<ExitCode, Failure> {
    let taken: Vec<String> = FILES
        .iter()
        .map(|(name, _)| args.folder.join(name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !taken.is_empty() {
        return Err(Failure::invalid(format!(
            "error: {} is already there, and is not overwritten\nhint: name another folder",
            taken.join(", ")
        )));
    }
    for (name, content) in FILES {
        let path = args.folder.join(name);
        write(&path, content).map_err(|error| {
            Failure::invalid(format!("error: {} cannot be written: {error}", path.display()))
        })?;
        println!("{}", path.display());
    }
    println!("next: lab run {}", args.folder.join("topologies/first.toml").display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::File::create_new(path)?.write_all(content.as_bytes())
}
