//! Topology, build, capture, import: the same topology again. Here without a machine, for generated topologies: what the tools would
//! print is made from the model that the kernel's answers are compared with.

#[path = "shown/mod.rs"]
pub mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bondlab_core::import::{self, Known, Source};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::topology::Topology;
use shown::Machine;
use shown::own_side::own_side;

/// Topologies of one run.
const TOPOLOGIES: u64 = 400;

/// A small fixed generator: the same topologies in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most.max(1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.below(of.len() as u64)).expect("it is small");
        of[at]
    }

    fn is(&mut self, in_hundred: u64) -> bool {
        self.below(100) < in_hundred
    }
}

/// A topology file while it is written.
struct Writer {
    random: Random,
    toml: String,
    networks: u64,
    /// Devices that nothing stands on yet.
    free: Vec<String>,
}

impl Writer {
    fn table(&mut self, kind: &str, name: &str) {
        _ = writeln!(self.toml, "\n[ns.node.{kind}.\"{name}\"]");
    }

    /// An address of a network of its own, sometimes two.
    fn addresses(&mut self) {
        self.networks += 1;
        let network = self.networks;
        let v6 = if self.random.is(20) { format!(", \"2001:db8:{network}::5/64\"") } else { String::new() };
        _ = writeln!(self.toml, "addresses = [\"10.{network}.0.5/24\"{v6}]");
    }

    /// Cables, and now and then hardware: one of each kind at the most, for QEMU has few slots.
    fn nics(&mut self, count: u64) -> Vec<String> {
        let hardware = self.random.below(8);
        for number in 1..=count {
            let name = format!("enp{number}s0");
            let mac = format!("mac = \"b4:96:91:00:00:{number:02x}\"");
            match (number, hardware) {
                (1, 0) => {
                    self.table("nic", &name);
                    _ = writeln!(self.toml, "driver = \"e1000e\"\npeer = \"switch:p1\"\n{mac}");
                }
                (1, 1) => {
                    self.table("pf", &name);
                    _ = writeln!(self.toml, "driver = \"igb\"\nvfs = 1\npeer = \"switch:p1\"\n{mac}");
                }
                (2, 1) => {
                    self.table("vf", &name);
                    _ = writeln!(self.toml, "of = \"node:enp1s0\"\nindex = 0\n{mac}");
                }
                (1, 2) => {
                    self.table("gadget", &name);
                    _ = writeln!(self.toml, "peer = \"switch:p1\"\n{mac}");
                }
                (1, 3) => {
                    self.table("netdevsim", &name);
                    _ = writeln!(self.toml, "peer = \"switch:p1\"\n{mac}");
                    _ = writeln!(self.toml, "[ns.switch.netdevsim.p1]\npeer = \"node:{name}\"");
                }
                _ => {
                    self.table("veth", &name);
                    _ = writeln!(self.toml, "peer = \"switch:p{number}\"\n{mac}");
                    _ = writeln!(self.toml, "[ns.switch.veth.p{number}]\npeer = \"node:{name}\"");
                }
            }
        }
        (1..=count).map(|number| format!("enp{number}s0")).collect()
    }

