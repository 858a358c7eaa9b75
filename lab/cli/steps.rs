//! The steps of a run as they happen, a line each on standard error.

use bondlab_core::plan::Plan;
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::Record;
use bondlab_core::report::terminal::wrap;

use crate::cli::look;

/// Shows what the records say of a plan's steps.
#[derive(Debug, Clone, Copy)]
pub struct Steps<'p> {
    plan: &'p Plan,
}

impl<'p> Steps<'p> {
    /// Of this plan.
    pub fn new(plan: &'p Plan) -> Self {
        Self { plan }
    }

    /// Shows one record, if it is about a step.
    pub fn show(&self, record: &Record) {
        if let Some(line) = self.line(record) {
            eprint!("{}", broken(&line, look::width()));
        }
    }

    /// A record about a step in words.
    pub fn line(&self, record: &Record) -> Option<String> {
        match record {
            Record::TrialStarted { trial } => {
                Some(format!("trial {}", self.plan.trials.get(self.place(*trial))?.role))
            }
            Record::OpDone { trial, op } => {
                let op = self.op(*trial, *op)?;
                is_step(op).then(|| format!("  {}", first_line(op)))
            }
            Record::OpFailed { trial, op, error, .. } => {
                let step = first_line(self.op(*trial, *op)?);
                Some(if error.what == step { format!("  {error}") } else { format!("  {step}: {error}") })
            }
            Record::Sent { flow, accepted, refused, .. } => {
                let name = &self.plan.flows.get(usize::from(*flow))?.flow.name;
                let refused: Vec<String> =
                    refused.iter().map(|(errno, frames)| format!(", {} {errno}", frames.len())).collect();
                Some(format!("  {name}: {} accepted{}", accepted.len(), refused.concat()))
            }
            Record::Waited { trial, op, value, text, held } => {
                let value = value.map(|value| value.to_string()).or_else(|| text.clone());
                let value = value.unwrap_or_else(|| "nothing".to_owned());
                let end = if *held { "" } else { ", timed out" };
                Some(format!("  {}: {value}{end}", first_line(self.op(*trial, *op)?)))
            }
            _ => None,
        }
    }

    /// Rounds have the same trials again.
    fn place(&self, trial: u16) -> usize {
        usize::from(trial) % self.plan.trials.len().max(1)
    }

    fn op(&self, trial: u16, op: u32) -> Option<&'p Op> {
        self.plan.trials.get(self.place(trial))?.ops.get(usize::try_from(op).ok()?)
    }
}

/// What a scenario does; how the topology is made is in the plan (`lab topology show`).
fn is_step(op: &Op) -> bool {
    matches!(
        op,
        Op::Inject { .. }
            | Op::Clear { .. }
            | Op::Pause(_)
            | Op::Attach { .. }
            | Op::Detach { .. }
            | Op::CheckPod { .. }
            | Op::Request(_)
            | Op::Attempt { .. }
            | Op::Connect { .. }
    )
}

fn first_line(op: &Op) -> String {
    op.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A line of at most so many columns, and the rest below it and further in: in a narrow window a terminal would break words.
fn broken(line: &str, width: usize) -> String {
    const REST: usize = 4;
    let indent = line.len() - line.trim_start().len();
    let first = wrap(line, indent, width);
    let first = first.lines().next().unwrap_or_default();
    let rest: Vec<&str> = line.split_whitespace().skip(first.split_whitespace().count()).collect();
    format!("{first}\n{}", wrap(&rest.join(" "), REST, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bondlab_core::plan::lower::lower;
    use bondlab_core::plan::record::OpError;
    use bondlab_core::topology::Topology;

    const TEXT: &str = r#"
[ns.a.veth.p]
peer = "b:p"
addresses = ["192.0.2.1/24"]
[ns.b.veth.p]
peer = "a:p"
addresses = ["192.0.2.2/24"]
[fault.down.cut]
device = "b:p"
[flow.f]
from = "a:p"
to = "b:p"
frames = 3
[[step]]
inject = "cut"
[[step]]
flood = "f"
"#;

    #[test]
    fn the_steps_of_a_run_are_lines_and_its_building_is_not() {
        let topology = Topology::parse("t", "t.toml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = lower(&topology);
        let ops = (0..).take(plan.trials[0].ops.len());
        let begin = [Record::TrialStarted { trial: 0 }];
        let done = ops.map(|op| Record::OpDone { trial: 0, op });
        let lines: Vec<String> =
            begin.into_iter().chain(done).filter_map(|record| Steps::new(&plan).line(&record)).collect();
        assert_eq!(lines, ["trial main", "  inject cut: down b:p"], "{plan}");
    }

    #[test]
    fn a_step_that_the_kernel_refused_is_named_once() {
        let topology = Topology::parse("t", "t.toml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = lower(&topology);
        let op =
            (0..).zip(&plan.trials[0].ops).find_map(|(number, op)| is_step(op).then_some(number)).unwrap();
        let failed = |what: &str| {
            let error = OpError { what: what.into(), errno: Some("EBUSY".into()), text: None };
            Steps::new(&plan).line(&Record::OpFailed { trial: 0, op, error, is_unsupported: false })
        };
        assert_eq!(failed("inject cut: down b:p").as_deref(), Some("  inject cut: down b:p: EBUSY"));
        assert_eq!(failed("set b:p down").as_deref(), Some("  inject cut: down b:p: set b:p down: EBUSY"));
    }

    #[test]
    fn a_step_that_is_longer_than_a_narrow_window_goes_on_below() {
        let line = "  inject queue: qdisc of node:enp2s0 tbf rate 8 burst 200 limit 2000";
        assert_eq!(
            broken(line, 40),
            "  inject queue: qdisc of node:enp2s0 tbf\n    rate 8 burst 200 limit 2000\n"
        );
        assert_eq!(broken(line, 100), format!("{line}\n"));
        assert_eq!(broken("trial main", 40), "trial main\n");
    }
}
