//! Whether a plan is one of time: what it measures, what the kernel goes by, or most of what it takes.

use crate::net::bond::BondChange;
use crate::net::link::{Link, LinkKind};
use crate::net::mode::BondMode;
use crate::plan::Plan;
use crate::plan::op::Op;
use crate::topology::Topology;
use crate::topology::condition::Subject;
use crate::topology::scenario::{Flow, Socket};

/// Pauses that are longer than all else in a run, which takes about a second.
const LONG_PAUSES_MS: u32 = 2_000;

/// The state of a device that has come up is UNKNOWN or DOWN until linkwatch has looked at it: once in a second
/// (`linkwatch_schedule_work()`), and what stands on it after that.
const LINKWATCH_MS: u32 = 2_000;

impl Plan {
    /// Whether it sends frames at an interval, and looks at how long none of them came; or has a bond that gives up a port
    /// which has been silent for some intervals, for a guest that the host lets wait has silent ports (`bond_time_in_interval()`);
    /// or has LACP, where a partner that the host lets wait is silent too, and expires (`ad_rx_machine()`);
    /// or has TCP, whose silence is judged after some of its retransmissions: they come by timers of the guest, which must
    /// not fall behind the time that the lab waits for them;
    /// or pauses so long that what the kernel does meanwhile, by its own timers, must not depend on how late the lab looks.
    pub fn is_timed(&self) -> bool {
        let by_time = |flow: &Flow| flow.interval_us.is_some() || flow.socket == Socket::Tcp;
        let paced = self.flows.iter().any(|flow| by_time(&flow.flow));
        let round = || self.trials.iter().take(self.round_len()).flat_map(|trial| &trial.ops);
        paced || round().any(has_timers) || round().map(pause_ms).sum::<u32>() >= LONG_PAUSES_MS
    }
}

fn has_timers(op: &Op) -> bool {
    match op {
        Op::Create { link: Link { kind: LinkKind::Bond(bond), .. }, .. } => {
            bond.mode == BondMode::Ieee8023Ad || bond.options.arp_interval.is_some()
        }
        Op::SetBond { change: BondChange::Bond { options, .. }, .. } => options.arp_interval.is_some(),
        _ => false,
    }
}

fn pause_ms(op: &Op) -> u32 {
    if let Op::Pause(for_ms) = op { *for_ms } else { 0 }
}

/// Time for the states of devices to become what they stay, where the file has them as `ip address` prints them.
pub(crate) fn settled(topology: &Topology) -> Option<Op> {
    let is_shown = |subject: &Subject| matches!(subject, Subject::IpAddrOutput { .. });
    topology.scenario.expect.iter().any(|it| is_shown(&it.subject)).then_some(Op::Pause(LINKWATCH_MS))
}
