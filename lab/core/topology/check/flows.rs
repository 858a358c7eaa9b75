//! Flows: who sends to whom, by which socket, and what the packets are like.

use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::net::address::MacSource;
use crate::net::family::Family;
use crate::net::flow_shape::FlowShape;
use crate::net::frame_template::group_mac;
use crate::net::name::DeviceRef;
use crate::net::probe::PROBE_LEN;
use crate::topology::Topology;
use crate::topology::check::Checker;
use crate::topology::file::{At, FlowTable};
use crate::topology::scenario::{CountsAt, FRAMES_MAX, Flow, Socket};

/// Length of the frame of a plain `ping`: 56 bytes of data, ICMP, IPv4 and Ethernet headers.
const FRAME_LEN_DEFAULT: usize = 98;

/// The longest IPv4 packet in an Ethernet frame.
const FRAME_LEN_MAX: usize = 65549;

/// TC_PRIO_MAX, include/uapi/linux/pkt_sched.h: maps of priorities have that many entries and one.
const PRIORITY_MAX: u32 = 15;

/// Source ports that a flow is spread over, at the most: each is a socket.
const SOURCE_PORTS_MAX: u32 = 1000;

/// MAX_TCP_KEEPIDLE, include/net/tcp.h.
const KEEPALIVE_S_MAX: u32 = 32_767;

/// Resolves one flow.
pub fn resolve(name: &str, table: &FlowTable, topology: &Topology, checker: &mut Checker<'_>) -> Flow {
    for device in [&table.from, &table.to] {
        checker.device(device);
        if topology.links.get(&device.value).is_some_and(|link| link.later) {
            let message = format!("{} is not there when flows are sent", device.value);
            checker.problem(&device.span, message, "it is made later: name a device that the topology has");
        }
    }
    if !(1..=FRAMES_MAX).contains(&table.frames.value) {
        let message = format!("{} frames are out of range: 1 to {FRAMES_MAX}", table.frames.value);
        checker.problem(&table.frames.span, message, "a thousand show most things");
    }
    let family = table.family.unwrap_or_default();
    let len_min = match table.socket {
        Some(Socket::Tcp) => family.tcp_headers_len() + PROBE_LEN,
        _ => family.frame_len_min() + if table.tag.is_some() { 4 } else { 0 },
    };
    if let Some(len) = &table.len
        && !(len_min..=FRAME_LEN_MAX).contains(&len.value)
    {
        let message = format!("a frame of {} bytes is out of range: {len_min} to {FRAME_LEN_MAX}", len.value);
        checker.problem(&len.span, message, "headers and the lab's number must fit");
    }
    let lacks_address = |device: &DeviceRef, checker: &Checker<'_>| {
        topology.link(device).is_some()
            && topology.address_of(device, family).is_none()
            && !checker.lost_of(device, "addresses")
    };
    if lacks_address(&table.to.value, checker) {
        let message = format!("{} has no {family} address to send to", table.to.value);
        checker.problem(&table.to.span, message, "give it one in `addresses`");
    }
    let socket = table.socket.unwrap_or(Socket::Packet);
    let through_ip = !socket.writes_ethernet();
    if through_ip && lacks_address(&table.from.value, checker) {
        let message = format!("{} has no {family} address to send from", table.from.value);
        checker.problem(&table.from.span, message, "give it one in `addresses`, or use socket = \"packet\"");
    }
    if let Some(tag) = table.tag.as_ref().filter(|_| through_ip) {
        let hint = "use socket = \"packet\" with `tag`";
        checker.problem(&tag.span, format!("a {socket} socket cannot write a tag"), hint);
    }
    let counts_at = counted_at(table, socket, checker);
    if !through_ip || counts_at == CountsAt::Device {
        for device in [&table.from, &table.to] {
            has_ethernet_header(device, topology, checker);
        }
    }
    Flow {
        name: name.into(),
        from: table.from.value.clone(),
        to: table.to.value.clone(),
        socket,
        counts_at,
        frames: table.frames.value,
        len: table.len.as_ref().map_or(FRAME_LEN_DEFAULT, |len| len.value),
        tag: table.tag.as_ref().map(|tag| tag.value),
        destination_mac: table.destination_mac.as_ref().map(|mac| addressed_to(mac, socket, checker)),
        interval_us: table.interval_us.as_ref().map(|interval| paced(interval, table, checker)),
        unbound: table.unbound.as_ref().is_some_and(|unbound| unbound_by(unbound, socket, checker)),
        keepalive_s: table.keepalive_s.as_ref().map(|keepalive| kept_alive(keepalive, socket, checker)),
        connect_late: table.connect_late.as_ref().is_some_and(|late| connected_late(late, socket, checker)),
        shape: shape(table, socket, checker),
    }
}

