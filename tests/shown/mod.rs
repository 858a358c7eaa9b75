//! What `ip`, `tc` and procfs print of a topology's namespace: their formats, filled from the model that the kernel's answers are
//! compared with.

#[path = "own_side.rs"]
pub mod own_side;
#[path = "virtual_links.rs"]
mod virtual_links;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use bondlab_core::net::bond::Bond;
use bondlab_core::net::link::{Link, LinkKind};
use bondlab_core::net::link_option::{BRIDGE_OPTIONS, BRIDGE_PORT_OPTIONS, Settings};
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::option::{OptionRow, Value, Wire};
use bondlab_core::net::route::Neighbour;
use bondlab_core::topology::Topology;

/// What a machine has counted and is in, beyond what a topology asks for.
#[derive(Debug, Clone)]
pub struct State {
    /// IFF_UP.
    pub up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// `Link Failure Count`.
    pub failures: u64,
    /// By their names in topologies.
    pub counters: BTreeMap<String, u64>,
    /// Kind, and counters of the root discipline.
    pub queue: (String, BTreeMap<String, u64>),
    /// What filters at clsact dropped.
    pub clsact: Option<u64>,
}

impl Default for State {
    fn default() -> Self {
        let queue = ("noqueue".to_owned(), BTreeMap::new());
        Self { up: true, carrier: true, failures: 0, counters: BTreeMap::new(), queue, clsact: None }
    }
}

/// A namespace whose devices are in these states; those that are not named are up.
pub struct Machine<'t> {
    pub topology: &'t Topology,
    pub ns: NsName,
    pub states: BTreeMap<DeviceRef, State>,
}

/// Whether a cable's other end is in a pod's namespace: then `ip` shows of it a number, and of the cable that it is a veth. Any other
/// end stands for what a NIC is plugged into.
fn is_pods(peer: &DeviceRef) -> bool {
    peer.ns.as_str() == "pod"
}

