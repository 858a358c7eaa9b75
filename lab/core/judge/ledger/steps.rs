//! The steps of a trial: each has a record, and waits and captures have their results.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::judge::account::{AttemptAccount, PodAccount, Refusal, WaitAccount};
use crate::judge::ledger::LedgerError;
use crate::plan::op::Op;
use crate::plan::record::{Record, Tables};
use crate::plan::{Role, Trial};
use crate::topology::scenario::Flow;

/// Whether a mutant trial was not needed, and says so. Any other trial has to be there.
pub fn left_out(trial: &Trial, records: &[&Record]) -> bool {
    matches!((&trial.role, records), (Role::Mutant(_), [Record::TrialLeftOut { .. }]))
}

/// Every operation has one record, in order; the last may be a refusal.
pub fn complete(ops: &[Op], trial: usize, records: &[&Record]) -> Result<Option<Refusal>, LedgerError> {
    let absent = |what: String| Err(LedgerError::Absent { trial, what });
    if !matches!(records.first(), Some(Record::TrialStarted { .. })) {
        return absent("its start".into());
    }
    let mut next = 0;
    for record in records {
        match record {
            Record::OpDone { op, .. } if *op as usize == next => next += 1,
            Record::OpFailed { op, error, is_unsupported, .. }
                if *op as usize == next && next < ops.len() =>
            {
                let devices = ops[next].devices().into_iter().cloned().collect();
                let is_unsupported = *is_unsupported;
                return Ok(Some(Refusal { error: error.clone(), devices, is_unsupported }));
            }
            Record::OpDone { op, .. } | Record::OpFailed { op, .. } => {
                return absent(format!("operation {next}; {op} came instead"));
            }
            _ => {}
        }
    }
    if next == ops.len() { Ok(None) } else { absent(format!("operation {next} of {}", ops.len())) }
}

/// Every wait that was begun has a record of its end.
pub fn waits(
    ops: &[Op],
    trial: usize,
    records: &[&Record],
    cut_short: bool,
) -> Result<Vec<WaitAccount>, LedgerError> {
    let mut waits = Vec::new();
    for (number, op) in ops.iter().enumerate() {
        let Op::Wait { until, within_ms, .. } = op else { continue };
        let ended = records.iter().find_map(|record| match record {
            Record::Waited { op, value, text, held, .. } if *op as usize == number => {
                Some((*value, text.clone(), *held))
            }
            _ => None,
        });
        match ended {
            Some((value, text, held)) => {
                waits.push(WaitAccount { until: until.clone(), within_ms: *within_ms, value, text, held });
            }
            None if cut_short => {}
            None => {
                return Err(LedgerError::Absent { trial, what: format!("the wait for {}", until.subject) });
            }
        }
    }
    Ok(waits)
}

/// Every step that was to be refused has a record of its end.
pub fn attempts(
    ops: &[Op],
    trial: usize,
    records: &[&Record],
    cut_short: bool,
) -> Result<Vec<AttemptAccount>, LedgerError> {
    let mut attempts = Vec::new();
    for (number, op) in ops.iter().enumerate() {
        let Op::Attempt { ops, refused } = op else { continue };
        let what = ops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let ended = records.iter().find_map(|record| match record {
            Record::Attempted { op, error, .. } if *op as usize == number => Some(error.clone()),
            _ => None,
        });
        match ended {
            Some(error) => attempts.push(AttemptAccount { what, wanted: refused.clone(), error }),
            None if cut_short => {}
            None => return Err(LedgerError::Absent { trial, what: format!("how it ended to {what}") }),
        }
    }
    Ok(attempts)
}

/// Every step about a pod has a record of its end.
pub fn pods(
    ops: &[Op],
    trial: usize,
    records: &[&Record],
    cut_short: bool,
) -> Result<Vec<PodAccount>, LedgerError> {
    let mut pods = Vec::new();
    for (number, op) in ops.iter().enumerate() {
        let (what, fails, refused) = match op {
            Op::Attach { pod, parts, fails, refused } => {
                let networks: Vec<&str> = parts.iter().map(|part| part.network.as_str()).collect();
                (format!("attach {pod} to {}", networks.join(", ")), fails.clone(), refused.clone())
            }
            Op::Detach { pod, .. } => (format!("detach {pod}"), None, None),
            Op::CheckPod { pod, .. } => (format!("check {pod}"), None, None),
            _ => continue,
        };
        let attaches = matches!(op, Op::Attach { .. });
        let ended = records.iter().find_map(|record| match record {
            Record::Pod { op, failed, left, .. } if *op as usize == number => {
                Some((failed.clone(), left.clone()))
            }
            _ => None,
        });
        match ended {
            Some((failed, left)) => pods.push(PodAccount { what, attaches, fails, refused, failed, left }),
            None if cut_short => {}
            None => return Err(LedgerError::Absent { trial, what: format!("how it ended to {what}") }),
        }
    }
    Ok(pods)
}

/// What a flow with an interval tells of its receiver.
pub fn silence(number: u16, flow: &Flow, records: &[&Record]) -> Option<u64> {
    flow.interval_us?;
    records.iter().find_map(|record| match record {
        Record::Silence { flow, longest_us, .. } if *flow == number => Some(*longest_us),
        _ => None,
    })
}

/// How many of a flow's frames arrived out of order; of TCP, how many segments were sent again.
pub fn order(number: u16, records: &[&Record]) -> (u32, Option<u32>) {
    let found = records.iter().find_map(|record| match record {
        Record::Order { flow, reordered, retransmitted, .. } if *flow == number => {
            Some((*reordered, *retransmitted))
        }
        _ => None,
    });
    found.unwrap_or_default()
}

/// Where a flow's frames came from.
pub fn sources(number: u16, records: &[&Record]) -> BTreeSet<IpAddr> {
    let found = records.iter().find_map(|record| match record {
        Record::Sources { flow, sources, .. } if *flow == number => Some(sources.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

/// Addresses and routes were read once everything had settled.
pub fn tables(trial: usize, records: &[&Record]) -> Result<Tables, LedgerError> {
    let found = records.iter().find_map(|record| match record {
        Record::Tables { tables, .. } => Some(tables.clone()),
        _ => None,
    });
    found.ok_or_else(|| LedgerError::Absent { trial, what: "addresses and routes".into() })
}

/// Every capture has a record of its count, and missed nothing.
pub fn captured(ops: &[Op], trial: usize, records: &[&Record]) -> Result<BTreeMap<String, u64>, LedgerError> {
    let mut counts = BTreeMap::new();
    for record in records {
        if let Record::Captured { capture, count, overrun, .. } = record {
            if *overrun > 0 {
                let what = format!("capture {capture} lost {overrun} frames itself");
                return Err(LedgerError::Contradiction { trial, what });
            }
            counts.insert(capture.clone(), *count);
        }
    }
    let missing = ops.iter().find_map(|op| match op {
        Op::Capture(capture) if !counts.contains_key(&capture.name) => Some(&capture.name),
        _ => None,
    });
    match missing {
        Some(name) => Err(LedgerError::Absent { trial, what: format!("what capture {name} counted") }),
        None => Ok(counts),
    }
}
