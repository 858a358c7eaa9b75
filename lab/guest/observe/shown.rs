//! What `ip`, `bridge`, `ethtool`, `tc`, `nstat`, `sysctl` and the kernel's log show of one thing, as text.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use netlink_packet_route::link::BridgeVlanInfoFlags;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::{addresses, bridge, ethtool, mdb};
use crate::observe::details;
use crate::observe::link_text;
use crate::observe::log_lines::LogLines;
use crate::observe::{counters, states};
use crate::syscall::netns::NetnsError;
use crate::syscall::rtnl::RtnlError;
use bondlab_core::net::address::Mac;
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::snmp::{self, SNMP_FILES};
use bondlab_core::net::{proc_bonding, sysctl::SysctlName};
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::condition::{QDISC_COUNTERS, Subject};
use bondlab_core::topology::observation::Shown;

/// What is shown where there is nothing to show, of things that may be absent.
const NONE: &str = "none";
/// `bridge_vlan` of a VLAN without further words.
const MEMBER: &str = "member";

/// What is needed to tell differences.
#[derive(Default)]
pub struct Baseline {
    log: Option<LogLines>,
    /// SNMP counters when counting began, by namespace and name.
    snmp: BTreeMap<(NsName, String), u64>,
}

/// All that a trial asks for, at its end or in a wait.
fn asked(ops: &[Op]) -> impl Iterator<Item = &Shown> {
    ops.iter().flat_map(|op| match op {
        Op::Show(all) => all.iter().collect(),
        Op::Wait { until, .. } => match &until.subject {
            Subject::Shown { shown, .. } => vec![shown],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

impl Baseline {
    /// Follows the kernel's log from here on, where the trial asks for lines of it.
    pub fn start(ops: &[Op]) -> Self {
        let patterns = asked(ops).filter_map(|shown| match shown {
            Shown::KernelLog { pattern } => Some(pattern.clone()),
            _ => None,
        });
        Self { log: LogLines::start(patterns), ..Self::default() }
    }

    /// SNMP counters are reported as differences from here on.
    ///
    /// # Errors
    /// A namespace cannot be read.
    pub fn begin(&mut self, bed: &Testbed, ops: &[Op]) -> Result<(), OpError> {
        for shown in asked(ops) {
            if let Shown::Snmp { ns, counter } = shown {
                let now = snmp_counter(bed, ns, counter)?.unwrap_or(0);
                self.snmp.insert((ns.clone(), counter.clone()), now);
            }
        }
        Ok(())
    }

    /// What the kernel shows of each.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn read_all(&mut self, bed: &Testbed, all: &[Shown]) -> Result<Vec<Option<String>>, OpError> {
        let mut values = Vec::new();
        for shown in all {
            values.push(self.read(bed, shown).await?);
        }
        Ok(values)
    }

    /// What the kernel shows of it now; none where there is no such thing, or this kernel does not show it.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn read(&mut self, bed: &Testbed, shown: &Shown) -> Result<Option<String>, OpError> {
        let failed = |error: RtnlError| error.during(format!("read {shown}"));
        match shown {
            Shown::Link { device, what } => {
                let links = bed.rtnl(&device.ns)?.links().await.map_err(failed)?;
                Ok(link_text::text(&links, device, what))
            }
            Shown::ProcBonding { device, line } => bonding_line(bed, device, line).await,
            Shown::Feature { device, name } => {
                let entered = bed.namespaces.enter(&device.ns, || ethtool::feature(&device.name, name));
                let what = format!("read {shown}");
                Ok(entered.map_err(|error| netns_error(&what, &error))?.ok().flatten())
            }
            Shown::Neighbour { device, to } => neighbour(bed, device, *to).await,
            Shown::BridgeVlan { device, id } => bridge_vlan(bed, device, id.get()).await,
            Shown::Fdb { device, mac } => {
                // A device that is gone has no address.
                let Ok(mac) = addresses::mac_from(bed, mac).await else { return Ok(None) };
                fdb(bed, device, mac).await.map_err(failed)
            }
            Shown::Mdb { device, group } => match index_now(bed, device).await? {
                Some(_) => mdb::state(bed, device, *group).await.map(Some),
                None => Ok(None),
            },
            Shown::Detail { of, field } => details::read(bed, of, field).await,
            Shown::Qdisc { device, parent, counter } if !QDISC_COUNTERS.contains(&counter.as_str()) => {
                let value = match index_now(bed, device).await? {
                    Some(_) => counters::of_kind(bed, device, parent, counter).await?,
                    None => None,
                };
                Ok(value.map(|value| value.to_string()))
            }
            Shown::Qdisc { device, parent, counter } => {
                let all = counters::qdiscs(bed, device).await?;
                let here = all.into_iter().find(|qdisc| qdisc.parent == *parent);
                Ok(here.and_then(|qdisc| qdisc.counters.get(counter).map(u64::to_string)))
            }
            Shown::Sysctl { ns, name } => setting(bed, ns, name),
            Shown::Snmp { ns, counter } => {
                let earlier = self.snmp.get(&(ns.clone(), counter.clone())).copied().unwrap_or(0);
                let now = snmp_counter(bed, ns, counter)?;
                Ok(now.map(|now| now.saturating_sub(earlier).to_string()))
            }
            Shown::KernelLog { pattern } => {
                Ok(self.log.as_mut().and_then(|log| log.count(pattern)).map(|count| count.to_string()))
            }
        }
    }
}

/// A line of /proc/net/bonding of a bond, or of a port in its bond's file.
async fn bonding_line(bed: &Testbed, device: &DeviceRef, line: &str) -> Result<Option<String>, OpError> {
    let all = states::read(bed).await?;
    let controller = all.get(device).and_then(|state| state.controller.clone());
    let is_bond = |name: &DeviceRef| all.get(name).is_some_and(|state| state.kind == "bond");
    let (bond, port) = match controller {
        Some(bond) if !is_bond(device) => (bond, Some(device.name.as_str())),
        _ => (device.name.clone(), None),
    };
    let namespace = bed.namespaces.get(&device.ns);
    let namespace = namespace.map_err(|error| netns_error("use a namespace", &error))?;
    // A device that is gone, or no bond, has no file.
    let text = namespace.read_proc_net(&format!("bonding/{bond}")).unwrap_or_default();
    Ok(proc_bonding::value(&text, port, line).map(str::to_owned))
}

async fn neighbour(bed: &Testbed, device: &DeviceRef, to: IpAddr) -> Result<Option<String>, OpError> {
    let Some(index) = index_now(bed, device).await? else { return Ok(None) };
    let mut message = NeighbourMessage::default();
    message.header.family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let dumped = bed.rtnl(&device.ns)?.dump(RouteNetlinkMessage::GetNeighbour(message)).await;
    let all = dumped.map_err(|error| error.during(format!("read the neighbours of {device}")))?;
    let is_it = |attribute: &NeighbourAttribute| {
        matches!(attribute, NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) if IpAddr::V4(*address) == to)
            || matches!(attribute, NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) if IpAddr::V6(*address) == to)
    };
    let state = all.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(it)
            if it.header.ifindex == index && it.attributes.iter().any(is_it) =>
        {
            Some(state_word(it.header.state).to_owned())
        }
        _ => None,
    });
    Ok(Some(state.unwrap_or_else(|| NONE.into())))
}

