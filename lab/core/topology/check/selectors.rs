//! Device selectors of Talos, resolved against a topology's links: once for a bond's ports, and again when all stand.

use crate::net::address::Mac;
use crate::net::link::{Link, LinkKind};
use crate::net::mode::NicDriver;
use crate::net::name::{DeviceRef, IfName};
use crate::topology::Topology;
use crate::topology::check::Checker;
use crate::topology::file::{At, BondTable, NsTable, SelectorTable, TopologyFile};
use crate::topology::parse::diagnostic::Diagnostic;

/// What a selector can see of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Candidate {
    name: String,
    driver: Option<&'static str>,
    mac: Option<Mac>,
    permanent: Option<Mac>,
    bus_path: Option<String>,
    physical: bool,
}

/// Gives each bond the ports that its selectors match among the devices that are there before any bond is: the union
/// in the order of the selectors.
pub fn expand(file: &mut TopologyFile, problems: &mut Vec<Diagnostic>) {
    for (ns, table) in &mut file.ns {
        let candidates = lowest(table);
        for bond in table.bond.values_mut() {
            for selector in &bond.device_selectors {
                let span = selector.span.clone();
                if let Some((span, message, hint)) = unusable(selector) {
                    problems.push(Diagnostic { span, message, hint });
                    continue;
                }
                let found = candidates.iter().filter(|candidate| matches(&selector.value, candidate));
                let names: Vec<IfName> = found.filter_map(|candidate| candidate.name.parse().ok()).collect();
                if names.is_empty() {
                    let all: Vec<String> = candidates.iter().map(|one| shown(one, &selector.value)).collect();
                    let message = format!("no device of namespace {} matches this selector", ns.value);
                    problems.push(Diagnostic {
                        span,
                        message,
                        hint: format!("there are: {}", all.join("; ")),
                    });
                    continue;
                }
                for name in names {
                    if !bond.ports.iter().any(|port| port.value == name) {
                        bond.ports.push(At { value: name, span: span.clone() });
                    }
                }
            }
        }
    }
}

/// What a bond's selectors match besides its ports and itself, once everything stands.
pub fn again(
    file: &TopologyFile,
    topology: &Topology,
    bond: &At<DeviceRef>,
    checker: &mut Checker<'_>,
) -> Option<Vec<DeviceRef>> {
    let DeviceRef { ns, name } = &bond.value;
    let (_, table) = file.ns.iter().find(|(known, _)| known.value == *ns)?;
    let selectors =
        table.bond.iter().find(|(known, _)| known.value == *name).map(|(_, bond)| &bond.device_selectors);
    let Some(selectors) = selectors.filter(|selectors| !selectors.is_empty()) else {
        let message = format!("{} has no device selectors", bond.value);
        checker.problem(&bond.span, message, "give the bond `device_selectors`");
        return None;
    };
    topology.links.get(&bond.value)?;
    Some(matching(table, topology, &bond.value, selectors))
}

/// The same of a bond with selectors; of one without, nothing.
pub fn strangers(table: &NsTable, topology: &Topology, bond: &DeviceRef) -> Vec<DeviceRef> {
    let known = table.bond.iter().find(|(known, _)| known.value == bond.name);
    known.map_or(Vec::new(), |(_, table_of_bond)| {
        matching(table, topology, bond, &table_of_bond.device_selectors)
    })
}

fn matching(
    table: &NsTable,
    topology: &Topology,
    bond: &DeviceRef,
    selectors: &[At<SelectorTable>],
) -> Vec<DeviceRef> {
    let Some(own) = topology.links.get(bond) else { return Vec::new() };
    let others = topology
        .links
        .values()
        .filter(|link| link.device.ns == bond.ns && link.device != *bond && !own.has_port(&link.device));
    let found = others.filter(|link| {
        let candidate = Candidate { bus_path: plugged(table, &link.device.name), ..standing(link, topology) };
        selectors.iter().any(|selector| matches(&selector.value, &candidate))
    });
    found.map(|link| link.device.clone()).collect()
}

/// Devices that more than one selector of a bond matches.
pub fn matched_twice(table: &NsTable, bond: &BondTable) -> Vec<String> {
    let times = |candidate: &Candidate| {
        bond.device_selectors.iter().filter(|selector| matches(&selector.value, candidate)).count()
    };
    lowest(table).into_iter().filter(|one| times(one) > 1).map(|one| one.name).collect()
}

