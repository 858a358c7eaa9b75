//! Mutant trials of `--prove`: the topology with one element dropped, negated or emptied, lowered as any other.
//!
//! The model is changed, not the plan's operations: a link is six operations after lowering (it is made, configured, joined,
//! addressed, set up and verified), and none of them alone can be left out.

pub(crate) mod elements;

use crate::plan::lower::{act, counted, plan_flow};
use crate::plan::mutants::elements::Change;
use crate::plan::op::Op;
use crate::plan::{Plan, Role, build};
use crate::topology::Topology;
use crate::topology::condition::Subject;
use crate::topology::fault::Fault;
use crate::topology::mutant::Mutant;
use crate::topology::scenario::Step;

/// For a state that a fault brings about: miimon and linkwatch.
pub(crate) const STATE_WITHIN_MS: u32 = 3_000;
/// For a capture that will not come to what it was to come to.
const CAPTURE_WITHIN_MS: u32 = 4_000;

/// Adds the mutant trials of a topology to its plan. A mutant that has nothing to change is the topology without its faults.
pub fn add(topology: &Topology, mutants: &[Mutant], plan: &mut Plan) {
    for mutant in mutants {
        let ops = ops(topology, mutant, plan);
        plan.trials.push(crate::plan::Trial { role: Role::Mutant(mutant.to_string()), ops });
    }
}

/// The faults that mutants inject and their topology does not have.
pub fn faults(topology: &Topology, mutants: &[Mutant]) -> Vec<Fault> {
    let changes = mutants.iter().filter_map(|mutant| elements::change(topology, mutant.action, &mutant.of));
    let injected = changes.flat_map(|change| change.start).filter_map(|op| match op {
        Op::Inject { fault, .. } => Some(fault),
        _ => None,
    });
    injected.collect()
}

fn ops(topology: &Topology, mutant: &Mutant, plan: &mut Plan) -> Vec<Op> {
    let change = elements::change(topology, mutant.action, &mutant.of);
    let Change { topology: changed, built, first, start, end } =
        change.unwrap_or_else(|| Change::without_faults(topology));
    let mut ops = build(&changed);
    ops.extend(built);
    let all = &changed.scenario.steps;
    let (before, after) = all.split_at(first.min(all.len()));
    let steps = |steps: &[Step]| steps.iter().flat_map(|step| act(&changed, step)).collect::<Vec<Op>>();
    let mut acts = [steps(before), start, steps(after), end].concat();
    for act in &mut acts {
        match act {
            // How these end is not asked; of several that depend on each other the first shows that none will hold.
            Op::Wait { until, within_ms, unless_timed_out } => {
                *unless_timed_out = true;
                if matches!(until.subject, Subject::Captured { .. }) {
                    *within_ms = (*within_ms).min(CAPTURE_WITHIN_MS);
                }
            }
            Op::Flood { flow, .. } => *flow = numbered(*flow, &changed, plan),
            _ => {}
        }
    }
    let until = mutant.until.clone();
    acts.extend(until.map(|until| Op::Wait { until, within_ms: STATE_WITHIN_MS, unless_timed_out: false }));
    counted(topology, ops, acts)
}

/// The first step that does more than to bring about what the topology is made of.
pub(crate) fn first_event(steps: &[Step]) -> usize {
    let makes = |step: &&Step| match step {
        Step::Attach(_) | Step::Check(_) => true,
        Step::Wait { until, .. } => !matches!(until.subject, Subject::Captured { .. }),
        _ => false,
    };
    steps.iter().take_while(makes).count()
}

/// The number of a flow in the plan. One that the mutant has changed is added.
fn numbered(flow: u16, changed: &Topology, plan: &mut Plan) -> u16 {
    let Some((_, meant)) = changed.scenario.flows.get_index(usize::from(flow)) else { return flow };
    if plan.flows.get(usize::from(flow)).is_some_and(|known| known.flow == *meant) {
        return flow;
    }
    let of_plan = plan_flow(changed, meant);
    let known = plan.flows.iter().position(|known| *known == of_plan).unwrap_or_else(|| {
        plan.flows.push(of_plan);
        plan.flows.len() - 1
    });
    u16::try_from(known).expect("checked: flows are numbered in 16 bits")
}