/// As `ip neighbour` prints it.
fn state_word(state: NeighbourState) -> &'static str {
    match state {
        NeighbourState::Incomplete => "INCOMPLETE",
        NeighbourState::Reachable => "REACHABLE",
        NeighbourState::Stale => "STALE",
        NeighbourState::Delay => "DELAY",
        NeighbourState::Probe => "PROBE",
        NeighbourState::Failed => "FAILED",
        NeighbourState::Noarp => "NOARP",
        NeighbourState::Permanent => "PERMANENT",
        _ => NONE,
    }
}

async fn bridge_vlan(bed: &Testbed, device: &DeviceRef, id: u16) -> Result<Option<String>, OpError> {
    if index_now(bed, device).await?.is_none() {
        return Ok(None);
    }
    let Some(vlans) = bridge::vlans_of(bed, device).await? else { return Ok(None) };
    let Some(flags) = vlans.get(&id) else { return Ok(Some(NONE.into())) };
    let words = [(BridgeVlanInfoFlags::Pvid, "pvid"), (BridgeVlanInfoFlags::Untagged, "untagged")];
    let words = words.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| *word);
    Ok(Some([MEMBER].into_iter().chain(words).collect::<Vec<_>>().join(",")))
}

async fn fdb(bed: &Testbed, device: &DeviceRef, mac: Mac) -> Result<Option<String>, RtnlError> {
    let Ok(rtnl) = bed.rtnl(&device.ns) else { return Ok(None) };
    let Ok(link) = rtnl.link(&device.name).await else { return Ok(None) };
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    let mut words: Vec<&str> = Vec::new();
    for answer in rtnl.dump(RouteNetlinkMessage::GetNeighbour(message)).await? {
        let RouteNetlinkMessage::NewNeighbour(it) = answer else { continue };
        let is_it = it.attributes.iter().any(
            |attribute| matches!(attribute, NeighbourAttribute::LinkLayerAddress(bytes) if bytes[..] == mac.0),
        );
        if it.header.ifindex != link.header.index || !is_it {
            continue;
        }
        words.extend(fdb_words(&it).into_iter().filter(|word| !words.contains(word)).collect::<Vec<_>>());
    }
    Ok(Some(if words.is_empty() { NONE.into() } else { words.join(",") }))
}

