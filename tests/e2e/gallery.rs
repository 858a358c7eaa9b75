//! One cell of the matrix: a topology on a kernel, its verdict, its account, its snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bondlab_core::judge::outcome::Outcome;
use bondlab_core::net::version::{KernelRanges, Running};
use bondlab_core::plan;
use bondlab_core::report::behaviour::{self, Behaviour};
use bondlab_core::report::document::Document;
use bondlab_core::report::matrix::is_acceptable;
use bondlab_core::report::snapshot::selection::{self, Selection};
use bondlab_core::report::snapshot::{self, Accepted};
use bondlab_core::topology::{Setting, Topology};
use bondlab_host::kernel::netdevsim;
use bondlab_host::kernel::netdevsim::NETDEVSIM;
use bondlab_host::kernel::pins::{KernelPin, Kernels};
use bondlab_host::kernel::store::Kernel;
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::Value;

use crate::shared::{Place, Sharing};
use crate::{lab_run, machine, proofs, shared, topologies};

/// A topology of the gallery: a file, or one variant of a file with parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    path: PathBuf,
    /// The topology's name.
    name: String,
    /// What `--set` needs for it.
    set: Vec<String>,
}

/// A file, or each of its variants, which are called by the values of its parameters.
fn members(path: &Path) -> Vec<Member> {
    let text = std::fs::read_to_string(path).expect("the gallery can be read");
    let name = stem(path);
    let all = Topology::variants(&name, &path.display().to_string(), &text, &[]);
    let all = all.unwrap_or_else(|errors| panic!("{errors}"));
    let member = |topology: Topology| {
        let set = topology.name[name.len()..].split(',').skip(1).map(str::to_owned).collect();
        Member { path: path.to_owned(), name: topology.name, set }
    };
    all.into_iter().map(member).collect()
}

/// The cells of a run, kernel by kernel: all, or each accepted behaviour of a topology once and its own kernel. What is left out
/// is listed as ignored, with the reason.
/// Of what runs, proofs that were carried out before are repeated where something that they depend on has changed.
pub fn cells(
    topologies: Vec<PathBuf>,
    pins: &[KernelPin],
    runs_all: bool,
    arguments: &Arguments,
) -> Vec<Trial> {
    let topologies: Vec<Member> = topologies.iter().flat_map(|path| members(path)).collect();
    let kernels: Vec<String> = pins.iter().map(KernelPin::name).collect();
    let selected: Vec<Vec<Selection>> = match runs_all {
        true => vec![vec![Selection::Run; pins.len()]; topologies.len()],
        false => topologies.iter().map(|topology| selected(topology, &kernels)).collect(),
    };
    let mut cells: Vec<Result<Cell, Trial>> = Vec::new();
    for (place, pin) in pins.iter().enumerate() {
        for (topology, selected) in topologies.iter().zip(&selected) {
            cells.push(match &selected[place] {
                Selection::Run => Ok(Cell::new(topology.clone(), pin.clone(), runs_all)),
                Selection::LeftOut { like } => Err(left_out(topology, &kernels[place], like)),
            });
        }
    }
    share(&mut cells, arguments);
    cells.into_iter().map(|cell| cell.map_or_else(|left_out| left_out, Cell::trial)).collect()
}

/// Puts cells that may share a guest, and that are not filtered out, into guests.
fn share(cells: &mut [Result<Cell, Trial>], arguments: &Arguments) {
    let is_asked_for = |cell: &&mut Cell| !arguments.is_filtered_out(&Trial::test(cell.name(), || Ok(())));
    let asked = cells.iter_mut().filter_map(|cell| cell.as_mut().ok()).filter(is_asked_for);
    let sharing: Vec<(&mut Cell, Sharing)> = asked
        .filter(|cell| cell.does_all || !cell.proves())
        .filter_map(|cell| Some((Sharing::of(cell.topology())?, cell)))
        .map(|(sharing, cell)| (cell, sharing))
        .collect();
    let (cells, plans): (Vec<&mut Cell>, Vec<_>) = sharing
        .into_iter()
        .map(|(cell, sharing)| {
            let kernel = cell.pin.name();
            (cell, (kernel, sharing))
        })
        .unzip();
    let places = shared::places(plans, arguments.test_threads.unwrap_or(1));
    for (cell, place) in cells.into_iter().zip(places) {
        cell.place = Some(place);
    }
}

