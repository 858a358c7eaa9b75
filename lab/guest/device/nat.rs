//! Source NAT as a router does it: packets that leave by a device get that device's address (nftables, masquerade).
//!
//! Table, chain and rule go with the namespace.

use std::io;

use crate::agent::testbed::{Testbed, netns_error};
use crate::fault::rules::Table;
use crate::fault::{nft, rules};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

// Keep in sync with include/uapi/linux/netfilter/nf_tables.h.
const NFT_META_OIFNAME: u32 = 7;
// Keep in sync with include/uapi/linux/netfilter.h and netfilter_ipv4.h.
const NF_INET_POST_ROUTING: u32 = 4;
const NF_IP_PRI_NAT_SRC: u32 = 100;

/// Has packets that leave by `device` carry its address as their source.
///
/// # Errors
/// The kernel's refusal.
pub fn masquerade(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    let what = format!("masquerade what leaves by {device}");
    let done = bed.namespaces.enter(&device.ns, || attach(device.name.as_str()));
    done.map_err(|error| netns_error(&what, &error))?.map_err(|error| OpError {
        what,
        errno: error.raw_os_error().map(crate::syscall::rtnl::errno_name),
        text: None,
    })
}

/// Makes table, chain and rule in the caller's namespace.
///
/// # Errors
/// No nf_tables, no chain of type nat, or no masquerade.
pub fn attach(device: &str) -> io::Result<()> {
    nft::transact(&rule_set(device), rules::ACKNOWLEDGED).map(drop)
}

/// A table for each device, so that one makes no difference to another.
fn rule_set(device: &str) -> Vec<Vec<u8>> {
    let table = Table {
        name: &format!("lab-nat-{device}"),
        flags: 0,
        chain: "leave",
        kind: "nat",
        hook: NF_INET_POST_ROUTING,
        priority: NF_IP_PRI_NAT_SRC,
    };
    let [meta, cmp] = rules::of_device(NFT_META_OIFNAME, device);
    table.messages(&[meta, cmp, rules::expression("masq", &[])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_three_expressions_and_the_whole_name() {
        let messages = rule_set("uplink");
        let [table, chain, rule] = &messages[..] else { panic!("{}", messages.len()) };
        for (message, kind) in [(table, 0x0a00_u16), (chain, 0x0a03), (rule, 0x0a06)] {
            assert_eq!(message[4..6], kind.to_ne_bytes());
            assert_eq!(message.len() % 4, 0);
        }
        let holds = |part: &[u8]| rule.windows(part.len()).any(|window| window == part);
        assert!(holds(b"uplink\0\0\0\0\0\0\0\0\0\0"));
        for name in ["meta\0", "cmp\0", "masq\0"] {
            assert!(holds(name.as_bytes()), "{name}");
        }
    }
}