impl Machine<'_> {
    fn links(&self) -> Vec<&Link> {
        self.topology.links.values().filter(|link| link.device.ns == self.ns).collect()
    }

    fn state(&self, link: &Link) -> State {
        let up = State { up: link.up || self.controller(link).is_some(), ..State::default() };
        self.states.get(&link.device).cloned().unwrap_or(up)
    }

    fn controller(&self, link: &Link) -> Option<&Link> {
        self.links().into_iter().find(|other| other.has_port(&link.device))
    }

    fn is_own(&self, device: &DeviceRef) -> bool {
        device.ns == self.ns
    }

    fn mac(&self, link: &Link) -> String {
        if let Some(mac) = link.mac {
            return mac.to_string();
        }
        let at = self.links().iter().position(|known| known.device == link.device).unwrap_or(0);
        format!("52:54:00:00:00:{at:02x}")
    }

    /// `2: bond0.70@bond0: <FLAGS> mtu 1500 qdisc noqueue ...`.
    fn header(&self, number: usize, link: &Link) -> String {
        let state = self.state(link);
        let controller = self.controller(link);
        let of_bond = controller.is_some_and(|owner| matches!(owner.kind, LinkKind::Bond(_)));
        let mut flags = Vec::new();
        if state.up && !state.carrier {
            flags.push("NO-CARRIER");
        }
        // As vrf_setup() has them.
        let is_vrf = link.kind.word() == "vrf";
        flags.extend(if is_vrf { ["NOARP", "MASTER"] } else { ["BROADCAST", "MULTICAST"] });
        if matches!(link.kind, LinkKind::Bond(_)) {
            flags.push("MASTER");
        }
        if of_bond {
            flags.push("SLAVE");
        }
        if state.up {
            flags.push("UP");
        }
        if state.up && state.carrier {
            flags.push("LOWER_UP");
        }
        for (key, flag) in [("promisc", "PROMISC"), ("allmulticast", "ALLMULTI")] {
            if own_side::common(link, key) != 0 {
                flags.push(flag);
            }
        }
        let parent = match &link.kind {
            LinkKind::Veth { peer } if is_pods(peer) => Some("if7".into()),
            LinkKind::Veth { peer } => self.is_own(peer).then(|| peer.name.to_string()),
            LinkKind::Virtual(of) => match (of.kind.word(), &of.parent) {
                // vxlan has no IFLA_LINK; a tunnel of GRE has 0 where it is bound to no device.
                ("macsec" | "gre" | "gretap", Some(parent)) => Some(parent.name.to_string()),
                ("gre" | "gretap", None) => Some("NONE".into()),
                _ => None,
            },
            other => other.parent().map(|parent| parent.name.to_string()),
        };
        let parent = parent.map_or(String::new(), |parent| format!("@{parent}"));
        let master = controller.map_or(String::new(), |owner| format!(" master {}", owner.device.name));
        let operstate = if state.up && state.carrier { "UP" } else { "DOWN" };
        format!(
            "{}: {}{parent}: <{}> mtu {} qdisc {}{master} state {operstate} mode DEFAULT group {} qlen {}",
            number + 2,
            link.device.name,
            flags.join(","),
            own_side::mtu(self.topology, link),
            state.queue.0,
            own_side::common(link, "group"),
            own_side::queue_len(link),
        )
    }

    /// `ip -s -d link`.
    pub fn ip_link(&self) -> String {
        let mut out = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    \
                       link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 minmtu 0 maxmtu 0\n"
            .to_owned();
        for (number, link) in self.links().into_iter().enumerate() {
            let _ = writeln!(out, "{}", self.header(number, link));
            let is_nic = matches!(&link.kind, LinkKind::Veth { peer } if !self.is_own(peer) && !is_pods(peer))
                || link.kind.is_hardware()
                || matches!(link.kind, LinkKind::Gadget { .. } | LinkKind::Netdevsim(_));
            let bus = if is_nic {
                format!(" parentbus pci parentdev 0000:{:02x}:00.0", number + 1)
            } else {
                String::new()
            };
            let tail = format!("numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535{bus}");
            let hardware = match link.kind.word() {
                "gre" => "link/gre 0.0.0.0 brd 0.0.0.0".to_owned(),
                "tun" => "link/none".to_owned(),
                _ if self.controller(link).is_some_and(|owner| owner.kind.word() == "team") => {
                    let own = self.mac(link);
                    format!("link/ether 02:00:5e:00:53:01 brd ff:ff:ff:ff:ff:ff permaddr {own}")
                }
                _ => format!("link/ether {} brd ff:ff:ff:ff:ff:ff", self.mac(link)),
            };
            let first = format!("    {hardware} promiscuity 0 minmtu 68 maxmtu 65535");
            let kind = self.kind(link);
            match kind {
                Some(kind) => _ = writeln!(out, "{first} \n    {kind} {tail} "),
                None => _ = writeln!(out, "{first} {tail} "),
            }
            self.counters(link, &mut out);
        }
        out
    }

    fn counters(&self, link: &Link, out: &mut String) {
        let counters = self.state(link).counters;
        let number = |name: &str| counters.get(name).copied().unwrap_or(0);
        for (heading, side, more) in [
            ("RX:  bytes packets errors dropped  missed   mcast", "rx", "0       0"),
            ("TX:  bytes packets errors dropped carrier collsns", "tx", "0       0"),
        ] {
            let [packets, errors, dropped] =
                ["packets", "errors", "dropped"].map(|name| number(&format!("{side}_{name}")));
            let _ = writeln!(
                out,
                "    {heading}           \n    {:>10} {packets:>7} {errors:>6} {dropped:>7} {more:>7} ",
                packets * 98
            );
        }
    }

    fn kind(&self, link: &Link) -> Option<String> {
        let own = match &link.kind {
            LinkKind::Bond(bond) => Some(format!("bond {} addrgenmode eui64", options(bond))),
            LinkKind::Vlan { id, protocol, .. } => Some(format!(
                "vlan protocol {} id {} <{}>{}addrgenmode eui64",
                protocol.word(),
                id.get(),
                vlan_flags(link),
                vlan_maps(link),
            )),
            LinkKind::Ipvlan { mode, flag, .. } => {
                Some(format!("ipvlan  mode {} {} addrgenmode eui64", mode.word(), flag.word()))
            }
            LinkKind::Macvlan { mode, .. } => Some(format!(
                "macvlan mode {} bcqueuelen 1000 usedbcqueuelen 1000 addrgenmode eui64",
                mode.word()
            )),
            LinkKind::Bridge { vlan_filtering, .. } => Some(format!(
                "bridge {} vlan_filtering {} addrgenmode eui64",
                option_words(BRIDGE_OPTIONS, &link.extras.options, ["1", "0"]),
                u8::from(*vlan_filtering),
            )),
            LinkKind::Dummy => Some("dummy addrgenmode eui64".into()),
            LinkKind::Veth { peer } if self.is_own(peer) || is_pods(peer) => {
                Some("veth addrgenmode eui64".into())
            }
            LinkKind::Tun(tun) => {
                let kind = if tun.is_tap { "tap" } else { "tun" };
                Some(format!("tun type {kind} pi off vnet_hdr off persist on addrgenmode eui64"))
            }
            LinkKind::Virtual(of) => Some(format!("{} addrgenmode eui64", virtual_links::line(link, of))),
            _ => None,
        };
        let state = self.state(link);
        let port = self.controller(link).map(|owner| match &owner.kind {
            LinkKind::Bond(bond) => format!(
                "bond_slave state ACTIVE mii_status UP link_failure_count {} perm_hwaddr {} queue_id {} prio {}",
                state.failures,
                self.mac(link),
                port_option(bond, link, "queue_id"),
                port_option(bond, link, "prio"),
            ),
            LinkKind::Virtual(of) => format!("{}_slave", of.kind.word()),
            _ => {
                let asked = owner.extras.ports.get(&link.device.name).map(|port| port.options.clone());
                let words = option_words(BRIDGE_PORT_OPTIONS, &asked.unwrap_or_default(), ["on", "off"]);
                format!("bridge_slave state forwarding {words}")
            }
        });
        let lines: Vec<String> = own.into_iter().chain(port).collect();
        (!lines.is_empty()).then(|| lines.join(" \n    "))
    }

    /// `ip -d address`.
    pub fn ip_address(&self) -> String {
        let mut out = String::new();
        for (number, link) in self.links().into_iter().enumerate() {
            let _ = writeln!(out, "{}", self.header(number, link));
            if matches!(&link.kind, LinkKind::Tun(tun) if !tun.is_tap) {
                let _ = writeln!(out, "    link/none");
            } else {
                let _ = writeln!(out, "    link/ether {} brd ff:ff:ff:ff:ff:ff", self.mac(link));
            }
            for cidr in &link.addresses {
                let family = if cidr.address.is_ipv6() { "inet6" } else { "inet" };
                let _ = writeln!(
                    out,
                    "    {family} {cidr} scope global {}\n       valid_lft forever preferred_lft forever",
                    link.device.name
                );
            }
        }
        out
    }

    /// `ip route` and `ip -6 route`.
    pub fn ip_route(&self, is_ipv6: bool) -> String {
        let mut out = String::new();
        for route in &self.topology.namespaces[&self.ns].routes {
            let is_of = |address: IpAddr| address.is_ipv6() == is_ipv6;
            if !route.to.map(|to| to.address).or(route.via).is_some_and(is_of) {
                continue;
            }
            let to =
                route.to.filter(|to| to.prefix > 0).map_or_else(|| "default".to_owned(), |to| to.to_string());
            let kind = route.extras.kind.map_or(String::new(), |kind| format!("{kind} "));
            let some = |word: &str, value: Option<String>| {
                value.map_or(String::new(), |value| format!("{word} {value} "))
            };
            let _ = writeln!(
                out,
                "{kind}{to} {}{}proto static {}{}{}{}",
                some("via", route.via.map(|via| via.to_string())),
                some("dev", route.dev.as_ref().map(ToString::to_string)),
                some("metric", route.extras.metric.map(|metric| metric.to_string())),
                some("src", route.extras.src.map(|src| src.to_string())),
                some("mtu", route.extras.mtu.map(|mtu| mtu.to_string())),
                if is_ipv6 { "pref medium" } else { "" },
            );
        }
        out
    }

    /// `ip rule` and `ip -6 rule`.
    pub fn ip_rule(&self, is_ipv6: bool) -> String {
        let own = self.topology.namespaces[&self.ns].rules.iter().filter(|rule| rule.ipv6 == is_ipv6);
        let own: String = own.map(|rule| format!("{rule}\n").replace("from ::/0", "from all")).collect();
        let last = if is_ipv6 { "" } else { "32767:\tfrom all lookup default\n" };
        format!("0:\tfrom all lookup local\n{own}32766:\tfrom all lookup main\n{last}")
    }

    /// `ip neigh`, those that do not age.
    pub fn ip_neigh(&self) -> String {
        let all = self.topology.namespaces[&self.ns].neighbours.iter();
        let line = |one: &Neighbour| match &one.mac {
            Some(mac) => format!("{} dev {} lladdr {mac} PERMANENT \n", one.to, one.dev),
            None => format!("{} dev {} proxy \n", one.to, one.dev),
        };
        all.map(line).collect()
    }

    /// `bridge vlan`, of bridges that filter.
    pub fn bridge_vlan(&self) -> String {
        let mut out = "port              vlan-id  \n".to_owned();
        for link in self.links() {
            let LinkKind::Bridge { ports, vlan_filtering: true } = &link.kind else { continue };
            for port in ports.iter().chain([&link.device.name]) {
                let of_port = own_side::vlans(link, port);
                for (at, (id, [pvid, untagged])) in of_port.iter().enumerate() {
                    let name = if at == 0 { port.as_str() } else { "" };
                    let flags = [(*pvid, " PVID"), (*untagged, " Egress Untagged")];
                    let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
                    let _ = writeln!(out, "{name:<17} {id}{flags}");
                }
            }
        }
        out
    }

    /// `tc -s qdisc`.
    pub fn tc_qdisc(&self) -> String {
        let mut out = String::new();
        for (number, link) in self.links().into_iter().enumerate() {
            let state = self.state(link);
            let (kind, counters) = &state.queue;
            let count = |name: &str| counters.get(name).copied().unwrap_or(0);
            let dev = &link.device.name;
            let (sent, backlog) =
                (state.counters.get("tx_packets").copied().unwrap_or(0), count("backlog_packets"));
            let _ = writeln!(out, "qdisc {kind} {}: dev {dev} root refcnt 2 ", number + 0x8001);
            let (drops, requeues) = (count("drops"), count("requeues"));
            let _ = writeln!(
                out,
                " Sent {} bytes {sent} pkt (dropped {drops}, overlimits 0 requeues {requeues}) ",
                sent * 98
            );
            let _ = writeln!(out, " backlog {}b {backlog}p requeues {requeues}", backlog * 98);
            if let Some(dropped) = state.clsact {
                let _ = writeln!(out, "qdisc clsact ffff: dev {dev} parent ffff:fff1 ");
                let _ = writeln!(
                    out,
                    " Sent {} bytes {dropped} pkt (dropped {dropped}, overlimits 0 requeues 0) \n backlog 0b 0p requeues 0",
                    dropped * 98
                );
            }
        }
        out
    }

    /// `/proc/net/bonding/NAME` of each bond.
    pub fn proc_bonding(&self, release: &str) -> Vec<(String, String)> {
        let bonds = self.links().into_iter().filter_map(|link| match &link.kind {
            LinkKind::Bond(bond) => Some((link, bond)),
            _ => None,
        });
        bonds.map(|(link, bond)| (link.device.name.to_string(), self.of_bond(link, bond, release))).collect()
    }

    fn of_bond(&self, link: &Link, bond: &Bond, release: &str) -> String {
        let option = |key: &str| {
            bond.values().iter().find(|(row, _)| row.key == key).map(|(row, value)| row.wire.shown(value))
        };
        let number = |key: &str| option(key).unwrap_or_else(|| "0".into());
        let mode = match bond.mode.word() {
            "balance-rr" => "load balancing (round-robin)",
            "active-backup" => "fault-tolerance (active-backup)",
            "balance-xor" => "load balancing (xor)",
            "broadcast" => "fault-tolerance (broadcast)",
            "802.3ad" => "IEEE 802.3ad Dynamic link aggregation",
            "balance-tlb" => "transmit load balancing",
            _ => "adaptive load balancing",
        };
        let up = |is_up: bool| if is_up { "up" } else { "down" };
        let mut out = format!("Ethernet Channel Bonding Driver: v{release}\n\nBonding Mode: {mode}\n");
        let _ = writeln!(out, "MII Status: {}", up(self.state(link).carrier));
        let _ = writeln!(out, "MII Polling Interval (ms): {}", number("miimon"));
        let _ =
            writeln!(out, "Up Delay (ms): {}\nDown Delay (ms): {}", number("updelay"), number("downdelay"));
        for port in &bond.ports {
            let Some(link) = self.topology.link(&DeviceRef::new(&self.ns, port)) else { continue };
            let state = self.state(link);
            let _ = writeln!(out, "\nSlave Interface: {port}");
            // Without miimon nobody looks.
            let _ = writeln!(out, "MII Status: {}", up(state.carrier || number("miimon") == "0"));
            let _ = writeln!(out, "Speed: 10000 Mbps\nDuplex: full\nLink Failure Count: {}", state.failures);
            let _ = writeln!(out, "Permanent HW addr: {}\nSlave queue ID: 0", self.mac(link));
        }
        out
    }

    /// All of it as `lab capture` writes it.
    pub fn capture(&self, release: &str, has_queues: bool) -> String {
        let mut capture = bondlab_core::capture::Capture::new(release);
        capture.section("ip -s -s -d link", &self.ip_link());
        capture.section("ip -d address", &self.ip_address());
        capture.section("ip route", &self.ip_route(false));
        capture.section("ip -6 route", &self.ip_route(true));
        capture.section("ip rule", &self.ip_rule(false));
        capture.section("ip -6 rule", &self.ip_rule(true));
        capture.section("ip neigh", &self.ip_neigh());
        capture.section("bridge vlan", &self.bridge_vlan());
        for (name, text) in self.proc_bonding(release) {
            capture.section(&format!("cat /proc/net/bonding/{name}"), &text);
        }
        if has_queues {
            capture.section("tc -s qdisc", &self.tc_qdisc());
        }
        capture.finish()
    }
}