fn selected(topology: &Member, kernels: &[String]) -> Vec<Selection> {
    let own = kernels.iter().find(|kernel| is_kernel_of(&topology.path, kernel));
    selection::select(&accepted(&topology.name), kernels, own.map(String::as_str))
}

/// How many cells this run has left out.
static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

/// A cell that does not run: one of another kernel with the same behaviour does.
fn left_out(topology: &Member, kernel: &str, like: &str) -> Trial {
    let reason = format!("not run: accepted as behaving like {like}, which runs; LAB_FULL=1 runs every cell");
    Trial::ignorable_test(format!("{}@{kernel}", topology.name), move || {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        Ok(Completion::ignored_with(reason))
    })
}

/// What ends a run: what it did not run, so that its result is not taken for one of every cell.
pub fn summary() -> Option<String> {
    let left_out = LEFT_OUT.load(Ordering::Relaxed);
    (left_out > 0).then(|| {
        format!(
            "{left_out} cells of kernels that behave like a newer one, by what was accepted, were not run: LAB_FULL=1 runs them"
        )
    })
}

/// Where a topology meets a kernel.
#[derive(Debug)]
struct Cell {
    member: Member,
    pin: KernelPin,
    /// Whether everything is done: a proof that is recorded, and a run in a guest of its own beside that in a shared one.
    does_all: bool,
    /// Where it runs beside other cells.
    place: Option<Place>,
}

impl Cell {
    fn new(member: Member, pin: KernelPin, does_all: bool) -> Self {
        Self { member, pin, does_all, place: None }
    }

    fn name(&self) -> String {
        format!("{}@{}", self.member.name, self.pin.name())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.member.path).expect("the gallery can be read")
    }

    /// The topology, with the values of this variant.
    fn topology(&self) -> Topology {
        let set: Vec<Setting> = self.member.set.iter().map(|one| one.parse().expect("NAME=VALUE")).collect();
        let (name, path) = (stem(&self.member.path), self.member.path.display().to_string());
        let all = Topology::variants(&name, &path, &self.text(), &set);
        all.unwrap_or_else(|errors| panic!("{errors}")).remove(0)
    }

    /// On its own kernel each expectation is also shown to be one that can fail.
    fn is_own(&self) -> bool {
        is_kernel_of(&self.member.path, &self.pin.name())
    }

    fn proves(&self) -> bool {
        let (text, kernel) = (self.text(), self.pin.name());
        let subject = proofs::Subject { topology: &self.member.name, kernel: &kernel, text: &text };
        self.is_own() && (self.does_all || !subject.is_known())
    }

    fn trial(self) -> Trial {
        let needed = (self.member.path.clone(), self.pin.clone());
        let provide = move |bench: &machine::Bench| provided(bench, &parsed(&needed.0), &needed.1);
        machine::trial_with(self.name(), self.pin.clone(), provide, move |bench, kernel| {
            self.run(bench, kernel)
        })
    }

    /// In a shared guest where there is one; in a guest of its own where there is none, where the cell was not as accepted
    /// there, and where both are compared.
    fn run(&self, bench: &machine::Bench, kernel: &Kernel) {
        let in_shared = self.place.as_ref().and_then(|place| place.document(bench, kernel));
        if let Some(document) = in_shared.filter(|document| !self.does_all && self.is_as_accepted(document)) {
            let value = serde_json::to_value(document).expect("the contract of the result");
            if self.is_own() {
                // Counted.
                let (text, kernel) = (self.text(), self.pin.name());
                let subject = proofs::Subject { topology: &self.member.name, kernel: &kernel, text: &text };
                assert!(subject.is_recorded(), "what proves has a guest of its own");
            }
            return ledger_closes(&value);
        }
        let own = self.run_alone();
        if let Some(in_shared) = in_shared {
            let [shared, own] = [in_shared, &own].map(snapshot::behaviour);
            if !snapshot::same(&shared, &own) {
                let differences = format!("{:#?}", behaviour::differences(&[&shared, &own]));
                shared::note_otherwise(&self.name(), &differences);
                assert!(!self.does_all, "not the same in a shared guest and in its own: {differences}");
            }
        }
    }

    /// Whether a result of a shared guest needs no other one.
    fn is_as_accepted(&self, document: &Document) -> bool {
        let accepted = accepted(&document.topology).behaviour(&self.pin.name());
        is_acceptable(document.outcome)
            && (!self.is_own() || document.outcome == Outcome::Pass)
            && accepted.is_some_and(|accepted| snapshot::same(&accepted, &snapshot::behaviour(document)))
    }

    /// As `lab run` runs it.
    fn run_alone(&self) -> Document {
        let (id, name, own) = (self.pin.name(), self.name(), self.is_own());
        let Member { path, name: own_name, set } = &self.member;
        let text = self.text();
        let subject = proofs::Subject { topology: own_name, kernel: &id, text: &text };
        let proves = own && (self.does_all || !subject.is_recorded());
        let mut args: Vec<&str> = if proves { vec!["--prove"] } else { Vec::new() };
        args.extend(set.iter().flat_map(|one| ["--set", one.as_str()]));
        let (code, stdout) = lab_run::output_with(path, &id, &args);
        let document = lab_run::document(&stdout).expect("one document");
        let result: Document = serde_json::from_slice(&stdout).expect("the contract of the result");
        assert_eq!(result.topology, *own_name);
        assert_eq!((result.kernel.id.as_str(), result.kernel.backend.as_str()), (id.as_str(), "vm"));
        assert_eq!(code, expected_code(result.outcome), "{}", result.outcome);
        if result.outcome == Outcome::Skip {
            // What a kernel cannot do leaves nothing to compare, unless it could once.
            assert!(
                accepted(&result.topology).behaviour(&id).is_none(),
                "skipped, with a snapshot: {:?}",
                result.reason
            );
            eprintln!("{name}: skipped: {}", result.reason.as_deref().expect("a skip says why"));
            return result;
        }
        assert!(is_acceptable(result.outcome), "{}: {:?}", result.outcome, result.reason);
        if own {
            assert_eq!(result.outcome, Outcome::Pass, "{:?} {:?}", result.reason, result.checks);
        }
        if proves {
            all_proven(path, &result);
            subject.record();
        }
        ledger_closes(&document);
        if result.used_fallback {
            eprintln!("{name}: compared with nothing: {}", result.substitutions.join(", "));
        } else {
            compare(&result.topology, &id, snapshot::behaviour(&result));
        }
        result
    }
}