/// Frames that the lab writes, or sees at a device, have an Ethernet header.
fn has_ethernet_header(device: &At<DeviceRef>, topology: &Topology, checker: &mut Checker<'_>) {
    if let Some(link) = topology.links.get(&device.value).filter(|link| !link.has_ethernet_header()) {
        let message =
            format!("{} is a {}, whose packets have no Ethernet header", device.value, link.kind.word());
        let hint = "use socket = \"udp\", \"raw\" or \"ping\", which count at the socket or in the stack";
        checker.problem(&device.span, message, hint);
    }
}

fn unbound_by(unbound: &At<bool>, socket: Socket, checker: &mut Checker<'_>) -> bool {
    if unbound.value && !matches!(socket, Socket::Udp | Socket::UdpRecverr) {
        let message = format!("a {socket} socket is bound to its device");
        let hint = "use socket = \"udp\" with `unbound`: the routes decide for it";
        checker.problem(&unbound.span, message, hint);
    }
    unbound.value
}

fn addressed_to(mac: &At<MacSource>, socket: Socket, checker: &mut Checker<'_>) -> MacSource {
    checker.mac(mac);
    if !socket.writes_ethernet() {
        let message = format!("a {socket} socket does not write Ethernet addresses");
        let hint = "give its namespace a neighbour with that `mac`, or use socket = \"packet\"";
        checker.problem(&mac.span, message, hint);
    }
    mac.value.clone()
}

/// Where its frames count. A frame to a group is for no socket of the lab: none has joined it.
fn counted_at(table: &FlowTable, socket: Socket, checker: &mut Checker<'_>) -> CountsAt {
    let usual = if table.group.is_some() { CountsAt::Device } else { socket.counts_at() };
    let Some(at) = &table.counts_at else { return usual };
    if !socket.can_count_at(at.value) {
        let message = format!("frames of a {socket} socket cannot count at `{}`", at.value.word());
        let hint = match socket {
            Socket::Ping => "no socket takes an echo request: `stack` is the layer that answers it",
            _ => "a write counts when the other end of the connection has read it: `socket`",
        };
        checker.problem(&at.span, message, hint);
    } else if table.group.is_some() && at.value != CountsAt::Device {
        let message = format!("what is sent to a group cannot count at `{}`", at.value.word());
        checker.problem(&at.span, message, "frames to a group count at the device: `device`");
    }
    at.value
}

/// What its packets are like besides.
fn shape(table: &FlowTable, socket: Socket, checker: &mut Checker<'_>) -> FlowShape {
    let family = table.family.unwrap_or_default();
    let builds_headers = matches!(socket, Socket::Packet | Socket::PacketBypass | Socket::Raw);
    if let Some(pmtudisc) = table.pmtudisc.as_ref().filter(|_| builds_headers && family == Family::Ipv6) {
        let message = format!("a {socket} socket has no `pmtudisc` of IPv6");
        checker.problem(&pmtudisc.span, message, "IPv6's header has no IP_DF: no router fragments a packet");
    }
    FlowShape {
        family,
        pmtudisc: table.pmtudisc.as_ref().map(|at| at.value),
        priority: bounded(table.priority.as_ref(), "a priority", (0, PRIORITY_MAX), checker),
        tos: bounded(table.tos.as_ref(), "a type of service", (0, u8::MAX.into()), checker)
            .and_then(|tos| u8::try_from(tos).ok()),
        source_ports: table.source_ports.as_ref().and_then(|at| source_ports(at, socket, checker)),
        group: table.group.as_ref().map(|at| group(at, family, socket, checker)),
    }
}

