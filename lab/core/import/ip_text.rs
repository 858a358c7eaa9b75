//! `ip link`, `ip address`, with `-s`, `-s -s` and `-d` in any mix, as text.

use crate::import::bridge_options::{self, Of};
use crate::import::model::{Kind, Model};
use crate::import::text::{Line, after};
use crate::import::virtual_links::VRF_WITHOUT_TABLE;
use crate::import::{link_options, options, tc, virtual_links, vlan_flags, wrapped};
use crate::net::name::IfName;

/// What is being read.
#[derive(Default)]
struct Reader {
    /// The device that the lines are about.
    device: Option<String>,
    /// Columns of the counters whose numbers come next.
    columns: Vec<&'static str>,
    /// Whether `-d` was given: then a device without a kind is a NIC.
    is_detailed: bool,
}

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader {
        is_detailed: lines.iter().any(|line| line.text.contains("promiscuity ")),
        ..Reader::default()
    };
    for (text, line) in wrapped::joined(lines, |text| header(text).is_some()) {
        if line.begins || is_ifconfig(line.text) {
            (reader.device, reader.columns) = (None, Vec::new());
        }
        // `-o` joins the lines of one device.
        for part in text.split("\\ ") {
            reader.line(part, line.number, model);
        }
    }
}

impl Reader {
    fn line(&mut self, text: &str, number: usize, model: &mut Model) {
        if let Some((name, parent, flags, rest)) = header(text) {
            model.found("ip link or ip address (text)", number);
            self.begin(name, parent, flags, rest, model);
            return;
        }
        if let Some((name, rest)) = one_line(text) {
            model.found("ip link or ip address (text)", number);
            self.columns.clear();
            self.device = Some(name.to_owned()).filter(|name| name != "lo");
            if let Some(device) = self.device.clone() {
                self.detail(&device, rest, model);
            }
            return;
        }
        if let Some(name) = shown(text) {
            self.device = Some(name);
            self.columns.clear();
            return;
        }
        let Some(device) = self.device.clone() else { return };
        let trimmed = text.trim();
        if let Some(columns) = columns(trimmed) {
            self.columns = columns;
        } else if !self.columns.is_empty() {
            let columns = std::mem::take(&mut self.columns);
            if counters(&device, &columns, trimmed, model) {
                model.found("counters of ip -s link", number);
            }
        } else {
            self.detail(&device, text, model);
        }
    }

    fn begin(&mut self, name: &str, parent: Option<&str>, flags: &str, rest: &str, model: &mut Model) {
        self.columns.clear();
        self.device = None;
        let flags = flags_of(flags);
        if flags.contains(&"LOOPBACK") || name == "lo" || name.parse::<IfName>().is_err() {
            return;
        }
        self.device = Some(name.to_owned());
        let Some(link) = model.link(name) else { return };
        link.up = Some(flags.contains(&"UP"));
        if flags.contains(&"UP") {
            link.carrier = Some(flags.contains(&"LOWER_UP"));
        }
        link.mtu = after(rest, "mtu").and_then(|mtu| mtu.parse().ok()).or(link.mtu);
        link.qdisc = after(rest, "qdisc").map(str::to_owned).or(link.qdisc.take());
        link_options::flags(link, &flags);
        link_options::of_words(name, rest, model);
        if let Some(controller) = after(rest, "master") {
            let kind = if flags.contains(&"SLAVE") { Kind::Bond } else { Kind::Bridge };
            model.port(controller, name);
            model.kind(controller, kind);
        }
        match parent {
            Some(parent) => above(name, parent, model),
            // vrf_setup() has IFF_NOARP, which a bond has not.
            None if flags.contains(&"MASTER") && flags.contains(&"NOARP") => {
                other(name, VRF_WITHOUT_TABLE, model)
            }
            None if flags.contains(&"MASTER") => model.kind(name, Kind::Bond),
            None => {}
        }
    }