/// What a topology needs beside the kernel of `pin`, got as `lab run` gets it: the build with drivers, a module.
fn provided(bench: &machine::Bench, topology: &Topology, pin: &KernelPin) -> Result<(), String> {
    let kernels = Kernels::built_in().expect("a unit test reads it too");
    let with_drivers = kernels.with_drivers(pin).filter(|_| plan::needs_drivers(topology));
    if let Some(pin) = with_drivers {
        bench.kernel(pin)?;
    }
    let pin = with_drivers.unwrap_or(pin);
    let module = kernels.module(NETDEVSIM, pin).filter(|_| plan::needs_netdevsim(topology));
    let Some(module) = module else { return Ok(()) };
    let built = netdevsim::ensure(&bench.cache, None, (pin, module), machine::policy(), &mut machine::say);
    built.map(drop).map_err(|error| error.to_string())
}

/// A snapshot that no cell reads any more would look as if it were tested.
pub fn no_stray_snapshots() -> Trial {
    Trial::test("snapshots: each belongs to a topology and to pinned kernels", || {
        let kernels = Kernels::built_in().expect("a unit test reads it too");
        let kernels: BTreeSet<String> = kernels.pins().map(KernelPin::name).collect();
        let all = topologies();
        let topologies: BTreeSet<String> =
            all.iter().flat_map(|path| members(path)).map(|member| member.name).collect();
        for entry in std::fs::read_dir(snapshots()).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.extension().is_some_and(|extension| extension == "new") {
                continue;
            }
            let topology = stem(&path);
            assert!(topologies.contains(&topology), "{} is no topology's snapshot", path.display());
            for kernel in accepted(&topology).kernels() {
                assert!(kernels.contains(kernel), "{topology}: {kernel} is not pinned");
            }
        }
        Ok(())
    })
}