    fn bond(&mut self, name: &str, ports: &[String]) {
        self.table("bond", name);
        let modes = [
            "balance-rr",
            "active-backup",
            "balance-xor",
            "broadcast",
            "802.3ad",
            "balance-tlb",
            "balance-alb",
        ];
        let mode = self.random.one(&modes);
        let ports_list = ports.iter().map(|port| format!("\"{port}\"")).collect::<Vec<_>>().join(", ");
        _ = writeln!(self.toml, "mode = \"{mode}\"\nports = [{ports_list}]");
        self.monitor(mode);
        self.maybe(20, "num_grat_arp = 3");
        self.maybe(20, "resend_igmp = 5");
        self.maybe(20, "all_slaves_active = true");
        match mode {
            "balance-rr" => self.maybe(40, "packets_per_slave = 7"),
            "802.3ad" => {
                self.maybe(40, "lacp_rate = \"fast\"");
                self.maybe(30, "ad_select = \"bandwidth\"");
                self.maybe(30, "min_links = 1");
                self.maybe(20, "ad_actor_sys_prio = 100");
                self.maybe(20, "ad_user_port_key = 12");
                self.maybe(20, "lacp_active = false");
                self.maybe(20, "coupled_control = false");
                self.maybe(20, "broadcast_neighbor = true\nlacp_strict = true");
                self.maybe(20, "ad_actor_system = \"02:00:5e:00:53:77\"");
            }
            "active-backup" => {
                let primary = format!("primary = \"{}\"", ports[0]);
                self.maybe(40, &primary);
                self.maybe(30, "fail_over_mac = \"active\"");
                self.maybe(30, "primary_reselect = \"failure\"");
            }
            "balance-tlb" | "balance-alb" => {
                self.maybe(30, "tlb_dynamic_lb = false");
                self.maybe(30, "lp_interval = 4");
            }
            _ => {}
        }
        if ["balance-xor", "802.3ad"].contains(&mode) && self.random.is(60) {
            let policy = self.random.one(&["layer2+3", "layer3+4", "encap2+3", "encap3+4", "vlan+srcmac"]);
            _ = writeln!(self.toml, "xmit_hash_policy = \"{policy}\"");
        }
        self.maybe(25, "mtu = 9000");
        self.maybe(20, "txqueuelen = 100\ngroup = 12");
        self.maybe(20, "allmulticast = true");
        if self.random.is(50) {
            self.addresses();
        }
        if self.random.is(30) {
            _ = writeln!(self.toml, "[ns.node.bond.{name}.port.{}]\nqueue_id = 2", ports[0]);
            let has_active = ["active-backup", "balance-tlb", "balance-alb"].contains(&mode);
            self.maybe(if has_active { 50 } else { 0 }, "prio = -7");
        }
    }

    /// How a bond watches its ports.
    fn monitor(&mut self, mode: &str) {
        let takes_arp = ["balance-rr", "active-backup", "balance-xor", "broadcast"].contains(&mode);
        if takes_arp && self.random.is(25) {
            _ = writeln!(
                self.toml,
                "arp_interval = {}\narp_ip_target = [\"10.200.0.1\", \"10.200.0.2\"]",
                100 + self.random.below(900)
            );
            self.maybe(30, "arp_missed_max = 4");
            self.maybe(30, "arp_all_targets = \"all\"");
            if mode == "active-backup" {
                self.maybe(30, "arp_validate = \"filter_active\"");
            }
        } else {
            let miimon = 50 * (1 + self.random.below(4));
            _ = writeln!(self.toml, "miimon = {miimon}");
            for option in ["updelay", "downdelay", "peer_notif_delay"] {
                if self.random.is(25) {
                    _ = writeln!(self.toml, "{option} = {}", miimon * (1 + self.random.below(5)));
                }
            }
        }
    }

    fn maybe(&mut self, in_hundred: u64, line: &str) {
        if self.random.is(in_hundred) {
            _ = writeln!(self.toml, "{line}");
        }
    }

    fn vlan(&mut self, parent: &str, id: u64, is_outer: bool) -> String {
        let name = format!("{parent}.{id}");
        self.table("vlan", &name);
        _ = writeln!(self.toml, "parent = \"{parent}\"\nid = {id}");
        if is_outer {
            _ = writeln!(self.toml, "protocol = \"802.1ad\"");
        }
        self.maybe(10, "reorder_hdr = false");
        self.maybe(10, "gvrp = true\nmvrp = true");
        self.maybe(10, "loose_binding = true");
        self.maybe(10, "egress_qos_map = { \"0\" = 1, \"5\" = 7 }\ningress_qos_map = { \"3\" = 4 }");
        self.maybe(20, "mtu = 1400");
        self.maybe(20, "promisc = true\ngroup = 2147483647");
        name
    }
}

