//! NICs of the machine: found by the address they were made with, taken into namespaces, given back between trials.
//!
//! Nothing of this touches a device that the lab did not put into the machine: the plan names slots, and only QEMU's
//! NICs have the slots' addresses.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use crate::agent::host_control::HostControl;
use crate::agent::testbed::{Testbed, netns_error};
use crate::device::addresses::mac_of;
use crate::device::links;
use crate::syscall::netns::Namespace;
use crate::syscall::rtnl::{Rtnl, errno_name};
use bondlab_core::net::link::{Link, LinkKind};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::nic::permanent_mac;
use bondlab_core::plan::record::OpError;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Where the machine's own NICs are before anybody adopts them, and which were.
#[derive(Debug)]
pub struct Home {
    rtnl: Rtnl,
    /// By device: its folder in sysfs.
    adopted: IndexMap<DeviceRef, PathBuf>,
}

impl Home {
    fn open() -> Result<Self, OpError> {
        let what = "look for the machine's NICs";
        let own = Namespace::own().map_err(|error| netns_error(what, &error))?;
        let rtnl = Rtnl::open(&own).map_err(|error| error.during(what))?;
        Ok(Self { rtnl, adopted: IndexMap::new() })
    }
}

/// Takes a NIC out of its slot into its namespace; of a PF, makes its VFs, which get no driver yet.
///
/// # Errors
/// It is not there, or the kernel's refusal.
pub async fn adopt(bed: &mut Testbed, link: &Link, slot: usize) -> Result<(), OpError> {
    let device = &link.device;
    let what = format!("adopt {device}");
    let home = match bed.home.take() {
        Some(home) => home,
        None => Home::open()?,
    };
    let home = bed.home.insert(home);
    let all = home.rtnl.links().await.map_err(|error| error.during(&what))?;
    let wanted = permanent_mac(slot);
    let is_it = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::PermAddress(mac) if mac[..] == wanted.0);
    let Some(found) = all.into_iter().find(|link| link.attributes.iter().any(is_it)) else {
        let text = format!("no NIC of the machine has the address {wanted}");
        return Err(OpError { what, errno: None, text: Some(text) });
    };
    let folder = folder_of(&found).map_err(|error| file_error(&what, &error))?;
    home.adopted.insert(device.clone(), folder.clone());
    take(bed, found.header.index, link).await?;
    if let Some(mac) = link.mac {
        links::set_mac(bed, device, mac).await?;
    }
    attributes(bed, link).await?;
    if let LinkKind::Pf(nic) = &link.kind {
        let make = format!("make {} VFs of {device}", nic.vfs.len());
        make_vfs(&folder, nic.vfs.len()).map_err(|error| file_error(&make, &error))?;
    }
    Ok(())
}

/// Gives a VF its driver, and takes the device that this makes into its namespace.
///
/// # Errors
/// The driver does not take it, or the kernel's refusal.
pub async fn adopt_vf(
    bed: &Testbed,
    link: &Link,
    of: &DeviceRef,
    index: u8,
    is_addressed: bool,
) -> Result<(), OpError> {
    let what = format!("adopt {}, VF {index} of {of}", link.device);
    let adopted = bed.home.as_ref().and_then(|home| Some((home, home.adopted.get(of)?)));
    let Some((home, pf)) = adopted else {
        return Err(OpError { what, errno: None, text: Some(format!("{of} was not adopted")) });
    };
    let name = probe_vf(pf, index).map_err(|error| file_error(&what, &error))?;
    let name = name.parse().map_err(|error| file_error(&what, &io::Error::other(format!("{error}"))))?;
    let found = home.rtnl.link(&name).await.map_err(|error| error.during(&what))?;
    take(bed, found.header.index, link).await?;
    if let Some(mac) = link.mac
        && (!is_addressed || mac_of(bed, &link.device).await? != mac)
    {
        links::set_mac(bed, &link.device, mac).await?;
    }
    attributes(bed, link).await
}

/// Takes all NICs from their drivers and gives them back: whatever was done to them is gone, and their VFs as well.
/// Cables that are out are put in again: the machine is the next trial's.
///
/// # Errors
/// A driver does not give one back, or does not take it again; the host does not put in a cable.
pub fn release(bed: &mut Testbed, host_control: &mut dyn HostControl) -> Result<(), OpError> {
    while let Some((slot, device)) = bed.unplugged.pop_first() {
        host_control.plug(&device, slot, true)?;
    }
    for (device, folder) in bed.home.iter().flat_map(|home| &home.adopted) {
        let what = format!("give {device} back");
        rebind(folder).map_err(|error| file_error(&what, &error))?;
    }
    Ok(())
}

