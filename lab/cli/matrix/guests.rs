//! Cells that run in one guest, one after another; and in a guest of its own what has to, or was not as expected there.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::cli::drivers;
use crate::cli::matrix::machines::Ready;
use crate::cli::matrix::{Accepted, Shared, run_cell};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::net::clean;
use bondlab_core::plan::sharing;
use bondlab_core::report::document::Document;
use bondlab_core::report::matrix::{Cell, SnapshotStatus};
use bondlab_core::report::{behaviour, snapshot};
use bondlab_host::run::matrix::{Group, Report};
use bondlab_host::run::runner;
use bondlab_host::run::runner::{Member, carry_out_shared};

/// Which cells run in one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Guests {
    /// Cells without machine-wide changes, one after another; a cell with an unexpected result runs again in its own guest
    Shared,
    /// No sharing: each cell has its own guest
    Own,
    /// As shared, and then each cell in its own guest: a cell whose results differ fails
    Both,
}

/// What was run of a cell.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The result.
    pub document: Document,
    /// In what it was otherwise in a shared guest.
    pub difference: Option<String>,
}

/// A kernel by its place, and what tells one of its saved machines from another.
type SavedMachine = (usize, Vec<String>);

/// A cell by its place, and how many trials it has.
type SizedCell = (usize, usize);

/// A cell with its machine: source and kernel by their places.
pub type Planned = (usize, usize, Ready);

/// The cells of each guest, by their places among `cells`: those with a guest of their own first, as they take longest.
pub(super) fn groups(shared: &Shared, guests: Guests, cells: &[Planned], jobs: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut members: BTreeMap<SavedMachine, Vec<SizedCell>> = BTreeMap::new();
    for (index, (source, kernel, ready)) in cells.iter().enumerate() {
        let plan = shared.plan(*source, *kernel);
        let machine = shared.bench.machine(shared.kernel(*source, *kernel));
        let shares = guests != Guests::Own
            && ready.is_ok()
            && shared.why_not(*source, *kernel).is_none()
            && shared.with_drivers(*source, *kernel).is_none()
            && plan.needs_own_guest().is_none()
            && runner::may_share(&machine);
        if shares {
            let machine = (*kernel, runner::machine_of(&plan));
            members.entry(machine).or_default().push((index, plan.trials.len()));
        } else {
            // For the carrier of emulated NICs, of which some look for it once in two seconds.
            groups.push(Group { members: vec![index], waits: !plan.slots.is_empty() });
        }
    }
    let machines = members.len();
    for members in members.into_values() {
        let guests = sharing::guests(members, jobs.div_ceil(machines));
        groups.extend(guests.into_iter().map(|members| Group { members, waits: false }));
    }
    groups
}

/// Runs the cells of one guest.
pub(super) fn run_group(
    shared: &Shared,
    accepted: &Accepted,
    guests: Guests,
    (group, report): (&[&Planned], &Report<'_, Ran>),
) {
    if let [cell] = group {
        report.started(0);
        return report.finished(0, Ran { document: run_cell(shared, cell), difference: None });
    }
    let plans: Vec<_> = group.iter().map(|(source, kernel, _)| shared.plan(*source, *kernel)).collect();
    let topologies = group.iter().map(|(source, kernel, _)| shared.topology(*source, *kernel));
    let members: Vec<Member<'_>> =
        topologies.zip(&plans).map(|(topology, plan)| Member { topology, plan }).collect();
    let (source, kernel, _) = group[0];
    let machine = shared.bench.machine(shared.kernel(*source, *kernel));
    let mut again: Vec<(usize, Result<Document, String>)> = Vec::new();
    report.started(0);
    let rest = carry_out_shared(&members, &machine, |place, run| {
        let (source, kernel, _) = group[place];
        let mut document = run.document;
        let (pins, topology) = (&shared.pins[*kernel], shared.topology(*source, *kernel));
        drivers::explain(&mut document, topology, pins, &shared.all_pins);
        if guests == Guests::Shared && accepted.is_as_expected(shared, (*source, *kernel), &document) {
            report.finished(place, Ran { document, difference: None });
        } else {
            again.push((place, Ok(document)));
        }
        if place + 1 < group.len() {
            report.started(place + 1);
        }
    });
    let rest = rest
        .into_iter()
        .flat_map(|rest| (rest.from..group.len()).map(move |place| (place, rest.why.clone())));
    let first_of_rest = group.len() - rest.clone().count();
    again.extend(rest.map(|(place, why)| {
        let why =
            if place == first_of_rest { why } else { format!("an earlier cell ended the guest: {why}") };
        (place, Err(why))
    }));
    for (place, in_shared) in again {
        let document = run_cell(shared, group[place]);
        // What ended with the guest of another cell says nothing of this one.
        let difference = match in_shared {
            Ok(in_shared) => difference(&in_shared, &document),
            Err(why) if place == first_of_rest => ended_otherwise(&document, &why),
            Err(_) => None,
        };
        report.finished(place, Ran { document, difference });
    }
}

/// In what a cell was otherwise in a shared guest.
fn difference(in_shared: &Document, own: &Document) -> Option<String> {
    let [shared, own] = [in_shared, own].map(snapshot::behaviour);
    if snapshot::same(&shared, &own) {
        return None;
    }
    let differences = behaviour::differences(&[&shared, &own]);
    let lines =
        differences.iter().map(|it| format!("{}: {}", it.item, it.values.join(", in its own guest ")));
    Some(lines.collect::<Vec<_>>().join("; "))
}

/// A guest that ended during a cell which, in a guest of its own, comes to an end.
fn ended_otherwise(own: &Document, why: &str) -> Option<String> {
    let ends_too = matches!(own.outcome, Outcome::Panic | Outcome::Hang | Outcome::BootFail | Outcome::Error);
    (!ends_too).then(|| format!("the guest ended: {}", why.lines().next().unwrap_or_default()))
}

impl Accepted {
    /// Whether a result of a shared guest needs no other one: it is what was accepted, or passes where nothing is compared.
    fn is_as_expected(&self, shared: &Shared, (source, kernel): (usize, usize), document: &Document) -> bool {
        let was_run = shared.why_not(source, kernel).is_none();
        let cell = self.judge(document.clone(), &shared.sources[source].file, was_run);
        match cell.snapshot.status {
            SnapshotStatus::Same => !cell.document.outcome.is_failure(),
            SnapshotStatus::None | SnapshotStatus::Substituted => cell.document.outcome == Outcome::Pass,
            SnapshotStatus::Differs | SnapshotStatus::New => false,
        }
    }
}

/// Puts what was otherwise in a shared guest into the cell: where both are compared it fails.
pub(super) fn tell(cell: &mut Cell, difference: Option<String>, guests: Guests) {
    let Some(difference) = difference else { return };
    let difference = clean::line(&difference).into_owned();
    if guests == Guests::Both {
        cell.document.outcome = Outcome::Error;
        cell.document.reason = Some(format!(
            "in a guest that it shared with other topologies it was not the same: {difference}\nnext: report it with the \
             topology; `--guests own` does not share guests"
        ));
    }
    cell.shared_guest = Some(difference);
}
