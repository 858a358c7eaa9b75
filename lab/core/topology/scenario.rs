//! What happens on a topology: flows, faults, steps, what is expected, and rival explanations.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

use crate::net::address::MacSource;
use crate::net::bond::BondChange;
use crate::net::flow_shape::FlowShape;
use crate::net::frame_class::FrameClass;
use crate::net::name::{DeviceRef, NsName, VlanId};
use crate::net::sysctl::Sysctl;
use crate::topology::cni::Attachment;
use crate::topology::mitigation::Mitigation;

use crate::topology::condition::Condition;
pub use crate::topology::fault::{Fault, FilterKind, Hook};
use crate::topology::request::{Refused, Request};

/// Frames of one flow, at the most: a sequence of ranges must stay small, and a run short.
pub const FRAMES_MAX: u32 = 1_000_000;

/// A wait, a pause or a flow with an interval in s, at the most, unless the file raises it: a mistake of three digits is reported
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
    /// SOCK_RAW with IPPROTO_RAW: whole IP packets, which the routes lead (`raw_send_hdrinc()`, `rawv6_send_hdrinc()`).
    Raw,
    /// ICMP echo requests from a ping socket (SOCK_DGRAM, IPPROTO_ICMP or IPPROTO_ICMPV6): of IPv4 no error is hidden, of IPv6 ENOBUFS
    /// is. They are not answered.
    Ping,
    /// Numbered writes into one TCP connection, which is made before anything is broken. A write is delivered when it
    /// is read at the other end; segments that TCP sends again are frames of the kernel's own.
    Tcp,
}

impl Socket {
    /// Whether the lab writes the Ethernet header of its frames, and not the kernel.
    pub fn writes_ethernet(self) -> bool {
        matches!(self, Self::Packet | Self::PacketBypass)
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packet => "packet",
            Self::PacketBypass => "packet-bypass",
            Self::Udp => "udp",
            Self::UdpRecverr => "udp-recverr",
            Self::Raw => "raw",
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
            Self::Udp | Self::UdpRecverr | Self::Raw | Self::Tcp => CountsAt::Socket,
        }
    }

    /// Whether frames can count there: no socket takes an echo request, and a write of TCP is a frame at a socket only.
    pub fn can_count_at(self, place: CountsAt) -> bool {
        match self {
            Self::Packet | Self::PacketBypass | Self::Udp | Self::UdpRecverr | Self::Raw => true,
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
    /// Of AF_PACKET: the destination's Ethernet address; the receiver's own without.
    #[serde(default)]
    pub destination_mac: Option<MacSource>,
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
    /// What its packets are like besides.
    #[serde(default, skip_serializing_if = "FlowShape::is_default")]
    pub shape: FlowShape,
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
    /// Wait until a condition on states or captures holds. It is a check: a wait that timed out fails the run.
    Wait {
        /// What is waited for.
        until: Condition,
        /// How long at the most, in ms.
        within_ms: u32,
    },
    /// Change options of a bond or of its port.
    Set {
        /// The bond or port.
        device: DeviceRef,
        /// What is asked of it.
        change: BondChange,
    },
    /// Ask something of the kernel.
    Request(Request),
    /// Set a namespace's settings.
    Sysctls { ns: NsName, sysctls: Vec<Sysctl> },
    /// Delete a device, and with it what stands on it.
    Delete(DeviceRef),
    /// Make a device as the topology describes it.
    Create(DeviceRef),
    /// A step that the kernel must refuse. It is a check, and the next step is done all the same.
    Refused {
        /// What is refused.
        step: Box<Step>,
        /// How.
        refused: Refused,
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

impl Step {
    /// Whether it changes what the topology is made of, and mends nothing and breaks nothing by the name of a fault.
    pub fn changes(&self) -> bool {
        match self {
            Self::Request(_) | Self::Sysctls { .. } | Self::Delete(_) | Self::Create(_) => true,
            Self::Refused { step, .. } => step.changes(),
            _ => false,
        }
    }
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
    /// The priority (PCP) of their outermost tag; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcp: Option<u8>,
    /// Their DSCP; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
    /// Their ECN bits; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecn: Option<u8>,
    /// Of probes: the flow that they are of, by name; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
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
        for (what, value) in [("priority", self.pcp), ("DSCP", self.dscp), ("ECN", self.ecn)] {
            value.map_or(Ok(()), |value| write!(f, " with {what} {value}"))?;
        }
        if let Some(flow) = &self.flow {
            write!(f, " of flow {flow}")?;
        }
        self.src_ip.map_or(Ok(()), |address| write!(f, " of {address}"))
    }
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
}
