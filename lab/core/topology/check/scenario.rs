//! The scenario part of a topology file: flows, faults, steps, conditions and hypotheses, resolved and checked.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::topology::Topology;
use crate::topology::check::conditions::{Use, fault_exists, flow_exists, needs_step, resolve_condition};
use crate::topology::check::{Checker, captures, faults, flows, join, mitigations, requests, selectors};
use crate::topology::file::{At, ConditionTable, HypothesisTable, ReportTable, StepTable, TopologyFile};
use crate::topology::scenario::{Hypothesis, Observation, Report, Scenario, Step, WITHIN_MS_DEFAULT};

/// The place toml gives the file itself as a table.
pub(crate) const FILE: Range<usize> = 0..0;

/// Resolves everything that happens on a topology.
pub fn resolve(file: &TopologyFile, topology: &Topology, checker: &mut Checker<'_>) -> Scenario {
    let mut scenario = Scenario::default();
    for (name, table) in &file.flow {
        scenario.flows.insert(name.value.clone(), flows::resolve(&name.value, table, topology, checker));
    }
    scenario.faults = faults::resolve(file, topology, checker);
    scenario.captures = captures::resolve(file, topology, checker);
    requests::announce(file, checker);
    let steps = file.step.iter().enumerate();
    scenario.steps = steps
        .filter_map(|(number, step)| {
            requests::belong(&step.value, checker);
            let refused = requests::refused(&step.value, checker);
            let step = resolve_step((number, step), file, topology, &scenario, checker)?;
            Some(match (step, refused) {
                (Step::Attach(mut attachment), Some(refused)) => {
                    attachment.refused = Some(refused);
                    Step::Attach(attachment)
                }
                (step, Some(refused)) => Step::Refused { step: Box::new(step), refused },
                (step, None) => step,
            })
        })
        .collect();
    flooded_once(file.step.iter().filter_map(|step| step.value.flood.as_ref()), checker);
    scenario.expect =
        file.expect.iter().filter_map(|c| resolve_condition(c, Use::Expect, &scenario, checker)).collect();
    refusals_alone(file, checker);
    scenario.mitigations = mitigations::resolve(file, topology, checker);
    scenario.report = file.report.as_ref().map(|report| resolve_report(report, &scenario, checker));
    scenario.hypotheses = file
        .hypothesis
        .iter()
        .map(|(name, table)| resolve_hypothesis(name, table, scenario.report.is_some(), &scenario, checker))
        .collect();
    let needs_step = |condition: &&At<ConditionTable>| needs_step(&condition.value);
    if let Some(expect) = file.expect.iter().find(needs_step)
        && file.step.is_empty()
        && !checker.lost.field(&FILE, "step")
    {
        let hint = "add a [[step]] before it";
        checker.problem(&expect.span, "something is expected, but nothing happens", hint);
    }
    scenario
}

/// A flow has one account in a trial: sent again, its frames would bear the same numbers.
fn flooded_once<'a>(floods: impl Iterator<Item = &'a At<String>>, checker: &mut Checker<'_>) {
    let mut flooded = BTreeSet::new();
    for flow in floods {
        if !flooded.insert(&flow.value) {
            let message = format!("flow `{}` is flooded twice", flow.value);
            checker.problem(
                &flow.span,
                message,
                "a flow is sent once: add a second [flow.NAME] of the same kind",
            );
        }
    }
}

/// A fault in the midst of a flow.
fn resolve_break(
    step: &StepTable,
    at_frame: &At<u32>,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    let (Some(flow), Some(inject)) = (&step.flood, &step.inject) else {
        let hint = "it says before which frame of the flow the fault is injected";
        checker.problem(&at_frame.span, "`at_frame` without both `flood` and `inject`", hint);
        return None;
    };
    let frames = scenario.flows.get(&flow.value).map_or(u32::MAX, |flow| flow.frames);
    if at_frame.value >= frames {
        let message = format!("flow `{}` has no frame {}", flow.value, at_frame.value);
        checker.problem(&at_frame.span, message, format!("its last one is {}", frames.saturating_sub(1)));
    }
    fault_exists(inject, scenario, checker);
    flow_exists(flow, scenario, checker);
    let (flow, inject) = (flow.value.clone(), inject.value.clone());
    Some(Step::Break { flow, inject, at_frame: at_frame.value })
}

/// Checks that a step says what it does, once.
fn one_verb(step: &At<StepTable>, checker: &mut Checker<'_>) -> Option<()> {
    let StepTable {
        inject,
        clear,
        flood,
        wait,
        pause_ms,
        attach,
        detach,
        check,
        reconcile,
        set,
        delete,
        create,
        of_ns,
        ..
    } = &step.value;
    let verbs = [
        inject.is_some(),
        clear.is_some(),
        flood.is_some(),
        wait.is_some(),
        pause_ms.is_some(),
        attach.is_some(),
        detach.is_some(),
        check.is_some(),
        reconcile.is_some(),
        set.is_some(),
        delete.is_some(),
        create.is_some(),
        of_ns.is_some(),
    ];
    if verbs.iter().filter(|given| **given).count() == 1 {
        return Some(());
    }
    if !checker.lost.any_field(&step.span) {
        let hint = "one of: inject, clear, flood, wait, pause_ms, attach, detach, check, reconcile, set, delete, create, in";
        checker.problem(&step.span, "a step does exactly one thing", hint);
        checker.any_may_be_meant(&["flow", "fault"]);
    }
    None
}

