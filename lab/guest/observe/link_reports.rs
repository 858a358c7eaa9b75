//! What is reported of all links at the end of a trial, once they have settled.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use netlink_packet_route::link::{
    BondMode, InfoBond, InfoBondPort, InfoData, InfoPortData, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, MiiStatus, State,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::ethtool;
use crate::device::links::LOOPBACK_IFINDEX;
use crate::observe::states;
use crate::syscall::rtnl::RtnlError;
use bondlab_core::net::link_show::LACP_STATES;
use bondlab_core::net::link_state::{LacpPort, LinkReport};
use bondlab_core::net::name::{DeviceRef, IfName, NsName};
use bondlab_core::plan::record::OpError;

/// linkwatch takes a second (`linkwatch_schedule_work()`), a bond its miimon and its delays.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The same while nothing but LACP may change still: it has timers of a second (AD_FAST_PERIODIC_TIME).
const LACP_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// LACP has settled when nothing of it has changed for longer than its machines need from one state to the next: a port
/// waits two seconds to be attached (AD_AGGREGATE_WAIT_TIME).
const LACP_STILL: Duration = Duration::from_millis(2500);
/// At the most.
const LACP_TIMEOUT: Duration = Duration::from_secs(15);

/// Flags by the words of `ip link`. RUNNING is what the operational state says.
const FLAGS: [(LinkFlags, &str); 13] = [
    (LinkFlags::Up, "UP"),
    (LinkFlags::LowerUp, "LOWER_UP"),
    (LinkFlags::Broadcast, "BROADCAST"),
    (LinkFlags::Multicast, "MULTICAST"),
    (LinkFlags::Controller, "MASTER"),
    (LinkFlags::Port, "SLAVE"),
    (LinkFlags::Noarp, "NOARP"),
    (LinkFlags::Promisc, "PROMISC"),
    (LinkFlags::Allmulti, "ALLMULTI"),
    (LinkFlags::Pointopoint, "POINTOPOINT"),
    (LinkFlags::Dormant, "DORMANT"),
    (LinkFlags::Echo, "ECHO"),
    (LinkFlags::Debug, "DEBUG"),
];

/// What is reported of each link.
pub type Reports = IndexMap<DeviceRef, LinkReport>;

/// Reads all links once they have settled, or after a bound, and says of each whether it has. `lacp` waits for LACP, too.
///
/// # Errors
/// No complete answer.
pub async fn read(bed: &Testbed, with_features: bool, lacp: bool) -> Result<Reports, OpError> {
    let begun = Instant::now();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut since) = (Reports::new(), begun);
    let mut reports = loop {
        ticks.tick().await;
        let reports = look(bed).await?;
        if lacp && reports != last {
            (last, since) = (reports.clone(), Instant::now());
        }
        let settled = reports.values().all(|report| report.is_settled) || begun.elapsed() > SETTLE_TIMEOUT;
        let still = !lacp || since.elapsed() > LACP_STILL || begun.elapsed() > LACP_TIMEOUT;
        if settled && still {
            break reports;
        }
        if settled {
            ticks.reset_after(LACP_LOOK_INTERVAL);
        }
    };
    if with_features {
        for (device, report) in &mut reports {
            let what = format!("read the features of {device}");
            let entered = bed.namespaces.enter(&device.ns, || ethtool::features(&device.name));
            // A driver that has none to show shows none.
            report.features = entered.map_err(|error| netns_error(&what, &error))?.ok();
        }
    }
    Ok(reports)
}

async fn look(bed: &Testbed) -> Result<Reports, OpError> {
    let mut all = Reports::new();
    for (ns, rtnl) in bed.sockets() {
        let failed = |error: RtnlError| error.during(format!("read the links of {ns}"));
        all.extend(of(ns, &rtnl.links().await.map_err(failed)?));
    }
    Ok(all)
}

