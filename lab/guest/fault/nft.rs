//! Drop filters of nftables: a base chain of the family netdev with the policy drop, on one device.
//!
//! Its table belongs to the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12): when the socket is closed, the kernel
//! takes table and chain away. Egress chains exist from 5.16 on, with CONFIG_NETFILTER_EGRESS.

use std::io;
use std::os::fd::OwnedFd;

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use nix::sys::socket::SockProtocol;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::tc::options::attribute;
use crate::syscall::netlink::{self, NLMSG_ERROR, Netlink};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::Hook;

// Keep in sync with include/uapi/linux/netfilter/nfnetlink.h.
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(crate) const NFNL_SUBSYS_NFTABLES: u16 = 10;
// Keep in sync with include/uapi/linux/netfilter/nf_tables.h.
pub(crate) const NFT_MSG_NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
pub(crate) const NFT_MSG_NEWCHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 3;
pub(crate) const NFTA_TABLE_NAME: u16 = 1;
pub(crate) const NFTA_TABLE_FLAGS: u16 = 2;
pub(crate) const NFT_TABLE_F_OWNER: u32 = 2;
pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
pub(crate) const NFTA_CHAIN_TYPE: u16 = 7;
pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(crate) const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
// Keep in sync with include/uapi/linux/netfilter.h.
const NFPROTO_NETDEV: u8 = 5;
const NF_NETDEV_INGRESS: u32 = 0;
const NF_NETDEV_EGRESS: u32 = 1;
pub(crate) const NF_DROP: u32 = 0;

/// Table, chain and what closes the transaction: each is answered by its number.
const ACKNOWLEDGED: u32 = 2;

/// Drops every frame at a hook of a device. Closing what it returns ends it.
///
/// # Errors
/// The kernel's refusal: EOPNOTSUPP where it has no such hook.
pub fn drop_frames(bed: &Testbed, device: &DeviceRef, hook: Hook) -> Result<OwnedFd, OpError> {
    let what = format!("drop frames at the nftables hook of {device}");
    let hung = bed.namespaces.enter(&device.ns, || attach(device.name.as_str(), hook));
    hung.map_err(|error| netns_error(&what, &error))?.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(crate::syscall::rtnl::errno_name),
        text: None,
    })
}

/// Hangs the chain up at a device of the caller's namespace.
///
/// # Errors
/// No nf_tables, no such hook, or no such device.
pub fn attach(device: &str, hook: Hook) -> io::Result<OwnedFd> {
    transact(&batch(device, hook), ACKNOWLEDGED)
}

/// Has a transaction carried out; returns the socket that owns what it made. `expected` of its messages ask for an
/// acknowledgement.
///
/// # Errors
/// The kernel's refusal of any of them.
pub(crate) fn transact(messages: &[Vec<u8>], expected: u32) -> io::Result<OwnedFd> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkNetFilter)?;
    let begin = message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
    let end = message(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
    netlink.send(&[begin, messages.concat(), end].concat())?;
    let mut acknowledged = 0;
    while acknowledged < expected {
        acknowledged += answers(netlink.receive()?)?;
    }
    Ok(netlink.into_socket())
}

/// Counts the acknowledgements of one datagram.
fn answers(bytes: &[u8]) -> io::Result<u32> {
    let mut acknowledged = 0;
    for message in netlink::messages(bytes) {
        let (kind, payload) = message?;
        if kind == NLMSG_ERROR {
            netlink::accepted(payload)?;
            acknowledged += 1;
        }
    }
    Ok(acknowledged)
}

/// A table of this socket's, and the chain.
fn batch(device: &str, hook: Hook) -> Vec<Vec<u8>> {
    let text = |kind: u16, text: &str| attribute(kind, &[text.as_bytes(), &[0]].concat());
    let number = |kind: u16, number: u32| attribute(kind, &number.to_be_bytes());
    let number_of_hook = match hook {
        Hook::Ingress => NF_NETDEV_INGRESS,
        Hook::Egress => NF_NETDEV_EGRESS,
    };
    // A table for each, by what it drops: two faults may be injected at a time.
    let table = format!("lab-{device}-{number_of_hook}");
    let hung_at = [
        number(NFTA_HOOK_HOOKNUM, number_of_hook),
        number(NFTA_HOOK_PRIORITY, 0),
        text(NFTA_HOOK_DEV, device),
    ];
    let new_table = [text(NFTA_TABLE_NAME, &table), number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER)].concat();
    let new_chain = [
        text(NFTA_CHAIN_TABLE, &table),
        text(NFTA_CHAIN_NAME, "lose"),
        attribute(NFTA_CHAIN_HOOK | NLA_F_NESTED, &hung_at.concat()),
        number(NFTA_CHAIN_POLICY, NF_DROP),
        text(NFTA_CHAIN_TYPE, "filter"),
    ];
    let create = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    vec![
        message(NFT_MSG_NEWTABLE, create, NFPROTO_NETDEV, 0, &new_table),
        message(NFT_MSG_NEWCHAIN, create, NFPROTO_NETDEV, 0, &new_chain.concat()),
    ]
}

/// A message of nfnetlink: `struct nfgenmsg` and attributes.
pub(crate) fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let header = [[family, 0], resource.to_be_bytes()].concat();
    netlink::message(kind, NLM_F_REQUEST | flags, &[&header, attributes].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_table_and_a_chain() {
        let messages = batch("p0", Hook::Egress);
        let mut kinds = Vec::new();
        for bytes in &messages {
            let len = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
            kinds.push(u16::from_ne_bytes(bytes[4..6].try_into().unwrap()));
            assert_eq!((len % 4, len), (0, bytes.len()));
        }
        assert_eq!(kinds, [0x0a00, 0x0a03]);
        let begin = message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        assert_eq!(begin, [20, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    }

    #[test]
    fn a_refusal_is_its_errno() {
        let mut answer = message(NLMSG_ERROR, 0, 0, 0, &[]);
        answer[16..20].copy_from_slice(&(-95i32).to_ne_bytes());
        assert_eq!(answers(&answer).unwrap_err().raw_os_error(), Some(95));
        answer[16..20].fill(0);
        assert_eq!(answers(&[answer.clone(), answer].concat()).unwrap(), 2);
    }
}
