//! `lab matrix`: topologies on kernels, judged by what was accepted.

mod absent;
mod files;
mod guests;
mod machines;
mod peak;
mod print;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::failure::{DIFFERS, Failure, INTERRUPTED, UNAVAILABLE};
pub use crate::cli::matrix::files::read_all;
use crate::cli::matrix::guests::{Guests, Ran};
use crate::cli::matrix::machines::{Ready, prepare};
use crate::cli::matrix::peak::Peak;
pub use crate::cli::matrix::print::print;
use crate::cli::progress::Items;
use crate::cli::testbench::Bench;
use crate::cli::{PinsArgs, ProvisionArgs, drivers, provision, report, substitutes, version};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::net::clean;
use bondlab_core::plan;
use bondlab_core::plan::lower::lower_with;
use bondlab_core::plan::{Plan, RunOptions};
use bondlab_core::report::document::Document;
use bondlab_core::report::matrix::{Cell, Matrix, Measures, Policy, SnapshotStatus, judge};
use bondlab_core::report::shard::{Costs, Shard};
use bondlab_core::report::{format, shard, snapshot};
use bondlab_core::topology::{Setting, Topology};
use bondlab_host::cache::Cache;
use bondlab_host::ci;
use bondlab_host::file;
use bondlab_host::file::TEXT_BYTES_MAX;
use bondlab_host::kernel::pins::{Flavour, KernelPin, Kernels};
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::matrix::{Event, Workers, run_groups, workers};
use bondlab_host::run::{interrupt, memory, runner};
use bondlab_host::vm::accel::Choice;
use clap::{Args, ValueEnum};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab matrix topologies/ --kernels quick
  lab matrix topologies/vlan-over-bond-tx-drop.toml --kernels 6.12..6.18 -j 2 --format junit
  lab matrix topologies/failover-by-mode.toml --set miimon=50
  lab matrix topologies/ --kernels all --shard 2/3 --times last/ --format json > part2.json";

/// The kernels of a user who names none.
const DEFAULT_KERNELS: &str = "quick";
/// What the last matrix saw, in the cache.
pub const LAST: &str = "last-matrix/result.json";

/// Shown by `--help`: examples, and what is not compared.
pub fn help() -> String {
    format!("{EXAMPLES}\n\n{}", snapshot::LEFT_OUT)
}

/// Arguments of `lab matrix`.
#[derive(Debug, Args)]
pub struct MatrixArgs {
    /// Topology files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Use only this value of a parameter; may be repeated for several parameters. Each file must have the parameter
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    /// Versions, sets and ranges: 6.12.57, quick, 6.12..6.18, all
    #[arg(long, value_name = "SET", default_value = DEFAULT_KERNELS)]
    kernels: String,
    /// Guests at a time; default: one for each core, plus as many that wait for the carrier of NICs, or fewer if memory is
    /// short
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Boot anew for each cell instead of restoring a saved machine
    #[arg(long)]
    cold: bool,
    /// Whether cells run in one guest, one after another, each in separate namespaces
    #[arg(long, value_enum, default_value_t = Guests::Shared)]
    guests: Guests,
    /// kvm, tcg, or auto: KVM where a guest has booted with it
    #[arg(long, default_value = "auto")]
    accel: Choice,
    /// Where accepted behaviour is kept
    #[arg(long, value_name = "DIR", default_value = SNAPSHOTS)]
    snapshots: PathBuf,
    /// Compare with no snapshots: use only the topologies' own conditions
    #[arg(long)]
    no_compare: bool,
    /// Run each cell this many times, in fresh namespaces of one kernel; a round that differs from the first fails the cell
    #[arg(
        long,
        value_name = "TIMES",
        default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(plan::REPETITIONS_MAX))
    )]
    repeat: u16,
    /// Run only one part of the cells, as 2/3: the second of three machines. `lab report merge` puts the parts together
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How long cells took the last time, for --shard: results of `lab matrix` with --format json, the same for each part
    #[arg(long, value_name = "PATH", requires = "shard")]
    times: Vec<PathBuf>,
    #[command(flatten)]
    pins: PinsArgs,
    #[command(flatten)]
    provision: ProvisionArgs,
}

/// The folder of accepted behaviour, from the top of a checkout.
pub const SNAPSHOTS: &str = "snapshots";

/// Refuses a folder of accepted behaviour that is not there. The usual one may be missing: it is made with the first text
/// that is accepted, and until then every cell is new.
pub fn is_there(snapshots: &Path) -> Result<(), Failure> {
    if snapshots.is_dir() || snapshots == Path::new(SNAPSHOTS) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "error: no folder {}: nothing can be compared with what was accepted\nhint: name the folder of snapshots, or make it: \
         mkdir -p {}",
        snapshots.display(),
        snapshots.display()
    )))
}

