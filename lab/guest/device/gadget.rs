//! A pair of devices of real drivers in one machine: a USB gadget (`g_ether`) on a host controller of software
//! (`dummy_hcd`), and the `cdc_ether` device that its host side makes of it.
//!
//! Both appear in the initial namespace when `g_ether` is loaded, so it is loaded anew for each pair: every trial gets a
//! fresh one, and the old one is gone with its counters, wherever it was moved to. A machine has one at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::{links, ready};
use crate::init;
use crate::syscall::netns::Namespace;
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::address::Mac;
use bondlab_core::net::link::Link;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

/// As the host packs it.
const GADGET: &str = "g_ether";
/// A bus is enumerated in tenths of a second; a machine under emulation and load takes ten times that.
const APPEAR_TIMEOUT: Duration = Duration::from_secs(15);
/// Frames of a running bus are milliseconds apart, under emulation as well.
const DRAINED_AFTER: Duration = Duration::from_millis(150);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Why this machine has no such pair, if it has none.
pub fn obstacle() -> Option<String> {
    let is_there = |module: &&str| Path::new("/sys/module").join(module).exists();
    let missing: Vec<&str> =
        ["dummy_hcd", "cdc_ether", "usb_f_ecm"].into_iter().filter(|module| !is_there(module)).collect();
    if !init::is_machine() {
        return Some("it is made in a machine of the lab only, by loading modules".into());
    }
    let missing = missing.into_iter().chain((!init::packed(GADGET).exists()).then_some(GADGET));
    let missing: Vec<&str> = missing.collect();
    (!missing.is_empty()).then(|| format!("no module {}", missing.join(", ")))
}

/// Makes a fresh pair: `link` is the gadget's end, `peer` the host's.
///
/// # Errors
/// A module is refused, the pair does not appear, or it cannot be moved.
pub async fn create(bed: &Testbed, link: &Link, peer: &Link) -> Result<(), OpError> {
    let what = format!("create gadget {} with {}", link.device, peer.device);
    let told = |text: String| OpError { what: what.clone(), errno: None, text: Some(text) };
    let (Some(gadget_mac), Some(host_mac)) = (link.mac, peer.mac) else {
        return Err(told("the plan has no Ethernet addresses for it".into()));
    };
    reload(gadget_mac, host_mac).map_err(|error| told(format!("load {GADGET}: {error}")))?;
    let namespace = Namespace::own().map_err(|error| netns_error(&what, &error))?;
    let rtnl = Rtnl::open(&namespace).map_err(|error| error.during(&what))?;
    let found = appear(&rtnl, [gadget_mac, host_mac]).await.map_err(|error| error.during(&what))?;
    for (end, mac) in [(link, gadget_mac), (peer, host_mac)] {
        let Some(index) = found.get(&mac.0) else {
            let seconds = APPEAR_TIMEOUT.as_secs();
            return Err(told(format!("the end with address {mac} did not appear within {seconds} s")));
        };
        hand_over(bed, &rtnl, *index, end).await?;
    }
    Ok(())
}

/// Stops the driver's queue behind `device`: with the host's end down no frames are taken from the bus, and ten
/// requests are under way (`eth_start_xmit()`, drivers/usb/gadget/function/u_ether.c). Its carrier stays.
///
/// # Errors
/// The kernel's refusal.
pub async fn stall(bed: &Testbed, _device: &DeviceRef, peer: &DeviceRef) -> Result<(), OpError> {
    links::set_down(bed, peer).await
}

/// Lets the driver send again, and waits until what it held is on its way: the bus works by timers and work queues.
///
/// # Errors
/// The kernel's refusal.
pub async fn go_on(bed: &Testbed, peer: &DeviceRef) -> Result<(), OpError> {
    links::set_up(bed, peer).await?;
    // A topology whose devices never come to rest has frames of its own, and these are on their way by then.
    ready::quiet(bed, DRAINED_AFTER).await.map(drop)
}

fn reload(gadget: Mac, host: Mac) -> io::Result<()> {
    let name = std::ffi::CString::new(GADGET)?;
    match delete_module(&name, DeleteModuleFlags::O_NONBLOCK) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let parameters = std::ffi::CString::new(format!("dev_addr={gadget} host_addr={host}"))?;
    finit_module(File::open(init::packed(GADGET))?, &parameters, ModuleInitFlags::empty())?;
    Ok(())
}

/// Waits for devices with these addresses; returns their numbers, as far as they came in time.
async fn appear(rtnl: &Rtnl, macs: [Mac; 2]) -> Result<BTreeMap<[u8; 6], u32>, RtnlError> {
    let deadline = Instant::now() + APPEAR_TIMEOUT;
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut found = BTreeMap::new();
        for link in rtnl.links().await? {
            let mac = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
                _ => None,
            });
            if let Some(mac) = mac.filter(|mac| macs.iter().any(|wanted| wanted.0 == *mac)) {
                found.insert(mac, link.header.index);
            }
        }
        if found.len() == macs.len() || Instant::now() >= deadline {
            return Ok(found);
        }
    }
}

/// Moves a device into the namespace of the topology, under its name there, with what was asked for.
async fn hand_over(bed: &Testbed, rtnl: &Rtnl, index: u32, end: &Link) -> Result<(), OpError> {
    let what = format!("move a device of the USB pair to {}", end.device);
    let namespace = bed.namespaces.get(&end.device.ns).map_err(|error| netns_error(&what, &error))?;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::NetNsFd(namespace.raw_fd()));
    message.attributes.push(LinkAttribute::IfName(end.device.name.as_str().into()));
    rtnl.change(RouteNetlinkMessage::NewLink(message), 0).await.map_err(|error| error.during(&what))?;
    if let Some(mtu) = end.mtu {
        links::set_mtu(bed, &end.device, mtu).await?;
    }
    match end.txqueuelen {
        Some(len) => links::set_txqueuelen(bed, &end.device, len).await,
        None => Ok(()),
    }
}