/// All links of one namespace, `lo` left out.
fn of(ns: &NsName, links: &[LinkMessage]) -> Reports {
    let own = || links.iter().filter(|link| link.header.index != LOOPBACK_IFINDEX);
    let bonds: BTreeMap<u32, &[InfoBond]> =
        own().filter_map(|link| Some((link.header.index, bond(link)?))).collect();
    // Ports of a bond, by the aggregator that each is in.
    let mut aggregators: BTreeMap<(u32, u16), Vec<IfName>> = BTreeMap::new();
    for link in own() {
        let in_one = controller(link).zip(port(link).and_then(aggregator)).zip(states::name_of(link));
        if let Some((key, name)) = in_one {
            aggregators.entry(key).or_default().push(name);
        }
    }
    let report = |link: &LinkMessage| {
        let name = states::name_of(link)?;
        let its_bond = controller(link).and_then(|index| Some((index, *bonds.get(&index)?)));
        let mut report = report(link, its_bond.map(|(_, bond)| bond));
        if let Some((index, _)) = its_bond.filter(|(_, bond)| is_lacp(bond)) {
            let bond_name = own().find(|link| link.header.index == index).and_then(states::name_of)?;
            report.lacp = port(link).map(|port| {
                let key = (index, aggregator(port).unwrap_or(0));
                let others = aggregators.get(&key).into_iter().flatten().filter(|other| **other != name);
                lacp(port, DeviceRef::new(ns, &bond_name), others.cloned().collect())
            });
        }
        Some((DeviceRef::new(ns, &name), report))
    };
    own().filter_map(report).collect()
}

fn report(link: &LinkMessage, its_bond: Option<&[InfoBond]>) -> LinkReport {
    let flags = link.header.flags;
    let mut report = LinkReport::default();
    let mut operstate = State::Unknown;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::OperState(state) => operstate = *state,
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                report.kind = kind.unwrap_or_default();
            }
            _ => {}
        }
    }
    report.operstate = operstate.to_string();
    report.flags = flag_words(flags);
    let port = port(link).unwrap_or_default();
    report.failures = port.iter().find_map(|attribute| match attribute {
        InfoBondPort::LinkFailureCount(count) => Some(*count),
        _ => None,
    });
    report.is_settled =
        has_caught_up(flags, operstate) && its_bond.is_none_or(|bond| is_noticed(flags, bond, port));
    report
}

/// Flags as `ip link` prints them.
pub fn flag_words(flags: LinkFlags) -> Vec<String> {
    FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| (*word).into()).collect()
}

/// Whether the operational state says what flags and carrier say: linkwatch sets it some time later (RFC 2863).
fn has_caught_up(flags: LinkFlags, operstate: State) -> bool {
    let carries = flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp);
    match operstate {
        State::Up => carries,
        // Of a driver that never reports its carrier, which then is always on. Without carrier linkwatch has not looked yet:
        // rfc2863_policy() would have said DOWN.
        State::Unknown => carries || !flags.contains(LinkFlags::Up),
        State::Down | State::LowerLayerDown => !carries,
        _ => false,
    }
}

/// Whether a bond that looks at the carrier of its ports has seen this one's.
fn is_noticed(flags: LinkFlags, bond: &[InfoBond], port: &[InfoBondPort]) -> bool {
    let looks = bond.iter().any(|attribute| matches!(attribute, InfoBond::MiiMon(ms) if *ms > 0));
    let carries = flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp);
    let is_up = port.contains(&InfoBondPort::MiiStatus(MiiStatus::Up));
    let is_down = port.contains(&InfoBondPort::MiiStatus(MiiStatus::Down));
    !looks || if carries { is_up } else { is_down }
}

fn lacp(port: &[InfoBondPort], bond: DeviceRef, aggregated_with: Vec<IfName>) -> LacpPort {
    let bits = |state: u8| {
        let is_set = |(bit, _): &(usize, &&str)| state & 1 << bit != 0;
        LACP_STATES.iter().enumerate().filter(is_set).map(|(_, word)| (*word).to_owned()).collect()
    };
    let mut found = LacpPort { bond, actor: Vec::new(), partner: Vec::new(), aggregated_with };
    for attribute in port {
        match attribute {
            InfoBondPort::AdActorOperPortState(state) => found.actor = bits(state.bits()),
            InfoBondPort::AdPartnerOperPortState(state) => found.partner = bits(state.bits()),
            _ => {}
        }
    }
    found
}

fn controller(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

fn bond(link: &LinkMessage) -> Option<&[InfoBond]> {
    infos(link).iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Bond(bond)) => Some(&bond[..]),
        _ => None,
    })
}

fn port(link: &LinkMessage) -> Option<&[InfoBondPort]> {
    infos(link).iter().find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BondPort(port)) => Some(&port[..]),
        _ => None,
    })
}

fn infos(link: &LinkMessage) -> &[LinkInfo] {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(&infos[..]),
        _ => None,
    });
    infos.unwrap_or_default()
}

fn aggregator(port: &[InfoBondPort]) -> Option<u16> {
    port.iter().find_map(|attribute| match attribute {
        InfoBondPort::AdAggregatorId(id) => Some(*id),
        _ => None,
    })
}

fn is_lacp(bond: &[InfoBond]) -> bool {
    bond.contains(&InfoBond::Mode(BondMode::Ieee8023Ad))
}