/// A rendering of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// The machine-readable result, and nothing else on standard output
    Json,
    /// For CI
    Junit,
    /// The kernel's test anything protocol
    Ktap,
    /// Failures as annotations of GitHub Actions, at the lines of the files
    Github,
    /// JSON for KCIDB, the database of KernelCI
    Kcidb,
}

/// A topology and where it is from.
pub struct Source {
    /// As read, or with substitutes for emulated NICs that QEMU has not.
    pub topology: Topology,
    /// Whether it has such substitutes.
    pub used_fallback: bool,
    /// With substitutes for emulated NICs, on kernels of which no build has their drivers.
    pub substituted: Option<Topology>,
    /// From the top of a checkout.
    pub file: String,
    /// From the current folder, or as it was typed.
    pub path: PathBuf,
    /// Of the file's text: the first 16 digits of its SHA-256.
    pub digest: String,
}

/// What every worker needs.
struct Shared {
    bench: Bench,
    sources: Vec<Source>,
    kernels: Vec<Kernel>,
    /// Why a kernel is not to be had, for each that is not.
    absent: Vec<Option<String>>,
    /// The build with drivers of each kernel, where one is pinned and some topology needs it, or why it is not to be had;
    /// under the kernel's name.
    with_drivers: Vec<Option<Result<Kernel, String>>>,
    pins: Vec<KernelPin>,
    all_pins: Kernels,
    repeat: u16,
    /// The cells of this machine; all where the matrix is not split.
    own: Option<(Shard, BTreeSet<(String, String)>)>,
}

impl Shared {
    /// Whether this machine runs a cell.
    fn is_own(&self, source: usize, kernel: usize) -> bool {
        let key = || (self.sources[source].topology.name.clone(), self.kernels[kernel].id.clone());
        self.own.as_ref().is_none_or(|(_, own)| own.contains(&key()))
    }

    /// What runs on a kernel.
    fn topology(&self, source: usize, kernel: usize) -> &Topology {
        let Source { topology, substituted, .. } = &self.sources[source];
        let substituted = substituted.as_ref().filter(|_| lacks_drivers(&self.pins[kernel], &self.all_pins));
        substituted.unwrap_or(topology)
    }

    /// What is done there.
    fn plan(&self, source: usize, kernel: usize) -> Plan {
        let topology = self.topology(source, kernel);
        let is_own = std::ptr::eq(topology, &self.sources[source].topology);
        let used_fallback = !is_own || self.sources[source].used_fallback;
        let options = RunOptions { used_fallback, ..RunOptions::default() };
        lower_with(topology, &options).repeated(self.repeat)
    }

    /// The build with drivers, for a topology that needs it.
    fn with_drivers(&self, source: usize, kernel: usize) -> Option<&Result<Kernel, String>> {
        let with_drivers = self.with_drivers[kernel].as_ref();
        with_drivers.filter(|_| plan::needs_drivers(self.topology(source, kernel)))
    }

    /// The kernel that a topology runs on.
    fn kernel(&self, source: usize, kernel: usize) -> &Kernel {
        let wanted = self.with_drivers(source, kernel).and_then(|wanted| wanted.as_ref().ok());
        wanted.unwrap_or(&self.kernels[kernel])
    }

    /// Why a cell is skipped: its kernel is not on this machine, and may not be downloaded.
    fn why_not(&self, source: usize, kernel: usize) -> Option<&str> {
        match self.with_drivers(source, kernel) {
            Some(wanted) => wanted.as_ref().err().map(String::as_str),
            None => self.absent[kernel].as_deref(),
        }
    }
}

fn lacks_drivers(pin: &KernelPin, pins: &Kernels) -> bool {
    pin.flavour == Flavour::Cloud && pins.with_drivers(pin).is_none()
}

