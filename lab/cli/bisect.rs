//! `lab bisect`: between which kernels a behaviour changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::cli::failure::Failure;
use crate::cli::progress::Downloads;
use crate::cli::testbench::Bench;
use crate::cli::{PinsArgs, ProvisionArgs, look, provision, run, substitutes};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::net::version::KernelVersion;
use bondlab_core::plan;
use bondlab_core::plan::RunOptions;
use bondlab_core::plan::lower::lower_with;
use bondlab_core::report::behaviour::Behaviour;
use bondlab_core::report::bisect::{Anchor, Boundary, Found, Refused, Tested, search};
use bondlab_core::report::document::Document;
use bondlab_core::report::matrix::is_acceptable;
use bondlab_core::report::{behaviour, grid, snapshot};
use bondlab_core::topology::Topology;
use bondlab_host::cache::Cache;
use bondlab_host::kernel::archive::{ArchiveError, Index};
use bondlab_host::kernel::mirror::Mirrors;
use bondlab_host::kernel::pins::{Flavour, KernelPin, Kernels, parse_name};
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::runner;
use bondlab_host::vm::accel::Choice;
use bondlab_host::vm::qemu::Qemu;
use clap::Args;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab bisect topologies/vlan-over-bond-tx-drop.toml --good 5.10.262 --bad 7.3.4
  lab bisect topologies/vlan-over-bond-tx-drop.toml --good 6.1.192 --bad 6.12.69 --good 6.18.15
  lab bisect topologies/vlan-over-bond-tx-drop.toml --good 6.12.57 --bad 6.12.69 --add";

/// Arguments of `lab bisect`.
#[derive(Debug, Args)]
pub struct BisectArgs {
    /// A topology file
    topology: PathBuf,
    /// A version that behaves as wanted; may be repeated if only versions in the middle are bad
    #[arg(long, value_name = "VERSION", required = true)]
    good: Vec<String>,
    /// A version that behaves differently: the search follows this failure, and reports others
    #[arg(long, value_name = "VERSION", required = true)]
    bad: Vec<String>,
    /// Compare only this check; default: everything in the snapshot
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    /// Test every kernel between: also finds behaviour that changes more than once, which a binary search misses
    #[arg(long)]
    every: bool,
    /// Continue with versions that are not pinned, and download them from Debian's archive
    #[arg(long)]
    add: bool,
    /// kvm, tcg, or auto: KVM where a guest has booted with it
    #[arg(long, default_value = "auto")]
    accel: Choice,
    #[command(flatten)]
    pins: PinsArgs,
    #[command(flatten)]
    provision: ProvisionArgs,
}

/// One kernel of the list: pinned, or to be pinned when it is its turn.
#[derive(Debug, Clone)]
enum Candidate {
    Pinned(Box<KernelPin>),
    Archived(KernelVersion),
}

/// Runs the topology on one kernel after the other, and remembers what came of it.
struct Oracle<'a> {
    args: &'a BisectArgs,
    topology: Topology,
    options: RunOptions,
    cache: Cache,
    flavour: Flavour,
    bench: Option<Bench>,
    archive: Option<(Mirrors, Index)>,
    /// By the kernel's name.
    documents: BTreeMap<String, Document>,
    /// One of each behaviour, in the order in which they were found.
    known: Vec<Behaviour>,
    /// What the first tested one, a good one, came to.
    good: Option<String>,
    /// What the first bad one came to.
    bad: Option<String>,
    /// What those came to that are bad in another way.
    others: Vec<String>,
}

