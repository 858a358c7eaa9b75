//! The account: every frame is delivered, or lost at exactly one place, or unattributed.
//!
//! Verified:
//! - the records are whole: exactly one last record, which has the number and a checksum of the others, so that none is missing,
//!   moved or altered on its way; none twice that is due once, none for a trial, operation, flow or capture that is not in the
//!   plan; every set of frame numbers is ascending and within what the flow sends;
//! - of each flow delivered + fates + unattributed = asked, checked last;
//! - asked = accepted + refused, and no number is in both;
//! - each frame that did not arrive has one fate: the first row of the table in `claims` that can show it to be its own; each
//!   row has a recorded run whose account is another one without it;
//! - of TCP a write is the frame: it was read at the other end, refused (by a connection that was given up, or never made),
//!   or is unacknowledged in its send queue;
//! - a queue holds at least as many packets as are said to be held in it, and is on the way of the flow whose they are; a queue
//!   that is said to hold fewer than none holds nothing;
//! - what a neighbour holds that does not answer, and what the driver of a stopped USB gadget holds, came out when both
//!   were drained, after everything was counted;
//! - a frame is delivered when it has come to where its flow counts: UDP and TCP at the receiving socket, which has read it; an
//!   echo request in the layer that would answer it; a frame of AF_PACKET at the device, or where the flow says;
//! - a frame of which a port of a broadcast bond holds a copy is held there, whatever became of the other copies;
//! - a dummy, and a netdevsim without a peer, have discarded what they count as sent and no event tells of;
//! - a queue that was replaced or removed in the run has counted what is said of it just before;
//! - a datagram in fragments has arrived when it is whole; one that has only begun to arrive waits for the rest;
//! - a UDP socket that is not read says that it has dropped what the drop events say (SK_MEMINFO_DROPS);
//! - no counter ran backwards, and the receiver and the drop observer lost nothing themselves;
//! - before 5.17, where both look alike, a filter on the way in has dropped what clsact has counted, and no more;
//! - what the lab's XDP program drops in a NIC's driver it tells itself: a page is freed there, not a frame, and no event.
//!
//! Not verified:
//! - what the agent never saw and never wrote: a drop event that did not come leaves its frame to the rows after it (an errno, a
//!   counter), or unattributed;
//! - that a frame which its receiver has and an event names as dropped there came twice: a copy may have been;
//! - the order of frames, and whether an echo request in fragments arrives whole where it counts at the device: its first one
//!   counts;
//! - whether the ICMP layer finds an echo request's checksum right: it is looked at after the request counts as delivered;
//! - which segments of TCP were lost: their payload is not in the part of a frame that a drop event shows, so they are
//!   among the frames that are not the lab's;
//! - which frames a queue holds, only how many; no counter shows the frames in a held ring, so it is released before the trial ends;
//! - what a NIC has sent is not followed into the cable: it is lost there when it arrives nowhere;
//! - without drop events, which flow's frames a counter has counted, where several could be meant;
//! - frames that are not the lab's (ARP, LACPDUs and the like): those that were lost are counted by class and place, in a
//!   book of their own; they are not followed, and those that arrived are counted only where a capture asks for them;
//! - what becomes of the frames of a stopped USB gadget that goes on in the midst of a run: they arrive, or are lost at a
//!   VLAN of the other end that is not up yet, as time has it;
//! - what a queue holds whose backlog the kernel counts below zero, unless a discipline inside it says so: the result names the
//!   number as wrong.

pub(crate) mod backlog;
pub(crate) mod broadcast;
pub mod claims;
pub(crate) mod discards;
pub(crate) mod drained;
pub(crate) mod end;
pub(crate) mod fates;
pub(crate) mod ingress;
pub(crate) mod moved;
pub(crate) mod place;
pub(crate) mod pools;
pub(crate) mod replaced;
pub(crate) mod shown;
pub(crate) mod sockets;
pub(crate) mod sound;
pub(crate) mod steps;
pub(crate) mod way;
pub(crate) mod wires;

use std::borrow::Cow;
use std::collections::BTreeMap;

use thiserror::Error;

