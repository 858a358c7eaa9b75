//! What happens on a topology: flows, faults, steps, what is expected, and rival explanations.

mod fault;
mod qdisc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::cni::Attachment;
use crate::ip_address::Shown;
use crate::link::{Cidr, DeviceRef, MacSource, NsName, VlanId};
use crate::mitigation::Mitigation;
use crate::protocol::FrameClass;
use crate::topology::Route;
use crate::version::KernelRanges;

pub use fault::{Fault, FilterKind, Hook};
pub use qdisc::Qdisc;

/// Frames of one flow, at the most: a sequence of ranges must stay small, and a run short.
pub const FRAMES_MAX: u32 = 1_000_000;

/// A wait, a pause or a flow with an interval in s, at the most, unless the file raises it: a mistake of three digits is told
/// before anybody waits for it.
pub const WAIT_S_DEFAULT: u32 = 20;

/// What a file may raise that to. Twice as long a silence counts as a hang.
pub const WAIT_S_MAX: u32 = 3600;

/// How long a wait takes unless the file says otherwise: miimon, updelay and linkwatch add up to a few seconds.
pub const WITHIN_MS_DEFAULT: u32 = 10_000;

/// Through which door frames enter the stack; each hides or shows errors in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Socket {
    /// AF_PACKET, through the queueing discipline: `packet_snd()` returns `net_xmit_errno()`.
    Packet,
    /// AF_PACKET with PACKET_QDISC_BYPASS: `dev_direct_xmit()`.
    PacketBypass,
    /// UDP: `udp_send_skb()` hides ENOBUFS.
    Udp,
    /// UDP with IP_RECVERR: ENOBUFS is shown.
    UdpRecverr,
    /// ICMP echo requests from a ping socket (SOCK_DGRAM, IPPROTO_ICMP): no error is hidden. Nobody answers them.
    Ping,
    /// Numbered writes into one TCP connection, which is made before anything is broken. A write is delivered when it
    /// is read at the other end; segments that TCP sends again are frames of the kernel's own.
    Tcp,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packet => "packet",
            Self::PacketBypass => "packet-bypass",
            Self::Udp => "udp",
            Self::UdpRecverr => "udp-recverr",
            Self::Ping => "ping",
            Self::Tcp => "tcp",
        })
    }
}

/// Where the frames of a flow count as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CountsAt {
    /// An AF_PACKET socket at the receiving device has seen it. That is before traffic control, the VLAN layer and IP
    /// (`__netif_receive_skb_core()`), and says nothing about what becomes of it afterwards.
    Device,
    /// IP has taken it for its own and hands it to UDP or ICMP: after routing, rp_filter, netfilter's input hook and
    /// reassembly (`ip_protocol_deliver_rcu()`). Of an echo request that is the layer that would answer it.
    Stack,
    /// The receiving program has read it from its socket.
    Socket,
}

impl CountsAt {
    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Stack => "stack",
            Self::Socket => "socket",
        }
    }
}

impl Socket {
    /// Where frames count as delivered unless the flow says otherwise: at the last place that they are meant for. What an
    /// AF_PACKET socket sends is meant for whoever listens at the device.
    pub fn counts_at(self) -> CountsAt {
        match self {
            Self::Packet | Self::PacketBypass => CountsAt::Device,
            Self::Ping => CountsAt::Stack,
            Self::Udp | Self::UdpRecverr | Self::Tcp => CountsAt::Socket,
        }
    }

    /// Whether frames can count there: no socket takes an echo request, and a write of TCP is a frame at a socket only.
    pub fn can_count_at(self, place: CountsAt) -> bool {
        match self {
            Self::Packet | Self::PacketBypass | Self::Udp | Self::UdpRecverr => true,
            Self::Ping => place != CountsAt::Socket,
            Self::Tcp => place == CountsAt::Socket,
        }
    }
}

