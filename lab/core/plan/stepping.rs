//! A topology that is up for a command, and its steps, which the command has carried out one by one (`lab step`): what the
//! host sends, and what `lab step` and the agent say to each other over a socket of the guest.

use serde::{Deserialize, Serialize};

use crate::plan::build::build;
use crate::plan::lower::{act, lower};
use crate::plan::mitigation::CARRIER_MS;
use crate::plan::moment::When;
use crate::plan::need::needs;
use crate::plan::op::Op;
use crate::plan::record::Record;
use crate::plan::{FlowPlan, Need, Plan};
use crate::topology::scenario::{Hypothesis, Step, WITHIN_MS_DEFAULT};
use crate::topology::source::Source;
use crate::topology::{Topology, TopologyErrors};

/// The socket of the agent, in the guest.
pub const STEP_SOCKET: &str = "/run/lab/step";
/// Where the guest has the lab's own program, which is the first folder of the command's `PATH`.
pub const PROGRAM_DIR: &str = "/run/lab/bin";
/// The longest request, in bytes.
pub const REQUEST_BYTES_MAX: u64 = 4096;

/// A topology with the steps that can be carried out on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stepping {
    /// One trial: what makes the topology, the steps, and what ends it.
    pub plan: Plan,
    /// How many of its operations make the topology. They are carried out before the command runs.
    pub made: u32,
    /// What these need of the kernel; the rest of the plan's needs are looked for at the first step.
    pub needs: Vec<Need>,
    /// The operations of each step, in order: from the first to the one after the last.
    pub steps: Vec<(u32, u32)>,
    /// What the topology is read from again, to judge it.
    pub origin: Origin,
    /// The kernel's id in `kernels.toml`; set when the machine has started.
    pub kernel: String,
    /// `kvm` or `tcg`; set when the machine has started.
    pub accelerator: String,
}

/// A topology as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// Path and text of its files, those that are included before those that include them.
    pub files: Vec<(String, String)>,
    /// The explanation of a report whose faults are the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
}

/// Why there are no steps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// The text is none of a topology.
    #[error("{0}")]
    Topology(TopologyErrors),
    /// The report has no such explanation.
    #[error("the topology has no hypothesis `{name}`{}", known_names(.known))]
    Hypothesis {
        /// What was asked for.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
}

fn known_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) }
}

impl Origin {
    /// Of a text with what it includes.
    pub fn new(name: &str, source: &Source, hypothesis: Option<&str>) -> Self {
        let file = |file: &crate::topology::source::SourceFile| {
            (file.path.clone(), source.text()[file.range.clone()].to_owned())
        };
        Self {
            name: name.into(),
            files: source.files().iter().map(file).collect(),
            hypothesis: hypothesis.map(str::to_owned),
        }
    }

    /// The topology, of several variants the first, with what is carried out as its steps: the file's own; of a report without
    /// steps its flows, after the faults of the hypothesis.
    ///
    /// # Errors
    /// The text is none of a topology, or the report has no such hypothesis.
    pub fn topology(&self) -> Result<Topology, OriginError> {
        let mut source = Source::default();
        for (path, text) in &self.files {
            source.push(path, text);
        }
        let all = Topology::variants_of(&self.name, &source, &[]).map_err(OriginError::Topology)?;
        let topology = all.into_iter().next().expect("a file has one variant at least");
        stepped(&topology, self.hypothesis.as_deref())
    }
}

