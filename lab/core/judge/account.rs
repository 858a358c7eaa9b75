//! The account of a run: what became of every frame, and everything that was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::judge::ledger::end::End;
use crate::judge::ledger::moved::{Foreign, Moved};
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::link_state::LinkStates;
use crate::net::name::DeviceRef;
use crate::plan::Role;
use crate::plan::record::{DropPlace, OpError, Tables};
use crate::topology::condition::Condition;
use crate::topology::observation::ShownValues;
use crate::topology::request::Refused;
use crate::topology::scenario::Flow;

/// The account of a whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// By number in the plan; the mutant ones, which are the last, without those that were left out.
    pub trials: Vec<TrialAccount>,
}

impl Account {
    /// How the steps about pods ended in the first trial; the mutants', which are later, attach less.
    pub fn pods(&self) -> &[PodAccount] {
        self.trials.first().map_or(&[], |trial| &trial.pods)
    }
}

/// The account of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialAccount {
    /// What the trial was for.
    pub role: Role,
    /// The operation the kernel refused, if one was; the trial ended there.
    pub refused: Option<Refusal>,
    /// Flows that were sent, in order.
    pub flows: Vec<FlowAccount>,
    /// Counters of each device, as differences.
    pub devices: IndexMap<DeviceRef, BTreeMap<String, u64>>,
    /// Root queueing discipline of each device.
    pub qdiscs: IndexMap<DeviceRef, QdiscAccount>,
    /// Root queueing disciplines that were replaced or removed in the run, with what they had counted by then.
    pub replaced: Vec<(DeviceRef, QdiscAccount)>,
    /// clsact of each device that has one.
    pub hooks: IndexMap<DeviceRef, QdiscAccount>,
    /// All links after the last step.
    pub links: LinkStates,
    /// Addresses and routes after the last step.
    pub tables: Tables,
    /// What the kernel showed after the last step.
    pub shown: ShownValues,
    /// What captures counted, by name.
    pub captured: BTreeMap<String, u64>,
    /// How each wait ended, in order; also those before a refusal.
    pub waits: Vec<WaitAccount>,
    /// How each step ended that was to be refused, in order.
    pub attempts: Vec<AttemptAccount>,
    /// How each step about a pod ended, in order; also those before a refusal.
    pub pods: Vec<PodAccount>,
    /// Frames that are not the lab's, lost.
    pub foreign: Vec<Foreign>,
    /// By how much those moved counters of devices and queues.
    pub moved: Moved,
    /// What else is reported of it.
    pub end: End,
    /// Why the drop tracepoint was not read, if it was not.
    pub unobserved: Option<String>,
}

impl TrialAccount {
    /// Of a trial of which nothing has been read yet.
    pub fn empty(role: Role) -> Self {
        Self {
            role,
            refused: None,
            flows: Vec::new(),
            devices: IndexMap::new(),
            qdiscs: IndexMap::new(),
            replaced: Vec::new(),
            hooks: IndexMap::new(),
            links: LinkStates::new(),
            tables: Tables::default(),
            shown: Vec::new(),
            captured: BTreeMap::new(),
            waits: Vec::new(),
            attempts: Vec::new(),
            pods: Vec::new(),
            foreign: Vec::new(),
            moved: Moved::new(),
            end: End::default(),
            unobserved: None,
        }
    }
}

/// A step that was to be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptAccount {
    /// In words.
    pub what: String,
    /// How it was to be refused.
    pub wanted: Refused,
    /// How it was; none where it was carried out.
    pub error: Option<OpError>,
}

/// A step about a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodAccount {
    /// In words, such as `attach pod to net-a, bond0`.
    pub what: String,
    /// Whether it attaches, and neither detaches nor checks.
    pub attaches: bool,
    /// The network whose failure is expected.
    pub fails: Option<String>,
    /// How the kernel must refuse it, where the file says so.
    pub refused: Option<Refused>,
    /// The network at fault, and why.
    pub failed: Option<(String, OpError)>,
    /// What could not be taken back.
    pub left: Vec<OpError>,
}

