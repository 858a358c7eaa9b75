//! One topology on one kernel: starts the agent, hands it the plan, collects its records, judges them.

mod collected;
mod here;
mod shared;
mod shortage;
mod spec;

pub use here::carry_out_here;
pub use shared::{Member, Rest, carry_out_shared, may_share};
pub(crate) use spec::STANDARD_MODULES;
pub use spec::{machine_of, probe_spec};

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::kernel::modules::ModulesError;
use crate::kernel::store::Kernel;
use crate::run::runner::collected::{Asked, Collected};
use crate::run::runner::spec::{clock, vm_spec};
use crate::run::{plugins, warm_check};
use crate::vm::death::{Cause, Death, Exit};
use crate::vm::initramfs::InitramfsError;
use crate::vm::qemu::{Accelerator, Qemu, QemuError, VmSpec};
use crate::vm::warm::{Note, StartError};
use crate::vm::{Next, Timeouts, Vm, nics, warm};
use bondlab_core::judge::account::Account;
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::judge::{ledger, verdict};
use bondlab_core::net::version::Running;
use bondlab_core::plan::Plan;
use bondlab_core::plan::bounds::Bounds;
use bondlab_core::plan::record::{Record, Request};
use bondlab_core::report::document::{Document, KernelDocument, Timing};
use bondlab_core::report::rounds;
use bondlab_core::topology::Topology;

/// Is given each record as it comes from a guest.
#[derive(Clone, Copy)]
pub struct Watch<'a>(pub &'a (dyn Fn(&Record) + Sync));

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// A machine to run topologies in.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Who looks on.
    pub watch: Option<Watch<'a>>,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Who starts it.
    pub qemu: &'a Qemu,
    /// Who runs its instructions.
    pub accelerator: Accelerator,
    /// The binary that becomes its `/init`.
    pub init: &'a Path,
    /// Where CNI plugins' own programs are.
    pub plugins: Option<&'a Path>,
    /// Where initramfs and saved machines are kept.
    pub cache: &'a Cache,
    /// Whether to boot anew instead of restoring a saved machine.
    pub cold: bool,
    /// Words on the kernel command line beside those that a topology asks for: tests have the guest misbehave.
    pub words: &'a [String],
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// How one run ended.
#[derive(Debug)]
pub struct Run {
    /// The result.
    pub document: Document,
    /// The account, when there is one.
    pub account: Option<Account>,
    /// What the kernel lacks; then nothing was run.
    pub missing: Vec<String>,
    /// What the user should know about how it was run.
    pub notes: Vec<String>,
    /// What the agent said, where it came to its end.
    pub records: Vec<Record>,
}

/// Why there was no run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// QEMU did not start.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// No initramfs.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The kernel's modules cannot be read.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// The agent on this kernel did not start.
    #[error("start the agent: {0}")]
    Agent(#[source] std::io::Error),
}

/// Carries out a plan of a topology in a machine.
///
/// # Errors
/// When no machine could be started for a reason that is not the kernel's.
pub fn carry_out_in_machine(
    topology: &Topology,
    plan: &Plan,
    machine: &Machine<'_>,
) -> Result<Run, RunError> {
    warm_check::carry_out(machine, |machine| carry_out_once(topology, plan, machine))
}

fn carry_out_once(topology: &Topology, plan: &Plan, machine: &Machine<'_>) -> Result<Run, RunError> {
    let begun = Instant::now();
    let kernel = kernel_document(plan, machine);
    if let Some(lacks) = nics::lacks(machine.qemu, &plan.slots) {
        let timing = Timing { total: millis(begun), ..Timing::default() };
        let reason = format!("this machine cannot run this topology; it lacks:\n  {lacks}");
        return Ok(unfinished(topology, plan, kernel, Outcome::Skip, reason, timing));
    }
    if let Some(reason) = plugins::lacking(topology, &plan.options, machine.plugins) {
        let timing = Timing { total: millis(begun), ..Timing::default() };
        return Ok(unfinished(topology, plan, kernel, Outcome::Skip, reason, timing));
    }
    let missing = absent_drivers(plan, machine)?;
    if !missing.is_empty() {
        let timing = Timing { total: millis(begun), ..Timing::default() };
        return Ok(lacking(topology, plan, kernel, missing, timing));
    }
    let spec = vm_spec(plan, machine)?;
    let (mut vm, notes) = match start(machine, machine.timeouts.allowing(plan), &spec) {
        Ok(started) => started,
        Err(StartError::Qemu(error)) => return Err(error.into()),
        Err(StartError::Death(death)) => {
            return Ok(died(
                topology,
                plan,
                kernel,
                &death,
                Timing { start: millis(begun), total: millis(begun), ..Timing::default() },
            ));
        }
    };
    if let Some(why) = another_release(&kernel.release, &notes.0) {
        let timing = Timing { start: millis(begun), total: millis(begun), ..Timing::default() };
        return Ok(unfinished(topology, plan, kernel, Outcome::Error, why, timing));
    }
    let started = Instant::now();
    let mut collected = Collected::watched(Bounds::of(plan), machine.watch);
    let exit = match converse(&mut vm, plan, &Request::Run(plan.clone()), &mut collected) {
        Ok(()) => vm.finish(),
        Err(death) => Exit::Died(death),
    };
    let timing = timing(begun, started, &collected);
    let mut run = match exit {
        Exit::Finished { .. } => conclude(topology, plan, kernel, collected, timing),
        Exit::Died(death) => died(topology, plan, kernel, &death, timing),
    };
    run.notes = notes.1;
    let pods = run.account.as_ref().map_or(&[][..], Account::pods);
    let attached = plugins::attachments(topology, &plan.options, pods, machine.plugins);
    run.document = run.document.attached_by(attached);
    Ok(run)
}

