//! A bridge's multicast database: what is put into it, taken out, and shown.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::link::{LinkAttribute, LinkInfo};
use nix::sys::socket::SockProtocol;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::option;
use crate::device::tc::options::attribute;
use crate::syscall::netlink;
use crate::syscall::rtnl::errno_name;
use bondlab_core::net::address::Mac;
use bondlab_core::net::mdb::{Group, MdbEntry};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

// Keep in sync with include/uapi/linux/rtnetlink.h and if_bridge.h.
const RTM_NEWMDB: u16 = 84;
const RTM_DELMDB: u16 = 85;
const RTM_GETMDB: u16 = 86;
const AF_BRIDGE: u8 = 7;
const MDBA_SET_ENTRY: u16 = 1;
const MDBA_MDB: u16 = 1;
const MDBA_MDB_ENTRY: u16 = 1;
const MDBA_MDB_ENTRY_INFO: u16 = 1;
const MDBA_MDB_EATTR_GROUP_MODE: u16 = 3;
const MDBA_MDB_EATTR_RTPROT: u16 = 5;
const MDB_PERMANENT: u8 = 1;
/// `MDB_FLAGS_*` in the words of bridge(8), from the lowest bit on.
const FLAGS: [&str; 5] = ["offload", "fast_leave", "added_by_star_ex", "blocked", "offload_failed"];
/// `RTPROT_*`, include/uapi/linux/rtnetlink.h.
const PROTOCOLS: [&str; 5] = ["unspec", "redirect", "kernel", "boot", "static"];
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// `struct br_port_msg`.
const HEADER_BYTES: usize = 8;
/// `struct br_mdb_entry`: ifindex, state, flags, vid, an address of 16 bytes, its protocol, padding.
const ENTRY_BYTES: usize = 28;

/// Adds an entry at a port or at a bridge itself, and reads it back.
///
/// # Errors
/// The kernel's refusal, or the entry is not there then.
pub async fn add(bed: &Testbed, device: &DeviceRef, entry: &MdbEntry) -> Result<(), OpError> {
    let what = format!("add {entry} to the multicast database at {device}");
    change(bed, device, entry, RTM_NEWMDB, what).await?;
    read_back(bed, device, entry, true).await
}

/// Takes an entry out.
///
/// # Errors
/// The kernel's refusal, or the entry is still there.
pub async fn delete(bed: &Testbed, device: &DeviceRef, entry: &MdbEntry) -> Result<(), OpError> {
    let what = format!("delete {entry} from the multicast database at {device}");
    change(bed, device, entry, RTM_DELMDB, what).await?;
    read_back(bed, device, entry, false).await
}

/// `permanent` or `temp`, or `none`, as `bridge mdb` shows a group at a device, in whichever VLAN.
///
/// # Errors
/// No complete answer.
pub async fn state(bed: &Testbed, device: &DeviceRef, group: Group) -> Result<String, OpError> {
    let index = bed.index(device).await?;
    let of_group = dump(bed, device)?.into_iter().find(|it| it.index == index && it.group == group);
    Ok(of_group.map_or("none", |it| it.state_word()).to_owned())
}

/// A field of the entries of a group at a device, as `bridge -d mdb` shows it; of several entries with commas.
///
/// # Errors
/// No complete answer.
pub async fn field(bed: &Testbed, device: &DeviceRef, group: Group, field: &str) -> Result<String, OpError> {
    let index = bed.index(device).await?;
    let of_group = dump(bed, device)?.into_iter().filter(|it| it.index == index && it.group == group);
    let mut all: Vec<String> = of_group.filter_map(|it| it.shown(field)).collect();
    all.dedup();
    Ok(if all.is_empty() { "none".into() } else { all.join(",") })
}

/// One entry as the kernel has it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    index: u32,
    is_permanent: bool,
    flags: u8,
    vlan: u16,
    group: Group,
    /// `MDBA_MDB_EATTR_*`.
    rest: option::Attributes,
}