/// Runs a matrix.
pub fn matrix(args: &MatrixArgs) -> Result<ExitCode, Failure> {
    if !args.no_compare {
        is_there(&args.snapshots)?;
    }
    let mut sources = read_all(&args.paths, &args.set)?;
    let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
    let chosen = provision::select(&pins, &args.kernels)?;
    // In the order of versions, whatever the order they are named in: ranges are written in it.
    let chosen: Vec<&KernelPin> = pins.pins().filter(|pin| chosen.contains(pin)).collect();
    // Files are read before anything is fetched: one that is wrong is said at once.
    let own = args.shard.map(|shard| own_cells(args, shard, &sources, &chosen)).transpose()?;
    let accepted = Arc::new(Accepted::of(args, &sources)?);
    let cache = provision::cache()?;
    let (mut kernels, absent) = absent::fetch_all(&chosen, &args.provision, &cache)?;
    if sources.iter().any(|source| plan::needs_netdevsim(&source.topology)) {
        for ((kernel, pin), _) in
            kernels.iter_mut().zip(&chosen).zip(&absent).filter(|(_, why)| why.is_none())
        {
            drivers::add_netdevsim(kernel, pin, &pins, &args.provision, &cache);
        }
    }
    let first = kernels.iter().zip(&absent).find(|(_, why)| why.is_none());
    let (first, _) = first.ok_or_else(|| Failure::usage("error: no kernel is selected"))?;
    let bench = Bench::new(args.accel, args.cold, first, &args.provision, cache.clone())?;
    if let Some(note) = &bench.note {
        eprintln!("note: {note}");
    }
    for source in &mut sources {
        source.used_fallback = bench.substitution(&mut source.topology);
        if chosen.iter().any(|pin| lacks_drivers(pin, &pins)) && plan::needs_drivers(&source.topology) {
            let mut topology = source.topology.clone();
            source.substituted = substitutes::for_all(&mut topology).then_some(topology);
        }
    }
    let needing = sources.iter().map(|source| &source.topology).find(|it| plan::needs_drivers(it));
    let with_drivers = |pin: &&KernelPin| match (needing, pins.with_drivers(pin)) {
        (Some(topology), Some(generic)) => match absent::why(generic, &args.provision, &cache) {
            Some(why) => Ok(Some(Err(why))),
            None => drivers::kernel(topology, pin, &pins, &args.provision, &cache).map(|it| Some(Ok(it))),
        },
        _ => Ok(None),
    };
    let with_drivers = chosen.iter().map(with_drivers).collect::<Result<_, _>>()?;
    let chosen = chosen.into_iter().cloned().collect();
    let shared = Arc::new(Shared {
        own,
        bench,
        sources,
        kernels,
        absent,
        with_drivers,
        pins: chosen,
        all_pins: pins.clone(),
        repeat: args.repeat,
    });
    let matrix = run_cells(args, &shared, &accepted)?;
    // What was seen is printed, whether or not it can be kept.
    let remembered = remember(&cache, &matrix);
    print(args.format, &matrix)?;
    remembered?;
    let typed: Vec<String> =
        std::env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    for command in rest::commands(&matrix, &shared.sources, &typed, &args.paths) {
        eprintln!("to go on: {command}");
    }
    Ok(exit_code(&matrix))
}

/// The cells of a shard.
fn own_cells(
    args: &MatrixArgs,
    shard: Shard,
    sources: &[Source],
    kernels: &[&KernelPin],
) -> Result<(Shard, BTreeSet<(String, String)>), Failure> {
    let on: Vec<String> = kernels.iter().map(|pin| pin.name()).collect();
    let planned = sources.iter().map(|source| (source.topology.name.clone(), on.clone())).collect();
    let mut costs = Costs::default();
    for (_, matrix) in report::matrices(&args.times)? {
        costs.add(&matrix.cells);
    }
    let own = shard::cells(shard, &planned, &costs);
    if own.is_empty() {
        let cells = sources.len() * kernels.len();
        return Err(Failure::usage(format!(
            "error: shard {shard} of {cells} cells has none\nhint: use fewer shards"
        )));
    }
    Ok((shard, own))
}

/// What was accepted for a matrix, by topology and kernel.
struct Accepted {
    policy: Policy,
    snapshots: BTreeMap<String, snapshot::Accepted>,
}

impl Accepted {
    fn of(args: &MatrixArgs, sources: &[Source]) -> Result<Self, Failure> {
        let policy = Policy { compare: !args.no_compare, new_fails: ci::is_ci() };
        let mut snapshots = BTreeMap::new();
        let compared = if policy.compare { sources } else { &[] };
        for source in compared {
            let name = &source.topology.name;
            snapshots.insert(name.clone(), accepted(&args.snapshots, name)?);
        }
        Ok(Self { policy, snapshots })
    }

    /// A cell that was not run has nothing to compare.
    fn judge(&self, document: Document, file: &str, was_run: bool) -> Cell {
        if !was_run {
            return judge(document, file, None, Policy { compare: false, new_fails: false });
        }
        let snapshot = self.snapshots.get(&document.topology);
        let behaviour = snapshot.and_then(|snapshot| snapshot.behaviour(&document.kernel.id));
        judge(document, file, behaviour.as_ref(), self.policy)
    }
}

