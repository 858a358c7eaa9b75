//! Rules of nftables: what they are made of on the wire.

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use crate::device::tc::options::attribute;
use crate::fault::nft;
use crate::fault::nft::NFNL_SUBSYS_NFTABLES;

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
const NFT_REG_1: u32 = 1;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_DATA_VALUE: u16 = 1;
// Keep in sync with include/uapi/linux/netfilter.h.
const NFPROTO_IPV4: u8 = 2;
/// A register holds a device's name whole.
const IFNAMSIZ: usize = 16;

fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// A 32-bit attribute.
pub(crate) fn number(kind: u16, number: u32) -> Vec<u8> {
    attribute(kind, &number.to_be_bytes())
}

/// An attribute of attributes.
pub(crate) fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
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

/// Messages of [`Table::messages`]: table, chain and rule.
pub(crate) const ACKNOWLEDGED: u32 = 3;

/// A table of the family ip with one base chain.
pub(crate) struct Table<'a> {
    pub name: &'a str,
    /// `NFT_TABLE_F_*`.
    pub flags: u32,
    pub chain: &'a str,
    /// `filter` or `nat`.
    pub kind: &'a str,
    /// `NF_INET_*`.
    pub hook: u32,
    /// `NF_IP_PRI_*`.
    pub priority: u32,
}

impl Table<'_> {
    /// What makes the table, its chain, and one rule in it.
    pub(crate) fn messages(&self, expressions: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let table = [text(nft::NFTA_TABLE_NAME, self.name), number(nft::NFTA_TABLE_FLAGS, self.flags)];
        let hook =
            [number(nft::NFTA_HOOK_HOOKNUM, self.hook), number(nft::NFTA_HOOK_PRIORITY, self.priority)];
        let chain = [
            text(nft::NFTA_CHAIN_TABLE, self.name),
            text(nft::NFTA_CHAIN_NAME, self.chain),
            nested(nft::NFTA_CHAIN_HOOK, &hook),
            text(nft::NFTA_CHAIN_TYPE, self.kind),
        ];
        let create = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
        let append = NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK;
        vec![
            nft::message(nft::NFT_MSG_NEWTABLE, create, NFPROTO_IPV4, 0, &table.concat()),
            nft::message(nft::NFT_MSG_NEWCHAIN, create, NFPROTO_IPV4, 0, &chain.concat()),
            nft::message(NFT_MSG_NEWRULE, append, NFPROTO_IPV4, 0, &rule(self.name, self.chain, expressions)),
        ]
    }
}

/// The attributes of a new rule.
fn rule(table: &str, chain: &str, expressions: &[Vec<u8>]) -> Vec<u8> {
    [text(NFTA_RULE_TABLE, table), text(NFTA_RULE_CHAIN, chain), nested(NFTA_RULE_EXPRESSIONS, expressions)]
        .concat()
}
