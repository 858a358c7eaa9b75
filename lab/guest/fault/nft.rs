//! Drop filters of nftables: a base chain of the family netdev with the policy drop, on one device.
//!
//! Its table belongs to the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12): when the socket is closed, the kernel
//! takes table and chain away. Egress chains exist from 5.16 on, with CONFIG_NETFILTER_EGRESS.

use std::io;
use std::os::fd::OwnedFd;

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::os::fd::AsRawFd;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::tc::options::attribute;
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

const NLMSG_ERROR: u16 = 2;
const NLMSG_HEADER_BYTES: usize = 16;
/// A refusal comes with the request; these are short.
const ANSWER_BYTES: usize = 8192;
/// The kernel answers before sendto(2) returns; a lost answer must not hang the agent.
const ANSWER_TIMEOUT_S: i64 = 5;
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
    let netfilter = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, netfilter)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_S, 0))?;
    let kernel = NetlinkAddr::new(0, 0);
    let begin = message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
    let end = message(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
    let transaction = [begin, messages.concat(), end].concat();
    sendto(socket.as_raw_fd(), &transaction, &kernel, MsgFlags::empty())?;
    let mut acknowledged = 0;
    let mut buffer = [0; ANSWER_BYTES];
    while acknowledged < expected {
        let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        acknowledged += answers(&buffer[..len])?;
    }
    Ok(socket)
}

/// Counts the acknowledgements of one datagram.
fn answers(mut bytes: &[u8]) -> io::Result<u32> {
    let number = |bytes: &[u8], at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let mut acknowledged = 0;
    while let (Some(len), Some(kind)) = (number(bytes, 0), bytes.get(4..6)) {
        if u16::from_ne_bytes([kind[0], kind[1]]) == NLMSG_ERROR {
            match number(bytes, NLMSG_HEADER_BYTES).map(i32::from_ne_bytes) {
                Some(0) => acknowledged += 1,
                Some(errno) => return Err(io::Error::from_raw_os_error(errno.saturating_abs())),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let len = usize::try_from(u32::from_ne_bytes(len)).unwrap_or(usize::MAX).next_multiple_of(4);
        bytes = bytes.get(len.max(NLMSG_HEADER_BYTES)..).unwrap_or_default();
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

/// `struct nlmsghdr`, `struct nfgenmsg` and attributes.
pub(crate) fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(NLMSG_HEADER_BYTES + 4 + attributes.len()).expect("hundreds of bytes");
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
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