impl Accepted {
    /// The verdict on what was run of a cell.
    fn cell(&self, shared: &Shared, (source, kernel): (usize, usize), ran: Ran, guests: Guests) -> Cell {
        let was_run = shared.why_not(source, kernel).is_none();
        let Source { file, digest, .. } = &shared.sources[source];
        let mut cell = self.judge(ran.document, file, was_run);
        cell.digest = Some(digest.clone());
        guests::tell(&mut cell, ran.difference, guests);
        cell
    }
}

/// Where what was accepted for a topology is kept.
pub fn snapshot_path(folder: &Path, topology: &str) -> Result<PathBuf, Failure> {
    let name = snapshot::file_name(topology);
    Ok(folder.join(name.map_err(|error| Failure::invalid(format!("error: {error}")))?))
}

/// What was accepted for a topology; of no kernel where there is no file.
pub fn accepted(folder: &Path, topology: &str) -> Result<snapshot::Accepted, Failure> {
    let path = snapshot_path(folder, topology)?;
    let content = match file::read_text(&path, TEXT_BYTES_MAX) {
        Ok(content) => content,
        Err(error) if error.source.kind() == ErrorKind::NotFound => {
            return Ok(snapshot::Accepted::default());
        }
        Err(error) => return Err(Failure::unreadable(&error)),
    };
    snapshot::Accepted::parse(&clean::lines(&content))
        .map_err(|error| Failure::invalid(format!("error: {} is no snapshot: {error}", path.display())))
}

fn run_cells(args: &MatrixArgs, shared: &Arc<Shared>, accepted: &Arc<Accepted>) -> Result<Matrix, Failure> {
    let interrupt = interrupt::noted().map_err(|error| Failure::internal(&error))?;
    let (sources, kernels) = (&shared.sources, &shared.kernels);
    let jobs = jobs(args.jobs, sources.len() * kernels.len());
    // Who names a number of guests means it; else as many again may wait, as far as memory goes.
    let waiting = match args.jobs {
        Some(_) => 0,
        None => {
            workers(2 * jobs, usize::MAX, memory::available_bytes(), memory::GUEST_BYTES).saturating_sub(jobs)
        }
    };
    let begun = Instant::now();
    let ready = prepare(shared, jobs, interrupt);
    let prepared = begun.elapsed();
    // Topology by topology, so that the first grid rows are whole first; by index, for threads outlive borrows.
    let cells: Vec<(usize, usize, Ready)> = (0..sources.len())
        .flat_map(|source| (0..kernels.len()).map(move |kernel| (source, kernel)))
        .filter(|&(source, kernel)| shared.is_own(source, kernel))
        .filter_map(|(source, kernel)| {
            let key = (kernel, runner::machine_of(&shared.plan(source, kernel)));
            Some((source, kernel, ready.get(&key)?.clone()))
        })
        .collect();
    let places: Vec<(usize, usize)> = cells.iter().map(|(source, kernel, _)| (*source, *kernel)).collect();
    let names = places
        .iter()
        .map(|&(source, kernel)| format!("{:40} {:16}", sources[source].topology.name, kernels[kernel].id));
    let mut items = Items::new("cells", names.collect());
    let mut judged: BTreeMap<usize, Cell> = BTreeMap::new();
    let mut peak = Peak::default();
    let groups = guests::groups(shared, args.guests, &cells, jobs);
    let (worker, judge, guests) = (Arc::clone(shared), Arc::clone(accepted), args.guests);
    run_groups(
        (cells, groups),
        Workers { busy: jobs, waiting },
        move |group, report| guests::run_group(&worker, &judge, guests, (group, report)),
        interrupt,
        |event| match event {
            Event::Started { index } => items.started(index),
            Event::Finished { index, result } => {
                let (source, kernel) = places[index];
                let ran = result.clone().unwrap_or_else(|panic| {
                    let machine = shared.bench.machine(shared.kernel(source, kernel));
                    let (topology, plan) = (shared.topology(source, kernel), shared.plan(source, kernel));
                    Ran { document: runner::failed(topology, &plan, &machine, &panic), difference: None }
                });
                let cell = accepted.cell(shared, (source, kernel), ran, guests);
                let outcome = cell.document.outcome;
                let seconds = cell.document.timing_ms.total as f64 / 1000.0;
                let is_good = !outcome.is_failure();
                items.finished(index, &word(&cell), seconds, is_good);
                judged.insert(index, cell);
                peak.look();
            }
            Event::Tick => peak.look(),
        },
    );
    drop(items);
    let cells: Vec<Cell> = judged.into_values().collect();
    let measures = measures(&cells, begun.elapsed(), prepared, jobs, peak.bytes);
    let topologies: Vec<String> = sources.iter().map(|source| source.topology.name.clone()).collect();
    let kernels: Vec<String> = kernels.iter().map(|kernel| kernel.id.clone()).collect();
    let mut matrix = Matrix::new(cells, &topologies, &kernels, measures);
    if let Some((shard, own)) = &shared.own {
        matrix = matrix.part(*shard, own);
    }
    matrix.lab = Some(version::SHORT.clone());
    Ok(matrix)
}

