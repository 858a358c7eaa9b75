//! From an account to a verdict: what was expected, what was observed, and which explanations fit a report.

pub(crate) mod applies;
mod attempts;
mod pods;

use serde::{Deserialize, Serialize};

pub use crate::judge::hypotheses::{Evidence, Explanation, TriedFix};
pub use crate::judge::verdict::applies::{Applies, applies};

use crate::judge::account::{Account, FlowAccount, Refusal, TrialAccount, WaitAccount};
use crate::judge::ledger::{Counter, Of};
use crate::judge::mutation::Proof;
use crate::judge::next_checks::NextCheck;
use crate::judge::outcome::Outcome;
use crate::judge::{hypotheses, mutation, next_checks};
use crate::net::ip_address;
use crate::net::ip_address::IpAddrOutput;
use crate::net::name::{DeviceRef, NsName};
use crate::net::route::Route;
use crate::net::version::Running;
use crate::plan::{Role, RunOptions};
use crate::topology::Topology;
use crate::topology::condition::{Bounds, Condition, FlowField, Subject};
use crate::topology::mutant::Element;
use crate::topology::observation::Shown;

/// One thing that had to hold; in the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// `pass`, `fail`, or `error` when the run has no such number.
    pub outcome: Outcome,
    /// In words.
    pub expected: String,
    /// In words.
    pub observed: String,
}

/// The verdict on one run that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of the checks.
    pub outcome: Outcome,
    /// In the order of the file, the lab's own last.
    pub checks: Vec<Check>,
    /// Each explanation held against the evidence; the control is none.
    pub explanations: Vec<Explanation>,
    /// What would tell the explanations that remain from each other, or the one that does from the next best.
    pub next_checks: Vec<NextCheck>,
    /// What was tried against the report, under each cause of the run.
    pub fixes: Vec<TriedFix>,
    /// States that the file asks for, as they were at the end of the main trial.
    pub states: Vec<(Subject, u64)>,
    /// Whether each expectation, wait and piece of evidence can fail; empty unless that was to be proven.
    pub proofs: Vec<Proof>,
}

/// Judges a closed account of a run on a kernel; of a kernel whose version is not known, what has a `when` is `error`.
pub fn judge(
    topology: &Topology,
    options: &RunOptions,
    account: &Account,
    kernel: Option<Running>,
) -> Verdict {
    let scenario = &topology.scenario;
    let mut checks = Vec::new();
    for trial in &account.trials {
        if matches!(trial.role, Role::Mutant(_)) {
            continue;
        }
        let is_main = trial.role == Role::Main;
        let expects = |condition: &&Condition| {
            is_main && (trial.refused.is_none() || matches!(condition.subject, Subject::Refused { .. }))
        };
        let expected: Vec<&Condition> = scenario.expect.iter().filter(expects).collect();
        checks.extend(of_steps(trial, kernel));
        // Where a refusal is expected, that condition says whether it was this one.
        let is_refusal = |condition: &&Condition| {
            matches!(condition.subject, Subject::Refused { .. }) && applies(condition, kernel) == Applies::Yes
        };
        if !expected.iter().any(is_refusal) {
            checks.extend(built(trial));
        }
        checks.extend(expected.into_iter().map(|condition| match applies(condition, kernel) {
            Applies::Yes => check(condition, trial),
            why => applies::not_applicable(condition, why, trial),
        }));
    }
    let tried = hypotheses::hypotheses(topology, account, kernel);
    for one in &tried {
        checks.extend(hypotheses::expectation(one, &account.trials[one.trial]));
        checks.extend(hypotheses::boundaries(one));
    }
    // A run in which nothing that the file asks for was judged shows nothing.
    let is_idle = !checks.is_empty() && checks.iter().all(|check| check.outcome == Outcome::Skip);
    checks.extend(account.trials.iter().filter(|trial| trial.refused.is_none()).map(accounted));
    let is_proven = options.mutation.is_some();
    let proofs = if is_proven { mutation::prove(topology, account, &tried, kernel) } else { Vec::new() };
    checks.extend(proofs.iter().filter(|proof| !proof.proven).map(vacuous));
    let outcome = if checks.iter().any(|check| check.outcome == Outcome::Error) {
        Outcome::Error
    } else if checks.iter().any(|check| check.outcome == Outcome::Fail) {
        Outcome::Fail
    } else if checks.iter().any(|check| check.outcome == Outcome::Unsupported) {
        Outcome::Unsupported
    } else if is_idle {
        Outcome::Skip
    } else {
        Outcome::Pass
    };
    Verdict {
        outcome,
        checks,
        next_checks: next_checks::between(topology, account, &tried),
        fixes: hypotheses::fixes(topology, account),
        explanations: tried.into_iter().filter(|one| !one.is_control).map(|one| one.explanation).collect(),
        states: states(topology, account),
        proofs,
    }
}