/// `REORDER_HDR,GVRP`.
fn vlan_flags(link: &Link) -> String {
    let asked = |key: &str| match link.extras.options.0.get(key) {
        Some(Value::Number(on)) => *on != 0,
        _ => key == "reorder_hdr",
    };
    let flags = ["reorder_hdr", "gvrp", "loose_binding", "mvrp", "bridge_binding"];
    let shown = flags.into_iter().filter(|key| asked(key)).map(str::to_uppercase);
    shown.collect::<Vec<_>>().join(",")
}

/// Each on a line of its own.
fn vlan_maps(link: &Link) -> String {
    let map = |key: &str| match link.extras.options.0.get(&format!("{}_qos_map", key)) {
        Some(Value::PriorityMap(map)) => format!(" \n      {key}-qos-map {{ {map} }}"),
        _ => String::new(),
    };
    format!("{}{} ", map("ingress"), map("egress"))
}

/// `mode active-backup miimon 100 updelay 0 ...`: all that is asked for, as iproute2's `bond_print_opt()` says it.
/// An option of a bond's port, or the kernel's default.
fn port_option(bond: &Bond, port: &Link, key: &str) -> String {
    let asked = bond.port_options.get(&port.device.name).map(|of| of.values()).unwrap_or_default();
    let found = asked.iter().find(|(row, _)| row.key == key);
    found.map_or_else(|| "0".to_owned(), |(row, value)| row.wire.shown(value))
}