/// An operation that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What, and why.
    pub error: OpError,
    /// The devices it was to make or change.
    pub devices: Vec<DeviceRef>,
    /// Whether nothing was wrong but that the kernel does not know an option.
    pub is_unsupported: bool,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitAccount {
    /// What was waited for.
    pub until: Condition,
    /// How long at the most, in ms.
    pub within_ms: u32,
    /// The number as it was last seen.
    pub value: Option<u64>,
    /// What was shown, where that is no number.
    pub text: Option<String>,
    /// Whether it was what was wanted.
    pub held: bool,
}

/// A queueing discipline's counters: differences, but for the backlog, which is what it holds at the end. In the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QdiscAccount {
    /// `TCA_KIND` at the end.
    pub kind: String,
    /// Backlogs that the kernel has run below zero, which is a fault of the kernel: their numbers are of 32 bits without sign, and
    /// what it holds is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below_zero: Vec<String>,
    /// By name.
    #[serde(flatten)]
    pub counters: BTreeMap<String, u64>,
}

/// More packets or bytes than this are in no queue: the number has run below zero. `qlen` and `backlog` have 32 bits.
const BACKLOG_MAX: u64 = i32::MAX as u64;

impl QdiscAccount {
    /// With those of its backlogs of which the kernel has taken more off than there was.
    pub fn new(kind: &str, counters: BTreeMap<String, u64>) -> Self {
        let backlogs = ["backlog_packets", "backlog_bytes"].into_iter();
        let is_below = |name: &&str| counters.get(*name).is_some_and(|value| *value > BACKLOG_MAX);
        let below_zero = backlogs.filter(is_below).map(str::to_owned).collect();
        Self { kind: kind.to_owned(), below_zero, counters }
    }
}

/// The account of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowAccount {
    /// The flow.
    pub flow: Flow,
    /// Sends tried.
    pub asked: u32,
    /// Sends the kernel accepted.
    pub sent: u32,
    /// Sends refused, by errno.
    pub errors: BTreeMap<String, u32>,
    /// Frames seen at the receiver, each number once.
    pub delivered: u32,
    /// Frames seen again.
    pub duplicated: u32,
    /// The longest time without one of its frames at the receiver, in us; of flows with an interval.
    pub silence_us: Option<u64>,
    /// Frames that arrived behind one of a higher number.
    pub reordered: u32,
    /// Of TCP: segments that were sent again.
    pub retransmitted: Option<u32>,
    /// The addresses that its frames came from, as the receiver saw them.
    pub sources: BTreeSet<IpAddr>,
    /// Lost frames, by place.
    pub fates: Vec<Fate>,
    /// Lost frames without a place. Not 0 fails the run.
    pub unattributed: Frames,
    /// Places that lost some of them, but belong to no layer that the lab knows.
    pub unknown: Vec<DropPlace>,
}

impl FlowAccount {
    /// Frames that did not arrive.
    pub fn lost(&self) -> u32 {
        self.asked - self.delivered
    }
}

/// Where frames were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// Which part of the stack.
    pub layer: Layer,
    /// On which device; `None` for the socket, or where the kernel does not tell.
    pub device: Option<DeviceRef>,
    /// The kernel's reason by name, the function that freed the frame, an errno, `BACKLOG` for a queue that still
    /// holds it, or `COUNTED` where only a counter tells.
    pub reason: String,
    /// The kind of queue that dropped them, where a queue did; `noop` is that of a device without carrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// How many.
    pub frames: u32,
}

impl Fate {
    /// The device by name, or `otherwise` where the kernel does not name one.
    pub fn device_or(&self, otherwise: &str) -> String {
        self.device.as_ref().map_or_else(|| otherwise.to_owned(), ToString::to_string)
    }
}
