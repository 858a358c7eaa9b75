//! A statement about a run: which number, and what it must be.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::address::{Cidr, MacSource};
use crate::net::ip_address::IpAddrOutput;
use crate::net::name::{DeviceRef, NsName};
use crate::net::route::Route;
use crate::net::version::KernelRanges;
use crate::topology::observation::{Shown, Test};

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
    Source { flow: String, is: IpAddr },
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
    IpAddrOutput { ns: NsName, are: Vec<IpAddrOutput> },
    /// Frames that a capture counted. It differs a little from run to run.
    Captured { capture: String },
    /// What the kernel shows, after the last step.
    Shown { shown: Shown, test: Test },
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
            Self::IpAddrOutput { ns, are } => write!(f, "ip address of {ns}, {}", are.len()),
            Self::Captured { capture } => write!(f, "capture {capture}"),
            Self::Shown { shown, .. } => shown.fmt(f),
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
    /// Frames that arrived behind one of a higher number (RFC 4737), each number once.
    Reordered,
    /// Of TCP: segments that it has sent again (`tcpi_total_retrans` of TCP_INFO).
    Retransmitted,
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
            Self::Reordered => "reordered",
            Self::Retransmitted => "retransmitted",
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