fn snapshots() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

fn accepted(topology: &str) -> Accepted {
    let path = snapshots().join(snapshot::file_name(topology).expect("a topology's name"));
    let Ok(content) = std::fs::read_to_string(&path) else { return Accepted::default() };
    Accepted::parse(&content).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parsed(topology: &Path) -> Topology {
    let text = std::fs::read_to_string(topology).expect("the gallery can be read");
    let topology = Topology::parse("gallery", &topology.display().to_string(), &text);
    topology.unwrap_or_else(|errors| panic!("{errors}"))
}

fn stem(topology: &Path) -> String {
    topology.file_stem().expect("a topology has a name").to_string_lossy().into_owned()
}

/// Each expectation, wait and piece of evidence of the file, shown to be one that can fail.
fn all_proven(topology: &Path, result: &Document) {
    let text = std::fs::read_to_string(topology).expect("the gallery can be read");
    let is_statement = |line: &&str| {
        let line = line.trim();
        ["[[expect]]", "[[report.evidence]]"].contains(&line) || line.starts_with("wait = ")
    };
    // A table ends where the next one begins.
    let mut statements = 0;
    for table in text.split("\n[") {
        let of_others =
            table.lines().find_map(|line| line.trim().strip_prefix("when = ")).is_some_and(|when| {
                let ranges = when.trim_matches('"').parse::<KernelRanges>().expect("it was checked");
                let kernel = Running::of(&result.kernel.id, &result.kernel.release).expect("a pinned kernel");
                ranges.contain(kernel) == Some(false)
            });
        statements += if of_others { 0 } else { format!("[{table}").lines().filter(is_statement).count() };
    }
    assert_eq!(result.proofs.len(), statements);
    for proof in &result.proofs {
        assert!(proof.proven, "{}: nothing breaks it", proof.name);
    }
}

/// The contract of the command line.
fn expected_code(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Pass | Outcome::Xfail => 0,
        Outcome::Skip | Outcome::Unsupported => 69,
        _ => 1,
    }
}

/// Whether it is the kernel that the topology is about.
fn is_kernel_of(topology: &Path, id: &str) -> bool {
    // Where drivers are needed the lab takes the build that has them, whichever of the two is named.
    parsed(topology).kernel.is_some_and(|kernel| without_flavour(&kernel) == without_flavour(id))
}

fn without_flavour(kernel: &str) -> &str {
    kernel.split('/').next().unwrap_or(kernel)
}

/// asked = sent + refused, and asked = delivered + lost at a named layer, for each flow of each trial.
pub fn ledger_closes(document: &Value) {
    for trial in document["trials"].as_array().expect("a list") {
        for flow in trial["flows"].as_array().expect("a list") {
            let number = |key: &str| flow[key].as_u64().unwrap_or_else(|| panic!("no {key} in {flow}"));
            let refused: u64 =
                flow["errors"].as_object().expect("a map").values().filter_map(Value::as_u64).sum();
            let fates = flow["fates"].as_array().expect("a list");
            let lost: u64 = fates.iter().filter_map(|fate| fate["frames"].as_u64()).sum();
            assert_eq!(number("unattributed"), 0, "{}: {flow}", trial["name"]);
            assert_eq!(number("asked"), number("sent") + refused, "{}: {flow}", trial["name"]);
            assert_eq!(number("asked"), number("delivered") + lost, "{}: {flow}", trial["name"]);
        }
    }
}

/// Files with what this run found on some kernels, by topology: insta writes a whole file, and cells end in any order.
static CHANGED: Mutex<BTreeMap<String, Accepted>> = Mutex::new(BTreeMap::new());

fn compare(topology: &str, kernel: &str, seen: Behaviour) {
    let before = accepted(topology);
    if let Some(accepted) = before.behaviour(kernel).filter(|accepted| snapshot::same(accepted, &seen)) {
        if snapshot::is_older(&accepted) {
            eprintln!("{topology}@{kernel}: {}", snapshot::OLDER);
        }
        return;
    }
    // A failed assertion in another cell poisons it, and leaves it whole.
    let mut all = CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = all.entry(topology.to_owned()).or_insert(before);
    changed.set(kernel, seen).expect("a pinned kernel");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(topology, changed.body()));
}