/// Why a guest is not the kernel that was to be tested, if it is not.
pub(crate) fn another_release(asked: &str, runs: &str) -> Option<String> {
    (asked != runs).then(|| {
        format!(
            "the guest runs {runs:?}, and {asked:?} was to be tested\nnext: `lab kernels verify`, or name the modules \
             of this very image"
        )
    })
}

/// Hands a plan over, and does what the guest asks for, until it has no more to say of it.
fn converse(vm: &mut Vm, plan: &Plan, request: &Request, collected: &mut Collected<'_>) -> Result<(), Death> {
    vm.send(&line_of(request))?;
    while let Next::Line(line) = vm.next_line() {
        let asked = collected.line(&line);
        if let Some(excess) = collected.excess() {
            return Err(vm.refuse(excess));
        }
        if collected.is_finished() && matches!(request, Request::RunAndWait(_)) {
            return Ok(());
        }
        let Some(Asked { slot, is_in }) = asked else { continue };
        let ends = plan.slots.get(slot).map(|near| [slot, near.peer]);
        let plugged = ends.ok_or_else(|| format!("the machine has no slot {slot}")).and_then(|ends| {
            let plug = |end| vm.plug(&nics::name(end), is_in).map_err(|error| error.to_string());
            ends.into_iter().try_for_each(plug)
        });
        vm.send(&line_of(&Request::Answer(plugged.err())))?;
    }
    // A guest that is to wait has not come to that.
    if matches!(request, Request::RunAndWait(_)) { Err(vm.ended_early()) } else { Ok(()) }
}

/// `uname -r` of a guest, and what the user should know about its start.
pub(crate) type ReleaseAndNotes = (String, Vec<String>);

pub(crate) fn start(
    machine: &Machine<'_>,
    timeouts: Timeouts,
    spec: &VmSpec,
) -> Result<(Vm, ReleaseAndNotes), StartError> {
    if machine.cold {
        let mut vm = Vm::boot(machine.qemu, spec, timeouts)?;
        let ready = vm.wait_ready().map_err(Box::new)?;
        return Ok((vm, (ready.release, Vec::new())));
    }
    let started = warm::start(machine.qemu, spec, timeouts, machine.cache)?;
    let notes = started.note.iter().map(Note::to_string).collect();
    Ok((started.vm, (started.ready.release, notes)))
}

/// Drivers that the kernel's modules do not have: no machine needs to be started to learn it there.
fn absent_drivers(plan: &Plan, machine: &Machine<'_>) -> Result<Vec<String>, ModulesError> {
    let mut absent = Vec::new();
    for need in &plan.needs {
        if let Some(module) = need.driver_module()
            && machine.kernel.modules.lacks(module)?
        {
            absent.push(format!("{need} ({})", need.provider()));
        }
    }
    Ok(absent)
}

/// Makes what a run of the topology starts from: the initramfs, and the saved machine. Returns what the user should
/// know about it.
///
/// # Errors
/// When a run would come to no result. [`unstarted`] makes a result of it.
pub fn prepare(topology: &Topology, plan: &Plan, machine: &Machine<'_>) -> Result<Option<String>, Unstarted> {
    if nics::lacks(machine.qemu, &plan.slots).is_some()
        || plugins::lacking(topology, &plan.options, machine.plugins).is_some()
        || !absent_drivers(plan, machine).map_err(RunError::from)?.is_empty()
    {
        return Ok(None);
    }
    let spec = vm_spec(plan, machine)?;
    if machine.cold || warm_check::is_distrusted(machine) {
        return Ok(None);
    }
    match warm::prepare(machine.qemu, &spec, machine.timeouts, machine.cache) {
        Ok(note) => Ok(note.map(|note| note.to_string())),
        Err(StartError::Qemu(error)) => Err(RunError::from(error).into()),
        Err(StartError::Death(death)) => Err(Unstarted::Died(death)),
    }
}