/// A number of this range.
fn bounded(
    at: Option<&At<u32>>,
    what: &str,
    (least, most): (u32, u32),
    checker: &mut Checker<'_>,
) -> Option<u32> {
    let at = at?;
    if !(least..=most).contains(&at.value) {
        let message = format!("{what} of {} is out of range: {least} to {most}", at.value);
        checker.problem(&at.span, message, "leave it away for the kernel's own choice");
    }
    Some(at.value)
}

fn source_ports(at: &At<u32>, socket: Socket, checker: &mut Checker<'_>) -> Option<NonZeroU16> {
    if matches!(socket, Socket::Ping | Socket::Tcp) {
        let message = format!("a {socket} socket cannot be spread over source ports");
        let hint = "use socket = \"udp\", \"raw\" or \"packet\"; several connections are several flows";
        checker.problem(&at.span, message, hint);
    }
    bounded(Some(at), "a number of source ports", (1, SOURCE_PORTS_MAX), checker)
        .and_then(|ports| u16::try_from(ports).ok())
        .and_then(NonZeroU16::new)
}

fn group(at: &At<IpAddr>, family: Family, socket: Socket, checker: &mut Checker<'_>) -> IpAddr {
    if matches!(socket, Socket::Ping | Socket::Tcp) {
        let message = format!("a {socket} socket cannot send to a group");
        checker.problem(&at.span, message, "use socket = \"udp\", \"raw\" or \"packet\"");
    } else if group_mac(at.value).is_none() {
        let message = format!("{} is no broadcast or multicast address", at.value);
        let hint = "\"255.255.255.255\", a group as \"239.0.0.1\", or of IPv6 \"ff02::1\"; one host is named by `to`";
        checker.problem(&at.span, message, hint);
    } else if Family::of(at.value) != family {
        let message = format!("{} is no {family} address", at.value);
        checker.problem(&at.span, message, "give `family`, or a group of that of the flow");
    }
    at.value
}

fn connected_late(late: &At<bool>, socket: Socket, checker: &mut Checker<'_>) -> bool {
    if late.value && socket != Socket::Tcp {
        let message = format!("a {socket} socket makes no connection");
        checker.problem(&late.span, message, "use it with socket = \"tcp\"");
    }
    late.value
}

fn kept_alive(keepalive: &At<u32>, socket: Socket, checker: &mut Checker<'_>) -> u32 {
    if socket != Socket::Tcp {
        let message = format!("a {socket} socket has no connection to keep alive");
        checker.problem(&keepalive.span, message, "use it with socket = \"tcp\"");
    } else if !(1..=KEEPALIVE_S_MAX).contains(&keepalive.value) {
        let message = format!("{} s are out of range: 1 to {KEEPALIVE_S_MAX}", keepalive.value);
        checker.problem(&keepalive.span, message, "1 shows most things, and a run has to wait for it");
    }
    keepalive.value
}

fn paced(interval: &At<u32>, table: &FlowTable, checker: &mut Checker<'_>) -> u32 {
    let all_ms = u64::from(interval.value) * u64::from(table.frames.value) / 1000;
    if interval.value == 0 {
        checker.problem(&interval.span, "an interval of 0 us is none", "1 at least, or leave it away");
    } else if all_ms > checker.wait.ms.into() {
        let message = format!("{} frames every {} us take {all_ms} ms", table.frames.value, interval.value);
        checker.problem(&interval.span, message, checker.wait.hint());
    }
    interval.value
}
