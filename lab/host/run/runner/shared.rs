//! Several plans in one guest, one after another: a start is paid for once, and code that was translated for one plan is
//! there for the next.
//!
//! A result counts only where its guest said all of it and nothing else: its records end with their number and checksum, no
//! byte comes between the last record and the next plan, and the console has nothing that would spoil a run. Where that is
//! not so, neither this plan nor any after it has a result of this guest: the caller carries them out in guests of their own.

use std::time::Instant;

use crate::run::runner::collected::Collected;
use crate::run::runner::spec::vm_spec;
use crate::run::runner::{Machine, Run, another_release, conclude, converse, kernel_document, start, timing};
use crate::run::warm_check;
use crate::vm::death::Exit;
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::plan::Plan;
use bondlab_core::plan::bounds::Bounds;
use bondlab_core::plan::record::Request;
use bondlab_core::topology::Topology;

/// One of the plans of a shared guest.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What is run.
    pub topology: &'a Topology,
    /// How.
    pub plan: &'a Plan,
}

/// The plans that have no result of a shared guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The first of them.
    pub from: usize,
    /// What happened to the guest.
    pub why: String,
}

/// Whether the plans of such a machine may share guests: not where each run is asked to boot anew, nor where restored
/// machines are not known to be alike.
#[must_use]
pub fn may_share(machine: &Machine<'_>) -> bool {
    !machine.cold && machine.qemu.has_mapped_ram() && warm_check::trusts_restored(machine)
}

/// Carries out plans in one guest: all with the machine of the first, none of which needs a guest of its own
/// ([`Plan::needs_own_guest`]). `done` gets each result as it is there, by the plan's place. Returns which plans have none.
pub fn carry_out_shared(
    members: &[Member<'_>],
    machine: &Machine<'_>,
    mut done: impl FnMut(usize, Run),
) -> Option<Rest> {
    let first = members.first()?;
    let rest = |from: usize, why: String| Some(Rest { from, why });
    let mut begun = Instant::now();
    let spec = match vm_spec(first.plan, machine) {
        Ok(spec) => spec,
        Err(error) => return rest(0, error.to_string()),
    };
    let (mut vm, (release, mut notes)) = match start(machine, machine.timeouts.allowing(first.plan), &spec) {
        Ok(started) => started,
        Err(error) => return rest(0, error.to_string()),
    };
    if let Some(why) = another_release(&machine.kernel.release, &release) {
        return rest(0, why);
    }
    for (place, &Member { topology, plan }) in members.iter().enumerate() {
        let started = Instant::now();
        vm.begin(machine.timeouts.allowing(plan));
        let mut collected = Collected::watched(Bounds::of(plan), machine.watch);
        let is_last = place + 1 == members.len();
        let request = if is_last { Request::Run(plan.clone()) } else { Request::RunAndWait(plan.clone()) };
        if let Err(death) = converse(&mut vm, plan, &request, &mut collected) {
            return rest(place, death.to_string());
        }
        let kernel = kernel_document(plan, machine);
        let mut conclude = |collected: Collected<'_>| {
            let timing = timing(begun, started, &collected);
            let mut run = conclude(topology, plan, kernel.clone(), collected, timing);
            run.notes.append(&mut notes);
            run
        };
        if is_last {
            if let Exit::Died(death) = vm.finish() {
                return rest(place, death.to_string());
            }
            return hand_over(place, conclude(collected), &mut done);
        }
        if let Err(death) = vm.between_plans() {
            return rest(place, death.to_string());
        }
        if let Some(rest) = hand_over(place, conclude(collected), &mut done) {
            return Some(rest);
        }
        begun = Instant::now();
    }
    None
}

/// Gives a result away, unless the lab cannot tell: then the guest is not to be used any more.
fn hand_over(place: usize, run: Run, done: &mut impl FnMut(usize, Run)) -> Option<Rest> {
    if run.document.outcome == Outcome::Error {
        let why = run.document.reason.unwrap_or_default();
        return Some(Rest { from: place, why });
    }
    done(place, run);
    None
}
