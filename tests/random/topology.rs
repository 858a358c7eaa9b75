//! Random topologies: links of all kinds that a machine without NICs has, stacked in any order that the kernel takes, with options
//! that it takes together. Values are at bounds and off their defaults, so that reading back means something.

use std::fmt::Write;

use super::Generator;

/// A key with values that Linux 7.3 takes.
type Choice = (&'static str, &'static [&'static str]);

/// Of every link.
const COMMON: [Choice; 10] = [
    ("mtu", &["1280", "1400", "1499"]),
    ("txqueuelen", &["1", "2", "500"]),
    ("gso_max_size", &["1500", "32768", "65536"]),
    ("gso_max_segs", &["1", "64", "65535"]),
    ("gro_max_size", &["1500", "32768"]),
    ("group", &["1", "2147483647"]),
    ("arp", &["false", "true"]),
    ("allmulticast", &["true", "false"]),
    ("promisc", &["true", "false"]),
    ("up", &["true", "true", "false"]),
];

const CABLE: [Choice; 2] = [("numtxqueues", &["1", "3", "16"]), ("numrxqueues", &["1", "2", "16"])];

const BOND: [Choice; 8] = [
    ("miimon", &["0", "1", "100"]),
    ("min_links", &["0", "1", "7"]),
    ("all_slaves_active", &["true", "false"]),
    ("resend_igmp", &["0", "255"]),
    ("lp_interval", &["1", "3600"]),
    ("num_grat_arp", &["0", "1", "255"]),
    ("ad_select", &["\"bandwidth\"", "\"count\"", "\"stable\""]),
    ("xmit_hash_policy", &["\"layer2+3\"", "\"layer3+4\"", "\"encap2+3\"", "\"vlan+srcmac\""]),
];

const LACP: [Choice; 5] = [
    ("lacp_rate", &["\"fast\"", "\"slow\""]),
    ("lacp_active", &["false", "true"]),
    ("ad_actor_sys_prio", &["1", "65534"]),
    ("ad_user_port_key", &["0", "1023"]),
    ("ad_actor_system", &["\"02:00:5e:10:aa:01\""]),
];

const VLAN: [Choice; 5] = [
    ("reorder_hdr", &["false", "true"]),
    ("loose_binding", &["true", "false"]),
    ("protocol", &["\"802.1Q\"", "\"802.1ad\""]),
    ("ingress_qos_map", &["{ 3 = 5 }", "{ 0 = 1, 7 = 7 }"]),
    ("egress_qos_map", &["{ 5 = 3 }", "{ 0 = 7, 1 = 2 }"]),
];

const BRIDGE: [Choice; 16] = [
    ("forward_delay", &["0", "200", "3000"]),
    ("hello_time", &["100", "1000"]),
    ("max_age", &["600", "4000"]),
    ("ageing_time", &["0", "100"]),
    ("priority", &["0", "4096", "65535"]),
    ("vlan_protocol", &["\"802.1ad\"", "\"802.1Q\""]),
    ("group_fwd_mask", &["8", "65528"]),
    ("mcast_router", &["\"disabled\"", "\"permanent\""]),
    ("mcast_snooping", &["false", "true"]),
    ("mcast_hash_max", &["1", "512"]),
    ("mcast_last_member_count", &["1", "9"]),
    ("mcast_query_interval", &["100", "5000"]),
    ("vlan_default_pvid", &["0", "1", "4094"]),
    ("mcast_igmp_version", &["2", "3"]),
    ("no_linklocal_learn", &["true", "false"]),
    ("fdb_max_learned", &["0", "7"]),
];

const BRIDGE_PORT: [Choice; 12] = [
    ("priority", &["0", "63"]),
    ("cost", &["1", "65535"]),
    ("hairpin", &["true", "false"]),
    ("guard", &["true", "false"]),
    ("fastleave", &["true", "false"]),
    ("learning", &["false", "true"]),
    ("flood", &["false", "true"]),
    ("mcast_flood", &["false", "true"]),
    ("bcast_flood", &["false", "true"]),
    ("isolated", &["true", "false"]),
    ("group_fwd_mask", &["4", "65533"]),
    ("neigh_suppress", &["true", "false"]),
];

const VXLAN: [Choice; 9] = [
    ("ttl", &["1", "255"]),
    ("tos", &["1", "4"]),
    ("learning", &["false", "true"]),
    ("ageing", &["1", "4000"]),
    ("maxaddress", &["1", "100"]),
    ("proxy", &["true", "false"]),
    ("udpcsum", &["false", "true"]),
    ("df", &["\"set\"", "\"unset\""]),
    ("dstport", &["1", "4789"]),
];

const GENEVE: [Choice; 4] = [
    ("ttl", &["1", "255"]),
    ("tos", &["1", "4"]),
    ("dstport", &["1", "6082"]),
    ("udpcsum", &["false", "true"]),
];

const GRE: [Choice; 3] = [("key", &["1", "4294967295"]), ("tos", &["1", "4"]), ("ttl", &["1", "255"])];

const MACSEC: [Choice; 6] = [
    ("port", &["2", "65535"]),
    ("icvlen", &["8", "16"]),
    ("encodingsa", &["1", "3"]),
    ("encrypt", &["true", "false"]),
    ("send_sci", &["true"]),
    ("validate", &["\"check\"", "\"disabled\""]),
];

const QDISCS: [&str; 12] = [
    "kind = \"pfifo\", limit = 7",
    "kind = \"bfifo\", limit = 5000",
    "kind = \"tbf\", rate = 1000000, burst = 1600, limit = 3000",
    "kind = \"netem\", limit = 10, delay_us = 500",
    "kind = \"sfq\", limit = 100",
    "kind = \"codel\", limit = 50",
    "kind = \"fq\", limit = 5, flow_limit = 3",
    "kind = \"fq_codel\", limit = 77",
    "kind = \"pie\", limit = 30",
    "kind = \"htb\", rate = 1000000, burst = 1600, ceil = 2000000",
    "kind = \"hfsc\", rate = 1000000",
    "kind = \"noqueue\"",
];

const BOND_MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

/// What a topology is made of so far.
struct Draft<'g> {
    random: &'g mut Generator,
    text: String,
    /// Cables, of which one end is in namespace `a`: `c0`, `c1`, ... Each is a port of one controller, or what links stand on.
    free: Vec<String>,
    /// Links that others may stand on.
    parents: Vec<String>,
    links: usize,
}

impl Draft<'_> {
    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    fn number(&mut self) -> usize {
        self.links += 1;
        self.links
    }

    /// Some keys of a table, each with one of its values.
    fn some(&mut self, choices: &[Choice], without: &[&str]) {
        for (key, values) in choices {
            if without.contains(key) || !self.random.once_in(3) {
                continue;
            }
            let value = self.random.of(values).expect("each key has values");
            let line = format!("{key} = {value}");
            self.line(&line);
        }
    }

    /// An address that no other link has.
    fn address(&mut self) {
        if self.random.once_in(2) {
            let net = self.number();
            let line = format!("addresses = [\"10.{}.{}.1/24\"]", net / 250, net % 250);
            self.line(&line);
        }
    }

    fn qdisc(&mut self, noqueue: bool) {
        if self.random.once_in(3) {
            let all = if noqueue { &QDISCS[..] } else { &QDISCS[..11] };
            let qdisc = self.random.of(all).expect("there are some");
            let line = format!("qdisc = {{ {qdisc} }}");
            self.line(&line);
        }
    }

    fn header(&mut self, kind: &str) -> String {
        let name = format!("x{}", self.number());
        let line = format!("[ns.a.{kind}.{name}]");
        self.line(&line);
        name
    }

    /// So many cables that nothing uses, at the most.
    fn take(&mut self, most: usize) -> Vec<String> {
        let count = self.random.next(most + 1).min(self.free.len());
        self.free.split_off(self.free.len() - count)
    }

    fn ports(&mut self, ports: &[String]) {
        let names: Vec<String> = ports.iter().map(|port| format!("\"{port}\"")).collect();
        let line = format!("ports = [{}]", names.join(", "));
        self.line(&line);
    }
}