impl Entry {
    fn state_word(&self) -> &'static str {
        if self.is_permanent { "permanent" } else { "temp" }
    }

    fn shown(&self, field: &str) -> Option<String> {
        let byte = |wanted: u16| {
            let found = self.rest.iter().find(|(number, _)| *number == wanted);
            found.and_then(|(_, bytes)| bytes.first().copied())
        };
        let of_words = |number: u8, words: &[&str]| {
            words.get(usize::from(number)).map_or_else(|| number.to_string(), |word| (*word).to_owned())
        };
        match field {
            "vlan" => (self.vlan != 0).then(|| self.vlan.to_string()),
            "flags" => {
                let set =
                    (0..).zip(FLAGS).filter(|(bit, _)| self.flags & 1 << bit != 0).map(|(_, word)| word);
                let set: Vec<&str> = set.collect();
                (!set.is_empty()).then(|| set.join(","))
            }
            "filter_mode" => Some(of_words(byte(MDBA_MDB_EATTR_GROUP_MODE)?, &["exclude", "include"])),
            "proto" => Some(of_words(byte(MDBA_MDB_EATTR_RTPROT)?, &PROTOCOLS)),
            _ => None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.index.to_ne_bytes().to_vec();
        bytes.extend([if self.is_permanent { MDB_PERMANENT } else { 0 }, 0]);
        bytes.extend(self.vlan.to_ne_bytes());
        let (mut address, protocol) = match self.group {
            Group::Ip(IpAddr::V4(group)) => (group.octets().to_vec(), ETH_P_IP),
            Group::Ip(IpAddr::V6(group)) => (group.octets().to_vec(), ETH_P_IPV6),
            Group::Ethernet(group) => (group.0.to_vec(), 0),
        };
        address.resize(16, 0);
        bytes.extend(address);
        bytes.extend(protocol.to_be_bytes());
        bytes.resize(ENTRY_BYTES, 0);
        bytes
    }

    /// An entry of an Ethernet address has no protocol.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = option::of_bytes(bytes.get(ENTRY_BYTES..).unwrap_or_default());
        let bytes: &[u8; ENTRY_BYTES] = bytes.get(..ENTRY_BYTES)?.try_into().ok()?;
        let address: [u8; 16] = bytes[8..24].try_into().ok()?;
        let group = match u16::from_be_bytes([bytes[24], bytes[25]]) {
            ETH_P_IP => Group::Ip(<[u8; 4]>::try_from(&address[..4]).ok()?.into()),
            ETH_P_IPV6 => Group::Ip(address.into()),
            0 => Group::Ethernet(Mac(address[..6].try_into().ok()?)),
            _ => return None,
        };
        Some(Self {
            index: u32::from_ne_bytes(bytes[..4].try_into().ok()?),
            is_permanent: bytes[4] & MDB_PERMANENT != 0,
            flags: bytes[5],
            vlan: u16::from_ne_bytes([bytes[6], bytes[7]]),
            group,
            rest,
        })
    }
}

/// `br_mdb_add()` and `br_mdb_del()`: the message names the bridge, its entry the port.
async fn change(
    bed: &Testbed,
    device: &DeviceRef,
    entry: &MdbEntry,
    kind: u16,
    what: String,
) -> Result<(), OpError> {
    let entry = Entry {
        index: bed.index(device).await?,
        is_permanent: !entry.dynamic,
        flags: 0,
        vlan: entry.vlan.map_or(0, |vlan| vlan.get()),
        group: entry.group,
        rest: Vec::new(),
    };
    let mut payload = header(bridge_of(bed, device, &what).await?);
    payload.extend(attribute(MDBA_SET_ENTRY, &entry.bytes()));
    let flags = if kind == RTM_NEWMDB { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
    let changed = bed.namespaces.enter(&device.ns, || netlink::change(kind, flags, &payload));
    changed.map_err(|error| netns_error(&what, &error))?.map_err(|error| error.during(what))
}

/// The index of the bridge that a device is, or is a port of.
async fn bridge_of(bed: &Testbed, device: &DeviceRef, what: &str) -> Result<u32, OpError> {
    let link = bed.rtnl(&device.ns)?.link(&device.name).await.map_err(|error| error.during(what))?;
    let is_bridge = link.attributes.iter().any(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else { return false };
        infos.iter().any(
            |info| matches!(info, LinkInfo::Kind(kind) if *kind == netlink_packet_route::link::InfoKind::Bridge),
        )
    });
    let controller = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    });
    // Of a device without a bridge the kernel refuses the message itself, which then names the device.
    Ok(controller.filter(|_| !is_bridge).unwrap_or(link.header.index))
}

fn header(index: u32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[0] = AF_BRIDGE;
    bytes[4..].copy_from_slice(&index.to_ne_bytes());
    bytes
}