/// A machine with NICs, some in bonds, VLANs on both, and what stands on those.
fn generated(seed: u64) -> String {
    let mut writer = Writer {
        random: Random(seed),
        toml: "about = \"generated\"\n".into(),
        networks: 0,
        free: Vec::new(),
    };
    let count = 1 + writer.random.below(6);
    let mut nics = writer.nics(count);
    for number in 0..writer.random.below(3) {
        let ports: Vec<String> = (0..=writer.random.below(3)).filter_map(|_| nics.pop()).collect();
        if !ports.is_empty() {
            writer.bond(&format!("bond{number}"), &ports);
            writer.free.push(format!("bond{number}"));
        }
    }
    // Of a team the first port comes back as the active one: text has hardware behind cables.
    let has_hardware = ["nic", "pf", "gadget", "netdevsim"]
        .iter()
        .any(|kind| writer.toml.contains(&format!("[ns.node.{kind}.")));
    if !has_hardware && nics.len() > 1 && writer.random.is(30) {
        let ports: Vec<String> = (0..2).filter_map(|_| nics.pop()).collect();
        writer.table("team", "team0");
        _ = writeln!(
            writer.toml,
            "mode = \"activebackup\"\nports = [\"{}\", \"{}\"]\nactive_port = \"{}\"",
            ports[1], ports[0], ports[1]
        );
        writer.free.push("team0".into());
    }
    let uplinks: Vec<String> = writer.free.iter().chain(&nics).cloned().collect();
    // A NIC that nothing uses is left out, with a note: each has a VLAN.
    for (at, uplink) in (0u64..).zip(&uplinks) {
        for number in 0..=writer.random.below(2) {
            let is_outer = writer.random.is(15);
            let vlan = writer.vlan(uplink, 10 * (at + 1) + number, is_outer);
            if is_outer {
                let inner = writer.vlan(&vlan, 7, false);
                writer.addresses();
                writer.free.push(inner);
            } else {
                above(&mut writer, &vlan);
            }
        }
    }
    apart(&mut writer);
    routed(&mut writer);
    writer.toml
}

/// What no frame of a NIC passes.
fn apart(writer: &mut Writer) {
    for (kind, name) in [("dummy", "dummy0"), ("tap", "tap7"), ("tun", "tunnel8"), ("ifb", "ifb3")] {
        if writer.random.is(30) {
            writer.table(kind, name);
            writer.addresses();
        }
    }
    if writer.random.is(30) {
        writer.table("veth", "in0");
        _ = writeln!(writer.toml, "peer = \"node:in1\"\nmac = \"02:00:00:00:00:01\"");
        writer.addresses();
        writer.table("veth", "in1");
        _ = writeln!(writer.toml, "peer = \"node:in0\"\nmac = \"02:00:00:00:00:02\"\nmtu = 1400");
    }
}

/// Routes of both families behind what has addresses, rules, and neighbours that do not age.
fn routed(writer: &mut Writer) {
    if !writer.random.is(50) {
        return;
    }
    writer.table("dummy", "out0");
    _ = writeln!(writer.toml, "addresses = [\"10.250.0.5/24\", \"2001:db8:250::5/64\"]");
    let routes = [
        "to = \"default\"\nvia = \"10.250.0.1\"\ndev = \"out0\"\nmetric = 100",
        "to = \"default\"\nvia = \"2001:db8:250::1\"\ndev = \"out0\"",
        "to = \"2001:db8:ffff::/48\"\nvia = \"fe80::1\"\ndev = \"out0\"\nmtu = 1400\nmetric = 50",
        "to = \"10.251.0.0/16\"\ndev = \"out0\"\nsrc = \"10.250.0.5\"",
        "to = \"10.252.0.0/16\"\ntype = \"blackhole\"",
        "to = \"2001:db8:fffe::9/128\"\ntype = \"unreachable\"\nmetric = 1024",
    ];
    let rules = [
        "priority = 100\nfrom = \"10.250.0.0/24\"\ntable = 100",
        "priority = 101\nto = \"2001:db8:250::/64\"\ntable = 300",
        "priority = 102\nfwmark = 7\niif = \"out0\"",
        "priority = 103\nfrom = \"::/0\"\noif = \"lo\"\ntable = 9",
    ];
    let neighbours = [
        "to = \"10.250.0.9\"\ndev = \"out0\"\nmac = \"02:00:5e:00:53:09\"",
        "to = \"2001:db8:250::9\"\ndev = \"out0\"\nmac = \"02:00:5e:00:53:09\"",
        "to = \"10.250.0.99\"\ndev = \"out0\"\nproxy = true",
    ];
    let all: [(&str, &[&str]); 3] = [("routes", &routes), ("rules", &rules), ("neighbours", &neighbours)];
    for (kind, tables) in all {
        for table in tables {
            writer.maybe(50, &format!("[[ns.node.{kind}]]\n{table}"));
        }
    }
}