fn jobs(asked: Option<usize>, cells: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = asked.unwrap_or(cores);
    let fit = workers(wanted, cells, memory::available_bytes(), memory::GUEST_BYTES);
    if asked.is_some() && fit < wanted.min(cells) {
        eprintln!("note: {fit} guests at a time, for no more fit into the memory that is available");
    }
    fit
}

fn run_cell(shared: &Shared, (source, kernel, ready): &(usize, usize, Ready)) -> Document {
    let begun = Instant::now();
    let (topology, plan) = (shared.topology(*source, *kernel), shared.plan(*source, *kernel));
    let machine = shared.bench.machine(shared.kernel(*source, *kernel));
    if let Some(why) = shared.why_not(*source, *kernel) {
        return runner::skipped(topology, &plan, &machine, why);
    }
    if let Err(why) = ready {
        return runner::unstarted(topology, &plan, &machine, why);
    }
    let run = runner::carry_out_in_machine(topology, &plan, &machine);
    let mut document = match run {
        Ok(run) => run.document,
        Err(error) => runner::unstarted(topology, &plan, &machine, &error.into()),
    };
    drivers::explain(&mut document, topology, &shared.pins[*kernel], &shared.all_pins);
    document.timing_ms.total = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    document
}

/// The verdict, and what the run itself came to where that is not the same.
fn word(cell: &Cell) -> String {
    let outcome = cell.document.outcome.word();
    match cell.snapshot.status {
        SnapshotStatus::New => format!("{outcome} (new)"),
        SnapshotStatus::Differs => format!("{outcome} (differs)"),
        SnapshotStatus::Substituted => format!("{outcome} (substitute)"),
        SnapshotStatus::Same | SnapshotStatus::None => outcome.to_owned(),
    }
}

fn measures(cells: &[Cell], wall: Duration, prepared: Duration, jobs: usize, peak_bytes: u64) -> Measures {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut times: Vec<u64> = cells.iter().map(|cell| cell.document.timing_ms.total).collect();
    times.sort_unstable();
    let running_s = (wall - prepared).as_secs_f64();
    Measures {
        wall_ms: millis(wall),
        prepare_ms: millis(prepared),
        cells_per_s: if running_s > 0.0 { cells.len() as f64 / running_s } else { 0.0 },
        median_cell_ms: times.get(times.len() / 2).copied().unwrap_or(0),
        jobs,
        peak_bytes,
    }
}

/// Keeps the result for `lab accept`. Where it cannot be kept, an older one is not taken for it.
///
/// # Errors
///
/// An older result can be neither replaced nor removed.
fn remember(cache: &Cache, matrix: &Matrix) -> Result<(), Failure> {
    if cache.is_read_only() {
        eprintln!("note: the cache is read-only: `lab accept` does not know this result");
        return Ok(());
    }
    let path = cache.path(LAST);
    let folder = path.parent().expect("the name has a folder in it");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&format::versioned(matrix))?)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    let Err(error) = write() else { return Ok(()) };
    match fs::remove_file(&path) {
        Err(removing) if !matches!(removing.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Failure::unavailable(format!(
                "error: cannot write {}: {error}, nor remove what an older matrix left there: {removing}",
                path.display()
            )))
        }
        _ => {
            let path = path.display();
            eprintln!("note: cannot write {path}: {error}: `lab accept` does not know this result");
            Ok(())
        }
    }
}

/// What a matrix comes to.
pub fn exit_code(matrix: &Matrix) -> ExitCode {
    if matrix.interrupted {
        ExitCode::from(INTERRUPTED)
    } else if !matrix.is_expected() {
        ExitCode::from(DIFFERS)
    } else if matrix.count(Outcome::Skip) == matrix.cells.len() {
        // As `lab run`: nothing was run that could have been green.
        ExitCode::from(UNAVAILABLE)
    } else {
        ExitCode::SUCCESS
    }
}