fn dump(bed: &Testbed, device: &DeviceRef) -> Result<Vec<Entry>, OpError> {
    let what = format!("read the multicast database at {device}");
    let get = || netlink::request(SockProtocol::NetlinkRoute, RTM_GETMDB, NLM_F_DUMP, &header(0));
    let dumped = bed.namespaces.enter(&device.ns, get).map_err(|error| netns_error(&what, &error))?;
    let answers = dumped.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(errno_name),
        text: error.raw_os_error().is_none().then(|| error.to_string()),
    })?;
    Ok(answers.iter().flat_map(|answer| entries_in(answer)).collect())
}

fn entries_in(answer: &[u8]) -> Vec<Entry> {
    let below = |bytes: &[u8], wanted: u16| -> Vec<Vec<u8>> {
        let all = option::of_bytes(bytes).into_iter().filter(|(kind, _)| *kind == wanted);
        all.map(|(_, bytes)| bytes).collect()
    };
    let tables = below(answer.get(HEADER_BYTES..).unwrap_or_default(), MDBA_MDB);
    let groups = tables.iter().flat_map(|table| below(table, MDBA_MDB_ENTRY));
    let infos: Vec<Vec<u8>> = groups.flat_map(|group| below(&group, MDBA_MDB_ENTRY_INFO)).collect();
    infos.iter().filter_map(|info| Entry::parse(info)).collect()
}

async fn read_back(
    bed: &Testbed,
    device: &DeviceRef,
    entry: &MdbEntry,
    is_wanted: bool,
) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    let vlan = entry.vlan.map_or(0, |vlan| vlan.get());
    let is_it = |it: &Entry| it.index == index && it.group == entry.group && it.vlan == vlan;
    let found = dump(bed, device)?.into_iter().find(is_it);
    let text = match (&found, is_wanted) {
        (Some(it), true) if it.is_permanent != entry.dynamic => return Ok(()),
        (None, false) => return Ok(()),
        (Some(it), true) => format!("it is {}", it.state_word()),
        (Some(_), false) => "it is still there".into(),
        (None, true) => "it is not there".into(),
    };
    let what = format!("read back {entry} of the multicast database at {device}");
    Err(OpError { what, errno: None, text: Some(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(group: &str) -> Entry {
        Entry {
            index: 7,
            is_permanent: true,
            flags: 0,
            vlan: 10,
            group: group.parse().unwrap(),
            rest: Vec::new(),
        }
    }

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let bytes = entry("239.1.2.3").bytes();
        assert_eq!(bytes.len(), ENTRY_BYTES);
        assert_eq!(bytes[..4], 7_u32.to_ne_bytes());
        assert_eq!(bytes[4..6], [MDB_PERMANENT, 0]);
        assert_eq!(bytes[6..8], 10_u16.to_ne_bytes());
        assert_eq!(bytes[8..12], [239, 1, 2, 3]);
        assert_eq!(bytes[24..], [8, 0, 0, 0]);
    }

    #[test]
    fn entries_are_found_in_a_dump() {
        let nested = |entry: &Entry| {
            let info = attribute(MDBA_MDB_ENTRY_INFO, &entry.bytes());
            attribute(MDBA_MDB, &attribute(MDBA_MDB_ENTRY, &info))
        };
        let all = [entry("239.1.2.3"), entry("ff05::1:3"), entry("01:00:5e:01:02:03")];
        for one in &all {
            let answer = [header(3), nested(one)].concat();
            assert_eq!(entries_in(&answer), std::slice::from_ref(one));
            assert!(entries_in(&answer[..answer.len() - 20]).is_empty(), "a message that is cut");
        }
        let attributes = [attribute(MDBA_MDB_EATTR_GROUP_MODE, &[1]), attribute(MDBA_MDB_EATTR_RTPROT, &[4])];
        let mut with_more = [all[0].bytes(), attributes.concat()].concat();
        with_more[5] = 0b1010;
        let shown = Entry::parse(&with_more).unwrap();
        let fields = ["vlan", "flags", "filter_mode", "proto"].map(|field| shown.shown(field).unwrap());
        assert_eq!(fields, ["10", "fast_leave,blocked", "include", "static"]);
        assert_eq!(all[0].shown("filter_mode"), None);
        let mut of_another = entry("239.1.2.3").bytes();
        of_another[24..26].copy_from_slice(&[0x80, 0x35]);
        assert_eq!(Entry::parse(&of_another), None);
    }
}
