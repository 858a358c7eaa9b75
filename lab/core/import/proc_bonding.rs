//! `/proc/net/bonding/NAME` (`bond_info_show_master()` and `bond_info_show_slave()` of bond_procfs.c).

use crate::import::ip_text::partner;
use crate::import::model::{Kind, Model};
use crate::import::options;
use crate::import::text::Line;
use crate::net::name::IfName;

/// What is being read.
#[derive(Default)]
struct Reader<'t> {
    /// The name that the last command or path said.
    named: Option<String>,
    /// The bond.
    bond: Option<String>,
    /// The port whose lines these are.
    port: Option<String>,
    /// The port that the heading names as active.
    active: Option<String>,
    /// The file of which `grep` shows the lines.
    grepped: Option<&'t str>,
    /// Bonds whose name is not in the text, so far.
    nameless: usize,
}

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader::default();
    for line in lines {
        if let Some((name, text)) = grepped(line.text.trim()) {
            if reader.grepped != Some(name) {
                let nameless = reader.nameless;
                let named = Some(name.to_owned());
                reader = Reader { named, grepped: Some(name), nameless, ..Reader::default() };
            }
            if let Some((key, value)) = text.split_once(':') {
                reader.line(key.trim(), value.trim(), line.number, model);
            }
            continue;
        }
        let named = path(line.text);
        if line.begins || named.is_some() {
            let nameless = reader.nameless;
            reader = Reader { named, nameless, ..Reader::default() };
            if reader.named.is_some() {
                continue;
            }
        }
        let Some((key, value)) = line.text.trim().split_once(':') else { continue };
        reader.line(key.trim(), value.trim(), line.number, model);
    }
}

/// `/proc/net/bonding/bond0:MII Status: up`, as `grep` writes it: the bond, and the line of its file.
fn grepped(text: &str) -> Option<(&str, &str)> {
    let (name, line) = text.strip_prefix("/proc/net/bonding/")?.split_once(':')?;
    (!line.is_empty() && name.parse::<IfName>().is_ok()).then_some((name, line))
}

/// The bond's name in a path, as a command or a heading has it.
fn path(text: &str) -> Option<String> {
    let at = text.find("/proc/net/bonding/").or_else(|| text.find("proc/net/bonding/"))?;
    let rest = &text[at..].rsplit_once("bonding/")?.1;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
    name.parse::<IfName>().is_ok().then(|| name.to_owned())
}

impl Reader<'_> {
    fn line(&mut self, key: &str, value: &str, number: usize, model: &mut Model) {
        match (key, &self.bond) {
            ("Ethernet Channel Bonding Driver", _) => {
                self.bond = None;
                release(value, model);
            }
            ("Bonding Mode", _) => self.begin(value, number, model),
            (_, None) => {}
            ("Slave Interface", Some(bond)) => {
                model.port(bond, value);
                model.kind(value, Kind::Nic);
                self.port = Some(value.to_owned());
                let is_active = self.active.as_ref().map(|active| active == value);
                if let Some(link) = model.link(value) {
                    link.is_active = is_active.or(link.is_active);
                }
            }
            (_, Some(bond)) => match &self.port {
                Some(port) => of_port(port, key, value, model),
                None => {
                    if key == "Currently Active Slave" {
                        self.active = Some(value.to_owned());
                    }
                    of_bond(bond, key, value, model);
                }
            },
        }
    }

    fn begin(&mut self, mode: &str, number: usize, model: &mut Model) {
        model.found("/proc/net/bonding", number);
        let name = self.named.take().unwrap_or_else(|| {
            let name = format!("bond{}", self.nameless);
            self.nameless += 1;
            model
                .note(format!("the name of the bond of line {number} is not in the text: {name} is made up"));
            name
        });
        (self.port, self.active) = (None, None);
        options::set(model, &name, "mode", mode);
        if let Some((_, rest)) = mode.split_once("(fail_over_mac ") {
            options::set(model, &name, "fail_over_mac", rest.trim_end_matches(')'));
        }
        if let Some(link) = model.link(&name) {
            link.is_configuration = true;
            link.kind = Kind::Bond;
        }
        self.bond = Some(name);
    }
}

