//! Waiting until devices can carry frames: carrier and operational state arrive by timers and work queues.

use std::time::Duration;

use netlink_packet_route::link::{
    InfoBondPort, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MiiStatus, State,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::agent::testbed::Testbed;
use crate::device::verify::{active_port, bond_mode};
use crate::observe::counters;
use crate::syscall::rtnl::RtnlError;
use bondlab_core::net::mode::BondMode;
use bondlab_core::net::name::{DeviceRef, IfName};
use bondlab_core::plan::record::OpError;

/// miimon, updelay and linkwatch (one second, `linkwatch_schedule_work()`) add up on a stack of three.
pub const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until all devices can carry frames, at most [`READY_TIMEOUT`].
///
/// # Errors
/// Which device is in which state when the time is over.
pub async fn ready(bed: &Testbed, devices: &[DeviceRef]) -> Result<(), OpError> {
    let what = || String::from("wait until all devices can carry frames");
    let mut late = Vec::new();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let all_ready = async {
        loop {
            ticks.tick().await;
            late = not_ready(bed, devices).await?;
            if late.is_empty() {
                return Ok(());
            }
        }
    };
    match timeout(READY_TIMEOUT, all_ready).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("after {} s {}", READY_TIMEOUT.as_secs(), late.join("; "));
            Err(OpError { what: what(), errno: None, text: Some(text) })
        }
    }
}

/// Waits until a bond would take a port as the active one, at most [`READY_TIMEOUT`]: the bond has an active port, and miimon
/// has seen the link of the port and `updelay` is over (`bond_option_active_slave_set()`). A request before that is refused
/// and written to the kernel's log. When the time is over, the request is left to the kernel.
///
/// # Errors
/// The states cannot be read.
pub async fn can_be_active(bed: &Testbed, bond: &DeviceRef, port: &IfName) -> Result<(), OpError> {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rtnl = bed.rtnl(&bond.ns)?;
    let can = async {
        loop {
            ticks.tick().await;
            let has_active = active_port(&rtnl.link(&bond.name).await?).is_some();
            if has_active && is_link_up(&rtnl.link(port).await?) {
                return Ok(());
            }
        }
    };
    let looked: Result<(), RtnlError> = timeout(READY_TIMEOUT, can).await.unwrap_or(Ok(()));
    looked.map_err(|error| error.during(format!("read the states of {bond} and its port {port}")))
}

/// Whether a bond holds the link of this port for up (`bond_slave_is_up()`, `BOND_LINK_UP`).
fn is_link_up(port: &LinkMessage) -> bool {
    let runs = port.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    runs && port.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().any(|info| match info {
            LinkInfo::PortData(InfoPortData::BondPort(port)) => {
                port.contains(&InfoBondPort::MiiStatus(MiiStatus::Up))
            }
            _ => false,
        }),
        _ => false,
    })
}

/// Waits until no counter of any device has changed for `still`, at most [`READY_TIMEOUT`], and says which devices
/// still move then. A bond that came up announces itself some miimon intervals later (`num_grat_arp`,
/// NETDEV_NOTIFY_PEERS); one with an ARP monitor or LACP never comes to rest.
///
/// # Errors
/// The counters cannot be read.
pub async fn quiet(bed: &Testbed, still: Duration) -> Result<Vec<DeviceRef>, OpError> {
    let start = Instant::now();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = counters::count(bed).await?;
    let mut since = Instant::now();
    while since.elapsed() < still {
        ticks.tick().await;
        let now = counters::count(bed).await?;
        if now != last {
            if start.elapsed() > READY_TIMEOUT {
                let moving = now.iter().filter(|(device, state)| last.get(*device) != Some(state));
                return Ok(moving.map(|(device, _)| device.clone()).collect());
            }
            (last, since) = (now, Instant::now());
        }
    }
    Ok(Vec::new())
}

async fn not_ready(bed: &Testbed, devices: &[DeviceRef]) -> Result<Vec<String>, OpError> {
    let mut late = Vec::new();
    for device in devices {
        let found = bed.rtnl(&device.ns)?.link(&device.name).await;
        let link = found.map_err(|error| error.during(format!("read the state of {device}")))?;
        late.extend(obstacle(&link).map(|text| format!("{device} {text}")));
    }
    Ok(late)
}

/// Why a device cannot carry frames yet.
fn obstacle(link: &LinkMessage) -> Option<String> {
    let state = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::OperState(state) => Some(*state),
        _ => None,
    });
    let state = state.unwrap_or(State::Unknown);
    let flags = link.header.flags;
    if !flags.contains(LinkFlags::Up) {
        Some("is down".into())
    } else if !flags.contains(LinkFlags::LowerUp) {
        Some(format!("has no carrier (operstate {state})"))
    } else if !matches!(state, State::Up | State::Unknown) {
        Some(format!("has carrier but operstate {state}"))
    } else if bond_mode(link) == Some(BondMode::ActiveBackup.number()) && active_port(link).is_none() {
        Some("has no active port".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{BondMode, InfoBond, InfoData, InfoKind};

    use super::*;

    fn link(flags: LinkFlags, state: State, bond: &[InfoBond]) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.flags = flags;
        link.attributes.push(LinkAttribute::IfName("bond0".into()));
        link.attributes.push(LinkAttribute::OperState(state));
        let data = LinkInfo::Data(InfoData::Bond(bond.into()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bond), data]));
        link
    }

    #[test]
    fn a_port_can_be_active_when_the_bond_has_seen_its_link() {
        let port = |flags, status| {
            let mut link = link(flags, State::Up, &[]);
            let data = InfoPortData::BondPort(vec![InfoBondPort::MiiStatus(status)]);
            link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::PortData(data)]));
            link
        };
        let runs = LinkFlags::Up | LinkFlags::LowerUp;
        assert!(is_link_up(&port(runs, MiiStatus::Up)));
        assert!(!is_link_up(&port(runs, MiiStatus::GoingBack)), "updelay is not over");
        assert!(!is_link_up(&port(LinkFlags::Up, MiiStatus::Up)), "miimon has not seen the loss");
        assert!(!is_link_up(&link(runs, State::Up, &[])), "it has not joined");
    }

    #[test]
    fn the_state_says_what_is_missing() {
        let running = LinkFlags::Up | LinkFlags::LowerUp;
        let active_backup = [InfoBond::Mode(BondMode::ActiveBackup)];
        let with_port = [InfoBond::Mode(BondMode::ActiveBackup), InfoBond::ActivePort(3)];
        for (link, expected) in [
            (link(LinkFlags::empty(), State::Down, &[]), Some("is down")),
            (
                link(LinkFlags::Up, State::LowerLayerDown, &[]),
                Some("has no carrier (operstate LOWERLAYERDOWN)"),
            ),
            (link(running, State::Dormant, &[]), Some("has carrier but operstate DORMANT")),
            (link(running, State::Up, &active_backup), Some("has no active port")),
            (link(running, State::Up, &with_port), None),
            (link(running, State::Unknown, &[InfoBond::Mode(BondMode::BalanceRr)]), None),
        ] {
            assert_eq!(obstacle(&link).as_deref(), expected);
        }
    }
}