/// Why a run would come to no result.
#[derive(Debug, thiserror::Error)]
pub enum Unstarted {
    /// No machine, for a reason that is not the kernel's.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The guest died before it waited for work.
    #[error(transparent)]
    Died(Box<Death>),
}

/// The result for a topology whose machine did not start.
pub fn unstarted(topology: &Topology, plan: &Plan, machine: &Machine<'_>, why: &Unstarted) -> Document {
    let kernel = kernel_document(plan, machine);
    let timing = Timing::default();
    match why {
        Unstarted::Died(death) => died(topology, plan, kernel, death, timing).document,
        Unstarted::Run(error) => {
            let reason = format!("{error}\nnext: `lab doctor` says what this machine lacks");
            unfinished(topology, plan, kernel, Outcome::Error, reason, timing).document
        }
    }
}

/// The result for a topology whose kernel is not to be had.
pub fn skipped(topology: &Topology, plan: &Plan, machine: &Machine<'_>, why: &str) -> Document {
    let kernel = kernel_document(plan, machine);
    unfinished(topology, plan, kernel, Outcome::Skip, why.to_owned(), Timing::default()).document
}

/// The result for a topology at which the lab itself failed.
pub fn failed(topology: &Topology, plan: &Plan, machine: &Machine<'_>, what: &str) -> Document {
    let reason = format!("the lab failed: {what}\nnext: report it with the topology");
    let kernel = kernel_document(plan, machine);
    unfinished(topology, plan, kernel, Outcome::Error, reason, Timing::default()).document
}

fn kernel_document(plan: &Plan, machine: &Machine<'_>) -> KernelDocument {
    KernelDocument {
        id: machine.kernel.id.clone(),
        release: machine.kernel.release.clone(),
        backend: "vm".into(),
        accelerator: machine.accelerator.name().into(),
        clock: clock(plan, machine.accelerator).word().into(),
    }
}

fn line_of(request: &Request) -> String {
    serde_json::to_string(request).expect("a plan has text keys only, and no map that could fail")
}

fn timing(begun: Instant, started: Instant, collected: &Collected<'_>) -> Timing {
    let built = collected.built.unwrap_or(started);
    let between = |from: Instant, to: Instant| saturating_millis(to.saturating_duration_since(from));
    let now = Instant::now();
    Timing {
        start: between(begun, started),
        build: between(started, built),
        run: between(built, now),
        total: between(begun, now),
    }
}

fn millis(since: Instant) -> u64 {
    saturating_millis(since.elapsed())
}

fn saturating_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The agent came to its end: now its records must be whole.
fn conclude(
    topology: &Topology,
    plan: &Plan,
    kernel: KernelDocument,
    collected: Collected<'_>,
    timing: Timing,
) -> Run {
    if let Some(garbage) = collected.garbage {
        let reason =
            format!("{garbage}\nnext: the records cannot be trusted: run it again, report it if it repeats");
        return unfinished(topology, plan, kernel, Outcome::Error, reason, timing);
    }
    if let Some(what) = shortage::find(&kernel.backend, &collected.records) {
        let reason = format!(
            "the lab ran out of something of its own: {what}\nnext: raise the limit (`ulimit -n`), free some memory, or run it \
             in a microVM (--kernel VERSION)"
        );
        return unfinished(topology, plan, kernel, Outcome::Error, reason, timing);
    }
    if let [Record::Missing { what }, Record::Finished { .. }] = &collected.records[..] {
        return lacking(topology, plan, kernel, what.clone(), timing);
    }
    if let Some(why) = observer_failed(plan, &kernel, &collected.records) {
        let reason = format!(
            "drops could not be watched: {why}\nnext: `--no-observer` counts them by the kernel's counters alone"
        );
        return unfinished(topology, plan, kernel, Outcome::Error, reason, timing);
    }
    match ledger::close(plan, &collected.records) {
        Ok(account) => {
            let finished = |account: &Account| {
                let running = Running::of(&kernel.id, &kernel.release);
                let verdict = verdict::judge(topology, &plan.options, account, running);
                let document = Document::finished(&topology.name, kernel.clone(), account, &verdict, timing);
                document.of_topology(topology, &plan.options, account.pods())
            };
            let documents = rounds::rounds(&account, plan.repetitions).iter().map(finished).collect();
            let document = rounds::together(documents).expect("a plan has a round at least");
            let records = collected.records;
            Run { document, account: Some(account), missing: Vec::new(), notes: Vec::new(), records }
        }
        Err(error) => {
            let reason = format!("{error}\nnext: run it again; if it repeats, report it with the topology");
            unfinished(topology, plan, kernel, Outcome::Error, reason, timing)
        }
    }
}