/// Options of tunnels, none of them as without being asked.
const TUNNELS: [(&str, &[&str]); 4] = [
    (
        "vxlan",
        &[
            "dstport = 4789",
            "ttl = 5",
            "tos = 1",
            "tos = 22",
            "learning = false",
            "ageing = 60",
            "maxaddress = 100",
            "proxy = true",
            "rsc = true",
            "l2miss = true\nl3miss = true",
            "udpcsum = false",
            "udp6zerocsumtx = true",
            "df = \"set\"",
        ],
    ),
    ("geneve", &["dstport = 6082", "ttl = 7", "tos = 3", "udpcsum = true"]),
    ("gre", &["key = 5", "ttl = 64", "tos = 1", "pmtudisc = false"]),
    ("gretap", &["key = 4294967295", "pmtudisc = false\nignore_df = true", "ttl = 255"]),
];

/// Options of bridges, none of them as without being asked; spanning tree is none that comes back.
const BRIDGE: [&str; 12] = [
    "ageing_time = 6000",
    "forward_delay = 400",
    "priority = 4096",
    "group_fwd_mask = 16384",
    "group_address = \"01:80:c2:00:00:0e\"",
    "mcast_snooping = false",
    "mcast_router = \"permanent\"",
    "mcast_hash_max = 512",
    "mcast_query_interval = 6000",
    "nf_call_iptables = true",
    "no_linklocal_learn = true",
    "fdb_max_learned = 64",
];

/// The same of their ports.
const BRIDGE_PORT: [&str; 12] = [
    "priority = 8",
    "hairpin = true",
    "guard = true",
    "root_block = true",
    "fastleave = true",
    "learning = false",
    "flood = false",
    "mcast_router = \"disabled\"",
    "bcast_flood = false",
    "neigh_suppress = true",
    "isolated = true",
    "group_fwd_mask = 16384",
];

/// A tunnel from an address of a device, sometimes bound to it, to a machine that nothing else shows.
fn tunnel(writer: &mut Writer, lower: &str) {
    let at = usize::try_from(writer.random.below(4)).expect("it is small");
    let (kind, options) = TUNNELS[at];
    let number = writer.networks;
    writer.table(kind, &format!("tun{number}"));
    if kind != "geneve" && writer.random.is(50) {
        _ = writeln!(writer.toml, "parent = \"{lower}\"");
    }
    let is_v6 = ["vxlan", "geneve"].contains(&kind) && writer.random.is(30);
    _ = match is_v6 {
        true => writeln!(writer.toml, "remote6 = \"2001:db8:{number}::9\""),
        false => writeln!(writer.toml, "remote = \"10.{number}.0.9\""),
    };
    if kind != "geneve" && !is_v6 && writer.random.is(50) {
        _ = writeln!(writer.toml, "local = \"10.{number}.0.5\"");
    }
    if ["vxlan", "geneve"].contains(&kind) {
        _ = writeln!(writer.toml, "id = {}", 1 + writer.random.below((1 << 24) - 1));
    }
    let mut keys = BTreeSet::new();
    for option in options {
        let key = option.split(' ').next().unwrap_or_default();
        // Geneve's is of IPv4, and not shown beside a remote of IPv6.
        let is_shown = !(is_v6 && kind == "geneve" && key == "udpcsum");
        if writer.random.is(25) && is_shown && keys.insert(key) {
            _ = writeln!(writer.toml, "{option}");
        }
    }
    writer.addresses();
}