/// The topology with the steps that are carried out, and without a report: see [`Origin::topology`].
///
/// # Errors
/// The report has no such hypothesis.
pub fn stepped(topology: &Topology, hypothesis: Option<&str>) -> Result<Topology, OriginError> {
    let scenario = &topology.scenario;
    let floods = || scenario.report.iter().flat_map(|report| &report.floods).cloned().map(Step::Flood);
    let (mut stepped, steps) = match hypothesis {
        Some(name) => {
            let found = scenario.hypotheses.iter().find(|hypothesis| hypothesis.name == name);
            let hypothesis = found.ok_or_else(|| OriginError::Hypothesis {
                name: name.into(),
                known: scenario.hypotheses.iter().map(|hypothesis| hypothesis.name.clone()).collect(),
            })?;
            (topology.under(name).clone(), broken(hypothesis).chain(floods()).collect())
        }
        None if scenario.steps.is_empty() => (topology.clone(), floods().collect()),
        None => (topology.clone(), scenario.steps.clone()),
    };
    if hypothesis.is_some() || stepped.scenario.steps.is_empty() {
        // What is expected is expected of the file's own steps.
        stepped.scenario.expect.clear();
    }
    stepped.scenario.steps = steps;
    stepped.scenario.report = None;
    stepped.scenario.hypotheses.clear();
    stepped.scenario.mitigations.clear();
    stepped.alternatives.clear();
    Ok(stepped)
}

/// What breaks the topology as a hypothesis says, as steps.
fn broken(hypothesis: &Hypothesis) -> impl Iterator<Item = Step> {
    let wait = hypothesis.wait.iter().flat_map(|until| {
        [Step::Wait { until: until.clone(), within_ms: WITHIN_MS_DEFAULT }, Step::Pause(CARRIER_MS)]
    });
    hypothesis.inject.iter().cloned().map(Step::Inject).chain(wait).collect::<Vec<_>>().into_iter()
}

impl Stepping {
    /// Of a topology that [`Origin::topology`] has made.
    pub fn new(topology: &Topology, origin: Origin) -> Self {
        let plan = lower(topology);
        let made = build(topology);
        let ops = &plan.trials[0].ops;
        debug_assert!(ops.starts_with(&made), "a trial begins with what makes its topology");
        let before = ops.iter().take_while(|op| !matches!(op, Op::Count(When::Before))).count();
        let captures = topology.scenario.captures.len();
        let number =
            |count: usize| u32::try_from(count).expect("a plan has under four thousand million operations");
        let mut at = number(before + 1 + captures);
        let steps = topology.scenario.steps.iter().map(|step| {
            let first = at;
            at += number(act(topology, step).len());
            (first, at)
        });
        let steps = steps.collect();
        let mut alone = topology.clone();
        alone.scenario.faults.clear();
        Self {
            made: number(made.len()),
            needs: needs(&alone, &[]),
            steps,
            plan,
            origin,
            kernel: String::new(),
            accelerator: String::new(),
        }
    }

    /// The operations of the one trial.
    pub fn ops(&self) -> &[Op] {
        self.plan.trials.first().map_or(&[], |trial| &trial.ops)
    }

    /// A step in words, a line for each of its operations.
    pub fn step_text(&self, step: usize) -> Option<String> {
        let (first, end) = *self.steps.get(step)?;
        let ops = self.ops().get(usize::try_from(first).ok()?..usize::try_from(end).ok()?)?;
        Some(ops.iter().map(|op| self.op_text(op)).collect::<Vec<_>>().join("; "))
    }

    /// An operation in one line; flows have their names.
    fn op_text(&self, op: &Op) -> String {
        let Op::Flood { flow, broken } = op else {
            return op.to_string().lines().next().unwrap_or_default().to_owned();
        };
        let Some(FlowPlan { flow, .. }) = self.plan.flows.get(usize::from(*flow)) else {
            return op.to_string();
        };
        let broken = broken.iter().map(|it| format!(", inject {} at frame {}", it.name, it.at_frame));
        let broken: String = broken.collect();
        format!("flood {}: {} frames, {} -> {}{broken}", flow.name, flow.frames, flow.from, flow.to)
    }

    /// The plan of what has been carried out up to now, as if the trial ended there: `done` operations, and the last count.
    #[must_use]
    pub fn so_far(&self, done: u32) -> Plan {
        let mut plan = self.plan.clone();
        for trial in &mut plan.trials {
            trial.ops.truncate(usize::try_from(done).unwrap_or(usize::MAX));
            trial.ops.push(Op::Count(When::After));
        }
        plan
    }
}