use crate::judge::ledger::claims::{CLAIMS, Claim, Missing};
use crate::judge::ledger::place::Cables;
use crate::judge::ledger::pools::Pools;
use crate::judge::ledger::wires::Wires;
use crate::net::frame_set::Frames;
use crate::plan::digest::Digest;
use crate::plan::moment::When;
use crate::plan::op::Op;
use crate::plan::record::{DeviceState, Record};
use crate::plan::{Plan, Trial};
use crate::topology::scenario::Flow;

use crate::judge::account::{Account, FlowAccount, QdiscAccount, TrialAccount};
pub use crate::judge::ledger::end::End;
pub use crate::judge::ledger::moved::{Counter, Foreign, Moved, Of};

/// Why records are not an account. Every one of these makes the verdict `error`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// No last word, or more than one, or something after it.
    #[error("the run has {0} last records, not 1: it was cut short, or two runs were mixed")]
    Finish(usize),
    /// The agent counted its records.
    #[error("the agent wrote {written} records and {received} arrived")]
    Lost { written: u32, received: u32 },
    /// The agent made a checksum of its records.
    #[error("the records are not as the agent wrote them: their checksum is another one")]
    Altered,
    /// A number that the plan does not have.
    #[error("a record tells of {0}, which is not in the plan")]
    Unknown(String),
    /// A record that is due once is there again.
    #[error("two records where one is due: {0}")]
    Twice(String),
    /// Something the plan asks for has no record.
    #[error("trial {trial}: no record of {what}")]
    Absent { trial: usize, what: String },
    /// Records contradict one another.
    #[error("trial {trial}: {what}")]
    Contradiction { trial: usize, what: String },
}

/// Closes the account of a run.
///
/// # Errors
/// When the records are damaged, incomplete, or contradict one another. A lost frame is never an error here: it is
/// accounted for, or it is in [`FlowAccount::unattributed`].
pub fn close(plan: &Plan, records: &[Record]) -> Result<Account, LedgerError> {
    close_by(&CLAIMS.each_ref(), plan, records)
}

/// Closes the account of a run by these claims alone: what a row of [`CLAIMS`] is for is seen when it is left out.
///
/// # Errors
/// As [`close`].
pub fn close_by(claims: &[&Claim], plan: &Plan, records: &[Record]) -> Result<Account, LedgerError> {
    whole(records)?;
    sound::check(plan, records)?;
    let mut by_trial: Vec<Vec<&Record>> = vec![Vec::new(); plan.trials.len()];
    for record in records {
        if let Some(trial) = record.trial() {
            by_trial
                .get_mut(usize::from(trial))
                .ok_or_else(|| LedgerError::Unknown(format!("trial {trial}")))?
                .push(record);
        }
    }
    let ran = |(number, records): &(usize, &Vec<&Record>)| !steps::left_out(&plan.trials[*number], records);
    let trials = by_trial.iter().enumerate().filter(ran);
    let trials = trials.map(|(number, records)| close_trial_by(claims, plan, number, records));
    Ok(Account { trials: trials.collect::<Result<_, _>>()? })
}

fn whole(records: &[Record]) -> Result<(), LedgerError> {
    let finishes = records.iter().filter(|record| matches!(record, Record::Finished { .. })).count();
    match records.last() {
        Some(Record::Finished { records: written, digest }) if finishes == 1 => {
            let before = &records[..records.len() - 1];
            let received = u32::try_from(before.len()).unwrap_or(u32::MAX);
            match () {
                () if *written != received => Err(LedgerError::Lost { written: *written, received }),
                () if *digest != Digest::of(before) => Err(LedgerError::Altered),
                () => Ok(()),
            }
        }
        _ => Err(LedgerError::Finish(finishes)),
    }
}

/// Closes the account of one trial.
///
/// # Errors
/// As [`close`].
pub fn close_trial(plan: &Plan, number: usize, records: &[&Record]) -> Result<TrialAccount, LedgerError> {
    close_trial_by(&CLAIMS.each_ref(), plan, number, records)
}

