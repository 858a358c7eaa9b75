//! Source NAT as a router does it: packets that leave by a device get that device's address (nftables, masquerade).
//!
//! Table, chain and rule go with the namespace.

use std::io;

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::tc::options::attribute;
use crate::fault::nft;
use crate::fault::nft::{NFNL_SUBSYS_NFTABLES, message};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

// Keep in sync with include/uapi/linux/netfilter/nf_tables.h.
const NFT_MSG_NEWRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_OIFNAME: u32 = 7;
const NFT_REG_1: u32 = 1;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_DATA_VALUE: u16 = 1;
// Keep in sync with include/uapi/linux/netfilter.h and netfilter_ipv4.h.
const NFPROTO_IPV4: u8 = 2;
const NF_INET_POST_ROUTING: u32 = 4;
const NF_IP_PRI_NAT_SRC: u32 = 100;
/// A register holds a device's name whole.
const IFNAMSIZ: usize = 16;
/// Table, chain and rule.
const ACKNOWLEDGED: u32 = 3;

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
    nft::transact(&rule_set(device), ACKNOWLEDGED).map(drop)
}

/// A table for each device, so that one makes no difference to another.
fn rule_set(device: &str) -> Vec<Vec<u8>> {
    let text = |kind: u16, text: &str| attribute(kind, &[text.as_bytes(), &[0]].concat());
    let number = |kind: u16, number: u32| attribute(kind, &number.to_be_bytes());
    let nested = |kind: u16, parts: &[Vec<u8>]| attribute(kind | NLA_F_NESTED, &parts.concat());
    let table = format!("lab-nat-{device}");
    let new_table = text(nft::NFTA_TABLE_NAME, &table);
    let hook = [
        number(nft::NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING),
        number(nft::NFTA_HOOK_PRIORITY, NF_IP_PRI_NAT_SRC),
    ];
    let new_chain = [
        text(nft::NFTA_CHAIN_TABLE, &table),
        text(nft::NFTA_CHAIN_NAME, "leave"),
        nested(nft::NFTA_CHAIN_HOOK, &hook),
        text(nft::NFTA_CHAIN_TYPE, "nat"),
    ];
    let expression = |name: &str, data: &[Vec<u8>]| {
        nested(NFTA_LIST_ELEM, &[text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, data)])
    };
    let mut name = device.as_bytes().to_vec();
    name.resize(IFNAMSIZ, 0);
    let expressions = [
        expression("meta", &[number(NFTA_META_KEY, NFT_META_OIFNAME), number(NFTA_META_DREG, NFT_REG_1)]),
        expression(
            "cmp",
            &[
                number(NFTA_CMP_SREG, NFT_REG_1),
                number(NFTA_CMP_OP, NFT_CMP_EQ),
                nested(NFTA_CMP_DATA, &[attribute(NFTA_DATA_VALUE, &name)]),
            ],
        ),
        expression("masq", &[]),
    ];
    let new_rule = [
        text(NFTA_RULE_TABLE, &table),
        text(NFTA_RULE_CHAIN, "leave"),
        nested(NFTA_RULE_EXPRESSIONS, &expressions),
    ];
    let create = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    let append = NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK;
    vec![
        message(nft::NFT_MSG_NEWTABLE, create, NFPROTO_IPV4, 0, &new_table),
        message(nft::NFT_MSG_NEWCHAIN, create, NFPROTO_IPV4, 0, &new_chain.concat()),
        message(NFT_MSG_NEWRULE, append, NFPROTO_IPV4, 0, &new_rule.concat()),
    ]
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
