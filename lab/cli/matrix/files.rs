//! The topologies that a matrix is of: files and folders of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::cli::matrix::Source;
use crate::cli::run;
use bondlab_core::topology::Setting;
use bondlab_host::file;

/// The topologies of files and folders, each once, by name.
pub fn read_all(paths: &[PathBuf], set: &[Setting]) -> Result<Vec<Source>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(files_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    for path in files {
        let file = as_project_path(&path);
        let (all, digest) = run::read_variants(&path, set)?;
        for topology in all {
            if let Some(other) = sources.get(&topology.name).filter(|other| other.file != file) {
                return Err(Failure::usage(format!(
                    "error: {} and {file} are both called {}: their snapshots would be the same file",
                    other.file, topology.name
                )));
            }
            let (file, path, digest) = (file.clone(), path.clone(), digest.clone());
            let source = Source { topology, used_fallback: false, substituted: None, file, path, digest };
            sources.insert(source.topology.name.clone(), source);
        }
    }
    Ok(sources.into_values().collect())
}

/// Folders in it as well, in an order that does not depend on the file system.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let files = file::files_below(folder, "toml").map_err(|error| Failure::unreadable(&error))?;
    if files.is_empty() {
        return Err(Failure::usage(format!("error: no topology (*.toml) in {}", folder.display())));
    }
    Ok(files)
}

/// Below the current folder, or its name alone: it goes into snapshots, which say nothing of a machine's folders.
fn as_project_path(path: &Path) -> String {
    let here = std::env::current_dir().and_then(fs::canonicalize);
    let whole = fs::canonicalize(path);
    let below = match (&here, &whole) {
        (Ok(here), Ok(whole)) => whole.strip_prefix(here).ok(),
        _ => None,
    };
    below.or_else(|| path.file_name().map(Path::new)).unwrap_or(path).display().to_string()
}