/// What `lab step` asks of the agent: one line of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepRequest {
    /// Which steps there are.
    List,
    /// Carry out the next ones.
    Next {
        /// So many at the most.
        count: u32,
    },
}

/// What the agent answers: lines of JSON, the last of them an account or a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepReply {
    /// The first line.
    Begin {
        /// The topology and its steps.
        stepping: Box<Stepping>,
        /// How many steps have been carried out.
        done: u32,
        /// Whether the trial has ended, and nothing more can be carried out.
        has_ended: bool,
        /// `uname -r`.
        release: String,
    },
    /// A step is carried out now.
    Step {
        /// Its place in [`Stepping::steps`].
        step: u32,
    },
    /// What an operation of a step reports.
    Record(Record),
    /// What has become of every frame up to now.
    Account {
        /// How many operations have been carried out.
        done: u32,
        /// All records, the last of which counts the others.
        records: Vec<Record>,
        /// Whether the trial has ended: the records are those of a whole run.
        is_final: bool,
    },
    /// Nothing was carried out.
    Refused {
        /// Why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

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
"#;
    const STEPS: &str = "[[step]]\ninject = \"cut\"\n[[step]]\nflood = \"f\"\n[[expect]]\nflow = \"f\"\nfield = \"sent\"\nequals = 3\n";
    const REPORT: &str = r#"
[report]
floods = ["f"]
[[report.evidence]]
flow = "f"
field = "delivered"
equals = 0
[hypothesis.cut]
about = "It is cut."
inject = ["cut"]
"#;

    const FLOOD: &str = "flood f: 3 frames, a:p -> b:p";

    fn stepping(more: &str, hypothesis: Option<&str>) -> Result<Stepping, OriginError> {
        let origin = Origin::new("t", &Source::of("t.toml", &format!("{TEXT}{more}")), hypothesis);
        Ok(Stepping::new(&origin.topology()?, origin))
    }

    fn texts(stepping: &Stepping) -> Vec<String> {
        (0..stepping.steps.len()).filter_map(|step| stepping.step_text(step)).collect()
    }

    #[test]
    fn the_steps_of_a_file_are_its_own() {
        let stepping = stepping(STEPS, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(texts(&stepping), ["inject cut: down b:p", FLOOD], "{}", stepping.plan);
        assert_eq!(stepping.plan.trials.len(), 1);
        assert_eq!(stepping.plan.trials[0].role, Role::Main);
    }

    #[test]
    fn a_report_is_flooded_as_it_is_or_under_a_hypothesis() {
        let floods = stepping(REPORT, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(texts(&floods), [FLOOD]);
        let broken = stepping(REPORT, Some("cut")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(texts(&broken), ["inject cut: down b:p", FLOOD]);
        let error = stepping(REPORT, Some("other")).expect_err("there is no such hypothesis");
        assert_eq!(error.to_string(), "the topology has no hypothesis `other`; it has cut");
    }

    #[test]
    fn making_the_topology_needs_no_more_than_is_made() {
        let fault = "[fault.qdisc.full]\ndevice = \"a:p\"\nqdisc = { kind = \"pfifo\", limit = 0 }\n[[step]]\ninject = \"full\"\n";
        let fault = format!("{fault}{STEPS}");
        let stepping = stepping(&fault, None).unwrap_or_else(|error| panic!("{error}"));
        assert!(stepping.needs.len() < stepping.plan.needs.len(), "{:?}", stepping.plan.needs);
        assert!(stepping.needs.iter().all(|need| stepping.plan.needs.contains(need)));
    }

    #[test]
    fn the_plan_so_far_ends_with_a_count() {
        let stepping = stepping(STEPS, None).unwrap_or_else(|error| panic!("{error}"));
        let (_, end) = stepping.steps[0];
        let plan = stepping.so_far(end);
        assert_eq!(plan.trials[0].ops.len(), end as usize + 1);
        assert_eq!(plan.trials[0].ops.last(), Some(&Op::Count(When::After)));
        assert_eq!(plan.trials[0].ops[..end as usize], stepping.ops()[..end as usize]);
    }
}