/// As print_fdb() of iproute2's bridge(8) has them.
fn fdb_words(it: &NeighbourMessage) -> Vec<&'static str> {
    let flags = [
        (NeighbourFlags::Own, "self"),
        (NeighbourFlags::ExtLearned, "extern_learn"),
        (NeighbourFlags::Offloaded, "offload"),
        (NeighbourFlags::Sticky, "sticky"),
    ];
    let flags = flags.iter().filter(|(flag, _)| it.header.flags.contains(*flag)).map(|(_, word)| *word);
    let flags = flags.chain(details::is_locked(it).then_some("locked"));
    let state = match it.header.state {
        NeighbourState::Permanent => Some("permanent"),
        NeighbourState::Noarp => Some("static"),
        _ => None,
    };
    // The bridge's own table says whose it is by an attribute (`fdb_fill_info()`).
    let is_bridges = it.attributes.iter().any(|one| matches!(one, NeighbourAttribute::Controller(_)));
    let words: Vec<&str> = is_bridges.then_some("master").into_iter().chain(flags).chain(state).collect();
    if words.is_empty() { vec!["self"] } else { words }
}

fn setting(bed: &Testbed, ns: &NsName, name: &SysctlName) -> Result<Option<String>, OpError> {
    let path = Path::new("/proc/sys").join(name.file());
    let read = bed.namespaces.enter(ns, || fs::read_to_string(&path).ok());
    let read = read.map_err(|error| netns_error(&format!("read sysctl {name} of {ns}"), &error))?;
    Ok(read.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn snmp_counter(bed: &Testbed, ns: &NsName, counter: &str) -> Result<Option<u64>, OpError> {
    let failed = |error: NetnsError| netns_error(&format!("read {counter} of {ns}"), &error);
    let namespace = bed.namespaces.get(ns).map_err(failed)?;
    let files = SNMP_FILES.iter().filter_map(|file| namespace.read_proc_net(file).ok());
    Ok(files.into_iter().find_map(|text| snmp::counter(&text, counter)))
}

/// The number of a device as it is now; none where there is none of that name.
pub(crate) async fn index_now(bed: &Testbed, device: &DeviceRef) -> Result<Option<u32>, OpError> {
    match bed.rtnl(&device.ns)?.link(&device.name).await {
        Ok(link) => Ok(Some(link.header.index)),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error.during(format!("find {device}"))),
    }
}
