//! What is reported of a trial besides its frames: its links at the end, and what the kernel said meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::judge::ledger::LedgerError;
use crate::net::frame_class::FrameClass;
use crate::net::kernel_log::KernelLog;
use crate::net::link_state::LinkReport;
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::moment::When;
use crate::plan::op::Op;
use crate::plan::record::Record;

/// The end of a trial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// By device, in the order of their names; empty where the trial did not come to its end.
    pub links: IndexMap<DeviceRef, LinkReport>,
    /// From level warning up; none where it was not read.
    pub kernel_log: Option<KernelLog>,
    /// What the kernel said of requests that it carried out, with the number of them.
    pub acknowledged: BTreeMap<String, u32>,
    /// Captures of frames that a kernel sends by timers, so that a run which takes longer counts more.
    pub by_timer: BTreeSet<String>,
}

/// Puts the end of a trial together. What LACP says is reported only where the trial has waited for it, and not without success.
///
/// # Errors
/// More than one record of the kernel's words.
pub fn of(trial: &Trial, number: usize, records: &[&Record]) -> Result<End, LedgerError> {
    let mut end = End::default();
    let has_held = |wait: usize| {
        records.iter().any(|record| {
            matches!(record, Record::Waited { op, held: true, .. } if usize::try_from(*op) == Ok(wait))
        })
    };
    let settled: Vec<&DeviceRef> =
        trial.lacp_waits().into_iter().filter(|(wait, _)| has_held(*wait)).map(|(_, bond)| bond).collect();
    let mut logs = 0;
    for record in records {
        match record {
            Record::Counters { when: When::After, devices, .. } => {
                let reports =
                    devices.iter().filter_map(|(device, state)| Some((device, state.report.as_ref()?)));
                end.links = reports.map(|(device, report)| (device.clone(), report.clone())).collect();
            }
            Record::Log { kernel, acknowledged, .. } => {
                logs += 1;
                end.kernel_log.clone_from(kernel);
                end.acknowledged.clone_from(acknowledged);
            }
            _ => {}
        }
    }
    if logs > 1 {
        let what = format!("{logs} records of what the kernel said");
        return Err(LedgerError::Contradiction { trial: number, what });
    }
    for report in end.links.values_mut() {
        report.lacp = report.lacp.take().filter(|lacp| settled.contains(&&lacp.bond));
    }
    // By name: a NIC has another number when it is adopted again, and comes elsewhere in a dump.
    end.links.sort_keys();
    end.by_timer = trial.ops.iter().filter_map(by_timer).collect();
    Ok(end)
}

fn by_timer(op: &Op) -> Option<String> {
    use FrameClass::{Arp, Dhcp, Lacpdu, MulticastMembership, NeighbourDiscovery, Tcp};
    let Op::Capture(capture) = op else { return None };
    let is_it = matches!(capture.what, Arp | Dhcp | Lacpdu | MulticastMembership | NeighbourDiscovery | Tcp);
    is_it.then(|| capture.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::plan::record::DeviceState;
    use crate::topology::Topology;

    #[test]
    fn links_come_in_the_same_order_whatever_their_numbers_are() {
        let text = "[ns.a.veth.x]\npeer = \"b:y\"\n[ns.b.veth.y]\npeer = \"a:x\"\n";
        let plan = crate::plan::lower::lower(&Topology::parse("t", "t.toml", text).expect("it is one"));
        let order = |devices: [&str; 3]| {
            let state = DeviceState { report: Some(LinkReport::default()), ..DeviceState::default() };
            let devices = devices.map(|device| (device.parse().expect("a device"), state.clone()));
            let after = Record::Counters { trial: 0, when: When::After, devices: devices.into() };
            let end = of(&plan.trials[0], 0, &[&after]).expect("it is sound");
            end.links.keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(order(["b:y", "a:z", "a:x"]), order(["a:x", "a:z", "b:y"]));
    }
}