/// Devices that stand on nothing, as the file has them.
fn lowest(table: &NsTable) -> Vec<Candidate> {
    let device = |name: &At<IfName>, driver, mac: Option<Mac>| Candidate {
        name: name.value.to_string(),
        driver: Some(driver),
        mac,
        permanent: mac,
        bus_path: plugged(table, &name.value),
        physical: true,
    };
    let mut found = Vec::new();
    found.extend(table.nic.iter().map(|(name, nic)| device(name, nic.driver.value.word(), nic.mac)));
    found.extend(table.pf.iter().map(|(name, pf)| device(name, pf.driver.value.word(), pf.mac)));
    found.extend(table.vf.iter().map(|(name, vf)| device(name, "igbvf", vf.mac)));
    found.extend(table.veth.iter().map(|(name, veth)| device(name, "veth", veth.mac)));
    found
}

/// A device that stands: a bond has its first port's address, and what is made on a device has the device's.
fn standing(link: &Link, topology: &Topology) -> Candidate {
    let (driver, physical) = match &link.kind {
        LinkKind::Nic(nic) | LinkKind::Pf(nic) => (nic.driver.word(), true),
        LinkKind::Vf { .. } => ("igbvf", true),
        LinkKind::Vlan { .. } => ("802.1Q VLAN Support", false),
        LinkKind::Bond(_) => ("bonding", false),
        other => (other.word(), false),
    };
    Candidate {
        name: link.device.name.to_string(),
        driver: Some(driver),
        mac: mac_of(link, topology, topology.links.len()),
        permanent: link.mac.filter(|_| physical),
        bus_path: None,
        physical,
    }
}

/// Where a device is plugged in on the machine that is described.
fn plugged(table: &NsTable, device: &IfName) -> Option<String> {
    let nics = table.nic.iter().map(|(name, nic)| (name, &nic.bus_path));
    let pfs = table.pf.iter().map(|(name, pf)| (name, &pf.bus_path));
    let (_, bus_path) = nics.chain(pfs).find(|(name, _)| name.value == *device)?;
    bus_path.as_ref().map(|at| at.value.clone())
}

fn mac_of(link: &Link, topology: &Topology, depth: usize) -> Option<Mac> {
    let below = link.below().into_iter().next().and_then(|device| topology.links.get(&device));
    link.mac.or_else(|| below.filter(|_| depth > 0).and_then(|below| mac_of(below, topology, depth - 1)))
}

/// What makes a selector match nothing whatever there is.
fn unusable(selector: &At<SelectorTable>) -> Option<(std::ops::Range<usize>, String, String)> {
    let SelectorTable { driver, hardware_addr, permanent_addr, bus_path, pci_id, physical } = &selector.value;
    let texts = [driver, hardware_addr, permanent_addr, bus_path, pci_id];
    if texts.iter().all(|text| text.is_none()) && physical.is_none() {
        let hint = "say at least one of: driver, hardwareAddr, permanentAddr, busPath, pciID, physical";
        return Some((selector.span.clone(), "an empty selector matches nothing".into(), hint.into()));
    }
    None
}

/// All keys that are given must fit.
fn matches(selector: &SelectorTable, candidate: &Candidate) -> bool {
    let fits = |pattern: &Option<At<String>>, value: Option<String>| {
        pattern.as_ref().is_none_or(|pattern| value.is_some_and(|value| glob(&pattern.value, &value)))
    };
    let text = |mac: Option<Mac>| mac.map(|mac| mac.to_string());
    let is_physical = selector.physical.as_ref().is_none_or(|physical| physical.value == candidate.physical);
    is_physical
        && fits(&selector.driver, candidate.driver.map(str::to_owned))
        && fits(&selector.hardware_addr, text(candidate.mac))
        && fits(&selector.permanent_addr, text(candidate.permanent))
        && fits(&selector.bus_path, candidate.bus_path.clone())
        && fits(&selector.pci_id, candidate.driver.and_then(pci_id).map(str::to_owned))
}

/// Of the NICs that QEMU emulates (hw/net/e1000e.c, hw/net/igb.c, and virtio-net behind a PCIe
/// port, which is a modern one: 0x1040 and its virtio number) and igb's VF.
fn pci_id(driver: &str) -> Option<&'static str> {
    const IGBVF: &str = "igbvf";
    match driver {
        _ if driver == NicDriver::E1000e.word() => Some("8086:10D3"),
        _ if driver == NicDriver::Igb.word() => Some("8086:10C9"),
        _ if driver == NicDriver::VirtioNet.word() => Some("1AF4:1041"),
        IGBVF => Some("8086:10CA"),
        _ => None,
    }
}

