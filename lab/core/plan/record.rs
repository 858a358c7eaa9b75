//! What crosses between host and guest: one JSON document a line, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::net::address::Cidr;
use crate::net::frame_class::FrameClass;
use crate::net::frame_set::Frames;
use crate::net::ip_address::IpAddrOutput;
use crate::net::kernel_log::KernelLog;
use crate::net::layer::Layer;
use crate::net::link_state::{LinkReport, LinkState};
use crate::net::name::{DeviceRef, NsName};
use crate::net::route::Route;
use crate::plan::Plan;
use crate::plan::digest::Digest;
use crate::plan::exec::ExecRequest;
use crate::plan::moment::When;
use crate::plan::tapped::{Missed, TappedFrame};

/// Host to guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Carry out a plan, then finish.
    Run(Plan),
    /// Carry out a plan, then wait for the next request: the guest is shared.
    RunAndWait(Plan),
    /// Run a command, then finish.
    Exec(Box<ExecRequest>),
    /// What the guest asked for is done; or why not.
    Answer(Option<String>),
}

/// Guest to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The running kernel lacks what the plan needs; nothing else was done.
    Missing {
        /// One sentence each.
        what: Vec<String>,
    },
    /// The guest asks its host to pull a cable out, or put it in again, and waits for the answer.
    CableRequest {
        /// The NIC at either end.
        slot: usize,
        /// Whether the cable is in afterwards.
        is_in: bool,
    },
    /// The longest time without a frame of a flow at its receiver, from its first frame to its last.
    Silence { trial: u16, flow: u16, longest_us: u64 },
    /// How many of a flow's frames arrived behind one of a higher number; of TCP, how many segments were sent again.
    Order { trial: u16, flow: u16, reordered: u32, retransmitted: Option<u32> },
    /// The addresses that a flow's frames came from, as its receiver saw them: a router may have put its own there.
    Sources { trial: u16, flow: u16, sources: BTreeSet<IpAddr> },
    /// A mutant trial was not needed: everything was broken before it.
    TrialLeftOut { trial: u16 },
    /// A trial begins, by its number in the plan.
    TrialStarted { trial: u16 },
    /// An operation was carried out and read back.
    OpDone { trial: u16, op: u32 },
    /// An operation failed; the trial ends here.
    OpFailed {
        trial: u16,
        op: u32,
        error: OpError,
        /// Whether nothing was wrong but that this kernel does not know an option: it takes it without a word, and shows none.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_unsupported: bool,
    },
    /// What became of a flow's sends.
    Sent {
        trial: u16,
        flow: u16,
        /// Sends the kernel accepted.
        accepted: Frames,
        /// Sends it refused, by errno.
        refused: BTreeMap<String, Frames>,
        /// Writes of a TCP flow that were accepted and not acknowledged within a bound; they may have arrived since.
        unacknowledged: Frames,
    },
    /// What a flow's receiver saw.
    Seen {
        trial: u16,
        flow: u16,
        /// Each number once.
        frames: Frames,
        /// Frames that came more than once.
        duplicated: u32,
        /// Frames the receiving socket lost itself (PACKET_STATISTICS); not 0 makes the run worthless.
        overrun: u32,
        /// Datagrams that the receiving UDP socket says it has dropped (SK_MEMINFO_DROPS), of all flows to it; none where
        /// frames count as delivered before they get to a socket.
        #[serde(default)]
        socket_dropped: Option<u32>,
    },
    /// Frames of a flow freed by the kernel as lost (skb:kfree_skb), all at one place.
    Dropped { trial: u16, flow: u16, frames: Frames, place: DropPlace },
    /// Frames of a flow that came out of where no counter shows them when it was drained, after everything was counted.
    Drained {
        trial: u16,
        flow: u16,
        frames: Frames,
        /// Neighbour or driver.
        layer: Layer,
        /// Whose.
        device: Option<DeviceRef>,
    },
    /// Frames that are not the lab's, lost at one place.
    DroppedForeign {
        trial: u16,
        count: u32,
        /// What they are, if the lab knows them.
        #[serde(default)]
        class: Option<FrameClass>,
        /// The VLAN of their outermost tag, in band or in the skb's metadata.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        place: DropPlace,
    },
    /// The drop observer's own account for a trial.
    Observed {
        trial: u16,
        /// Events that did not fit its buffer; not 0 makes the run worthless.
        lost: u64,
        /// Why there is no observer.
        unavailable: Option<String>,
    },
    /// How the attachment of a pod ended, or what was done to one.
    Pod {
        trial: u16,
        op: u32,
        /// The network at fault, and why.
        failed: Option<(String, OpError)>,
        /// What DEL of what was added before could not do; only this record has it.
        left: Vec<OpError>,
    },
    /// How a wait ended: the number it waited for as it was last seen, and whether that is what was wanted.
    Waited {
        trial: u16,
        op: u32,
        value: Option<u64>,
        /// What was shown, where that is no number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        held: bool,
    },
    /// How something ended that the kernel may refuse; none where it was carried out.
    Attempted { trial: u16, op: u32, error: Option<OpError> },
    /// What the kernel showed, in the order in which it was asked for; none where it shows none.
    Shown { trial: u16, op: u32, values: Vec<Option<String>> },
    /// Frames a capture counted, from the first step to the last.
    Captured {
        trial: u16,
        capture: String,
        count: u64,
        /// Frames the capturing socket lost itself (PACKET_STATISTICS); not 0 makes the run worthless.
        overrun: u32,
    },
    /// Frames that a device at one end of a flow sent or received, in their order. They are for people: no account is made of
    /// them.
    Tapped {
        trial: u16,
        device: DeviceRef,
        frames: Vec<TappedFrame>,
        /// What is missing since the record before.
        missed: Missed,
    },
    /// All counters of a trial's namespaces.
    Counters { trial: u16, when: When, devices: IndexMap<DeviceRef, DeviceState> },
    /// Addresses and IPv4 routes of a trial's namespaces after the last step.
    Tables { trial: u16, tables: Tables },
    /// What the kernel said besides: in its log, and in acknowledgements of requests that it carried out.
    Log {
        trial: u16,
        /// None where the log is not the machine's own.
        kernel: Option<KernelLog>,
        /// Extended acknowledgements by text, with the number of requests that got them.
        acknowledged: BTreeMap<String, u32>,
    },
    /// The last record of a run.
    Finished {
        /// Records before this one: a lost one is noticed.
        records: u32,
        /// Their [`Digest`]: one that is not as it was written is noticed.
        digest: u64,
    },
}