    fn detail(&mut self, device: &str, text: &str, model: &mut Model) {
        let (whole, text) = (text, text.trim());
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        match first {
            "inet" | "inet6" => {
                let cidr = words.next().unwrap_or_default();
                let is_link_local = after(text, "scope") == Some("link");
                let is_tunnel = words.next() == Some("peer");
                if is_tunnel {
                    model.note(format!("address {cidr} of {device}: topologies have none with a peer"));
                } else if !is_link_local {
                    model.address(device, cidr);
                }
            }
            "bond_slave" => port(device, text, model),
            "bridge_slave" => bridge_options::words(device, Of::Port, words, model),
            "prog/xdp" => {
                tc::program_seen(device, "XDP", after(text, "name").unwrap_or("without a name"), model)
            }
            "bond" => bond(device, text, model),
            _ if first.starts_with("link/") => self.hardware(device, first, text, model),
            _ => kind(device, whole, model),
        }
        // Kinds follow on the same line when there is little to say before them.
        for word in [" bond_slave ", " bond mode ", " vlan protocol ", " macvlan mode ", " ipvlan mode "] {
            if first.starts_with("link/")
                && let Some(at) = text.find(word)
            {
                self.detail(device, text[at..].trim(), model);
            }
        }
    }

    fn hardware(&self, device: &str, first: &str, text: &str, model: &mut Model) {
        if text.contains(" protodown on") {
            link_options::proto_down(device, model);
        }
        if first == "link/ether" {
            let mac = text.split_whitespace().nth(1).and_then(|mac| mac.parse().ok());
            let permanent = after(text, "permaddr").and_then(|mac| mac.parse().ok());
            let is_nic = text.contains(" parentbus ") || self.is_detailed;
            let Some(link) = model.link(device) else { return };
            link.mac = mac.or(link.mac);
            link.permanent_mac = permanent.or(link.permanent_mac);
            if is_nic {
                link.kind = link.kind.max(Kind::Nic);
            }
        } else {
            other(device, first, model);
        }
    }
}

/// A device of a kind that topologies do not have, unless another command shows that they have it.
fn other(device: &str, word: &str, model: &mut Model) {
    if let Some(link) = model.link(device).filter(|link| !matches!(link.kind, Kind::Virtual(_) | Kind::Tun)) {
        link.kind = Kind::Other;
        word.clone_into(&mut link.kind_word);
    }
}

/// Kinds of iproute2 that topologies do not have; veth is decided when both ends are known.
const OTHERS: [&str; 28] = [
    "veth",
    "tun",
    "openvswitch",
    "wireguard",
    "macvtap",
    "ipvtap",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
    "erspan",
    "sit",
    "ipip",
    "ip6tnl",
    "vti",
    "vti6",
    "xfrm",
    "hsr",
    "vcan",
    "vxcan",
    "can",
    "bareudp",
    "nlmon",
    "netkit",
    "amt",
    "rmnet",
    "dsa",
    "gtp",
    "batadv",
];

/// Names of flags. BusyBox and old iproute2 print those that they have no name for as one number behind the last name: `UP800`.
fn flags_of(text: &str) -> Vec<&str> {
    let names = ["LOWER_UP", "UP", "BROADCAST", "MULTICAST", "NOARP", "POINTOPOINT", "LOOPBACK"];
    let mut all = Vec::new();
    for flag in text.split(',') {
        let with_more = names.iter().find_map(|name| {
            let digits = flag.strip_prefix(name).filter(|digits| !digits.is_empty())?;
            Some((*name, u32::from_str_radix(digits, 16).ok()?))
        });
        match with_more {
            Some((name, bits)) => {
                all.push(name);
                // IFF_MASTER and IFF_SLAVE, include/uapi/linux/if.h.
                all.extend((bits & 0x400 != 0).then_some("MASTER"));
                all.extend((bits & 0x800 != 0).then_some("SLAVE"));
            }
            None => all.push(flag),
        }
    }
    all
}

/// `2: eth0@bond0: <FLAGS> rest`.
fn header(text: &str) -> Option<(&str, Option<&str>, &str, &str)> {
    let (number, rest) = text.trim_start().split_once(": ")?;
    if number.is_empty() || number.len() > 9 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (name, rest) = rest.split_once(": <")?;
    let (flags, rest) = rest.split_once('>')?;
    let (name, parent) = match name.split_once('@') {
        Some((name, parent)) => (name, Some(parent)),
        None => (name, None),
    };
    (!name.trim().is_empty()).then_some((name.trim(), parent, flags, rest))
}

/// `4: bond0    inet 192.0.2.10/24 ...`: a line of `ip -o address`, which has no flags.
fn one_line(text: &str) -> Option<(&str, &str)> {
    let (number, rest) = text.trim_start().split_once(": ")?;
    let (name, rest) = rest.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let is_number =
        !number.is_empty() && number.len() < 10 && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = rest.starts_with("inet ") || rest.starts_with("inet6 ");
    (is_number && is_address && name.parse::<IfName>().is_ok()).then_some((name, rest))
}