/// Searches, and says what was found.
pub fn bisect(args: &BisectArgs) -> Result<ExitCode, Failure> {
    let topology = run::read(&args.topology)?;
    let pins = provision::kernels(args.pins.kernels_file.as_deref())?;
    let ends = ends(args, &pins)?;
    let flavour = debians_flavour(&ends);
    let list = between(&pins, &ends)?;
    let anchors = anchors(&list, &ends);
    let mut oracle = Oracle {
        args,
        topology,
        options: RunOptions::default(),
        cache: provision::cache()?,
        flavour,
        bench: None,
        archive: None,
        documents: BTreeMap::new(),
        known: Vec::new(),
        good: None,
        bad: None,
        others: Vec::new(),
    };
    oracle.substitution();
    println!("{}: {} pinned kernels, {}", oracle.topology.name, list.len(), oracle.by_what());
    let found = oracle.search(&list, &anchors)?;
    let mut more = Vec::new();
    for boundary in &found.boundaries {
        oracle.tell(&list, boundary);
        more.push((list[boundary.before].clone(), list[boundary.after].clone()));
    }
    oracle.tell_others(&list, &found);
    print!("{}", found.tested(&ids_of(&list), &oracle.command(&args.good, &args.bad, "--every")));
    for (before, after) in more {
        if [&before, &after].iter().any(|candidate| candidate.is_own()) {
            // The archive has nothing between kernels that are not its own.
            continue;
        }
        if args.add {
            oracle.further(&before, &after)?;
        } else {
            oracle.offer(&before, &after);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernels that the user knows, with what is known of each.
fn ends<'a>(args: &BisectArgs, pins: &'a Kernels) -> Result<Vec<(&'a KernelPin, bool)>, Failure> {
    let words = args.good.iter().map(|word| (word, true)).chain(args.bad.iter().map(|word| (word, false)));
    let mut ends: Vec<(&KernelPin, bool)> = Vec::new();
    for (word, is_good) in words {
        let [pin] = provision::select(pins, word)?[..] else {
            return Err(Failure::usage(format!("error: `{word}` is more than one kernel")));
        };
        if ends.iter().any(|(other, _)| other.name() == pin.name()) {
            return Err(Failure::usage(format!("error: {} is named twice", pin.name())));
        }
        ends.push((pin, is_good));
    }
    let is_debians = |(pin, _): &&(&KernelPin, bool)| pin.local.is_none();
    let flavour = debians_flavour(&ends);
    if ends.iter().filter(is_debians).any(|(pin, _)| pin.flavour != flavour) {
        return Err(Failure::usage("error: kernels of one flavour can be compared, not of two"));
    }
    Ok(ends)
}

/// The flavour of those of the ends that are Debian's; kernels of the user's own can be compared with each other and with any.
fn debians_flavour(ends: &[(&KernelPin, bool)]) -> Flavour {
    let debians = ends.iter().find(|(pin, _)| pin.local.is_none());
    debians.map_or(Flavour::Local, |(pin, _)| pin.flavour)
}

/// Every pinned kernel between the outermost ends, by version.
fn between(pins: &Kernels, ends: &[(&KernelPin, bool)]) -> Result<Vec<Candidate>, Failure> {
    let is_among = |pin: &&KernelPin| ends.iter().any(|(end, _)| end.flavour == pin.flavour);
    let all: Vec<&KernelPin> = pins.pins().filter(is_among).collect();
    let places =
        all.iter().enumerate().filter(|(_, pin)| ends.iter().any(|(end, _)| end.name() == pin.name()));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return Err(Failure::usage("error: there is nothing between the kernels"));
    };
    Ok(all[*first..=*last].iter().map(|pin| Candidate::Pinned(Box::new((*pin).clone()))).collect())
}

fn anchors(list: &[Candidate], ends: &[(&KernelPin, bool)]) -> Vec<Anchor> {
    let place = |pin: &KernelPin| list.iter().position(|candidate| candidate.is(pin));
    let known =
        ends.iter().filter_map(|(pin, is_good)| Some(Anchor { index: place(pin)?, is_good: *is_good }));
    known.collect()
}

impl Candidate {
    fn is(&self, pin: &KernelPin) -> bool {
        matches!(self, Self::Pinned(own) if own.name() == pin.name())
    }

    fn is_own(&self) -> bool {
        matches!(self, Self::Pinned(pin) if pin.local.is_some())
    }

    fn id(&self) -> String {
        match self {
            Self::Pinned(pin) => pin.id.clone(),
            Self::Archived(version) => version.to_string(),
        }
    }
}

impl Oracle<'_> {
    fn by_what(&self) -> String {
        match &self.args.check {
            Some(check) => format!("by the check `{check}`"),
            None => "by everything the snapshot shows".to_owned(),
        }
    }

    /// Substitutes for emulated NICs that are not to be had, on all kernels alike: what is compared is made of the same.
    fn substitution(&mut self) {
        let lacks_drivers = self.flavour == Flavour::Cloud && plan::needs_drivers(&self.topology);
        self.options.used_fallback = if lacks_drivers {
            substitutes::for_all(&mut self.topology)
        } else {
            Qemu::find().is_ok_and(|qemu| substitutes::for_qemu(&qemu, &mut self.topology))
        };
        if !self.options.used_fallback {
            return;
        }
        let substitutions: Vec<String> =
            self.topology.substitutions.iter().map(ToString::to_string).collect();
        println!("substitutes, and no hardware: {}", substitutions.join("; "));
        if lacks_drivers {
            println!(
                "hint: for the NICs' own behaviour name kernels that have their drivers, as `--good 6.12.57/generic`"
            );
        }
    }

    fn search(&mut self, list: &[Candidate], anchors: &[Anchor]) -> Result<Found, Failure> {
        let every = self.args.every;
        let found = search(anchors, every, |index| self.test(&list[index]))?;
        found.map_err(|refused| match refused {
            Refused::NoEnds => Failure::usage("error: name a good and a bad kernel"),
            Refused::Anchor { index, is_good: true } => self.contradiction(
                &list[index],
                "is said to be good, and behaves otherwise than the first good one",
            ),
            Refused::Anchor { index, is_good: false } => {
                self.contradiction(&list[index], "is said to be bad, and behaves as the good one does")
            }
            Refused::OtherBad { index } => Failure::differs(format!(
                "error: {} is bad in another way than {}\nhint: `lab bisect` follows one failure: name the two in two searches, \
                 or the check that fails with --check",
                list[index].id(),
                self.args.bad[0]
            )),
            Refused::Untestable { index, why } => {
                Failure::unavailable(format!("error: {} cannot be tested: {why}", list[index].id()))
            }
        })
    }

    fn contradiction(&self, candidate: &Candidate, what: &str) -> Failure {
        Failure::differs(format!(
            "error: {} {what}\nhint: `lab matrix {} --kernels all` shows which kernels behave alike",
            candidate.id(),
            self.args.topology.display()
        ))
    }

    /// Tests one kernel, and prints the step.
    fn test(&mut self, candidate: &Candidate) -> Result<Tested, Failure> {
        let id = candidate.id();
        if let Some(document) = self.documents.get(&id) {
            return self.judge(document);
        }
        let kernel = match self.kernel(candidate) {
            Ok(kernel) => kernel,
            Err(failure) => {
                eprintln!("{failure}");
                println!("  {id:16} not tested: it is not to be had");
                return Ok(Tested::Untestable(failure.to_string()));
            }
        };
        let begun = Instant::now();
        let document = self.run(&kernel)?;
        let tested = self.judge(&document)?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("  {id:16} {:24} {seconds:5.1} s", self.step(&tested));
        let seen = snapshot::behaviour(&document).split_features().0;
        if is_acceptable(document.outcome) && !self.known.iter().any(|known| behaviour::alike(known, &seen)) {
            self.known.push(seen);
        }
        self.documents.insert(id, document);
        Ok(tested)
    }

    fn judge(&self, document: &Document) -> Result<Tested, Failure> {
        if !is_acceptable(document.outcome) {
            let reason = document.reason.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
            return Ok(Tested::Untestable(format!("{}: {reason}", document.outcome)));
        }
        let Some(name) = &self.args.check else {
            // Features change with nearly each series, and are no failure by themselves.
            let seen = snapshot::behaviour(document).split_features().0;
            let like = self.known.iter().find(|known| behaviour::alike(known, &seen));
            return Ok(Tested::Behaves(like.unwrap_or(&seen).to_string()));
        };
        match document.checks.iter().find(|check| check.name == *name) {
            Some(check) if check.outcome == Outcome::Skip => Ok(Tested::Untestable(check.observed.clone())),
            Some(check) => Ok(Tested::Behaves(check.outcome.to_string())),
            // A run that ended early has no checks; one that came to its end has them all.
            None if document.reason.is_some()
                || document.trials.iter().any(|trial| trial.refused.is_some()) =>
            {
                Ok(Tested::Untestable(format!("it did not come to the check `{name}`")))
            }
            None => {
                let names: Vec<&str> = document.checks.iter().map(|check| check.name.as_str()).collect();
                Err(Failure::usage(format!(
                    "error: no check is called `{name}`; there are:\n  {}",
                    names.join("\n  ")
                )))
            }
        }
    }

    /// A step in words; the first one tested is good by definition.
    fn step(&mut self, tested: &Tested) -> String {
        let behaviour = match tested {
            Tested::Untestable(why) => return format!("not tested: {why}"),
            Tested::Behaves(behaviour) => behaviour,
        };
        if self.good.get_or_insert_with(|| behaviour.clone()) == behaviour {
            "good".to_owned()
        } else if self.bad.get_or_insert_with(|| behaviour.clone()) == behaviour {
            "bad".to_owned()
        } else {
            if !self.others.contains(behaviour) {
                self.others.push(behaviour.clone());
            }
            "otherwise, and not as the bad one".to_owned()
        }
    }

    /// The kernel, or why it is not to be had: an archive lists what it no longer serves.
    fn kernel(&self, candidate: &Candidate) -> Result<Kernel, Failure> {
        let pin = match candidate {
            Candidate::Pinned(pin) => (**pin).clone(),
            Candidate::Archived(version) => self.pin(*version)?,
        };
        provision::kernel(&pin, &self.args.provision, &self.cache)
    }

    fn run(&mut self, kernel: &Kernel) -> Result<Document, Failure> {
        let args = &self.args.provision;
        let bench = match self.bench.take() {
            Some(bench) => bench,
            None => Bench::new(self.args.accel, false, kernel, args, self.cache.clone())?,
        };
        let machine = bench.machine(kernel);
        let plan = lower_with(&self.topology, &self.options);
        let document = match runner::carry_out_in_machine(&self.topology, &plan, &machine) {
            Ok(run) => run.document,
            Err(error) => runner::unstarted(&self.topology, &plan, &machine, &error.into()),
        };
        self.bench = Some(bench);
        Ok(document)
    }

    fn pin(&self, version: KernelVersion) -> Result<KernelPin, Failure> {
        let (mirrors, index) = self.archive.as_ref().expect("versions of the archive come from its index");
        let mut downloads = Downloads::new("to hash it, for the index has dropped it");
        let mut show = |event: bondlab_host::kernel::download::DownloadEvent<'_>| downloads.show(event);
        let pin =
            index.pin(&self.cache, mirrors, version, self.flavour, &mut show).map_err(archive_failure)?;
        pin.ok_or_else(|| Failure::unavailable(format!("error: no suite has kernel {version}")))
    }

    /// Two neighbours and what they do differently.
    fn tell(&self, list: &[Candidate], boundary: &Boundary) {
        let ids = ids_of(list);
        print!("{}", boundary.headline(&ids));
        self.print_differences([&ids[boundary.before], &ids[boundary.after]]);
        print!("{}", boundary.between(&ids));
    }

    /// Kernels that behave neither as the good one nor as the bad one, and how otherwise than the good one.
    fn tell_others(&self, list: &[Candidate], found: &Found) {
        let (ids, Some(good)) = (ids_of(list), found.steps.first()) else { return };
        for group in found.others() {
            print!("{}", Found::other_headline(&group, &ids));
            self.print_differences([&ids[good.index], &ids[group[0]]]);
        }
    }

    /// What two kernels do differently, features of their devices last.
    fn print_differences(&self, kernels: [&String; 2]) {
        let [one, other] = kernels.map(|id| snapshot::behaviour(&self.documents[id]));
        print!("{}", grid::differences(&behaviour::differences(&[&one, &other]), "    ", look::width()));
    }

    /// This search with other ends, or in another way.
    fn command(&self, good: &[String], bad: &[String], option: &str) -> String {
        let ends = good
            .iter()
            .map(|one| format!("--good {one}"))
            .chain(bad.iter().map(|one| format!("--bad {one}")));
        let check = self.args.check.as_ref().map(|check| format!("--check {check:?}"));
        let words: Vec<String> = ends.chain(check).chain([option.to_owned()]).collect();
        format!("lab bisect {} {}", self.args.topology.display(), words.join(" "))
    }

    /// What to type to go on.
    fn offer(&self, before: &Candidate, after: &Candidate) {
        let is_good = |candidate: &Candidate| {
            let document = &self.documents[&candidate.id()];
            matches!(self.judge(document), Ok(Tested::Behaves(behaviour)) if Some(&behaviour) == self.good.as_ref())
        };
        let (good, bad) = if is_good(before) { (before, after) } else { (after, before) };
        let flavour = if self.flavour == Flavour::Generic { "/generic" } else { "" };
        let [good, bad] = [good, bad].map(|end| format!("{}{flavour}", end.id()));
        println!(
            "further, with what Debian's archive has between the two:\n  {}",
            self.command(&[good], &[bad], "--add")
        );
    }

    /// Goes on with what the archive has between two neighbours.
    fn further(&mut self, before: &Candidate, after: &Candidate) -> Result<(), Failure> {
        if self.archive.is_none() {
            eprintln!("reading the indexes of Debian's suites");
            let mirror = self.args.provision.mirror.as_deref();
            let mirrors = Mirrors::find(mirror).map_err(|error| archive_failure(error.into()))?;
            let index = Index::read(&self.cache, &mirrors).map_err(archive_failure)?;
            self.archive = Some((mirrors, index));
        }
        let version = |candidate: &Candidate| parse_name(&candidate.id()).map(|(version, _)| version);
        let (Ok(low), Ok(high)) = (version(before), version(after)) else { return Ok(()) };
        let (_, index) = self.archive.as_ref().expect("it was read above");
        let found =
            index.versions(self.flavour).into_iter().filter(|version| low < *version && *version < high);
        let archived: Vec<Candidate> = found.map(Candidate::Archived).collect();
        let count = archived.len();
        println!("between {} and {} the archive has {count} more", before.id(), after.id());
        if count == 0 {
            println!("    it cannot be narrowed down further than to these two");
            return Ok(());
        }
        let list: Vec<Candidate> =
            std::iter::once(before.clone()).chain(archived).chain(std::iter::once(after.clone())).collect();
        let ends = [(0, before), (list.len() - 1, after)];
        let mut anchors = Vec::new();
        for (index, candidate) in ends {
            let is_good = match self.test(candidate)? {
                Tested::Behaves(behaviour) => Some(&behaviour) == self.good.as_ref(),
                Tested::Untestable(_) => false,
            };
            anchors.push(Anchor { index, is_good });
        }
        let found = self.search(&list, &anchors)?;
        self.tell_others(&list, &found);
        for boundary in &found.boundaries {
            self.tell(&list, boundary);
            for candidate in [&list[boundary.before], &list[boundary.after]] {
                if let Candidate::Archived(version) = candidate {
                    println!("    to keep it: lab kernels add {version}");
                }
            }
        }
        Ok(())
    }
}

fn ids_of(list: &[Candidate]) -> Vec<String> {
    list.iter().map(Candidate::id).collect()
}

fn archive_failure(error: ArchiveError) -> Failure {
    Failure::unavailable(format!("error: {error}"))
}
