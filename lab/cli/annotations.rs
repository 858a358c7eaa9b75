//! Failures where GitHub Actions shows them, and the name under which results go to KCIDB.

use std::path::Path;

use bondlab_core::report::document::Document;
use bondlab_core::report::github::{self, Origin};
use bondlab_core::report::grid;
use bondlab_core::report::kcidb;
use bondlab_core::report::matrix::{Cell, Matrix};
use bondlab_core::topology::Topology;
use bondlab_core::topology::places::Places;
use bondlab_host::include;

use crate::cli::failure::Failure;

/// Set to `true` in each step of GitHub Actions.
const ACTIONS: &str = "GITHUB_ACTIONS";

/// The name of the CI system in what KCIDB gets.
const KCIDB_ORIGIN: &str = "LAB_KCIDB_ORIGIN";

/// Whether somebody reads annotations although another format was asked for: they go to standard error then, which GitHub reads
/// too, so that standard output is the result's alone.
pub fn are_read() -> bool {
    std::env::var(ACTIONS).is_ok_and(|value| value == "true")
}

/// The annotations of a matrix. Files that are not here have no lines.
pub fn of_matrix(matrix: &Matrix) -> String {
    let of_cell = |cell: &Cell| {
        let origin = origin(Path::new(&cell.file), &cell.document.topology);
        github::render(&cell.document, &origin, &grid::problem(cell))
    };
    matrix.cells.iter().map(of_cell).collect()
}

/// The annotations of a run of the topology in a file; `-` is standard input.
pub fn of_run(document: &Document, path: &Path) -> String {
    let origin = if path == Path::new("-") { Origin::default() } else { origin(path, &document.topology) };
    github::render(document, &origin, document.reason.as_deref().unwrap_or("it failed"))
}

fn origin(path: &Path, name: &str) -> Origin {
    let file = path.display().to_string();
    let places = include::read(path).ok().and_then(|source| {
        let stem = path.file_stem()?.to_string_lossy().into_owned();
        let all = Topology::variants_of(&stem, &source, &[]).ok()?;
        let topology = all.iter().find(|topology| topology.name == name).or(all.first())?;
        Some(Places::of(topology, &source))
    });
    Origin { file: Some(file), places: places.unwrap_or_default() }
}

/// A submission to KCIDB, as a line of JSON.
///
/// # Errors
/// The variable has a name that KCIDB does not take.
pub fn kcidb(documents: &[&Document]) -> Result<String, Failure> {
    let origin = match std::env::var(KCIDB_ORIGIN) {
        Ok(name) => kcidb::Origin::parse(&name).ok_or_else(|| {
            Failure::usage(format!(
                "error: {KCIDB_ORIGIN} is no name of a CI system for KCIDB: {name:?}\nhint: lowercase letters, digits and _"
            ))
        })?,
        Err(_) => kcidb::Origin::default(),
    };
    let said = kcidb::render(&origin, documents);
    Ok(serde_json::to_string_pretty(&said).expect("a submission has text keys only"))
}