/// The text of a topology that the kernel makes as it is written. It takes the newest one to know all options.
pub fn topology(random: &mut Generator) -> String {
    let mut draft = Draft { random, text: String::new(), free: Vec::new(), parents: Vec::new(), links: 0 };
    cables(&mut draft);
    for _ in 0..=draft.random.next(5) {
        match draft.random.next(13) {
            0 | 1 => bond(&mut draft),
            2 | 3 => bridge(&mut draft),
            4 | 5 => vlan(&mut draft),
            6 => macvlan(&mut draft),
            7 => ipvlan(&mut draft),
            8 => vrf(&mut draft),
            9 => tunnel(&mut draft),
            10 => macsec(&mut draft),
            11 => team(&mut draft),
            _ => leaf(&mut draft),
        }
    }
    routes(&mut draft);
    draft.text
}

fn cables(draft: &mut Draft<'_>) {
    for number in 0..=draft.random.next(5) {
        let line = format!("[ns.a.veth.c{number}]\npeer = \"b:d{number}\"");
        draft.line(&line);
        draft.some(&CABLE, &[]);
        // A controller sets the MTU of its ports, and group and flags; what is asked of a port is then not what is read back.
        draft.some(&COMMON, &["mtu", "allmulticast", "promisc", "arp", "up"]);
        draft.qdisc(true);
        draft.free.push(format!("c{number}"));
    }
}