/// What had to hold of the steps of a trial themselves: waits, steps that are to be refused, steps about pods.
pub fn of_steps(trial: &TrialAccount, kernel: Option<Running>) -> Vec<Check> {
    let attempts = trial.attempts.iter().map(|attempt| attempts::check(attempt, kernel));
    trial.waits.iter().map(waited).chain(attempts).chain(trial.pods.iter().map(pods::check)).collect()
}

/// The states of the main trial that some condition asks for.
fn states(topology: &Topology, account: &Account) -> Vec<(Subject, u64)> {
    let main = account.trials.iter().find(|trial| trial.role == Role::Main && trial.refused.is_none());
    let asked = topology.scenario.expect.iter().map(|condition| &condition.subject);
    let is_state = |subject: &&Subject| matches!(subject, Subject::State { .. } | Subject::Mac { .. });
    asked.filter(is_state).filter_map(|subject| Some((subject.clone(), value_of(subject, main?)?))).collect()
}

/// The name of a trial in reports.
pub fn title(role: &Role) -> String {
    match role {
        Role::Main => "main".into(),
        Role::Control => "control".into(),
        Role::Hypothesis(name) => name.clone(),
        Role::Mitigation { cause, mitigation } => format!("{cause} under {mitigation}"),
        Role::Mutant(label) => label.clone(),
    }
}

/// What of a counter is of frames that the kernel sent of its own, as far as that is known.
fn moved_by_kernel(trial: &TrialAccount, device: &DeviceRef, of: Of, counter: &str) -> u64 {
    let is_it =
        |(it, _): &(&Counter, &Option<u64>)| it.device == *device && it.of == of && it.name == counter;
    trial.moved.iter().find(is_it).and_then(|(_, by)| *by).unwrap_or(0)
}

/// Reads a number out of a trial; `None` when the trial has no such number.
pub fn value_of(subject: &Subject, trial: &TrialAccount) -> Option<u64> {
    let flow_named = |name: &str| trial.flows.iter().find(|account| account.flow.name == name);
    match subject {
        Subject::Flow { flow, field } => flow_named(flow).and_then(|account| field_of(*field, account)),
        Subject::Errno { flow, errno } => {
            flow_named(flow).map(|account| account.errors.get(errno).copied().unwrap_or(0).into())
        }
        // Where drops were not watched, no reason was seen.
        Subject::Fate { reason: Some(_), .. } if trial.unobserved.is_some() => None,
        Subject::Fate { flow, layer, device, reason } => flow_named(flow).map(|account| {
            let here = account.fates.iter().filter(|fate| {
                fate.layer.to_string() == *layer
                    && (device.is_none() || fate.device == *device)
                    && reason.as_ref().is_none_or(|reason| fate.reason == *reason)
            });
            here.map(|fate| u64::from(fate.frames)).sum()
        }),
        Subject::Source { flow, is } => {
            flow_named(flow).map(|account| account.sources.iter().eq([is]).into())
        }
        Subject::Device { device, counter } => {
            let counted = *trial.devices.get(device)?.get(counter)?;
            Some(counted - moved_by_kernel(trial, device, Of::Device, counter))
        }
        Subject::Qdisc { device, counter } => {
            let counted = *trial.qdiscs.get(device)?.counters.get(counter)?;
            Some(counted - moved_by_kernel(trial, device, Of::Qdisc, counter))
        }
        Subject::Clsact { device, counter } => match trial.hooks.get(device) {
            Some(hook) => {
                let counted = hook.counters.get(counter).copied()?;
                Some(counted - moved_by_kernel(trial, device, Of::Clsact, counter))
            }
            // Nothing is cleared in these trials: one that is not there at the end was never there.
            None => never_clears(&trial.role).then_some(0),
        },
        Subject::Address { device, is } => {
            Some(trial.tables.addresses.get(device).is_some_and(|here| here.contains(is)).into())
        }
        Subject::Routes { ns, are } => Some(route_differences(ns, are, trial)?.is_empty().into()),
        Subject::IpAddrOutput { ns, are } => Some(shown_differences(ns, are, trial)?.is_empty().into()),
        Subject::State { .. } | Subject::Mac { .. } | Subject::Captured { .. } => {
            crate::topology::value::value_of(subject, &trial.links, &trial.captured)
        }
        Subject::Shown { shown, test } => test.number(shown_text(shown, trial)),
        Subject::Refused { device, errno } => {
            let is_this = |refusal: &Refusal| {
                refusal.devices.contains(device) && refusal.error.errno.as_ref() == Some(errno)
            };
            Some(trial.refused.as_ref().is_some_and(is_this).into())
        }
    }
}

