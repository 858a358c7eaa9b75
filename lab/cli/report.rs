//! `lab report`: results that were kept, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::failure::{DIFFERS, Failure};
use crate::cli::matrix::{Format, SNAPSHOTS, accepted};
use crate::cli::{PinsArgs, matrix, provision, selftests};
use bondlab_core::report::causes::Cause;
use bondlab_core::report::document::Document;
use bondlab_core::report::failover::Failover;
use bondlab_core::report::matrix::{Cell, Matrix};
use bondlab_core::report::merge::{Kept, MatrixCells, MergeError, Merged, judge_as_found};
use bondlab_core::report::{causes, delivery, failover, html, snapshot};
use bondlab_host::ci;
use bondlab_host::file;
use bondlab_host::file::TEXT_BYTES_MAX;
use bondlab_host::kernel::pins::{KernelPin, Kernels};
use clap::{Args, Subcommand, ValueEnum};

/// `kernel.backend` of a run on the running kernel.
const HOST: &str = "host";

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
    Merge(MergeArgs),
    /// Results as one HTML file that loads nothing from the network: grid, drawings, the account of every frame
    #[command(
        after_help = "Examples:\n  lab run topologies/vlan-over-bond-tx-drop.toml --format json > run.json\n  \
                            lab report html run.json --output run.html"
    )]
    Html(HtmlArgs),
    /// The catalogue of causes: counters and errors of each on all kernels, from accepted snapshots
    #[command(after_help = "Example:\n  lab report causes topologies/causes > docs/causes.md")]
    Causes(CausesArgs),
    /// Obstacles for received frames: which sockets get frames, and where the others are lost, from accepted snapshots
    #[command(after_help = "Example:\n  lab report delivery topologies/delivery > docs/delivery.md")]
    Delivery(CausesArgs),
    /// Failover by mode and monitor: frames lost, silence, announcements
    #[command(
        after_help = "Example:\n  lab matrix topologies/failover --kernels quick --format json > results.json\n  \
                            lab report failover results.json > docs/failover.md"
    )]
    Failover(FailoverArgs),
    /// The kernel's own bonding selftests: the result of each script on each kernel, and its reason
    #[command(after_help = "Example:\n  lab selftests --kernels quick --output selftests.json\n  \
                            lab report selftests selftests.json > docs/selftests.md")]
    Selftests(SelftestsArgs),
}

/// Arguments of `lab report selftests`.
#[derive(Debug, Args)]
struct SelftestsArgs {
    /// Results of `lab selftests`
    #[arg(value_name = "FILE")]
    path: PathBuf,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Arguments of `lab report failover`.
#[derive(Debug, Args)]
struct FailoverArgs {
    /// Results of `lab matrix` with --format json, or folders of them; several results of one cell are shown as a range
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A table for a page, or a plot
    #[arg(long, value_enum, default_value_t = Shape::Markdown)]
    format: Shape,
    #[command(flatten)]
    pins: PinsArgs,
}

/// What a table of numbers becomes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    Markdown,
    Svg,
}