fn bond(draft: &mut Draft<'_>) {
    let mode = *draft.random.of(&BOND_MODES).expect("there are some");
    let ports = draft.take(3);
    let name = draft.header("bond");
    let line = format!("mode = \"{mode}\"");
    draft.line(&line);
    draft.ports(&ports);
    draft.some(&BOND, &[]);
    match mode {
        "802.3ad" => draft.some(&LACP, &[]),
        "balance-rr" => draft.some(&[("packets_per_slave", &["0", "2", "65535"])], &[]),
        "active-backup" if !ports.is_empty() => {
            let line = format!("primary = \"{}\"", ports[0]);
            draft.line(&line);
            draft.some(&[("fail_over_mac", &["\"active\"", "\"none\""])], &[]);
            draft.some(
                &[("primary_reselect", &["\"better\"", "\"failure\""]), ("arp_missed_max", &["1", "255"])],
                &[],
            );
        }
        _ => {}
    }
    draft.some(&COMMON, &["mtu", "up", "gso_max_size", "gso_max_segs", "gro_max_size"]);
    draft.address();
    draft.qdisc(true);
    for port in &ports {
        let header = format!("[ns.a.bond.{name}.port.{port}]");
        draft.line(&header);
        draft.some(&[("queue_id", &["0", "1", "15"])], &[]);
    }
    draft.parents.push(name);
}

fn bridge(draft: &mut Draft<'_>) {
    let ports = draft.take(3);
    let name = draft.header("bridge");
    draft.ports(&ports);
    let filters = draft.random.once_in(2);
    let line = format!("vlan_filtering = {filters}");
    draft.line(&line);
    draft.some(&BRIDGE, &[]);
    draft.some(&COMMON, &["mtu", "up", "gso_max_size", "gso_max_segs", "gro_max_size"]);
    draft.address();
    for port in &ports {
        let header = format!("[ns.a.bridge.{name}.port.{port}]");
        draft.line(&header);
        draft.some(&BRIDGE_PORT, &[]);
        if filters && draft.random.once_in(2) {
            let first = 2 + draft.random.next(4000);
            let line = format!(
                "vlans = [{{ id = {first}, pvid = true, untagged = true }}, {{ id = {}, to = {} }}]",
                first + 1,
                first + 1 + draft.random.next(20)
            );
            draft.line(&line);
        }
    }
    draft.parents.push(name);
}

/// A link to stand on: one that is there, or a cable that nothing uses.
fn parent(draft: &mut Draft<'_>) -> Option<String> {
    if draft.random.once_in(2)
        && let Some(parent) = draft.random.of(&draft.parents).cloned()
    {
        return Some(parent);
    }
    draft.free.pop()
}

fn vlan(draft: &mut Draft<'_>) {
    let Some(below) = parent(draft) else { return };
    let id = 1 + draft.number();
    draft.header("vlan");
    let line = format!("parent = \"{below}\"\nid = {id}");
    draft.line(&line);
    draft.some(&VLAN, &[]);
    draft.some(&COMMON, &["mtu", "up", "gso_max_size", "gso_max_segs", "gro_max_size", "arp"]);
    draft.address();
}

fn macvlan(draft: &mut Draft<'_>) {
    let Some(below) = draft.free.pop() else { return };
    let mode =
        *draft.random.of(&["private", "vepa", "bridge", "passthru", "source"]).expect("there are some");
    draft.header("macvlan");
    let line = format!("parent = \"{below}\"\nmode = \"{mode}\"");
    draft.line(&line);
    match mode {
        "passthru" => draft.some(&[("nopromisc", &["true", "false"])], &[]),
        "source" => {
            draft.some(&[("source_addresses", &["[\"02:00:5e:10:bb:01\", \"02:00:5e:10:bb:02\"]"])], &[]);
        }
        _ => draft.some(&[("bcqueuelen", &["1", "2000"]), ("bclim", &["-1", "0", "7"])], &[]),
    }
    draft.address();
}