fn resolve_step(
    (number, step): (usize, &At<StepTable>),
    file: &TopologyFile,
    topology: &Topology,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Step> {
    if let Some(at_frame) = &step.value.at_frame {
        return resolve_break(&step.value, at_frame, scenario, checker);
    }
    one_verb(step, checker)?;
    let StepTable {
        inject, clear, flood, wait, within_ms, pause_ms, attach, detach, check, reconcile, ..
    } = &step.value;
    if let Some(within_ms) = within_ms.as_ref().filter(|_| wait.is_none()) {
        checker.problem(&within_ms.span, "`within_ms` without `wait`", "remove it, or add a `wait`");
    }
    for fault in [inject, clear].into_iter().flatten() {
        fault_exists(fault, scenario, checker);
    }
    if let Some(flood) = flood {
        flow_exists(flood, scenario, checker);
    }
    if let Some(wait) = wait {
        let until = resolve_condition(wait, Use::Wait, scenario, checker)?;
        let within_ms = within_ms.as_ref().map_or(WITHIN_MS_DEFAULT, |ms| bounded_ms(ms, checker));
        return Some(Step::Wait { until, within_ms });
    }
    // What is wrong with it was reported where pods are followed through all steps.
    let attachment = || topology.attachments.by_step.get(&number).cloned().map(Box::new);
    if attach.is_some() {
        return attachment().map(Step::Attach);
    }
    if detach.is_some() {
        return attachment().map(Step::Detach);
    }
    if check.is_some() {
        return attachment().map(Step::Check);
    }
    if let Some(bond) = reconcile {
        checker.device(bond);
        let found = selectors::again(file, topology, bond, checker)?;
        return Some(Step::Reconcile { bond: bond.value.clone(), found });
    }
    if requests::is_request(&step.value) {
        return requests::resolve(step, file, topology, checker);
    }
    match (inject, clear, flood, pause_ms) {
        (Some(fault), ..) => Some(Step::Inject(fault.value.clone())),
        (_, Some(fault), ..) => Some(Step::Clear(fault.value.clone())),
        (_, _, Some(flow), _) => Some(Step::Flood(flow.value.clone())),
        (_, _, _, ms) => ms.as_ref().map(|ms| Step::Pause(bounded_ms(ms, checker))),
    }
}

fn bounded_ms(ms: &At<u32>, checker: &mut Checker<'_>) -> u32 {
    let limit = checker.wait;
    if !(1..=limit.ms).contains(&ms.value) {
        let message = format!("{} ms are out of range: 1 to {}", ms.value, limit.ms);
        let hint = if ms.value == 0 { "1 at least, or leave it away".into() } else { limit.hint() };
        checker.problem(&ms.span, message, hint);
    }
    ms.value
}

/// A refusal ends the run: what else is expected would never be looked at.
fn refusals_alone(file: &TopologyFile, checker: &mut Checker<'_>) {
    let is_refusal = |condition: &&At<ConditionTable>| condition.value.refused.is_some();
    if !file.expect.iter().any(|condition| is_refusal(&condition)) {
        return;
    }
    for other in file.expect.iter().filter(|condition| !is_refusal(condition)) {
        let hint = "a refusal ends the run: make two topologies of it";
        checker.problem(&other.span, "something else is expected beside a refusal", hint);
    }
}

fn resolve_report(table: &At<ReportTable>, scenario: &Scenario, checker: &mut Checker<'_>) -> Report {
    let empty = [("floods", table.value.floods.is_empty()), ("evidence", table.value.evidence.is_empty())];
    for (key, _) in empty.into_iter().filter(|(_, empty)| *empty) {
        if !checker.lost.field(&table.span, key) {
            let hint = "without it every hypothesis would fit";
            checker.problem(&table.span, format!("a report with no {key}"), hint);
        }
    }
    for flow in &table.value.floods {
        flow_exists(flow, scenario, checker);
    }
    flooded_once(table.value.floods.iter(), checker);
    let evidence =
        table.value.evidence.iter().filter_map(|item| resolve_observation(item, scenario, checker)).collect();
    Report { floods: table.value.floods.iter().map(|flow| flow.value.clone()).collect(), evidence }
}

fn resolve_observation(
    item: &At<ConditionTable>,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Option<Observation> {
    let under = item.value.under.as_ref();
    if let Some(under) = under
        && !scenario.mitigations.iter().any(|mitigation| mitigation.name == under.value)
    {
        let known: Vec<String> = scenario.mitigations.iter().map(|one| one.name.clone()).collect();
        checker.dangling(&under.span, "mitigation", &under.value, &known);
    }
    let condition = resolve_condition(item, Use::Evidence, scenario, checker)?;
    Some(Observation { condition, under: under.map(|under| under.value.clone()) })
}

fn resolve_hypothesis(
    name: &At<String>,
    table: &HypothesisTable,
    has_report: bool,
    scenario: &Scenario,
    checker: &mut Checker<'_>,
) -> Hypothesis {
    if !has_report && !checker.lost.field(&FILE, "report") {
        let hint = "add a [report] with floods and evidence";
        checker.problem(&name.span, "a hypothesis without a report", hint);
        checker.any_may_be_meant(&["flow", "capture"]);
    }
    if table.inject.is_empty() && table.with.is_none() && !checker.lost.field(&name.span, "inject") {
        let faults = join(scenario.faults.keys());
        let hint =
            format!("name faults in `inject`, or what is made in another way in `with`; there are: {faults}");
        checker.problem(&name.span, "a hypothesis that breaks nothing", hint);
    }
    for fault in &table.inject {
        fault_exists(fault, scenario, checker);
    }
    Hypothesis {
        name: name.value.clone(),
        about: table.about.clone(),
        inject: table.inject.iter().map(|fault| fault.value.clone()).collect(),
        wait: table.wait.as_ref().and_then(|wait| resolve_condition(wait, Use::Wait, scenario, checker)),
        fits: table.fits,
    }
}
