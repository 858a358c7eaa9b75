//! What a trial reads at its end of what the kernel shows: all that some condition of the topology asks for.

use crate::plan::op::Op;
use crate::topology::Topology;
use crate::topology::condition::{Condition, Subject};
use crate::topology::observation::Shown;
use crate::topology::scenario::Step;

/// One operation for all of it; none where nothing is asked for.
pub fn asked(topology: &Topology) -> Option<Op> {
    let all = all(topology);
    (!all.is_empty()).then_some(Op::Show(all))
}

/// Whether some condition is about the kernel's log.
pub fn asks_for_log(topology: &Topology) -> bool {
    all(topology).iter().any(|shown| matches!(shown, Shown::KernelLog { .. }))
}

fn all(topology: &Topology) -> Vec<Shown> {
    let scenario = &topology.scenario;
    let waits = scenario.steps.iter().filter_map(|step| match step {
        Step::Wait { until, .. } => Some(until),
        _ => None,
    });
    let evidence = scenario.report.iter().flat_map(|report| &report.evidence).map(|item| &item.condition);
    let causes = scenario.hypotheses.iter().filter_map(|hypothesis| hypothesis.wait.as_ref());
    let mut all: Vec<Shown> = Vec::new();
    for condition in scenario.expect.iter().chain(waits).chain(evidence).chain(causes) {
        let Condition { subject: Subject::Shown { shown, .. }, .. } = condition else { continue };
        if !all.contains(shown) {
            all.push(shown.clone());
        }
    }
    all
}
