//! Explanations held against a report's evidence, and what was tried against each.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::judge::account::{Account, FlowAccount, TrialAccount};
use crate::judge::effects::{Attempt, compare};
use crate::judge::outcome::Outcome;
use crate::judge::verdict::{Applies, Check, applies, value_of};
use crate::net::version::Running;
use crate::plan::Role;
use crate::topology::Topology;
use crate::topology::mitigation::Mitigation;
use crate::topology::scenario::{Hypothesis, Observation};

/// One explanation held against a report's evidence; in the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its name.
    pub name: String,
    /// In plain words.
    pub about: String,
    /// Whether all the evidence that is for this kernel shows; where none is, nothing fits.
    pub fits: bool,
    /// Each piece of evidence: whether it shows, and the number that says so.
    pub evidence: Vec<Evidence>,
}

impl Explanation {
    fn new(name: &str, about: &str, evidence: Vec<Evidence>) -> Self {
        let mut judged = evidence.iter().filter(|item| item.applies).peekable();
        let fits = judged.peek().is_some() && judged.all(|item| item.fits);
        Self { name: name.to_owned(), about: about.to_owned(), fits, evidence }
    }
}

/// The trial of an explanation, or the control, in which nothing is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What it says of the evidence.
    pub explanation: Explanation,
    /// Whether it is the control, which is no explanation.
    pub is_control: bool,
    /// Whether its author says that it fits, or that it does not.
    pub expected: Option<bool>,
    /// Number of its trial.
    pub trial: usize,
}

/// One piece of evidence under one explanation; in the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The statement's name.
    pub item: String,
    /// Whether it holds.
    pub fits: bool,
    /// The number; `None` when the run has no such number.
    pub observed: Option<u64>,
    /// Whether it is for this kernel; what is not counts neither for nor against an explanation.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub applies: bool,
}

fn yes() -> bool {
    true
}

/// One fix under each cause that it was tried under; in the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedFix {
    /// Its name.
    pub name: String,
    /// In plain words.
    pub about: String,
    /// What it came to, by cause in the order of the file.
    pub under: IndexMap<String, Attempt>,
}

/// What the control is called.
pub const CONTROL: &str = "control";

/// Holds each explanation of a run against the evidence.
pub fn hypotheses(topology: &Topology, account: &Account, kernel: Option<Running>) -> Vec<Tried> {
    let Some(report) = &topology.scenario.report else { return Vec::new() };
    let mut tried = Vec::new();
    for (number, trial) in account.trials.iter().enumerate() {
        let hypothesis = match &trial.role {
            Role::Main | Role::Mutant(_) | Role::Mitigation { .. } => continue,
            Role::Control => None,
            Role::Hypothesis(name) => topology.scenario.hypotheses.iter().find(|h| h.name == *name),
        };
        let evidence = report.evidence.iter().map(|item| {
            let Observation { condition, under } = item;
            let observed = match (under, &hypothesis) {
                (None, _) => value_of(&condition.subject, trial),
                (Some(mitigation), Some(cause)) => mitigated(account, &cause.name, mitigation)
                    .and_then(|it| value_of(&condition.subject, it)),
                (Some(_), None) => None,
            };
            let fits = observed.is_some_and(|value| condition.bounds.hold(value));
            let applies = applies(condition, kernel) == Applies::Yes;
            Evidence { item: condition.name.clone(), fits, observed, applies }
        });
        let evidence = evidence.collect();
        tried.push(match hypothesis {
            Some(Hypothesis { name, about, fits, .. }) => Tried {
                explanation: Explanation::new(name, about, evidence),
                is_control: false,
                expected: *fits,
                trial: number,
            },
            None => Tried {
                explanation: Explanation::new(CONTROL, "nothing is broken", evidence),
                is_control: true,
                expected: None,
                trial: number,
            },
        });
    }
    tried
}

fn mitigated<'a>(account: &'a Account, cause: &str, mitigation: &str) -> Option<&'a TrialAccount> {
    account.trials.iter().find(|trial| {
        matches!(&trial.role, Role::Mitigation { cause: one, mitigation: other } if one == cause && other == mitigation)
    })
}