/// Numbered frames from one device to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its name in the topology.
    pub name: String,
    /// The device that sends.
    pub from: DeviceRef,
    /// The device by which frames are to arrive.
    pub to: DeviceRef,
    /// How they are sent.
    pub socket: Socket,
    /// Where they count as delivered.
    pub counts_at: CountsAt,
    /// How many.
    pub frames: u32,
    /// Length on the sending device in bytes, without FCS.
    pub len: usize,
    /// A tag in the frame itself.
    pub tag: Option<VlanId>,
    /// From one frame to the next, in microseconds; as fast as it goes without.
    pub interval_us: Option<u32>,
    /// Bound to no device and no address.
    #[serde(default)]
    pub unbound: bool,
    /// Of TCP: seconds of silence before it asks whether the other end is there, and again before it gives up.
    #[serde(default)]
    pub keepalive_s: Option<u32>,
    /// Of TCP: connected when it is sent.
    #[serde(default)]
    pub connect_late: bool,
}

/// One thing done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Break something, by the fault's name.
    Inject(String),
    /// Mend it again.
    Clear(String),
    /// Send a flow's frames and wait until they have arrived or are accounted for.
    Flood(String),
    /// Send a flow's frames, and break something just before one of them.
    Break {
        /// The flow.
        flow: String,
        /// The fault's name.
        inject: String,
        /// The frame's number.
        at_frame: u32,
    },
    /// Wait until a condition on states or captures holds. It is a check: a wait that was in vain fails the run.
    Wait {
        /// What is waited for.
        until: Condition,
        /// How long at the most, in ms.
        within_ms: u32,
    },
    /// Let time pass, in ms.
    Pause(u32),
    /// Attach a pod to its networks. It is a check.
    Attach(Box<Attachment>),
    /// Take a pod away from its networks. It is a check.
    Detach(Box<Attachment>),
    /// What a bond's device selectors match besides its ports, enslaved.
    Reconcile { bond: DeviceRef, found: Vec<DeviceRef> },
    /// Read back what an attachment made. It is a check.
    Check(Box<Attachment>),
}

/// Frames of one class counted where they arrive, from the first step to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Its name in the topology.
    pub name: String,
    /// Where they arrive.
    pub device: DeviceRef,
    /// Which frames.
    pub what: FrameClass,
    /// The VLAN of their outermost tag; untagged ones only without.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// Their source address; any without.
    #[serde(default)]
    pub src_mac: Option<MacSource>,
    /// ARP's sender, or the source of their IP header; any without.
    #[serde(default)]
    pub src_ip: Option<IpAddr>,
}

impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.device)?;
        if let Some(vlan) = self.vlan {
            write!(f, " in VLAN {}", vlan.get())?;
        }
        if let Some(mac) = &self.src_mac {
            write!(f, " from {mac}")?;
        }
        self.src_ip.map_or(Ok(()), |address| write!(f, " of {address}"))
    }
}

/// A state of a link, as a number; what is true or false is 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Whether it is set up (IFF_UP).
    Up,
    /// Whether it has carrier (IFF_LOWER_UP).
    Carrier,
    /// Its largest packet, in bytes.
    Mtu,
    /// Whether there is such a device at all.
    Exists,
    /// Whether its bond uses it: the active port of active-backup, a port of the active aggregator of 802.3ad.
    Active,
    /// Whether its bond's monitor takes it for up.
    MiiStatus,
    /// How many ports it has.
    Ports,
    /// How many ports the active aggregator of an 802.3ad bond has; 0 when there is none.
    AggregatorPorts,
    /// Whether the active aggregator of an 802.3ad bond has heard a partner.
    Partner,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Carrier => "carrier",
            Self::Mtu => "mtu",
            Self::Exists => "exists",
            Self::Active => "active",
            Self::MiiStatus => "mii_status",
            Self::Ports => "ports",
            Self::AggregatorPorts => "aggregator_ports",
            Self::Partner => "partner",
        })
    }
}