/// What the kernel showed of something after the last step.
pub(crate) fn shown_text<'t>(shown: &Shown, trial: &'t TrialAccount) -> Option<&'t str> {
    trial.shown.iter().find(|(asked, _)| asked == shown)?.1.as_deref()
}

/// Whether a trial of this role never clears a fault.
fn never_clears(role: &Role) -> bool {
    match role {
        Role::Control | Role::Hypothesis(_) => true,
        Role::Mutant(label) => *label == Element::Faults.dropped().to_string(),
        Role::Main | Role::Mitigation { .. } => false,
    }
}

/// What a namespace's routes lack, and have more.
fn route_differences(ns: &NsName, wanted: &[Route], trial: &TrialAccount) -> Option<Vec<String>> {
    let there = trial.tables.routes.get(ns)?;
    let missing = wanted.iter().filter(|route| !there.contains(route)).map(|route| format!("no {route}"));
    let more = there.iter().filter(|route| !wanted.contains(route)).map(|route| format!("also {route}"));
    Some(missing.chain(more).collect())
}

fn shown_differences(ns: &NsName, wanted: &[IpAddrOutput], trial: &TrialAccount) -> Option<Vec<String>> {
    Some(ip_address::differences(wanted, trial.tables.shown.get(ns)?))
}

fn field_of(field: FlowField, account: &FlowAccount) -> Option<u64> {
    Some(u64::from(match field {
        FlowField::Asked => account.asked,
        FlowField::Sent => account.sent,
        FlowField::Refused => account.asked - account.sent,
        FlowField::Delivered => account.delivered,
        FlowField::Lost => account.lost(),
        FlowField::Duplicated => account.duplicated,
        FlowField::SilenceMs => return Some(account.silence_us? / 1000),
        FlowField::Reordered => account.reordered,
        FlowField::Retransmitted => account.retransmitted?,
    }))
}

fn check(condition: &Condition, trial: &TrialAccount) -> Check {
    let value = value_of(&condition.subject, trial);
    let outcome = match value {
        Some(value) if condition.bounds.hold(value) => Outcome::Pass,
        Some(_) => Outcome::Fail,
        None => Outcome::Error,
    };
    let (expected, observed) = match &condition.subject {
        Subject::Refused { errno, .. } => (
            format!("the kernel refuses it with {errno}"),
            trial
                .refused
                .as_ref()
                .map_or("the kernel accepts it".into(), |refusal| refusal.error.to_string()),
        ),
        Subject::Routes { ns, are } => {
            let differences = route_differences(ns, are, trial).unwrap_or_default();
            let observed =
                if differences.is_empty() { "exactly these".into() } else { differences.join("; ") };
            (format!("exactly these {}", are.len()), observed)
        }
        Subject::IpAddrOutput { ns, are } => {
            let differences = shown_differences(ns, are, trial).unwrap_or_default();
            let observed = if differences.is_empty() { "as printed".into() } else { differences.join("; ") };
            (format!("these {} devices, as printed", are.len()), observed)
        }
        Subject::Shown { shown, test } => {
            let wanted = test.wanted().unwrap_or_else(|| condition.bounds.to_string());
            (wanted, words(shown, shown_text(shown, trial)))
        }
        _ => (condition.bounds.to_string(), observed(&condition.subject, condition.bounds, value)),
    };
    Check { name: condition.name.clone(), outcome, expected, observed }
}