/// `ip -s link show bond0.70`, in a prompt, a comment or a sentence.
fn shown(text: &str) -> Option<String> {
    let at = text.find("link show ").or_else(|| text.find("link show dev "))?;
    text[..at].contains("ip ").then_some(())?;
    let mut words = text[at + "link show ".len()..].split_whitespace();
    let word = words.find(|word| *word != "dev")?.trim_matches(['`', ':', ',', '"']);
    word.parse::<IfName>().is_ok().then(|| word.to_owned())
}

/// A device of which one end is all that the text shows.
pub fn is_elsewhere(name: &str, model: &mut Model) {
    other(name, "its other end is in a namespace that the text does not show", model);
}

/// Made on another device, by its name `name@parent`.
pub fn above(name: &str, parent: &str, model: &mut Model) {
    // BusyBox looks the number of the other end up among its own devices, whatever namespace it is of: often it is the device itself.
    let is_far = parent == "NONE"
        || parent == name
        || parent.strip_prefix("if").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if is_far {
        is_elsewhere(name, model);
        return;
    }
    let Ok(below) = parent.parse::<IfName>() else { return };
    let id = vlan_of_name(name);
    let Some(link) = model.link(name) else { return };
    link.parent = Some(below);
    if link.kind < Kind::Vlan
        && let Some(id) = id
    {
        link.kind = Kind::Vlan;
        link.vlan_id = link.vlan_id.or(Some(id));
    }
}

/// 70 of `bond0.70`, `vlan70` and `bond0-vlan70`.
pub fn vlan_of_name(name: &str) -> Option<u16> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    let is_vlan = stem.ends_with('.') || stem.to_ascii_lowercase().ends_with("vlan");
    number.parse().ok().filter(|id| is_vlan && (1..=4094).contains(id))
}

/// The line of a kind's own attributes.
fn kind(device: &str, text: &str, model: &mut Model) {
    if virtual_links::line(device, text, model) || vlan_flags::map_of_line(device, text, model) {
        return;
    }
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let Some(link) = model.link(device) else { return };
    match first {
        // `protocol` is there from iproute2 3.10 on.
        "vlan" if text.contains(" id ") && (text.contains(" protocol ") || text.contains('<')) => {
            link.kind = Kind::Vlan;
            link.vlan_id = after(text, "id").and_then(|id| id.parse().ok()).or(link.vlan_id);
            link.is_service_tag = text.contains("802.1ad");
            vlan_flags::of_line(link, text);
        }
        "ipvlan" | "macvlan" if words.clone().next() == Some("mode") => {
            link.kind = if first == "ipvlan" { Kind::Ipvlan } else { Kind::Macvlan };
            link.mode = after(text, "mode").map(str::to_owned);
            link.flag = ["private", "vepa"]
                .into_iter()
                .find(|flag| first == "ipvlan" && words.clone().any(|word| word == *flag))
                .map(str::to_owned);
        }
        "tun" if after(text, "type") == Some("tap") => link.kind = Kind::Tap,
        "tun" if after(text, "type") == Some("tun") => link.kind = Kind::Tun,
        "bridge" if text.contains("forward_delay") => {
            link.kind = link.kind.max(Kind::Bridge);
            link.vlan_filtering = after(text, "vlan_filtering").map(|is| is == "1").or(link.vlan_filtering);
            bridge_options::words(device, Of::Bridge, words, model);
        }
        "dummy" if is_shown(text) => link.kind = link.kind.max(Kind::Dummy),
        "netdevsim" if is_shown(text) => link.kind = link.kind.max(Kind::Nic),
        word if OTHERS.contains(&word) && is_shown(text) => other(device, first, model),
        // What is indented below a device is of `ip`, unless it is a sentence.
        word if text.starts_with([' ', '\t']) && is_left(word) => {
            model.left("ip link or ip address", text.trim())
        }
        _ => {}
    }
}

