//! Rules of nftables: what they are made of on the wire.

use netlink_packet_core::NLA_F_NESTED;

use crate::device::tc::options::attribute;
use crate::fault::nft::NFNL_SUBSYS_NFTABLES;

// Keep in sync with include/uapi/linux/netfilter/nf_tables.h.
pub(crate) const NFT_MSG_NEWRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_REG_1: u32 = 1;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_DATA_VALUE: u16 = 1;
// Keep in sync with include/uapi/linux/netfilter.h.
pub(crate) const NFPROTO_IPV4: u8 = 2;
/// A register holds a device's name whole.
const IFNAMSIZ: usize = 16;

fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn number(kind: u16, number: u32) -> Vec<u8> {
    attribute(kind, &number.to_be_bytes())
}

fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &parts.concat())
}

/// One expression of a rule.
pub(crate) fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    nested(NFTA_LIST_ELEM, &[text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, data)])
}

/// Two expressions: go on only where a device's name (`key` of meta) is this.
pub(crate) fn of_device(key: u32, device: &str) -> [Vec<u8>; 2] {
    let mut name = device.as_bytes().to_vec();
    name.resize(IFNAMSIZ, 0);
    let equals = [
        number(NFTA_CMP_SREG, NFT_REG_1),
        number(NFTA_CMP_OP, NFT_CMP_EQ),
        nested(NFTA_CMP_DATA, &[attribute(NFTA_DATA_VALUE, &name)]),
    ];
    [
        expression("meta", &[number(NFTA_META_KEY, key), number(NFTA_META_DREG, NFT_REG_1)]),
        expression("cmp", &equals),
    ]
}

/// The attributes of a new rule.
pub(crate) fn rule(table: &str, chain: &str, expressions: &[Vec<u8>]) -> Vec<u8> {
    [text(NFTA_RULE_TABLE, table), text(NFTA_RULE_CHAIN, chain), nested(NFTA_RULE_EXPRESSIONS, expressions)]
        .concat()
}