fn close_trial_by(
    claims: &[&Claim],
    plan: &Plan,
    number: usize,
    records: &[&Record],
) -> Result<TrialAccount, LedgerError> {
    let trial = &plan.trials[number];
    let refused = steps::complete(&trial.ops, number, records)?;
    let mut account = TrialAccount {
        waits: steps::waits(&trial.ops, number, records, refused.is_some())?,
        attempts: steps::attempts(&trial.ops, number, records, refused.is_some())?,
        pods: steps::pods(&trial.ops, number, records, refused.is_some())?,
        end: end::of(trial, number, records)?,
        refused,
        ..TrialAccount::empty(trial.role.clone())
    };
    if account.refused.is_some() {
        return Ok(account);
    }
    let settled = settle_places(plan, trial, records);
    let records: Vec<&Record> = settled.iter().map(|record| record.as_ref()).collect();
    let records = records.as_slice();
    observers_lost_nothing(number, records, &mut account)?;
    count(number, records, &mut account)?;
    account.moved = moved::moved(trial, &account, records);
    sockets::agree(plan, number, records, &account)?;
    account.tables = steps::tables(number, records)?;
    account.shown = shown::shown(&trial.ops, number, records)?;
    account.captured = steps::captured(&trial.ops, number, records)?;
    let (mut pools, mut wires) = (Pools::of(trial, &account, records), Wires::of(trial, &account));
    for op in &trial.ops {
        if let Op::Flood { flow, .. } = op {
            account.flows.push(close_flow(claims, (plan, number), *flow, records, (&mut pools, &mut wires))?);
        }
    }
    Ok(account)
}

/// The records, with the places of losses as [`place`] says, and without what is no frame.
fn settle_places<'r>(plan: &Plan, trial: &Trial, records: &[&'r Record]) -> Vec<Cow<'r, Record>> {
    let cables = Cables::of(trial);
    let ways: Vec<_> = plan.flows.iter().map(|flow| way::of(trial, &flow.flow.from)).collect();
    let settle = |record: &&'r Record| {
        let settled = match record {
            Record::Dropped { flow, place, .. } => {
                (place, cables.settle(place, ways.get(usize::from(*flow))))
            }
            Record::DroppedForeign { place, .. } => (place, cables.settle(place, None)),
            _ => return Cow::Borrowed(*record),
        };
        let (place, settled) = settled;
        if settled == *place {
            return Cow::Borrowed(*record);
        }
        let mut record = (*record).clone();
        if let Record::Dropped { place, .. } | Record::DroppedForeign { place, .. } = &mut record {
            *place = settled;
        }
        Cow::Owned(record)
    };
    let is_frame = |record: &&&Record| match record {
        Record::DroppedForeign { place, .. } => !place::is_no_frame(place),
        _ => true,
    };
    records.iter().filter(is_frame).map(settle).collect()
}

fn observers_lost_nothing(
    trial: usize,
    records: &[&Record],
    account: &mut TrialAccount,
) -> Result<(), LedgerError> {
    let mut observed = false;
    for record in records {
        match record {
            Record::Observed { lost: 0, unavailable, .. } => {
                observed = true;
                account.unobserved = unavailable.clone();
            }
            Record::Observed { lost, .. } => {
                let what = format!("the drop observer lost {lost} events");
                return Err(LedgerError::Contradiction { trial, what });
            }
            Record::DroppedForeign { count, class, vlan, place, .. } => account.foreign.push(Foreign {
                class: *class,
                vlan: *vlan,
                layer: ingress::layer(place),
                place: place.clone(),
                frames: *count,
            }),
            _ => {}
        }
    }
    if observed { Ok(()) } else { Err(LedgerError::Absent { trial, what: "the drop observer".into() }) }
}

