//! `lab accept`: what the last matrix saw becomes what is expected.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::failure::{DIFFERS, Failure};
use crate::cli::matrix::{LAST, SNAPSHOTS, accepted, snapshot_path};
use crate::cli::{PinsArgs, look, provision};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::net::clean;
use bondlab_core::report::matrix::{Cell, Matrix, is_acceptable, unattributed};
use bondlab_core::report::plural::s;
use bondlab_core::report::rounds::Repetitions;
use bondlab_core::report::{behaviour, format, grid, snapshot};
use bondlab_host::ci;
use bondlab_host::file;
use bondlab_host::file::TEXT_BYTES_MAX;
use clap::Args;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab accept
  lab accept vlan-over-bond-tx-drop --kernels 6.12..6.18";

/// Shown by `--help`: examples, and what is not compared.
pub fn help() -> String {
    format!("{EXAMPLES}\n\n{}", snapshot::LEFT_OUT)
}

/// Arguments of `lab accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// Names of topologies, or their files; default: all of the last matrix
    #[arg(value_name = "TOPOLOGY")]
    topologies: Vec<PathBuf>,
    /// Only these kernels: versions, sets and ranges
    #[arg(long, value_name = "SET")]
    kernels: Option<String>,
    /// Where accepted behaviour is kept
    #[arg(long, value_name = "DIR", default_value = SNAPSHOTS)]
    snapshots: PathBuf,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Takes what is new or changed.
pub fn accept(args: &AcceptArgs) -> Result<ExitCode, Failure> {
    if ci::is_ci() {
        return Err(Failure::usage(
            "error: CI is true, and CI accepts nothing: review it on a machine of your own",
        ));
    }
    let matrix = last()?;
    let cells = chosen(args, &matrix)?;
    let (mut taken, mut refused, mut skipped) = (0, 0, 0);
    for cell in &cells {
        if cell.document.outcome == Outcome::Skip || cell.ran == Outcome::Skip {
            skipped += 1;
        } else if let Some(why) = refusal(cell) {
            refused += 1;
            println!("refused {}: {why}", name(cell));
        } else if take(cell, &args.snapshots)? {
            taken += 1;
        }
    }
    let same = cells.len() - taken - refused - skipped;
    print!("{taken} taken, {same} as before");
    for (count, what) in [(refused, "refused"), (skipped, "skipped by the matrix, with nothing to accept")] {
        if count > 0 {
            print!(", {count} {what}");
        }
    }
    println!();
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

fn last() -> Result<Matrix, Failure> {
    let path = provision::cache()?.path(LAST);
    let text = file::read_text(&path, TEXT_BYTES_MAX).map_err(|error| {
        Failure::usage(format!(
            "error: there is no matrix to accept from ({error})\nhint: `lab matrix topologies/` first"
        ))
    })?;
    let shown = path.display().to_string();
    let text = format::current(&shown, &text).map_err(|error| Failure::invalid(format!("error: {error}")))?;
    serde_json::from_str(&clean::json(&text, &["reason", "text"])).map_err(|error| {
        Failure::invalid(format!(
            "error: {shown} is of another version of the lab ({error})\nhint: run `lab matrix` again"
        ))
    })
}

/// The cells that the arguments name, which must be in the matrix.
fn chosen<'a>(args: &AcceptArgs, matrix: &'a Matrix) -> Result<Vec<&'a Cell>, Failure> {
    let mut wanted = Vec::new();
    for path in &args.topologies {
        let name = if path.extension().is_some_and(|extension| extension == "toml") {
            path.file_stem().unwrap_or_default()
        } else {
            path.as_os_str()
        };
        let name = name.to_string_lossy().into_owned();
        if !matrix.grid.rows.contains_key(&name) {
            let known: Vec<&str> = matrix.grid.rows.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "error: the last matrix has no {name}; it has {}",
                known.join(", ")
            )));
        }
        wanted.push(name);
    }
    let kernels = match &args.kernels {
        Some(selection) => {
            let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
            Some(provision::select(&pins, selection)?.iter().map(|pin| pin.name()).collect::<Vec<_>>())
        }
        None => None,
    };
    let is_wanted = |cell: &&Cell| {
        (wanted.is_empty() || wanted.contains(&cell.document.topology))
            && kernels.as_ref().is_none_or(|kernels| kernels.contains(&cell.document.kernel.id))
    };
    Ok(matrix.cells.iter().filter(is_wanted).collect())
}

/// Why a cell shows no behaviour of the kernel.
fn refusal(cell: &Cell) -> Option<String> {
    if !is_acceptable(cell.ran) {
        let reason = cell.document.reason.as_deref().unwrap_or_default();
        let first = reason.lines().next().unwrap_or_default();
        return Some(format!("{}, which is no behaviour of the kernel: {first}", cell.ran));
    }
    if cell.document.used_fallback {
        let substitutions = cell.document.substitutions.join(", ");
        return Some(format!(
            "it shows a substitute, and not the NICs that the topology asks for: {substitutions}"
        ));
    }
    if let Some(rounds) = cell.document.repetitions.as_ref().filter(|all| all.alike < all.rounds) {
        let Repetitions { rounds, alike, .. } = rounds;
        return Some(format!("{alike} of {rounds} rounds say the same: a snapshot has what each run says"));
    }
    let frames = unattributed(&cell.document);
    (frames > 0).then(|| format!("unaccounted for: {frames} frame{}, which no snapshot covers", s(frames)))
}

fn name(cell: &Cell) -> String {
    format!("{} on {}", cell.document.topology, cell.document.kernel.id)
}

/// Writes the snapshot if it says something else than before.
fn take(cell: &Cell, folder: &Path) -> Result<bool, Failure> {
    let (topology, kernel) = (&cell.document.topology, &cell.document.kernel.id);
    let mut snapshot = accepted(folder, topology)?;
    let (before, now) = (snapshot.behaviour(kernel), &cell.behaviour);
    match &before {
        Some(before) if before == now => return Ok(false),
        // It tells of more than before, and of the same.
        Some(before) if snapshot::same(before, now) && !snapshot::is_older(before) => {
            return Ok(false);
        }
        Some(before) if snapshot::same(before, now) => {
            println!("more of {}: {}", name(cell), cell.ran)
        }
        Some(before) => {
            println!("changed {}: {} (before | now)", name(cell), cell.ran);
            print!("{}", grid::differences(&behaviour::differences(&[before, now]), "    ", look::width()));
        }
        None => println!("new     {}: {}", name(cell), cell.ran),
    }
    snapshot.set(kernel, now.clone()).map_err(|error| Failure::invalid(format!("error: {error}")))?;
    let path = snapshot_path(folder, topology)?;
    let content = snapshot.to_file(&cell.file, &format!("lab matrix {}", cell.file));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content.as_bytes())?;
        // A temporary file is its owner's alone; a snapshot is part of a checkout.
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| Failure::invalid(format!("error: cannot write {}: {error}", path.display())))?;
    Ok(true)
}
