//! Records before they are used: each speaks of what the plan has, none is there twice that is due once, and every set of
//! frame numbers is one.

use std::collections::BTreeSet;

use crate::judge::ledger::LedgerError;
use crate::net::frame_class::FrameClass;
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::name::DeviceRef;
use crate::plan::Plan;
use crate::plan::moment::When;
use crate::plan::op::Op;
use crate::plan::record::{DropPlace, Record};

/// A record that is due once: of a trial, or in it of an operation, a flow, a capture, a place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Once<'r> {
    Started(u16),
    LeftOut(u16),
    Ended(u16, u32),
    Waited(u16, u32),
    Shown(u16, u32),
    Attempted(u16, u32),
    Pod(u16, u32),
    Sent(u16, u16),
    Seen(u16, u16),
    Silence(u16, u16),
    Sources(u16, u16),
    Order(u16, u16),
    Dropped(u16, u16, &'r DropPlace),
    Foreign(u16, Option<FrameClass>, Option<u16>, &'r DropPlace),
    Drained(u16, u16, Layer, Option<&'r DeviceRef>, &'r Frames),
    Captured(u16, &'r str),
    Counters(u16, When),
    Tables(u16),
    Log(u16),
    Observed(u16),
}

/// Checks all records of a run against its plan.
///
/// # Errors
/// The first record that speaks of what is not in the plan, is there twice, or has a set of frames that is none.
pub fn check(plan: &Plan, records: &[Record]) -> Result<(), LedgerError> {
    let mut once = BTreeSet::new();
    for record in records {
        if let Record::Missing { .. } = record {
            return Err(LedgerError::Unknown("what the kernel lacks, beside records of a run".into()));
        }
        is_planned(plan, record)?;
        frames_are_sound(plan, record)?;
        if let Some(key) = due_once(record) {
            let text = format!("{key:?}");
            if !once.insert(key) {
                return Err(LedgerError::Twice(text));
            }
        }
    }
    Ok(())
}

fn due_once(record: &Record) -> Option<Once<'_>> {
    Some(match record {
        Record::TrialStarted { trial } => Once::Started(*trial),
        Record::TrialLeftOut { trial } => Once::LeftOut(*trial),
        Record::OpDone { trial, op } | Record::OpFailed { trial, op, .. } => Once::Ended(*trial, *op),
        Record::Waited { trial, op, .. } => Once::Waited(*trial, *op),
        Record::Attempted { trial, op, .. } => Once::Attempted(*trial, *op),
        Record::Shown { trial, op, .. } => Once::Shown(*trial, *op),
        Record::Pod { trial, op, .. } => Once::Pod(*trial, *op),
        Record::Sent { trial, flow, .. } => Once::Sent(*trial, *flow),
        Record::Seen { trial, flow, .. } => Once::Seen(*trial, *flow),
        Record::Silence { trial, flow, .. } => Once::Silence(*trial, *flow),
        Record::Sources { trial, flow, .. } => Once::Sources(*trial, *flow),
        Record::Order { trial, flow, .. } => Once::Order(*trial, *flow),
        Record::Captured { trial, capture, .. } => Once::Captured(*trial, capture),
        Record::Counters { trial, when, .. } => Once::Counters(*trial, *when),
        Record::Tables { trial, .. } => Once::Tables(*trial),
        Record::Log { trial, .. } => Once::Log(*trial),
        // The agent gathers what it saw of one place into one record.
        Record::Dropped { trial, flow, place, .. } => Once::Dropped(*trial, *flow, place),
        Record::DroppedForeign { trial, class, vlan, place, .. } => {
            Once::Foreign(*trial, *class, *vlan, place)
        }
        // Two ways to a place may be drained one after the other, and not of the same frames.
        Record::Drained { trial, flow, layer, device, frames } => {
            Once::Drained(*trial, *flow, *layer, device.as_ref(), frames)
        }
        Record::Observed { trial, .. } => Once::Observed(*trial),
        Record::Missing { .. }
        | Record::CableRequest { .. }
        | Record::Tapped { .. }
        | Record::Finished { .. } => return None,
    })
}

/// Whether the plan has the trial, operation, flow and capture that a record speaks of.
fn is_planned(plan: &Plan, record: &Record) -> Result<(), LedgerError> {
    let Some(number) = record.trial() else { return Ok(()) };
    let unknown = |what: String| Err(LedgerError::Unknown(what));
    let Some(trial) = plan.trials.get(usize::from(number)) else { return unknown(format!("trial {number}")) };
    let op = match record {
        Record::OpDone { op, .. }
        | Record::OpFailed { op, .. }
        | Record::Waited { op, .. }
        | Record::Shown { op, .. }
        | Record::Attempted { op, .. }
        | Record::Pod { op, .. } => Some(*op),
        _ => None,
    };
    if let Some(op) = op.filter(|op| *op as usize >= trial.ops.len()) {
        return unknown(format!("operation {op} of trial {number}"));
    }
    if let Some(flow) = flow_of(record).filter(|flow| usize::from(*flow) >= plan.flows.len()) {
        return unknown(format!("flow {flow}"));
    }
    let is_sent =
        |flow: u16| trial.ops.iter().any(|op| matches!(op, Op::Flood { flow: sent, .. } if *sent == flow));
    match record {
        Record::Sent { flow, .. } | Record::Silence { flow, .. } if !is_sent(*flow) => {
            unknown(format!("flow {flow} in trial {number}, which does not send it"))
        }
        Record::Shown { op, .. } if !matches!(trial.ops.get(*op as usize), Some(Op::Show(_))) => {
            unknown(format!("operation {op} of trial {number}, which shows nothing"))
        }
        Record::Captured { capture, .. } => {
            let is_asked = |op: &Op| matches!(op, Op::Capture(asked) if asked.name == *capture);
            if trial.ops.iter().any(is_asked) {
                Ok(())
            } else {
                unknown(format!("capture {capture} in trial {number}"))
            }
        }
        Record::Tapped { device, .. } if !(plan.options.pcap && plan.ends(number).contains(&device)) => {
            unknown(format!("frames at {device} in trial {number}, which keeps none of it"))
        }
        _ => Ok(()),
    }
}

fn flow_of(record: &Record) -> Option<u16> {
    match record {
        Record::Sent { flow, .. }
        | Record::Seen { flow, .. }
        | Record::Dropped { flow, .. }
        | Record::Drained { flow, .. }
        | Record::Silence { flow, .. }
        | Record::Sources { flow, .. }
        | Record::Order { flow, .. } => Some(*flow),
        _ => None,
    }
}

/// Whether each set of frames is ascending and apart, and within what the flow was to send.
fn frames_are_sound(plan: &Plan, record: &Record) -> Result<(), LedgerError> {
    let sets: Vec<&Frames> = match record {
        Record::Sent { accepted, refused, unacknowledged, .. } => {
            [accepted, unacknowledged].into_iter().chain(refused.values()).collect()
        }
        Record::Seen { frames, .. } | Record::Dropped { frames, .. } | Record::Drained { frames, .. } => {
            vec![frames]
        }
        _ => Vec::new(),
    };
    let Some(flow) = flow_of(record).and_then(|flow| plan.flows.get(usize::from(flow))) else {
        return Ok(());
    };
    let all = Frames::first(flow.flow.frames);
    match sets.iter().find(|set| !set.is_sound() || !set.difference(&all).is_empty()) {
        None => Ok(()),
        Some(set) => Err(LedgerError::Contradiction {
            trial: record.trial().unwrap_or_default().into(),
            what: format!("a set of frames of flow {} that is none: {set}", flow.flow.name),
        }),
    }
}