fn options(bond: &Bond) -> String {
    let words = bond.values().into_iter().map(|(row, value)| {
        let key = match row.key {
            "arp_missed_max" => "missed_max",
            "num_grat_arp" => "num_peer_notif",
            "peer_notif_delay" => "peer_notify_delay",
            key => key,
        };
        let said = match (&value, row.wire) {
            (Value::Ipv4s(all), _) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            (Value::Number(on), Wire::Flag) if row.key == "lacp_active" => {
                if *on == 0 { "off" } else { "on" }.into()
            }
            (Value::Number(on), Wire::Flag) => on.to_string(),
            (value, wire) => wire.shown(value),
        };
        format!("{key} {said}")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// All options of a bridge or of its port, with those that were asked for; `switch` is how truth values are printed.
fn option_words(rows: &'static [OptionRow], asked: &Settings, switch: [&str; 2]) -> String {
    let word = |row: &OptionRow| {
        let value = asked.rows(rows).into_iter().find(|(known, _)| known.key == row.key);
        let value = value.map_or_else(|| row.default.to_owned(), |(_, value)| row.wire.shown(&value));
        // iproute2 prints these as numbers.
        let number = match row.wire {
            Wire::Word8(words) => {
                words.iter().find(|(_, word)| *word == value).map(|(number, _)| number.to_string())
            }
            _ => None,
        };
        let value = match value.as_str() {
            "true" => switch[0].to_owned(),
            "false" => switch[1].to_owned(),
            "by its speed" => "100".to_owned(),
            _ => number.unwrap_or(value),
        };
        let key = if row.key == "fastleave" { "mcast_fast_leave" } else { row.key };
        format!("{key} {value}")
    };
    rows.iter().map(word).collect::<Vec<_>>().join(" ")
}
