//! The number that a condition speaks of, among states and captures.

use std::collections::BTreeMap;

use crate::net::address::MacSource;
use crate::net::link_state::{LinkState, LinkStates};
use crate::net::name::DeviceRef;
use crate::topology::condition::{State, Subject};

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

pub(crate) fn number(state: State, device: &DeviceRef, links: &LinkStates) -> Option<u64> {
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
    use crate::net::address::Mac;

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