fn count(trial: usize, records: &[&Record], account: &mut TrialAccount) -> Result<(), LedgerError> {
    let at = |wanted: When| {
        records
            .iter()
            .find_map(|record| match record {
                Record::Counters { when, devices, .. } if *when == wanted => Some(devices),
                _ => None,
            })
            .ok_or_else(|| LedgerError::Absent { trial, what: format!("counters ({wanted:?})") })
    };
    let (before, after) = (at(When::Before)?, at(When::After)?);
    for (device, state) in after {
        let empty = DeviceState::default();
        let earlier = before.get(device).filter(|it| it.index == state.index).unwrap_or(&empty);
        let deltas = difference(&earlier.counters, &state.counters).map_err(|counter| {
            LedgerError::Contradiction { trial, what: format!("{counter} of {device} ran backwards") }
        })?;
        account.devices.insert(device.clone(), deltas);
        account.links.insert(device.clone(), state.link.clone());
        for qdisc in &state.qdiscs {
            let same = earlier.qdiscs.iter().find(|q| {
                let is_parent = q.parent == replaced::former_parent(&qdisc.parent);
                is_parent && q.kind == qdisc.kind && q.handle == qdisc.handle
            });
            let nothing = BTreeMap::new();
            let earlier = same.map_or(&nothing, |q| &q.counters);
            let counters =
                difference(earlier, &qdisc.counters).map_err(|counter| LedgerError::Contradiction {
                    trial,
                    what: format!("{counter} of the {} on {device} ran backwards", qdisc.kind),
                })?;
            let entry = QdiscAccount::new(&qdisc.kind, counters);
            match qdisc.parent.as_str() {
                replaced::PARENT => {
                    replaced::add(account, device, entry);
                    None
                }
                "root" => account.qdiscs.insert(device.clone(), entry),
                "clsact" => account.hooks.insert(device.clone(), entry),
                _ => None,
            };
        }
    }
    Ok(())
}

fn difference(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, u64>, String> {
    let mut deltas = BTreeMap::new();
    for (counter, value) in after {
        let delta = if counter.starts_with("backlog") {
            *value
        } else {
            let earlier = before.get(counter).copied().unwrap_or(0);
            value.checked_sub(earlier).ok_or_else(|| counter.clone())?
        };
        deltas.insert(counter.clone(), delta);
    }
    Ok(deltas)
}

fn close_flow(
    claims: &[&Claim],
    (plan, trial): (&Plan, usize),
    number: u16,
    records: &[&Record],
    (pools, wires): (&mut Pools, &mut Wires),
) -> Result<FlowAccount, LedgerError> {
    let flow = &plan
        .flows
        .get(usize::from(number))
        .ok_or_else(|| LedgerError::Unknown(format!("flow {number}")))?
        .flow;
    let (accepted, refused, unacknowledged) = sent(trial, number, flow, records)?;
    let (seen, duplicated) = seen(trial, number, flow, records)?;
    let trial_plan = &plan.trials[trial];
    let mut missing = Missing {
        trial: trial_plan,
        flow,
        number,
        records,
        refused: &refused,
        unacknowledged: &unacknowledged,
        way: &way::of(trial_plan, &flow.from),
        pools,
        wires,
        rest: Frames::first(flow.frames).difference(&seen),
        fates: Vec::new(),
        unknown: Vec::new(),
    };
    claims.iter().for_each(|claim| (claim.take)(&mut missing));
    let Missing { rest, fates, unknown, .. } = missing;
    let account = FlowAccount {
        flow: flow.clone(),
        asked: flow.frames,
        sent: accepted.len(),
        errors: refused.iter().map(|(errno, frames)| (errno.clone(), frames.len())).collect(),
        delivered: seen.len(),
        duplicated,
        silence_us: steps::silence(number, flow, records),
        reordered: steps::order(number, records).0,
        retransmitted: steps::order(number, records).1,
        sources: steps::sources(number, records),
        fates,
        unattributed: unknown.iter().fold(rest, |rest, (_, frames)| rest.union(frames)),
        unknown: unknown.into_iter().map(|(place, _)| place).collect(),
    };
    adds_up(trial, account)
}

/// Every frame is in the account once.
fn adds_up(trial: usize, flow: FlowAccount) -> Result<FlowAccount, LedgerError> {
    let lost: u64 = flow.fates.iter().map(|fate| u64::from(fate.frames)).sum();
    let (delivered, unattributed) = (flow.delivered, flow.unattributed.len());
    if u64::from(delivered) + lost + u64::from(unattributed) == u64::from(flow.asked) {
        return Ok(flow);
    }
    let (name, asked) = (&flow.flow.name, flow.asked);
    let what = format!(
        "flow {name} does not add up: {asked} asked, {delivered} delivered, {lost} lost, {unattributed} unattributed"
    );
    Err(LedgerError::Contradiction { trial, what })
}

type Refused = BTreeMap<String, Frames>;
/// Sends accepted, refused by errno, and accepted but not acknowledged.
type Answers = (Frames, Refused, Frames);

fn sent(trial: usize, number: u16, flow: &Flow, records: &[&Record]) -> Result<Answers, LedgerError> {
    let found: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Sent { flow, accepted, refused, unacknowledged, .. } if *flow == number => {
                Some((accepted, refused, unacknowledged))
            }
            _ => None,
        })
        .collect();
    let [(accepted, refused, unacknowledged)] = found[..] else {
        let what = format!("what flow {} sent ({} records)", flow.name, found.len());
        return Err(LedgerError::Absent { trial, what });
    };
    let all = refused.values().fold(accepted.clone(), |all, frames| all.union(frames));
    let count: u32 = accepted.len() + refused.values().map(Frames::len).sum::<u32>();
    let sound = accepted.is_sound() && refused.values().all(Frames::is_sound);
    if !sound || all != Frames::first(flow.frames) || count != flow.frames {
        let what = format!("flow {}: {} asked, but {count} accepted and refused", flow.name, flow.frames);
        return Err(LedgerError::Contradiction { trial, what });
    }
    if !unacknowledged.is_sound() || !unacknowledged.difference(accepted).is_empty() {
        let what = format!("flow {} waits for answers to writes that were not accepted", flow.name);
        return Err(LedgerError::Contradiction { trial, what });
    }
    Ok((accepted.clone(), refused.clone(), unacknowledged.clone()))
}