/// What was shown, in words.
fn words(shown: &Shown, text: Option<&str>) -> String {
    text.map_or_else(|| format!("the kernel shows none: {shown}"), str::to_owned)
}

/// A number in words. That of a capture differs a little in each run: only whether it is enough is said.
fn observed(subject: &Subject, bounds: Bounds, value: Option<u64>) -> String {
    match (subject, value) {
        (_, None) => format!("the run has no number for: {subject}"),
        (Subject::Captured { .. }, Some(value)) if bounds.hold(value) => bounds.to_string(),
        (Subject::Captured { .. }, Some(value)) if value < bounds.at_least => "fewer".into(),
        (Subject::Captured { .. }, Some(_)) => "more".into(),
        (_, Some(value)) => value.to_string(),
    }
}

/// A wait is a check of its own: what came too late did not come.
fn waited(wait: &WaitAccount) -> Check {
    let Condition { name, subject, bounds, .. } = &wait.until;
    let (wanted, observed) = match subject {
        Subject::Shown { shown, test } => {
            let wanted = test.wanted().unwrap_or_else(|| bounds.to_string());
            (wanted, words(shown, wait.text.as_deref()))
        }
        _ => (bounds.to_string(), observed(subject, *bounds, wait.value)),
    };
    Check {
        name: format!("wait: {name}"),
        outcome: if wait.held { Outcome::Pass } else { Outcome::Fail },
        expected: format!("{wanted} within {} ms", wait.within_ms),
        observed,
    }
}

/// A refused operation is what the kernel did; unless it is expected, the run differs.
fn built(trial: &TrialAccount) -> Option<Check> {
    let refused = trial.refused.as_ref()?;
    Some(Check {
        name: format!("{}: the kernel does what the topology asks for", title(&trial.role)),
        outcome: if refused.is_unsupported { Outcome::Unsupported } else { Outcome::Fail },
        expected: "every operation carried out and read back".into(),
        observed: refused.error.to_string(),
    })
}

/// What holds whatever is broken is no statement about what was broken.
fn vacuous(proof: &Proof) -> Check {
    Check {
        name: format!("proof: {}", proof.name),
        outcome: Outcome::Fail,
        expected: "some trial in which it does not hold".into(),
        observed: format!("it is vacuous, for it holds in all of: {}", proof.holds_in.join("; ")),
    }
}

fn accounted(trial: &TrialAccount) -> Check {
    let missing: Vec<String> = trial
        .flows
        .iter()
        .filter(|flow| !flow.unattributed.is_empty())
        .map(|flow| {
            let clues = flow
                .unknown
                .iter()
                .map(|place| format!(" at {} ({})", place.location, place.stack.join(" < ")));
            let clues: String = clues.collect();
            format!("{} of {}: {}{clues}", flow.unattributed.len(), flow.flow.name, flow.unattributed)
        })
        .collect();
    let blind =
        trial.unobserved.iter().map(|why| format!("no counter tells, and drops were not watched: {why}"));
    Check {
        name: format!("{}: every frame is accounted for", title(&trial.role)),
        outcome: if missing.is_empty() { Outcome::Pass } else { Outcome::Fail },
        expected: "0 unattributed".into(),
        observed: if missing.is_empty() {
            "0 unattributed".into()
        } else {
            missing.into_iter().chain(blind).collect::<Vec<_>>().join("; ")
        },
    }
}