/// A number that a run produces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A number of a flow's account.
    Flow { flow: String, field: FlowField },
    /// Sends refused with this errno.
    Errno { flow: String, errno: String },
    /// Frames lost at a layer, on one device or any, for one of the kernel's drop reasons or any.
    Fate {
        flow: String,
        layer: String,
        device: Option<DeviceRef>,
        #[serde(default)]
        reason: Option<String>,
    },
    /// Whether a flow's frames come from this address and no other, as the receiver sees them: 1 or 0.
    Source { flow: String, is: Ipv4Addr },
    /// A counter of `struct rtnl_link_stats64`, as a difference over the trial.
    Device { device: DeviceRef, counter: String },
    /// A counter of a root queueing discipline, as a difference over the trial.
    Qdisc { device: DeviceRef, counter: String },
    /// A counter of a device's clsact, as a difference over the trial.
    Clsact { device: DeviceRef, counter: String },
    /// A state of a link after the last step.
    State { device: DeviceRef, state: State },
    /// Whether a link has this Ethernet address after the last step: 1 or 0.
    Mac { device: DeviceRef, is: MacSource },
    /// Whether a device has this address after the last step: 1 or 0.
    Address { device: DeviceRef, is: Cidr },
    /// Whether a namespace has exactly these IPv4 routes after the last step: 1 or 0.
    Routes { ns: NsName, are: Vec<Route> },
    /// Whether `ip address` in a namespace prints this after the last step: 1 or 0.
    Shown { ns: NsName, are: Vec<Shown> },
    /// Frames that a capture counted. It differs a little from run to run.
    Captured { capture: String },
    /// Whether the kernel refused to do something to a device, with this errno: 1 or 0. The trial ends there.
    Refused { device: DeviceRef, errno: String },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow { flow, field } => write!(f, "flow {flow} {field}"),
            Self::Errno { flow, errno } => write!(f, "flow {flow} {errno}"),
            Self::Fate { flow, layer, device, reason } => {
                write!(f, "flow {flow} lost at {layer}")?;
                if let Some(device) = device {
                    write!(f, " of {device}")?;
                }
                reason.as_ref().map_or(Ok(()), |reason| write!(f, " for {reason}"))
            }
            Self::Source { flow, is } => write!(f, "flow {flow} seen from {is}"),
            Self::Device { device, counter } => write!(f, "{device} {counter}"),
            Self::Qdisc { device, counter } => write!(f, "qdisc of {device} {counter}"),
            Self::Clsact { device, counter } => write!(f, "clsact of {device} {counter}"),
            Self::State { device, state } => write!(f, "{device} {state}"),
            Self::Mac { device, is } => write!(f, "{device} mac {is}"),
            Self::Address { device, is } => write!(f, "{device} address {is}"),
            Self::Routes { ns, are } => write!(f, "routes of {ns}, {}", are.len()),
            Self::Shown { ns, are } => write!(f, "ip address of {ns}, {}", are.len()),
            Self::Captured { capture } => write!(f, "capture {capture}"),
            Self::Refused { device, errno } => write!(f, "{device} refused with {errno}"),
        }
    }
}

/// A number of a flow's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowField {
    /// Sends tried.
    Asked,
    /// Sends the kernel accepted.
    Sent,
    /// Sends refused with an errno.
    Refused,
    /// Frames that arrived where the flow's frames count, each number once.
    Delivered,
    /// `asked - delivered`.
    Lost,
    /// Frames seen more than once.
    Duplicated,
    /// The longest time without any of its frames at the receiver, in ms; of flows with an interval.
    SilenceMs,
}

impl fmt::Display for FlowField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::SilenceMs => "silence_ms",
        })
    }
}

/// Bounds on a number, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Smallest accepted value.
    pub at_least: u64,
    /// Largest accepted value; `None` means no limit.
    pub at_most: Option<u64>,
}

impl Bounds {
    /// Whether `value` lies within.
    pub fn hold(&self, value: u64) -> bool {
        value >= self.at_least && self.at_most.is_none_or(|most| value <= most)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (least, Some(most)) if least == most => write!(f, "{least}"),
            (0, Some(most)) => write!(f, "at most {most}"),
            (least, Some(most)) => write!(f, "{least} to {most}"),
            (least, None) => write!(f, "at least {least}"),
        }
    }
}

/// A statement about a run that holds or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its name in reports.
    pub name: String,
    /// Which number.
    pub subject: Subject,
    /// What it must be.
    pub bounds: Bounds,
    /// The fault that breaks it, where its author names one; `--prove` finds one otherwise.
    #[serde(default)]
    pub broken_by: Option<String>,
    /// The kernels it is for, and on no other one does it hold; all without.
    #[serde(default)]
    pub when: Option<KernelRanges>,
}

