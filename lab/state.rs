//! The state of links at one moment, and the numbers that a condition reads out of it.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::link::{DeviceRef, IfName, Mac, MacSource};
use crate::scenario::{State, Subject};

/// One link at one moment, as rtnetlink shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkState {
    /// IFF_UP.
    pub up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// In bytes.
    pub mtu: u32,
    /// Its address now. Compared with others', never shown: some are random.
    pub mac: Option<Mac>,
    /// The bond or bridge it is a port of.
    pub controller: Option<IfName>,
    /// IFLA_BOND_SLAVE_STATE is BOND_STATE_ACTIVE.
    pub is_active: bool,
    /// IFLA_BOND_SLAVE_MII_STATUS is BOND_LINK_UP.
    pub is_link_up: bool,
    /// IFLA_BOND_AD_INFO_NUM_PORTS.
    pub aggregator_ports: u16,
    /// IFLA_BOND_AD_INFO_PARTNER_MAC is not zero.
    pub has_partner: bool,
    /// IFLA_INFO_KIND; empty for a device of a driver.
    #[serde(default)]
    pub kind: String,
    /// IFLA_LINK: the device it stands on, if that is in its own namespace.
    #[serde(default)]
    pub lower: Option<IfName>,
    /// IFLA_BOND_MODE is BOND_MODE_BROADCAST.
    #[serde(default)]
    pub is_broadcast: bool,
}

/// What is told of a link at the end of a trial, by names and counts that a second run would give it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkReport {
    /// IFLA_INFO_KIND; empty for a device of a driver.
    pub kind: String,
    /// IFLA_OPERSTATE, as `ip link` prints it.
    pub operstate: String,
    /// As `ip link` prints them.
    pub flags: Vec<String>,
    /// IFLA_BOND_SLAVE_LINK_FAILURE_COUNT of a bond's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Of a port of a bond in mode 802.3ad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacp: Option<LacpPort>,
    /// Offloads and other features that are on and could be off, as `ethtool -k` names them; none where they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// Whether operational state and the bond's view of it had caught up with the carrier in time.
    pub is_settled: bool,
}

/// A port as LACP sees it: bits of its state (IEEE 802.1AX, `lacp_actor_state`) by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LacpPort {
    /// Its bond.
    pub bond: DeviceRef,
    /// IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE.
    pub actor: Vec<String>,
    /// IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE.
    pub partner: Vec<String>,
    /// Other ports with the same IFLA_BOND_SLAVE_AD_AGGREGATOR_ID; the number itself is no behaviour.
    pub aggregated_with: Vec<IfName>,
}

/// Links at one moment.
pub type LinkStates = IndexMap<DeviceRef, LinkState>;

/// Reads a number; `None` for what is no state, or of a device that is not there.
pub fn value_of(subject: &Subject, links: &LinkStates, captured: &BTreeMap<String, u64>) -> Option<u64> {
    match subject {
        Subject::State { device, state } => number(*state, device, links),
        Subject::Mac { device, is } => {
            let wanted = match is {
                MacSource::Literal(mac) => *mac,
                MacSource::Of(other) => links.get(other)?.mac?,
            };
            Some(u64::from(links.get(device)?.mac? == wanted))
        }
        Subject::Captured { capture } => captured.get(capture).copied(),
        _ => None,
    }
}

fn number(state: State, device: &DeviceRef, links: &LinkStates) -> Option<u64> {
    if state == State::Exists {
        return Some(links.contains_key(device).into());
    }
    let link = links.get(device)?;
    Some(match state {
        State::Exists => 1,
        State::Up => link.up.into(),
        State::Carrier => link.carrier.into(),
        State::Mtu => link.mtu.into(),
        State::Active => link.is_active.into(),
        State::MiiStatus => link.is_link_up.into(),
        State::Ports => {
            let is_port = |(port, link): &(&DeviceRef, &LinkState)| {
                port.ns == device.ns && link.controller.as_ref() == Some(&device.name)
            };
            links.iter().filter(is_port).count().try_into().expect("a namespace has under 2^64 devices")
        }
        State::AggregatorPorts => link.aggregator_ports.into(),
        State::Partner => link.has_partner.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> LinkStates {
        let bond = LinkState { mac: Some(Mac([2; 6])), carrier: true, ..LinkState::default() };
        let port = |mac| LinkState {
            mac: Some(Mac([mac; 6])),
            controller: Some("bond0".parse().unwrap()),
            is_active: mac == 2,
            mtu: 1500,
            ..LinkState::default()
        };
        [("a:bond0", bond), ("a:p0", port(2)), ("a:p1", port(4)), ("b:p0", port(2))]
            .map(|(device, state)| (device.parse().unwrap(), state))
            .into()
    }

    #[test]
    fn each_state_is_a_number() {
        for (device, state, expected) in [
            ("a:bond0", State::Carrier, Some(1)),
            ("a:bond0", State::Up, Some(0)),
            // b:p0 is a port of another bond0.
            ("a:bond0", State::Ports, Some(2)),
            ("a:p0", State::Ports, Some(0)),
            ("a:p0", State::Active, Some(1)),
            ("a:p1", State::Active, Some(0)),
            ("a:p1", State::Mtu, Some(1500)),
            ("a:bond0", State::AggregatorPorts, Some(0)),
            ("a:bond0", State::Partner, Some(0)),
            ("a:none", State::Up, None),
        ] {
            let subject = Subject::State { device: device.parse().unwrap(), state };
            assert_eq!(value_of(&subject, &links(), &BTreeMap::new()), expected, "{subject}");
        }
    }

    #[test]
    fn addresses_are_compared() {
        for (device, is, expected) in [
            ("a:p0", "a:bond0", Some(1)),
            ("a:p1", "a:bond0", Some(0)),
            ("a:p1", "a:none", None),
            ("a:p1", "04:04:04:04:04:04", Some(1)),
            ("a:p1", "04:04:04:04:04:05", Some(0)),
        ] {
            let subject = Subject::Mac { device: device.parse().unwrap(), is: is.parse().unwrap() };
            assert_eq!(value_of(&subject, &links(), &BTreeMap::new()), expected, "{subject}");
        }
    }

    #[test]
    fn a_capture_is_read_by_name() {
        let subject = Subject::Captured { capture: "lacpdus".into() };
        assert_eq!(value_of(&subject, &links(), &[("lacpdus".to_owned(), 3)].into()), Some(3));
        assert_eq!(value_of(&subject, &links(), &BTreeMap::new()), None);
    }
}