/// What each fix of a run came to.
pub fn fixes(topology: &Topology, account: &Account) -> Vec<TriedFix> {
    let scenario = &topology.scenario;
    let fix = |mitigation: &Mitigation| {
        let attempt = |cause: &Hypothesis| {
            let after = mitigated(account, &cause.name, &mitigation.name)?;
            let role = Role::Hypothesis(cause.name.clone());
            let before = account.trials.iter().find(|trial| trial.role == role)?;
            Some((cause.name.clone(), compare(before, after, hidden(topology, before, after))))
        };
        let under: IndexMap<_, _> = scenario.hypotheses.iter().filter_map(attempt).collect();
        let Mitigation { name, about, .. } = mitigation;
        (!under.is_empty()).then(|| TriedFix { name: name.clone(), about: about.clone(), under })
    };
    scenario.mitigations.iter().filter_map(fix).collect()
}

/// Symptoms that showed before and do not any more. What must be nothing is no symptom.
fn hidden(topology: &Topology, before: &TrialAccount, after: &TrialAccount) -> Vec<String> {
    let evidence = topology.scenario.report.iter().flat_map(|report| &report.evidence);
    let symptoms = evidence.filter(|item| item.under.is_none() && item.condition.bounds.at_least > 0);
    let hidden = symptoms.filter(|Observation { condition, .. }| {
        let holds = |trial| value_of(&condition.subject, trial).map(|value| condition.bounds.hold(value));
        holds(before) == Some(true) && holds(after) == Some(false)
    });
    hidden.map(|item| item.condition.name.clone()).collect()
}

/// Evidence that is for other kernels, and shows here under an explanation that is expected to fit: the boundary is elsewhere.
pub fn boundaries(tried: &Tried) -> Vec<Check> {
    let Explanation { name, evidence, .. } = &tried.explanation;
    if tried.expected != Some(true) {
        return Vec::new();
    }
    let shows = evidence.iter().filter(|item| !item.applies && item.fits);
    let check = |item: &Evidence| Check {
        name: format!("hypothesis {name}: {}", item.item),
        outcome: Outcome::Fail,
        expected: "not on this kernel".into(),
        observed: "it shows on this kernel too: the boundary is elsewhere".into(),
    };
    shows.map(check).collect()
}

/// The control must deliver everything; a hypothesis must fit, or not, where its author says so.
pub fn expectation(tried: &Tried, trial: &TrialAccount) -> Option<Check> {
    if trial.refused.is_some() {
        return None;
    }
    let Explanation { name, fits, evidence, .. } = &tried.explanation;
    if tried.is_control {
        let lost: u32 = trial.flows.iter().map(FlowAccount::lost).sum();
        return Some(Check {
            name: "control: with nothing broken, every frame arrives".into(),
            outcome: if lost == 0 { Outcome::Pass } else { Outcome::Fail },
            expected: "0 lost".into(),
            observed: format!("{lost} lost"),
        });
    }
    let expected = tried.expected?;
    if !evidence.iter().any(|item| item.applies) {
        return Some(Check {
            name: format!("hypothesis {name}"),
            outcome: Outcome::Skip,
            expected: "evidence for this kernel".into(),
            observed: "not applicable on this kernel: no piece of evidence is for it".into(),
        });
    }
    let word = |fits| if fits { "fits all the evidence" } else { "does not fit all the evidence" };
    let against: Vec<&str> =
        evidence.iter().filter(|item| item.applies && !item.fits).map(|item| item.item.as_str()).collect();
    let mut observed = word(*fits).to_owned();
    if !against.is_empty() {
        observed += &format!(" (not: {})", against.join(", "));
    }
    Some(Check {
        name: format!("hypothesis {name}"),
        outcome: if *fits == expected { Outcome::Pass } else { Outcome::Fail },
        expected: word(expected).into(),
        observed,
    })
}