/// Arguments of `lab report causes` and `lab report delivery`.
#[derive(Debug, Args)]
struct CausesArgs {
    /// Topology files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where accepted behaviour is kept
    #[arg(long, value_name = "DIR", default_value = SNAPSHOTS)]
    snapshots: PathBuf,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Arguments of `lab report merge`.
#[derive(Debug, Args)]
struct MergeArgs {
    #[command(flatten)]
    results: ResultsArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Arguments of `lab report html`.
#[derive(Debug, Args)]
struct HtmlArgs {
    #[command(flatten)]
    results: ResultsArgs,
    /// The file to write; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Which results, and what they are judged by.
#[derive(Debug, Args)]
struct ResultsArgs {
    /// Results of `lab run` and `lab matrix` with --format json, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where accepted behaviour is kept
    #[arg(long, value_name = "DIR", default_value = SNAPSHOTS)]
    snapshots: PathBuf,
    #[command(flatten)]
    pins: PinsArgs,
}

/// Does what the arguments say.
pub fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        ReportCommand::Merge(args) => merge(args),
        ReportCommand::Html(args) => page(args),
        ReportCommand::Causes(args) => catalogue(args, causes::render),
        ReportCommand::Delivery(args) => catalogue(args, delivery::render),
        ReportCommand::Failover(args) => failovers(args),
        ReportCommand::Selftests(args) => selftests_page(args),
    }
}

fn catalogue(args: &CausesArgs, render: fn(&[Cause], &[String]) -> String) -> Result<ExitCode, Failure> {
    matrix::is_there(&args.snapshots)?;
    let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
    let kernels: Vec<String> = pins.pins().map(KernelPin::name).collect();
    let mut found = Vec::new();
    for source in matrix::read_all(&args.paths, &[])? {
        let snapshot = accepted(&args.snapshots, &source.topology.name)?;
        // What a cause looks like from outside: links and features of a kernel are not of it.
        let of = |kernel: &String| Some((kernel.clone(), snapshot::of_frames(&snapshot.behaviour(kernel)?)));
        let seen = kernels.iter().filter_map(of).collect();
        found.push(Cause { topology: source.topology, file: source.file, seen });
    }
    let is_seen = |kernel: &String| found.iter().any(|cause| cause.seen.iter().any(|(on, _)| on == kernel));
    let seen: Vec<String> = kernels.into_iter().filter(is_seen).collect();
    print!("{}", render(&found, &seen));
    Ok(ExitCode::SUCCESS)
}

fn selftests_page(args: &SelftestsArgs) -> Result<ExitCode, Failure> {
    let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
    let text = file::read_text(&args.path, TEXT_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
    let results = selftests::parse(&args.path, &text)?;
    let seen: BTreeSet<&str> = results.runs.iter().map(|run| run.kernel.as_str()).collect();
    let kernels: Vec<String> =
        pins.pins().map(KernelPin::name).filter(|name| seen.contains(name.as_str())).collect();
    print!("{}", bondlab_core::report::selftests::page::page(&results, &kernels));
    Ok(ExitCode::SUCCESS)
}

fn failovers(args: &FailoverArgs) -> Result<ExitCode, Failure> {
    let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
    let mut by_file: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for file in results(&args.paths)? {
        let text = file::read_text(&file, TEXT_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
        match Kept::parse(&file.display().to_string(), &text).map_err(|error| invalid(&error))? {
            Kept::Matrix(matrix) => {
                for cell in matrix.cells {
                    by_file.entry(cell.file).or_default().push(cell.document);
                }
            }
            Kept::Runs(documents) => {
                for document in documents {
                    let file = format!("topologies/failover/{}.toml", document.topology);
                    by_file.entry(file).or_default().push(document);
                }
            }
        }
    }
    let files: Vec<PathBuf> = by_file.keys().map(PathBuf::from).collect();
    let mut found = Vec::new();
    for source in matrix::read_all(&files, &[])? {
        let results = by_file.remove(&source.file).unwrap_or_default();
        found.push(Failover { topology: source.topology, file: source.file, results });
    }
    let seen = found.iter().flat_map(|one| &one.results).map(|result| &result.kernel.id);
    let seen: BTreeSet<&String> = seen.collect();
    let kernels: Vec<String> = pins.pins().map(KernelPin::name).filter(|name| seen.contains(name)).collect();
    match args.format {
        Shape::Markdown => print!("{}", failover::markdown(&found, &kernels)),
        Shape::Svg => print!("{}", failover::svg(&found, &kernels)),
    }
    Ok(ExitCode::SUCCESS)
}

fn merge(args: &MergeArgs) -> Result<ExitCode, Failure> {
    let matrix = merged(&args.results)?;
    matrix::print(args.format, &matrix)?;
    if matrix.interrupted {
        // Nothing was interrupted here: what is put together is not whole.
        return Ok(ExitCode::from(DIFFERS));
    }
    Ok(matrix::exit_code(&matrix))
}

fn page(args: &HtmlArgs) -> Result<ExitCode, Failure> {
    let page = html::render(&merged(&args.results)?);
    match &args.output {
        Some(path) => std::fs::write(path, page).map_err(|error| {
            Failure::invalid(format!("error: {} cannot be written: {error}", path.display()))
        })?,
        None => print!("{page}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn merged(args: &ResultsArgs) -> Result<Matrix, Failure> {
    matrix::is_there(&args.snapshots)?;
    let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
    let mut merged = Merged::new(ci::is_ci());
    for file in results(&args.paths)? {
        let text = file::read_text(&file, TEXT_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
        let name = file.display().to_string();
        let added = match Kept::parse(&name, &text).map_err(|error| invalid(&error))? {
            Kept::Runs(documents) => {
                let cells = documents.into_iter().map(|document| judged(document, &args.snapshots, &pins));
                let cells = cells.collect::<Result<Vec<_>, _>>()?;
                cells.into_iter().try_for_each(|cell| merged.add(&name, cell))
            }
            Kept::Matrix(matrix) => merged.add_matrix(&name, matrix),
        };
        added.map_err(|error| invalid(&error))?;
    }
    if merged.is_empty() {
        return Err(Failure::invalid(
            "error: there is no result (*.json); `lab run TOPOLOGY --format json` prints one",
        ));
    }
    Ok(merged.into_matrix())
}

/// A result by what was accepted for its kernel. The running kernels of two machines are two columns: each goes by its
/// version where it is a pinned one, and else by its release.
fn judged(mut document: Document, snapshots: &Path, pins: &Kernels) -> Result<Cell, Failure> {
    if document.kernel.backend == HOST {
        let pin = pins.pins().find(|pin| pin.release == document.kernel.release);
        document.kernel.id = pin.map_or_else(|| document.kernel.release.clone(), |pin| pin.id.clone());
    }
    let accepted = accepted(snapshots, &document.topology)?.behaviour(&document.kernel.id);
    if document.kernel.backend == HOST {
        document.kernel.id += " (host)";
    }
    let file = format!("topologies/{}.toml", document.topology);
    Ok(judge_as_found(document, &file, accepted.as_ref()))
}

/// The results of `lab matrix` in files and folders, with their files' names. A result of `lab run` is none.
pub fn matrices(paths: &[PathBuf]) -> Result<Vec<(String, MatrixCells)>, Failure> {
    let mut found = Vec::new();
    for file in results(paths)? {
        let text = file::read_text(&file, TEXT_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
        let name = file.display().to_string();
        if let Kept::Matrix(matrix) = Kept::parse(&name, &text).map_err(|error| invalid(&error))? {
            found.push((name, matrix));
        }
    }
    Ok(found)
}

/// The files, in an order that does not depend on the file system.
fn results(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(file::files_below(path, "json").map_err(|error| Failure::unreadable(&error))?);
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    Ok(files)
}

fn invalid(error: &MergeError) -> Failure {
    Failure::invalid(format!("error: {error}"))
}