fn seen(trial: usize, number: u16, flow: &Flow, records: &[&Record]) -> Result<(Frames, u32), LedgerError> {
    let found: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Seen { flow, frames, duplicated, overrun, .. } if *flow == number => {
                Some((frames, *duplicated, *overrun))
            }
            _ => None,
        })
        .collect();
    let contradiction = |what: String| Err(LedgerError::Contradiction { trial, what });
    match found[..] {
        [(_, _, overrun)] if overrun > 0 => {
            contradiction(format!("the receiver of flow {} lost {overrun} frames itself", flow.name))
        }
        [(frames, duplicated, _)] => {
            if !frames.is_sound() || !frames.difference(&Frames::first(flow.frames)).is_empty() {
                return contradiction(format!(
                    "flow {} received frames that were never asked for",
                    flow.name
                ));
            }
            Ok((frames.clone(), duplicated))
        }
        _ => Err(LedgerError::Absent { trial, what: format!("what flow {} delivered", flow.name) }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::judge::account::Fate;
    use crate::net::layer::Layer;
    use crate::plan::lower::lower;
    use crate::topology::Topology;

    const CABLE: &str = "[ns.a.veth.x]\npeer = 'b:x'\n[ns.b.veth.x]\npeer = 'a:x'\naddresses = ['192.0.2.2/24']\n\
        [flow.f]\nfrom = 'a:x'\nto = 'b:x'\nframes = 1000\n[[step]]\nflood = 'f'\n";

    #[test]
    fn a_flow_with_a_frame_too_many_or_too_few_is_a_contradiction() {
        let topology = Topology::parse("t", "t.toml", CABLE).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = lower(&topology);
        let closed = |delivered, dropped: &[u32], unattributed| {
            let fate = |frames: &u32| Fate {
                layer: Layer::Qdisc,
                device: None,
                reason: "QDISC_DROP".into(),
                queue: None,
                frames: *frames,
            };
            let flow = FlowAccount {
                flow: plan.flows[0].flow.clone(),
                asked: 1000,
                sent: 1000,
                errors: BTreeMap::new(),
                delivered,
                duplicated: 0,
                silence_us: None,
                reordered: 0,
                retransmitted: None,
                sources: BTreeSet::new(),
                fates: dropped.iter().map(fate).collect(),
                unattributed: Frames::first(unattributed),
                unknown: Vec::new(),
            };
            adds_up(0, flow).map(|flow| flow.delivered).map_err(|error| error.to_string())
        };
        assert_eq!(closed(400, &[300, 200], 100), Ok(400));
        for (delivered, dropped, unattributed) in
            [(0, &[1000, 1000, 1000][..], 0), (400, &[300, 200], 99), (1001, &[], 0), (1000, &[], 1)]
        {
            let error = closed(delivered, dropped, unattributed).expect_err("it does not add up");
            assert!(error.contains("flow f does not add up: 1000 asked"), "{error}");
        }
    }
}