/// Why the drop observer of a machine did not start. There it may do all it needs, so counters alone are no substitute for
/// it; on the running kernel they are, and the result says so.
fn observer_failed<'r>(plan: &Plan, kernel: &KernelDocument, records: &'r [Record]) -> Option<&'r str> {
    let why = records.iter().find_map(|record| match record {
        Record::Observed { unavailable, .. } => unavailable.as_deref(),
        _ => None,
    });
    why.filter(|_| kernel.backend == "vm" && !plan.options.unobserved)
}

/// What a kernel lacks is a skip.
fn lacking(
    topology: &Topology,
    plan: &Plan,
    kernel: KernelDocument,
    missing: Vec<String>,
    timing: Timing,
) -> Run {
    let reason =
        format!("{} cannot run this topology; it lacks:\n  {}", kernel.release, missing.join("\n  "));
    Run { missing, ..unfinished(topology, plan, kernel, Outcome::Skip, reason, timing) }
}

fn died(topology: &Topology, plan: &Plan, kernel: KernelDocument, death: &Death, timing: Timing) -> Run {
    let outcome = match &death.cause {
        Cause::Panic { .. } => Outcome::Panic,
        Cause::Hang { .. } => Outcome::Hang,
        Cause::BootFail { .. } => Outcome::BootFail,
        Cause::NotUnpacked
        | Cause::AgentDied { .. }
        | Cause::Garbage { .. }
        | Cause::QemuKilled { .. }
        | Cause::QemuExited { .. } => Outcome::Error,
    };
    unfinished(topology, plan, kernel, outcome, death.to_string(), timing)
}

fn unfinished(
    topology: &Topology,
    plan: &Plan,
    kernel: KernelDocument,
    outcome: Outcome,
    reason: String,
    timing: Timing,
) -> Run {
    let document = Document::unfinished(&topology.name, kernel, outcome, reason, timing).of_topology(
        topology,
        &plan.options,
        &[],
    );
    Run { document, account: None, missing: Vec::new(), notes: Vec::new(), records: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bondlab_core::net::clean;
    use bondlab_core::plan::lower::lower;

    #[test]
    fn a_guests_words_are_one_line_each() {
        let mut collected = Collected::new(Bounds { records: 10, bytes: 10_000 });
        let said = r#"{"missing":{"what":["\u001b[2J\nok 1 - forged","\u202e\u0000\r"]}}"#;
        assert!(collected.line(said).is_none() && collected.garbage.is_none());
        let what = ["\\u{1b}[2J\\nok 1 - forged", "\\u{202e}\\u{0}\\r"].map(String::from).to_vec();
        assert_eq!(collected.records, [Record::Missing { what }]);
        collected.line("{\"\u{1b}[2J\": 1}");
        let garbage = collected.garbage.expect("it is no record");
        assert!(!garbage.contains(clean::is_unsafe), "{garbage:?}");
    }

    #[test]
    fn an_observer_that_does_not_start_in_a_machine_is_an_error() {
        let topology = Topology::parse("t", "t.toml", "[ns.a.dummy.x]\n").expect("it is one");
        let mut plan = lower(&topology);
        let records = [Record::Observed { trial: 0, lost: 0, unavailable: Some("no BTF".into()) }];
        let kernel = |backend: &str| KernelDocument {
            id: "6.12.57".into(),
            release: "6.12.57".into(),
            backend: backend.into(),
            accelerator: "tcg".into(),
            clock: "real".into(),
        };
        assert_eq!(observer_failed(&plan, &kernel("vm"), &records), Some("no BTF"));
        assert_eq!(observer_failed(&plan, &kernel("host"), &records), None);
        plan.options.unobserved = true;
        assert_eq!(observer_failed(&plan, &kernel("vm"), &records), None);
    }

    #[test]
    fn a_guest_of_another_release_is_not_the_kernel_under_test() {
        assert_eq!(another_release("6.12.57+deb12-amd64", "6.12.57+deb12-amd64"), None);
        let why = another_release("6.12.57+deb12-amd64", "6.1.0-\u{1b}[2J").expect("it is another");
        assert!(why.contains("6.12.57+deb12-amd64") && !why.contains('\u{1b}'), "{why}");
    }
}
