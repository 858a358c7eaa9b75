//! Cells of the gallery that share a guest, as those of `lab matrix` do: one test for each, whose guest runs when the first of
//! its tests does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bondlab_core::plan::lower::lower;
use bondlab_core::plan::{self, Plan, sharing};
use bondlab_core::report::document::Document;
use bondlab_core::topology::Topology;
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::runner::{Machine, Member, carry_out_shared, machine_of, may_share};
use bondlab_host::vm::Timeouts;
use bondlab_host::vm::qemu::Accelerator;

use crate::machine::{Bench, LAB};

/// A cell that may share a guest.
#[derive(Debug)]
pub struct Sharing {
    topology: Topology,
    plan: Plan,
}

impl Sharing {
    /// None where the topology needs a guest of its own.
    pub fn of(topology: Topology) -> Option<Self> {
        let plan = lower(&topology);
        let needs_more = plan::needs_drivers(&topology) || plan::needs_netdevsim(&topology);
        (!needs_more && plan.needs_own_guest().is_none()).then_some(Self { topology, plan })
    }
}

/// A guest, and what its cells come to once it has run.
#[derive(Debug)]
struct Guest {
    members: Vec<Sharing>,
    results: OnceLock<Vec<Option<Document>>>,
}

/// One cell's place in a guest.
#[derive(Debug, Clone)]
pub struct Place {
    guest: Arc<Guest>,
    place: usize,
}

/// A kernel, and what tells one of its saved machines from another.
type SavedMachine = (String, Vec<String>);

/// Puts cells into guests. `cells` are by kernel; the places are in the same order. Tests that run at the same time, which are
/// next to one another, are in guests of their own, so that `threads` guests run and no test waits for another.
pub fn places(cells: Vec<(String, Sharing)>, threads: usize) -> Vec<Place> {
    let count = cells.len();
    let mut machines: BTreeMap<SavedMachine, Vec<(usize, Sharing)>> = BTreeMap::new();
    for (index, (kernel, cell)) in cells.into_iter().enumerate() {
        machines.entry((kernel, machine_of(&cell.plan))).or_default().push((index, cell));
    }
    let mut places: Vec<Option<Place>> = vec![None; count];
    for members in machines.into_values() {
        let guests = members.len().div_ceil(sharing::PLANS_MAX).max(threads.min(members.len()));
        let mut by_guest: Vec<Vec<((usize, Sharing), usize)>> = (0..guests).map(|_| Vec::new()).collect();
        for (number, member) in members.into_iter().enumerate() {
            let trials = member.1.plan.trials.len();
            by_guest[number % guests].push((member, trials));
        }
        // A guest keeps so many trials: more than that are two guests.
        for members in by_guest.into_iter().flat_map(|members| sharing::guests(members, 1)) {
            let (indexes, members): (Vec<usize>, Vec<Sharing>) = members.into_iter().unzip();
            let guest = Arc::new(Guest { members, results: OnceLock::new() });
            for (place, index) in indexes.into_iter().enumerate() {
                places[index] = Some(Place { guest: Arc::clone(&guest), place });
            }
        }
    }
    places.into_iter().map(|place| place.expect("each cell has a guest")).collect()
}

impl Place {
    /// What the cell comes to in its guest; none where that did not come to its end, or has no other cell.
    pub fn document(&self, bench: &Bench, kernel: &Kernel) -> Option<&Document> {
        let results = self.guest.results.get_or_init(|| self.guest.run(bench, kernel));
        results[self.place].as_ref()
    }
}

/// A machine that is restored, by the lab of this build.
pub fn machine<'a>(bench: &'a Bench, kernel: &'a Kernel) -> Machine<'a> {
    Machine {
        watch: None,
        kernel,
        qemu: &bench.qemu,
        accelerator: Accelerator::Tcg,
        init: LAB.as_ref(),
        plugins: None,
        cache: &bench.cache,
        cold: false,
        words: &[],
        timeouts: Timeouts::default(),
    }
}

impl Guest {
    fn run(&self, bench: &Bench, kernel: &Kernel) -> Vec<Option<Document>> {
        let mut results: Vec<Option<Document>> = vec![None; self.members.len()];
        let machine = machine(bench, kernel);
        if results.len() < 2 || !may_share(&machine) {
            return results;
        }
        let members: Vec<Member<'_>> =
            self.members.iter().map(|Sharing { topology, plan }| Member { topology, plan }).collect();
        let rest = carry_out_shared(&members, &machine, |place, run| results[place] = Some(run.document));
        if let Some(rest) = rest {
            let name = &self.members[rest.from].topology.name;
            eprintln!("a shared guest ended at {name}@{}: {}", kernel.id, rest.why);
        }
        results
    }
}

static OTHERWISE: AtomicUsize = AtomicUsize::new(0);

/// Takes note of a cell that was not the same in a shared guest: the topology depends on chance, or the guest was not clean.
pub fn note_otherwise(cell: &str, differences: &str) {
    OTHERWISE.fetch_add(1, Ordering::Relaxed);
    eprintln!("{cell}: in a guest that it shared it was not the same:\n{differences}");
}

/// How many cells were not the same in a shared guest.
pub fn summary() -> Option<String> {
    let number = OTHERWISE.load(Ordering::Relaxed);
    (number > 0).then(|| {
        format!(
            "{number} cells were not the same in a guest that they shared, and ran again in their own: LAB_FULL=1 fails them"
        )
    })
}