/// A MACsec device whose peer is the switch's.
fn macsec(writer: &mut Writer, lower: &str) {
    let number = writer.networks;
    let is_long = writer.random.is(30);
    let key = "0f".repeat(if is_long { 32 } else { 16 });
    let mut options = format!("key = \"{key}\"\n");
    if is_long {
        options += "cipher = \"gcm-aes-256\"\n";
    }
    for option in ["port = 7", "icvlen = 8", "encrypt = true", "encodingsa = 3", "replay = true\nwindow = 8"]
    {
        if writer.random.is(30) {
            options += &format!("{option}\n");
        }
    }
    if writer.random.is(30) {
        options += "validate = \"check\"\n";
    }
    writer.table("macsec", &format!("sec{number}"));
    _ = writeln!(writer.toml, "parent = \"{lower}\"\npeer = \"switch:sec{number}\"\n{options}");
    writer.addresses();
    _ = writeln!(
        writer.toml,
        "[ns.switch.macsec.sec{number}]\nparent = \"p1\"\npeer = \"node:sec{number}\"\n{options}"
    );
}

/// Sometimes a bridge's port whose other end is in a container.
fn container(writer: &mut Writer) -> Option<String> {
    if !writer.random.is(50) {
        return None;
    }
    let (number, port) = (writer.networks, format!("vnet{}", writer.networks));
    writer.table("veth", &port);
    _ = writeln!(writer.toml, "peer = \"pod:eth{number}\"\nmac = \"02:00:5e:00:01:{number:02x}\"");
    _ = writeln!(writer.toml, "[ns.pod.veth.eth{number}]\npeer = \"node:{port}\"");
    Some(port)
}

/// A bridge on a VLAN, with options, a table of VLANs and a container beside it.
fn bridge(writer: &mut Writer, vlan: &str) {
    let name = format!("br{}", vlan.rsplit('.').next().unwrap_or_default());
    let bridge = format!("{name}x{}", writer.networks);
    let container = container(writer).map_or(String::new(), |port| format!(", \"{port}\""));
    writer.table("bridge", &bridge);
    _ = writeln!(writer.toml, "ports = [\"{vlan}\"{container}]");
    for option in BRIDGE {
        writer.maybe(10, option);
    }
    let filters = writer.random.is(50);
    if filters {
        let id = 2 + writer.random.below(100);
        let more = if writer.random.is(50) { format!(", {{ id = {id} }}") } else { String::new() };
        _ = writeln!(
            writer.toml,
            "vlan_filtering = true\nvlans = [{{ id = 1, pvid = true, untagged = true }}{more}]"
        );
    }
    writer.addresses();
    if filters && writer.random.is(70) {
        writer.table("bridge", &bridge);
        // The table of a port of it.
        let header = format!("[ns.node.bridge.\"{bridge}\"]\n");
        let of_port = format!("[ns.node.bridge.\"{bridge}\".port.\"{vlan}\"]\n");
        let at = writer.toml.rfind(&header).expect("it was just written");
        writer.toml.replace_range(at.., &of_port);
        let (pvid, untagged) = (writer.random.is(70), writer.random.is(50));
        _ = writeln!(
            writer.toml,
            "vlans = [{{ id = 1, untagged = {untagged}, pvid = {pvid} }}, {{ id = 200, to = 220 }}]"
        );
    } else if writer.random.is(60) {
        _ = writeln!(writer.toml, "[ns.node.bridge.\"{bridge}\".port.\"{vlan}\"]");
    } else {
        return;
    }
    for option in BRIDGE_PORT {
        writer.maybe(10, option);
    }
}

