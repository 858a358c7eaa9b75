//! Lines of /proc/net/bonding/BOND (drivers/net/bonding/bond_procfs.c): the bond's own, and those of one port.

/// Starts the part of a port (`bond_info_show_slave()`).
const PORT: &str = "Slave Interface: ";

/// The value of a line, as `KEY: VALUE` or, of a line under a heading, by `HEADING/KEY`: `Active Aggregator Info/Partner Key`,
/// `details actor lacp pdu/port state`. `port` is none for the bond's own lines.
pub fn value<'t>(text: &'t str, port: Option<&str>, key: &str) -> Option<&'t str> {
    let mut is_here = port.is_none();
    let mut heading = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(PORT) {
            is_here = port == Some(name.trim());
        }
        let is_below = line.starts_with([' ', '\t']);
        let Some((found, value)) = line.trim().split_once(':').filter(|_| is_here) else { continue };
        let value = value.trim();
        if !is_below {
            heading = value.is_empty().then_some(found);
        }
        let fits = match heading.filter(|_| is_below) {
            Some(heading) => key.split_once('/').is_some_and(|(of, rest)| of == heading && rest == found),
            None => key == found,
        };
        if fits && !value.is_empty() {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Ethernet Channel Bonding Driver: v6.12.57\n\n\
        Bonding Mode: IEEE 802.3ad Dynamic link aggregation\nMII Status: up\nARP IP target/s (n.n.n.n form): 192.0.2.1\n\n\
        802.3ad info\nLACP active: on\nActive Aggregator Info:\n\tAggregator ID: 1\n\tNumber of ports: 2\n\n\
        Slave Interface: p0\nMII Status: down\nLink Failure Count: 1\nActor Churn State: churned\n\
        details actor lacp pdu:\n    port state: 69\ndetails partner lacp pdu:\n    port state: 1\n\n\
        Slave Interface: p1\nMII Status: up\n";

    #[test]
    fn lines_are_found_by_port_and_heading() {
        for (port, key, expected) in [
            (None, "MII Status", Some("up")),
            (Some("p0"), "MII Status", Some("down")),
            (Some("p1"), "MII Status", Some("up")),
            (Some("p1"), "Link Failure Count", None),
            (Some("p0"), "Actor Churn State", Some("churned")),
            (Some("p0"), "details actor lacp pdu/port state", Some("69")),
            (Some("p0"), "details partner lacp pdu/port state", Some("1")),
            (Some("p0"), "port state", None),
            (Some("p0"), "details partner lacp pdu", None),
            (None, "Active Aggregator Info/Number of ports", Some("2")),
            (None, "LACP active", Some("on")),
            (None, "ARP IP target/s (n.n.n.n form)", Some("192.0.2.1")),
            (Some("none"), "MII Status", None),
        ] {
            assert_eq!(value(TEXT, port, key), expected, "{port:?} {key}");
        }
    }
}