fn ipvlan(draft: &mut Draft<'_>) {
    let Some(below) = draft.free.pop() else { return };
    draft.header("ipvlan");
    let mode = *draft.random.of(&["l2", "l3", "l3s"]).expect("there are some");
    let flag = *draft.random.of(&["bridge", "private", "vepa"]).expect("there are some");
    let line = format!("parent = \"{below}\"\nmode = \"{mode}\"\nflag = \"{flag}\"");
    draft.line(&line);
    draft.address();
}

fn vrf(draft: &mut Draft<'_>) {
    let ports = draft.take(2);
    let table = 100 + draft.number();
    draft.header("vrf");
    let line = format!("table = {table}");
    draft.line(&line);
    draft.ports(&ports);
}

fn tunnel(draft: &mut Draft<'_>) {
    // Two tunnels with one key to one end are one.
    let number = draft.number();
    let kind = *draft.random.of(&["vxlan", "geneve", "gre", "gretap"]).expect("there are some");
    draft.header(kind);
    let remote = format!("remote = \"192.0.2.{}\"", 1 + number % 250);
    draft.line(&remote);
    match kind {
        "vxlan" => {
            let line = format!("id = {}", number * 65_000 % 16_777_216);
            draft.line(&line);
            draft.some(&VXLAN, &[]);
        }
        "geneve" => {
            let line = format!("id = {number}");
            draft.line(&line);
            draft.some(&GENEVE, &[]);
        }
        _ => draft.some(&GRE, &[]),
    }
    draft.some(&COMMON, &["mtu", "gso_max_size", "gso_max_segs", "gro_max_size", "arp"]);
    draft.address();
}

fn macsec(draft: &mut Draft<'_>) {
    let Some(cable) = draft.free.pop() else { return };
    let far = cable.replace('c', "d");
    let number = draft.number();
    for (ns, below, other) in [("a", &cable, "b"), ("b", &far, "a")] {
        let line = format!(
            "[ns.{ns}.macsec.m{number}]\nparent = \"{below}\"\npeer = \"{other}:m{number}\"\n\
             key = \"00112233445566778899aabbccddeeff\""
        );
        draft.line(&line);
        draft.some(&MACSEC, &[]);
    }
}

fn team(draft: &mut Draft<'_>) {
    let ports = draft.take(2);
    draft.header("team");
    let mode = *draft.random.of(&["roundrobin", "broadcast", "activebackup"]).expect("there are some");
    let line = format!("mode = \"{mode}\"");
    draft.line(&line);
    draft.ports(&ports);
    if let Some(port) = ports.first().filter(|_| mode == "activebackup") {
        let line = format!("active_port = \"{port}\"");
        draft.line(&line);
    }
    draft.address();
}

fn leaf(draft: &mut Draft<'_>) {
    let kind = *draft.random.of(&["dummy", "ifb", "tap", "tun"]).expect("there are some");
    let name = draft.header(kind);
    draft.some(&COMMON, &["up", "gso_max_size", "gso_max_segs", "gro_max_size"]);
    if kind != "dummy" {
        // A link on one that is down cannot be up.
        draft.some(&[("up", &["true", "false"])], &[]);
    } else {
        draft.some(&[("carrier", &["true", "false"])], &[]);
        draft.parents.push(name);
    }
    draft.qdisc(true);
    draft.address();
}

fn routes(draft: &mut Draft<'_>) {
    let number = draft.number();
    if draft.random.once_in(2) {
        let kind = *draft.random.of(&["blackhole", "unreachable", "prohibit"]).expect("there are some");
        let mut text = String::new();
        let _ = writeln!(
            text,
            "[[ns.a.routes]]\nto = \"198.51.100.0/24\"\ntype = \"{kind}\"\ntable = {}",
            1000 + number
        );
        let _ = write!(
            text,
            "[[ns.a.rules]]\npriority = {}\nfrom = \"203.0.113.0/24\"\ntable = {}",
            100 + number,
            1000 + number
        );
        draft.line(&text);
    }
}
