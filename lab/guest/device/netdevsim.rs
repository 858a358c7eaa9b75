//! Devices of netdevsim: made through its bus in sysfs, in the namespace of whoever writes; two of them linked as a cable.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::nic::file_error;
use crate::init;
use bondlab_core::net::link::{Link, LinkKind};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

const BUS: &str = "/sys/bus/netdevsim";

/// Why this machine has no such devices, or none that can be linked.
pub fn obstacle(linked: bool) -> Option<String> {
    if !init::is_machine() {
        // Its bus is one for the whole machine, and not the lab's.
        return Some("they are made in a machine of the lab only".into());
    }
    let lacks = |file: &str| !Path::new(BUS).join(file).exists();
    if lacks("new_device") {
        return Some("the module is not loaded".into());
    }
    // Commit f532957d76de, "netdevsim: allow two netdevsim ports to be connected".
    (linked && lacks("link_device"))
        .then(|| "this kernel's netdevsim links no two of them (no link_device)".into())
}

/// Makes a device, and its VFs; with `peer` also that, and a cable between them. Down.
///
/// # Errors
/// The driver's refusal.
pub async fn create(bed: &Testbed, link: &Link, peer: Option<&Link>) -> Result<(), OpError> {
    make(bed, link).await?;
    let Some(peer) = peer else { return Ok(()) };
    make(bed, peer).await?;
    let what = format!("link {} to {}", link.device, peer.device);
    let mut ends = Vec::new();
    for device in [&link.device, &peer.device] {
        let namespace = bed.namespaces.get(&device.ns).map_err(|error| netns_error(&what, &error))?;
        ends.push(format!("{}:{}", namespace.raw_fd(), bed.index(device).await?));
    }
    say("link_device", &ends.join(" ")).map_err(|error| file_error(&what, &error))
}

async fn make(bed: &Testbed, link: &Link) -> Result<(), OpError> {
    let device = &link.device;
    let what = format!("create netdevsim {device}");
    let failed = |error: io::Error| file_error(&what, &error);
    let before = indexes(bed, device).await?;
    let id = free_id().map_err(failed)?;
    // nsim_bus_dev_new(): its port appears in the namespace of the thread that asks.
    let made = bed.namespaces.enter(&device.ns, || say("new_device", &format!("{id} 1")));
    made.map_err(|error| netns_error(&what, &error))?.map_err(failed)?;
    let after = indexes(bed, device).await?;
    let Some(index) = after.difference(&before).next() else {
        return Err(failed(io::Error::other("its port did not appear")));
    };
    let mut message = LinkMessage::default();
    message.header.index = *index;
    message.attributes.push(LinkAttribute::IfName(device.name.as_str().into()));
    message.attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.into())));
    message.attributes.extend(link.mtu.map(LinkAttribute::Mtu));
    message.attributes.extend(link.txqueuelen.map(LinkAttribute::TxQueueLen));
    let named = bed.rtnl(&device.ns)?.change(RouteNetlinkMessage::NewLink(message), 0).await;
    named.map_err(|error| error.during(&what))?;
    let LinkKind::Netdevsim(sim) = &link.kind else { return Ok(()) };
    if sim.vfs.is_empty() {
        return Ok(());
    }
    let make_vfs = format!("make {} VFs of {device}", sim.vfs.len());
    let file = folder(id).join("sriov_numvfs");
    fs::write(file, sim.vfs.len().to_string()).map_err(|error| file_error(&make_vfs, &error))
}

async fn indexes(bed: &Testbed, device: &DeviceRef) -> Result<BTreeSet<u32>, OpError> {
    let links = bed.rtnl(&device.ns)?.links().await;
    let links = links.map_err(|error| error.during(format!("look for devices in {}", device.ns)))?;
    Ok(links.iter().map(|link| link.header.index).collect())
}

/// Numbers are of the whole machine: those of earlier trials are taken.
fn free_id() -> io::Result<u32> {
    let is_free = |id: &u32| !folder(*id).exists();
    (0..).find(is_free).ok_or_else(|| io::Error::other("no number is free"))
}

fn folder(id: u32) -> PathBuf {
    Path::new(BUS).join("devices").join(format!("netdevsim{id}"))
}

fn say(file: &str, words: &str) -> io::Result<()> {
    fs::write(Path::new(BUS).join(file), words)
}