/// A change of a topology in which an expectation must not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contrary {
    /// None of its faults.
    Healthy,
    /// None of its faults, but this one from the first step on.
    Broken(Fault),
    /// This one of its faults from the first step on, and everything else as written.
    Named(String),
    /// Half of the frames.
    Halved,
    /// A device made without its options, and nothing broken. A PF's are what it is told of its VFs; a VF's, what its
    /// PF is told of it.
    Plain(DeviceRef),
    /// A device without addresses, and nothing broken.
    Unaddressed(DeviceRef),
    /// A bond with another port, which has carrier, and nothing broken.
    Joined(DeviceRef),
    /// All cables of a namespace out, and this one in again.
    Replugged(DeviceRef),
    /// No pod attached to anything, and nothing done.
    Undone,
    /// Pods attached to so many of their networks only, and nothing done.
    Networks(usize),
    /// Pods attached by a sriov plugin that tells the PF nothing: no VLAN, no spoofchk, no trust.
    Untold,
    /// Everything as written, but no pod detached.
    Kept,
    /// Everything as written, and then this device set up.
    Raised(DeviceRef),
    /// Everything as written, and then this device given a stranger's Ethernet address.
    Readdressed(DeviceRef),
    /// Everything as written, and then a device of this name made.
    Made(DeviceRef),
    /// Another one of these, and then a wait for what it brings about.
    Until(Box<Contrary>, Condition),
}

/// A condition of the main trial that contrary trials are to break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToBreak {
    /// An expectation, or what a step waits for.
    pub condition: Condition,
    /// The trials that are meant to, by their places among the contrary ones.
    pub contraries: Vec<usize>,
}

/// A bug report's own words, as conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Flows sent under each hypothesis, in order.
    pub floods: Vec<String>,
    /// What the report observed.
    pub evidence: Vec<Observation>,
}

/// A piece of a report's evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What was observed.
    pub condition: Condition,
    /// The mitigation that had been tried by then, by name.
    pub under: Option<String>,
}

/// One explanation of a report: faults that would have to produce its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// Its name.
    pub name: String,
    /// The explanation in plain words.
    pub about: String,
    /// Faults injected before the report's flows.
    pub inject: Vec<String>,
    /// What the faults come to by and by, and must have before the flows are sent.
    pub wait: Option<Condition>,
    /// Whether the author expects it to fit all the evidence; a check when given.
    pub fits: Option<bool>,
}

impl Contrary {
    /// The fault that it injects and the topology does not have.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Broken(fault) => Some(fault),
            Self::Until(other, _) => other.fault(),
            _ => None,
        }
    }
}

/// Everything that happens on a topology.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scenario {
    /// By name, in the order of the file.
    pub flows: IndexMap<String, Flow>,
    /// By name, in the order of the file.
    pub faults: IndexMap<String, Fault>,
    /// By name, in the order of the file.
    pub captures: IndexMap<String, Capture>,
    /// The main run.
    pub steps: Vec<Step>,
    /// What must hold after it.
    pub expect: Vec<Condition>,
    /// The report, if the topology reproduces one.
    pub report: Option<Report>,
    /// Rival explanations of the report.
    pub hypotheses: Vec<Hypothesis>,
    /// What was tried against the report.
    pub mitigations: Vec<Mitigation>,
    /// Whether it is to be proven that what is expected, waited for and observed can fail.
    pub to_prove: bool,
    /// Changes that are to break it; none unless that is to be proven.
    pub contraries: Vec<Contrary>,
    /// What each of them is for.
    pub to_break: Vec<ToBreak>,
    /// Whether drops are counted only, and the tracepoint is left alone.
    pub unobserved: bool,
}

/// Fields of `struct rtnl_link_stats64` (include/uapi/linux/if_link.h), in its order.
pub const DEVICE_COUNTERS: [&str; 24] = [
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
    "rx_compressed",
    "tx_compressed",
    "rx_nohandler",
];

/// Counters of a queueing discipline: `struct gnet_stats_basic` and `gnet_stats_queue`.
pub const QDISC_COUNTERS: [&str; 7] =
    ["packets", "bytes", "drops", "requeues", "overlimits", "backlog_packets", "backlog_bytes"];