/// What stands on a VLAN: an address, a bridge, or devices as pods have them.
fn above(writer: &mut Writer, vlan: &str) {
    match writer.random.below(7) {
        4 => {
            writer.addresses();
            tunnel(writer, vlan);
        }
        5 => macsec(writer, vlan),
        6 => {
            writer.addresses();
            let number = writer.networks;
            writer.table("vrf", &format!("vrf{number}"));
            _ = writeln!(writer.toml, "table = {}\nports = [\"{vlan}\"]", 10 + number);
            writer.maybe(50, &format!("addresses = [\"10.99.{number}.1/32\"]"));
        }
        0 => bridge(writer, vlan),
        1 => {
            let mode = writer.random.one(&["private", "vepa", "bridge"]);
            writer.table("macvlan", &format!("mac{}", writer.networks));
            _ = writeln!(writer.toml, "parent = \"{vlan}\"\nmode = \"{mode}\"");
            writer.addresses();
        }
        2 => {
            let mode = writer.random.one(&["l2", "l3", "l3s"]);
            writer.table("ipvlan", &format!("ipv{}", writer.networks));
            _ = writeln!(writer.toml, "parent = \"{vlan}\"\nmode = \"{mode}\"");
            let flag = writer.random.one(&["private", "vepa"]);
            writer.maybe(40, &format!("flag = \"{flag}\""));
            writer.addresses();
        }
        _ => {
            writer.addresses();
            writer.maybe(30, "up = false");
        }
    }
}

fn imported(text: &str) -> import::Imported {
    let kernels = ["6.12.57".parse().expect("a version")];
    let source = Source { name: "capture".into(), text: text.to_owned() };
    let known = Known { kernels: &kernels, causes: &[] };
    import::import("imported", &[source], &known).unwrap_or_else(|error| panic!("{error}\nof\n{text}"))
}

#[test]
fn generated_topologies_come_back_from_their_captures() {
    let mut kinds: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..TOPOLOGIES {
        let toml = generated(seed);
        let topology = Topology::parse("generated", "generated", &toml)
            .unwrap_or_else(|errors| panic!("{errors}\n{toml}"));
        kinds.extend(topology.links.values().map(|link| link.kind.word()));
        let ns = "node".parse().expect("a name");
        let text = Machine { topology: &topology, ns, states: BTreeMap::new() }.capture("6.12.57", true);
        let back = imported(&text);
        let again = Topology::parse("again", "again", &back.toml).unwrap_or_else(|errors| panic!("{errors}"));
        let (own, theirs) = (own_side(&topology), own_side(&again));
        assert_eq!(own, theirs, "seed {seed}\n{toml}\n{text}\n{:#?}", back.notes);
    }
    // Hardware comes back as NICs that cables play: a driver without its hardware does nothing, and `ip` shows of a VF neither its PF
    // nor its number (sysfs does, `physfn`). "gadget-host" is not of the machine: it is the other end.
    let all = [
        "bond",
        "bridge",
        "dummy",
        "gadget",
        "gadget-host",
        "geneve",
        "gre",
        "gretap",
        "ifb",
        "ipvlan",
        "macsec",
        "macvlan",
        "netdevsim",
        "nic",
        "pf",
        "tap",
        "team",
        "tun",
        "veth",
        "vf",
        "vlan",
        "vrf",
        "vxlan",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "each kind was generated");
}

/// Masking changes what tells the machine, and nothing else: the same links come back.
#[test]
fn masked_captures_have_the_same_links() {
    for seed in 0..60 {
        let toml = generated(seed);
        let topology = Topology::parse("generated", "generated", &toml)
            .unwrap_or_else(|errors| panic!("{errors}\n{toml}"));
        let ns = "node".parse().expect("a name");
        let text = Machine { topology: &topology, ns, states: BTreeMap::new() }.capture("6.12.57", true);
        let masked = bondlab_core::capture::mask::mask(&text, &[]).expect("there is room");
        assert!(!masked.contains("b4:96:91"), "{masked}");
        let without_macs = |topology: &Topology| -> BTreeMap<DeviceRef, (String, u32)> {
            let links = topology.links.values().filter(|link| link.device.ns.as_str() == "node");
            links
                .map(|link| (link.device.clone(), (format!("{:?}", link.addresses), link.mtu.unwrap_or(0))))
                .collect()
        };
        let [own, theirs] = [&text, &masked]
            .map(|text| Topology::parse("x", "x", &imported(text).toml).expect("it is valid"));
        assert_eq!(without_macs(&own), without_macs(&theirs));
    }
}