/// From 5.8 on the driver's version is that of the kernel (`UTS_RELEASE`); before that it was its own.
fn release(value: &str, model: &mut Model) {
    let Some(version) = value.strip_prefix('v') else { return };
    if !version.contains('(') {
        model.releases.push(version.trim().to_owned());
    }
}

fn of_bond(bond: &str, key: &str, value: &str, model: &mut Model) {
    let name = key.trim_end_matches("(ms)").trim();
    match name {
        "Transmit Hash Policy"
        | "MII Polling Interval"
        | "Up Delay"
        | "Down Delay"
        | "LACP rate"
        | "Min links"
        | "Aggregator selection policy (ad_select)"
        | "ARP Polling Interval"
        | "LACP active"
        | "ARP Missed Max" => {
            options::set(model, bond, name, value.trim_end_matches(" ms"));
        }
        "Peer Notification Delay" => options::set(model, bond, "peer_notif_delay", value),
        "NS IPv6 target/s (XX::XX form)" => options::set(model, bond, "ns_ip6_target", value),
        "Primary Slave" => {
            options::set(model, bond, name, value);
            if let Some((_, rest)) = value.split_once("(primary_reselect ") {
                options::set(model, bond, "primary_reselect", rest.trim_end_matches(')'));
            }
        }
        "ARP IP target/s (n.n.n.n form)" => options::set(model, bond, "arp_ip_target", value),
        "Partner Mac Address" => partner(bond, value, model),
        "Number of ports" => {
            if let Some(link) = model.link(bond) {
                link.aggregator_ports = value.parse().ok();
            }
        }
        "MII Status" => {
            if let Some(link) = model.link(bond) {
                link.carrier = Some(value == "up");
            }
        }
        _ => left(name, value, model),
    }
}

fn of_port(port: &str, key: &str, value: &str, model: &mut Model) {
    let Some(link) = model.link(port) else { return };
    match key {
        // What the bond thinks. What the device itself shows is nearer: without miimon the two differ.
        "MII Status" => link.carrier = link.carrier.or(Some(value == "up")),
        "Link Failure Count" => link.failures = value.parse().ok(),
        "Permanent HW addr" => link.permanent_mac = value.parse().ok().or(link.permanent_mac),
        "Slave queue ID" => {
            options::set_of_port(model, port, "queue_id", value);
        }
        _ => left(key, value, model),
    }
}

/// States that follow from the others, of the bond and of its LACP.
const OF_NO_USE: [&str; 32] = [
    "802.3ad info",
    "ARP Missed Max",
    "Active Aggregator Info",
    "Actor Churned Count",
    "Actor Churn State",
    "Actor Key",
    "Aggregator ID",
    "Bonding Mode",
    "Currently Active Slave",
    "Duplex",
    "Partner Churned Count",
    "Partner Churn State",
    "Partner Key",
    "Speed",
    "System MAC address",
    "System priority",
    "details actor lacp pdu",
    "details partner lacp pdu",
    "oper key",
    "port key",
    "port number",
    "port priority",
    "port state",
    "system mac address",
    "system priority",
    "Number of ports",
    "Link Failure Count",
    "MII Status",
    "Permanent HW addr",
    "ARP IP target/s (n.n.n.n form)",
    "Partner Mac Address",
    "LACP PDU Tx",
];

/// A line that is not read. A sentence with a colon that stands below a bond is none of its lines.
fn left(key: &str, value: &str, model: &mut Model) {
    // `On 06.05.24 12:45, somebody wrote` of a mail.
    let is_line = !key.contains(|c: char| c.is_ascii_digit())
        && key.len() < 40
        && value.len() < 40
        && key.starts_with(|c: char| c.is_ascii_uppercase());
    let is_sentence = key.split_whitespace().count() > 4 || value.split_whitespace().count() > 3;
    if is_line && !is_sentence && !value.is_empty() && !OF_NO_USE.contains(&key) {
        model.left("/proc/net/bonding", key);
    }
}