/// A device as its selector looks at it.
fn shown(candidate: &Candidate, selector: &SelectorTable) -> String {
    let mac = candidate.mac.map_or_else(|| "no `mac` given".to_owned(), |mac| mac.to_string());
    let driver = candidate.driver.unwrap_or("unknown");
    let place = candidate.bus_path.as_deref().unwrap_or("no `bus_path` given");
    let place = selector.bus_path.as_ref().map(|_| format!(", {place}")).unwrap_or_default();
    let product = candidate.driver.and_then(pci_id).unwrap_or("no PCI device");
    let product = selector.pci_id.as_ref().map(|_| format!(", {product}")).unwrap_or_default();
    format!("{} (driver {driver}, {mac}{place}{product})", candidate.name)
}

/// `*` stands for any text, `?` for one character; letters are compared without case.
///
/// Of several stars only the last can be wrong: what an earlier one stands for need not be longer, for the last one takes
/// in whatever comes. So a mismatch goes back to the last star alone, and no pattern takes longer than its length times
/// that of the text.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut here) = (0, 0);
    // After the last star, and where the text goes on that it does not stand for.
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, here));
            }
            Some(one) if *one == b'?' || one.eq_ignore_ascii_case(&text[here]) => {
                (at, here) = (at + 1, here + 1)
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (at, here) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_NICS: &str = "[ns.node.nic.eno1]\ndriver = 'e1000e'\npeer = 'a:p'\nbus_path = '0000:00:1f.6'\n\
        [ns.node.nic.enp7s0]\ndriver = 'e1000e'\npeer = 'b:p'\nbus_path = '0000:07:00.0'\n\
        [ns.node.nic.enp8s0]\ndriver = 'e1000e'\npeer = 'c:p'\n[ns.node.bond.bond0]\nmode = 'active-backup'\n";

    #[rstest::rstest]
    #[case("busPath = '0000:07:00.0'", "enp7s0")]
    #[case("busPath = '0000:*'", "eno1 enp7s0")]
    #[case("busPath = '*', driver = 'e1000e'", "eno1 enp7s0")]
    #[case("driver = 'e1000e'", "eno1 enp7s0 enp8s0")]
    fn a_bus_path_is_that_of_the_machine_described(#[case] selector: &str, #[case] expected: &str) {
        let text = format!("{TWO_NICS}device_selectors = [{{ {selector} }}]\n");
        let topology = Topology::parse("t", "t.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let bond = &topology.links[&"node:bond0".parse::<DeviceRef>().unwrap()];
        let names = ["eno1", "enp7s0", "enp8s0"];
        let is_port = |name: &&str| bond.has_port(&format!("node:{name}").parse().unwrap());
        assert_eq!(names.into_iter().filter(is_port).collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn a_bus_path_that_nobody_has_is_reported_with_those_that_are_there() {
        let text = format!("{TWO_NICS}device_selectors = [{{ busPath = '0000:09:*' }}]\n");
        let errors = Topology::parse("t", "t.toml", &text).expect_err("none has it").to_string();
        for expected in ["no device of namespace node matches", "0000:07:00.0", "no `bus_path` given"] {
            assert!(errors.contains(expected), "{expected} in {errors}");
        }
    }

    /// The I219 of the notes is not emulated: what is there instead is reported.
    #[test]
    fn a_product_that_nobody_has_is_reported_with_those_that_are_there() {
        let text = format!("{TWO_NICS}device_selectors = [{{ pciID = '8086:15E3' }}]\n");
        let errors = Topology::parse("t", "t.toml", &text).expect_err("none is one").to_string();
        assert!(errors.contains("eno1 (driver e1000e, no `mac` given, 8086:10D3)"), "{errors}");
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("e1000e", "e1000e", true),
            ("e1000e", "e1000", false),
            ("10:E7:C6:16:*", "10:e7:c6:16:00:01", true),
            ("10:e7:c6:16:*", "10:e7:c6:17:00:01", false),
            ("*", "", true),
            ("**b*", "aab", true),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("", "", true),
            ("*a*b", "xaxbxab", true),
            ("*a*b", "xaxbxa", false),
            ("a*", "a", true),
            ("*ab?", "abaabc", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// With going back to every star this would take 2^60 steps.
    #[test]
    fn no_pattern_takes_long() {
        let pattern = "*a".repeat(20_000) + "b";
        assert!(!glob(&pattern, &"a".repeat(60)));
        assert!(!glob(&("*a".repeat(30) + "b"), &"a".repeat(60)));
        assert!(glob(&"*a".repeat(60), &"a".repeat(60)));
    }
}