impl Record {
    /// The last record, after these.
    #[must_use]
    pub fn finished(records: &[Record]) -> Self {
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        Self::Finished { records: count, digest: Digest::of(records) }
    }

    /// The trial it speaks of.
    pub fn trial(&self) -> Option<u16> {
        match self {
            Self::TrialStarted { trial }
            | Self::TrialLeftOut { trial }
            | Self::OpDone { trial, .. }
            | Self::OpFailed { trial, .. }
            | Self::Sent { trial, .. }
            | Self::Seen { trial, .. }
            | Self::Dropped { trial, .. }
            | Self::Drained { trial, .. }
            | Self::DroppedForeign { trial, .. }
            | Self::Observed { trial, .. }
            | Self::Waited { trial, .. }
            | Self::Shown { trial, .. }
            | Self::Attempted { trial, .. }
            | Self::Captured { trial, .. }
            | Self::Tapped { trial, .. }
            | Self::Pod { trial, .. }
            | Self::Silence { trial, .. }
            | Self::Sources { trial, .. }
            | Self::Order { trial, .. }
            | Self::Tables { trial, .. }
            | Self::Log { trial, .. }
            | Self::Counters { trial, .. } => Some(*trial),
            Self::Missing { .. } | Self::CableRequest { .. } | Self::Finished { .. } => None,
        }
    }
}

/// Where the kernel freed a frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropPlace {
    /// The device the frame was on, if it is one of the topology's.
    pub device: Option<DeviceRef>,
    /// `enum skb_drop_reason` by name; `None` before 5.17.
    pub reason: Option<String>,
    /// The kind of queueing discipline on the frame's transmit queue, `noop` without carrier.
    pub qdisc: Option<String>,
    /// The function that freed it.
    pub location: String,
    /// Its callers, nearest first.
    pub stack: Vec<String>,
}

/// Addresses and routes at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// By device.
    pub addresses: BTreeMap<DeviceRef, Vec<Cidr>>,
    /// Unicast routes of IPv4's main table, by namespace.
    pub routes: BTreeMap<NsName, Vec<Route>>,
    /// Devices as `ip address` prints them, by namespace.
    pub shown: BTreeMap<NsName, Vec<IpAddrOutput>>,
}

/// A device's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceState {
    /// Its number: a device that was made anew starts to count anew, and its number tells.
    pub index: u32,
    /// `struct rtnl_link_stats64`, by field name.
    pub counters: BTreeMap<String, u64>,
    /// The root queueing discipline, and those of clsact.
    pub qdiscs: Vec<QdiscState>,
    /// What is not counted.
    pub link: LinkState,
    /// What else is reported of it at the end, once everything is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<LinkReport>,
}

/// `parent` of a root discipline that was replaced or removed in the run.
pub const REPLACED: &str = "replaced";

/// A queueing discipline's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QdiscState {
    /// `TCA_KIND`.
    pub kind: String,
    /// Where it hangs: `root`, `clsact`, or a class as `1:2`; [`REPLACED`] where it was `root`, and what it had counted just
    /// before it was replaced is reported.
    pub parent: String,
    /// Its own handle: a replaced discipline starts to count anew, and its handle tells.
    pub handle: u32,
    /// By name; backlog is a level, all others only grow.
    pub counters: BTreeMap<String, u64>,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpError {
    /// What was tried, in words.
    pub what: String,
    /// The errno's name, when the kernel refused.
    pub errno: Option<String>,
    /// What the kernel says about it (extended ack), or what differs from what was asked.
    pub text: Option<String>,
}

impl std::fmt::Display for OpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        for part in [&self.errno, &self.text].into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}
