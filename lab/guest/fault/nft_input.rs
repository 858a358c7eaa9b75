//! Drop filters at netfilter's input hook: a base chain of nftables, family ip, with a rule for what came by one device.
//!
//! `ip_local_deliver()` runs it (NF_INET_LOCAL_IN), after the routing decision and before the packet gets to its protocol. Its
//! table belongs to the socket that made it, as those of `nft`.

use std::io;
use std::os::fd::OwnedFd;

use crate::agent::testbed::{Testbed, netns_error};
use crate::fault::rules::{Table, nested, number};
use crate::fault::{nft, rules};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

// Keep in sync with include/uapi/linux/netfilter/nf_tables.h.
const NFT_META_IIFNAME: u32 = 6;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFT_REG_VERDICT: u32 = 0;
// Keep in sync with include/uapi/linux/netfilter.h and netfilter_ipv4.h.
const NF_INET_LOCAL_IN: u32 = 1;
const NF_IP_PRI_FILTER: u32 = 0;

/// Drops every IPv4 packet for this host that came by a device. Closing what it returns ends it.
///
/// # Errors
/// The kernel's refusal.
pub fn drop_packets(bed: &Testbed, device: &DeviceRef) -> Result<OwnedFd, OpError> {
    let what = format!("drop packets that came by {device} at the input hook of nftables");
    let hung = bed.namespaces.enter(&device.ns, || attach(device.name.as_str()));
    hung.map_err(|error| netns_error(&what, &error))?.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(crate::syscall::rtnl::errno_name),
        text: None,
    })
}

/// Attaches the chain in the caller's namespace.
///
/// # Errors
/// No nf_tables, or no tables with an owner.
pub fn attach(device: &str) -> io::Result<OwnedFd> {
    nft::transact(&rule_set(device), rules::ACKNOWLEDGED)
}

fn rule_set(device: &str) -> Vec<Vec<u8>> {
    let table = Table {
        name: &format!("lab-input-{device}"),
        flags: nft::NFT_TABLE_F_OWNER,
        chain: "lose",
        kind: "filter",
        hook: NF_INET_LOCAL_IN,
        priority: NF_IP_PRI_FILTER,
    };
    let verdict = nested(NFTA_DATA_VERDICT, &[number(NFTA_VERDICT_CODE, nft::NF_DROP)]);
    let drop = [number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT), nested(NFTA_IMMEDIATE_DATA, &[verdict])];
    let [meta, cmp] = rules::of_device(NFT_META_IIFNAME, device);
    table.messages(&[meta, cmp, rules::expression("immediate", &drop)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_drops_what_came_by_the_device() {
        let messages = rule_set("uplink");
        let [_, _, rule] = &messages[..] else { panic!("{}", messages.len()) };
        let holds = |part: &[u8]| rule.windows(part.len()).any(|window| window == part);
        for part in [&b"uplink\0\0\0\0\0\0\0\0\0\0"[..], b"meta\0", b"cmp\0", b"immediate\0"] {
            assert!(holds(part), "{part:?}");
        }
        assert_eq!(rule.len() % 4, 0);
    }
}
