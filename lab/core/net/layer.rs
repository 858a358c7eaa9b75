//! The parts of the network stack at which a frame can be lost.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the network stack that can lose a frame, from the sender down and up again to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The sending socket: the kernel made no frame of what was sent.
    Socket,
    /// IP: routing, headers, another host's address; on the way out or in.
    Ip,
    /// A packet filter of nftables or iptables, at any hook.
    Nft,
    /// The neighbour table: no answer to ARP or neighbour discovery.
    Neighbour,
    /// A classifier or BPF program at clsact or tcx, egress or ingress.
    Tc,
    /// A queueing discipline, also the one of a device without carrier (`noop_qdisc`).
    Qdisc,
    /// The VLAN device.
    Vlan,
    /// The bond: no port to send on.
    Bond,
    /// A macvlan, ipvlan or bridge device.
    Switch,
    /// The device or its driver: not ready, ring full, queue stopped.
    Driver,
    /// Outside of the kernel: a NIC's cable, or the switch inside a NIC with VFs.
    Wire,
    /// The other end of a veth pair does not take the frame; the device is that end.
    Peer,
    /// The queue between a device and the receiving processor (`net.core.netdev_max_backlog`), or a veth's ring.
    Backlog,
    /// An XDP program.
    Xdp,
    /// The receiving end: no protocol or socket for the frame, or the socket's queue is full or gone.
    Receiver,
}

impl Layer {
    /// Every layer, from the sender down and up again.
    pub const ALL: [Self; 15] = [
        Self::Socket,
        Self::Ip,
        Self::Nft,
        Self::Neighbour,
        Self::Tc,
        Self::Qdisc,
        Self::Vlan,
        Self::Bond,
        Self::Switch,
        Self::Driver,
        Self::Wire,
        Self::Peer,
        Self::Backlog,
        Self::Xdp,
        Self::Receiver,
    ];

    /// The word used in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Ip => "ip",
            Self::Nft => "nft",
            Self::Neighbour => "neighbour",
            Self::Tc => "tc",
            Self::Qdisc => "qdisc",
            Self::Vlan => "vlan",
            Self::Bond => "bond",
            Self::Switch => "switch",
            Self::Driver => "driver",
            Self::Wire => "wire",
            Self::Peer => "peer",
            Self::Backlog => "backlog",
            Self::Xdp => "xdp",
            Self::Receiver => "receiver",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