/// From the machine's own namespace to the link's, under the link's name.
async fn take(bed: &Testbed, index: u32, link: &Link) -> Result<(), OpError> {
    let what = format!("take {} into its namespace", link.device);
    let namespace = bed.namespaces.get(&link.device.ns).map_err(|error| netns_error(&what, &error))?;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::IfName(link.device.name.as_str().into()));
    message.attributes.push(LinkAttribute::NetNsFd(namespace.raw_fd()));
    let home = bed.home.as_ref().expect("a device was found there");
    let moved = home.rtnl.change(RouteNetlinkMessage::NewLink(message), 0).await;
    moved.map_err(|error| error.during(what))
}

async fn attributes(bed: &Testbed, link: &Link) -> Result<(), OpError> {
    if let Some(mtu) = link.mtu {
        links::set_mtu(bed, &link.device, mtu).await?;
    }
    match link.txqueuelen {
        Some(len) => links::set_txqueuelen(bed, &link.device, len).await,
        None => Ok(()),
    }
}

/// The folder of the PCI device of a link.
fn folder_of(link: &LinkMessage) -> io::Result<PathBuf> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    let name = name.ok_or_else(|| io::Error::other("a device without a name"))?;
    let device = fs::canonicalize(Path::new("/sys/class/net").join(name).join("device"))?;
    // A virtio device is a child of the PCI device that carries it.
    let is_on = |bus: &str| device.join("subsystem").canonicalize().is_ok_and(|it| it.ends_with(bus));
    match device.parent() {
        Some(carrier) if is_on("bus/virtio") => Ok(carrier.to_owned()),
        _ => Ok(device),
    }
}

/// VFs without a driver: what the PF says of a VF counts from the start of the VF's driver on
/// (`igb_ndo_set_vf_mac()`: "Reload the VF driver to make this change effective").
fn make_vfs(pf: &Path, count: usize) -> io::Result<()> {
    fs::write(pf.join("sriov_drivers_autoprobe"), "0")?;
    fs::write(pf.join("sriov_numvfs"), count.to_string())?;
    fs::write(pf.join("sriov_drivers_autoprobe"), "1")
}

/// Gives a VF its driver; returns the name of its device.
fn probe_vf(pf: &Path, index: u8) -> io::Result<String> {
    let folder = fs::canonicalize(pf.join(format!("virtfn{index}")))?;
    fs::write("/sys/bus/pci/drivers_probe", name_of(&folder))?;
    // The file says nothing of a probe that failed; then there is no device.
    let device = fs::read_dir(folder.join("net"))
        .ok()
        .and_then(|mut entries| entries.next())
        .ok_or_else(|| io::Error::other("no driver took it (dmesg says why)"))?;
    Ok(device?.file_name().to_string_lossy().into_owned())
}

fn rebind(folder: &Path) -> io::Result<()> {
    let driver = fs::canonicalize(folder.join("driver"))?;
    let name = name_of(folder);
    fs::write(driver.join("unbind"), &name)?;
    fs::write(driver.join("bind"), &name)
}

/// `0000:01:00.0`
fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(crate) fn file_error(what: &str, error: &io::Error) -> OpError {
    match error.raw_os_error() {
        Some(errno) => OpError { what: what.into(), errno: Some(errno_name(errno)), text: None },
        None => OpError { what: what.into(), errno: None, text: Some(error.to_string()) },
    }
}

/// Whether a driver is there to be had: registered with the PCI bus, or with that of virtio.
pub fn has_driver(module: &str) -> bool {
    ["pci", "virtio"].iter().any(|bus| Path::new("/sys/bus").join(bus).join("drivers").join(module).exists())
}

/// How many PCI devices have that driver.
pub fn driven_by(module: &str) -> usize {
    let driver = Path::new("/sys/bus/pci/drivers").join(module);
    let is_device = |name: &std::ffi::OsStr| Path::new(DEVICES).join(name).exists();
    let entries = fs::read_dir(driver).into_iter().flatten().flatten();
    entries.filter(|entry| is_device(&entry.file_name())).count()
}