/// Whether a line says something that is not looked at: no lifetime, alias, header of counters, or word with a capital letter.
fn is_left(word: &str) -> bool {
    const OF_NO_USE: [&str; 20] = [
        "valid_lft",
        "altname",
        "alias",
        "promiscuity",
        "vlan",
        "bridge_slave",
        "team_slave",
        "vrf_slave",
        "openvswitch_slave",
        "addrgenmode",
        "numtxqueues",
        "gso_max_size",
        "parentbus",
        "ingress-qos-map",
        "egress-qos-map",
        "minmtu",
        "macvlan",
        "bond",
        "ipvlan",
        "bridge",
    ];
    !OF_NO_USE.contains(&word)
        && !OTHERS.contains(&word)
        && word.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a line that begins with a kind's word is one of `ip`, and no sentence (`can anybody ...`): it is indented, and what `ip`
/// prints of every link stands behind the kind's own attributes.
fn is_shown(text: &str) -> bool {
    text.starts_with([' ', '\t']) || text.contains(" addrgenmode ") || text.contains(" numtxqueues ")
}

/// The heading of a device in the output of `ifconfig`, whose lines below it look like those of `ip`.
fn is_ifconfig(text: &str) -> bool {
    text.split_once(": flags=").is_some_and(|(_, flags)| flags.contains('<')) || text.contains(" Link encap:")
}

fn bond(device: &str, text: &str, model: &mut Model) {
    let is_sentence = [" miimon ", " addrgenmode "].iter().all(|word| !text.contains(word));
    if !text.starts_with("bond mode ") || is_sentence {
        return;
    }
    let mut words = text.split_whitespace().skip(1);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        // Attributes of every link follow the bond's own.
        if ["addrgenmode", "numtxqueues"].contains(&name) {
            break;
        }
        match name {
            "ad_partner_mac" => partner(device, value, model),
            "ad_num_ports" => {
                if let Some(link) = model.link(device) {
                    link.aggregator_ports = value.parse().ok();
                }
            }
            "ad_aggregator" | "ad_actor_key" | "ad_partner_key" => {}
            _ => options::set(model, device, name, value),
        }
    }
    if let Some(link) = model.link(device) {
        link.is_configuration = true;
    }
}

/// The LACP partner's address; all zero is none.
pub fn partner(bond: &str, mac: &str, model: &mut Model) {
    if let Some(link) = model.link(bond) {
        link.has_partner = Some(mac.bytes().any(|byte| !matches!(byte, b'0' | b':')));
    }
}

fn port(device: &str, text: &str, model: &mut Model) {
    for key in ["queue_id", "prio", "actor_port_prio"] {
        if let Some(value) = after(text, key) {
            options::set_of_port(model, device, key, value);
        }
    }
    let Some(link) = model.link(device) else { return };
    link.is_active = after(text, "state").map(|state| state == "ACTIVE");
    link.failures = after(text, "link_failure_count").and_then(|count| count.parse().ok());
    link.permanent_mac = after(text, "perm_hwaddr").and_then(|mac| mac.parse().ok()).or(link.permanent_mac);
    if let Some(status) = after(text, "mii_status") {
        link.carrier = link.carrier.or(Some(status == "UP"));
    }
}

/// The names of counters under a heading `TX: bytes packets ...`.
fn columns(text: &str) -> Option<Vec<&'static str>> {
    let (is_sent, rest) = match text.strip_prefix("TX:") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("RX:")?),
    };
    let name = |word| {
        Some(match (is_sent, word) {
            (true, "bytes") => "tx_bytes",
            (true, "packets") => "tx_packets",
            (true, "errors") => "tx_errors",
            (true, "dropped") => "tx_dropped",
            (false, "bytes") => "rx_bytes",
            (false, "packets") => "rx_packets",
            (false, "errors") => "rx_errors",
            (false, "dropped") => "rx_dropped",
            _ => "",
        })
    };
    let all: Option<Vec<&'static str>> = rest.split_whitespace().map(name).collect();
    all.filter(|all| all.iter().any(|name| !name.is_empty()))
}

fn counters(device: &str, columns: &[&'static str], numbers: &str, model: &mut Model) -> bool {
    let values: Vec<&str> = numbers.split_whitespace().collect();
    let is_numbers = !values.is_empty()
        && values
            .iter()
            .all(|value| value.starts_with(|c: char| c.is_ascii_digit()) && number(value).is_some());
    let Some(link) = model.link(device).filter(|_| is_numbers) else { return false };
    for (name, value) in columns.iter().zip(&values).filter(|(name, _)| !name.is_empty()) {
        if let Some(value) = number(value) {
            link.counters.insert(name, value);
        }
    }
    true
}

/// `12`, and the `12k` and `3.4M` of `ip -h`.
fn number(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1e3),
        (at, 'M') => (&text[..at], 1e6),
        (at, 'G') => (&text[..at], 1e9),
        (at, 'T') => (&text[..at], 1e12),
        _ => return None,
    };
    let value = digits.parse::<f64>().ok()? * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded in the line above")]
    (0.0..1e18).contains(&value).then_some(value as u64)
}
