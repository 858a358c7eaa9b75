//! Where this kernel keeps what the drop program reads, and what it calls its drop reasons.

use std::collections::BTreeMap;

use crate::syscall::bpf::btf::{Btf, BtfError, Struct};

/// Byte offsets in this kernel's structs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether `skb:kfree_skb` has a reason: from 5.17, commit c504e5c2f964 "net: skb: introduce
    /// kfree_skb_reason()".
    pub has_reason: bool,
    pub sk_buff_bytes: u32,
    pub dev: u32,
    pub len: u32,
    pub head: u32,
    pub data: u32,
    pub tail: u32,
    pub mac_header: u32,
    pub protocol: u32,
    pub queue_mapping: u32,
    pub vlan_tci: u32,
    pub vlan_presence: Presence,
    pub dev_ifindex: u32,
    pub dev_name: u32,
    pub dev_net: u32,
    pub net_inum: u32,
    pub dev_tx_queues: u32,
    pub dev_tx_queues_count: u32,
    pub tx_queue_bytes: u32,
    pub tx_queue_qdisc: u32,
    pub qdisc_ops: u32,
    pub qdisc_ops_id: u32,
}

/// How this kernel says that `vlan_tci` holds a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// A bitfield of its own, `vlan_present`: the byte and the bits in it.
    Bit { offset: u32, mask: u8 },
    /// `vlan_all`, protocol and tag together, is not zero: from 6.2, commit 354259fa73e2
    /// "net: remove skb->vlan_present".
    NotZero { offset: u32 },
}

impl Layout {
    pub fn resolve(btf: &Btf) -> Result<Self, BtfError> {
        let arguments = btf
            .tracepoint_arguments("kfree_skb")
            .ok_or_else(|| BtfError::NoType("tracepoint skb:kfree_skb".to_owned()))?;
        let sk_buff = btf.structure("sk_buff")?;
        let net_device = btf.structure("net_device")?;
        let netdev_queue = btf.structure("netdev_queue")?;
        let skb = |member| Ok(sk_buff.member(member)?.offset());
        let dev = |member| Ok(net_device.member(member)?.offset());
        Ok(Self {
            // skb, location, then the reason.
            has_reason: arguments >= 3,
            sk_buff_bytes: sk_buff.size(),
            dev: skb("dev")?,
            len: skb("len")?,
            head: skb("head")?,
            data: skb("data")?,
            tail: skb("tail")?,
            mac_header: skb("mac_header")?,
            protocol: skb("protocol")?,
            queue_mapping: skb("queue_mapping")?,
            vlan_tci: skb("vlan_tci")?,
            vlan_presence: presence(&sk_buff)?,
            dev_ifindex: dev("ifindex")?,
            dev_name: dev("name")?,
            dev_net: dev("nd_net.net")?,
            net_inum: btf.structure("net")?.member("ns.inum")?.offset(),
            dev_tx_queues: dev("_tx")?,
            dev_tx_queues_count: dev("num_tx_queues")?,
            tx_queue_bytes: netdev_queue.size(),
            tx_queue_qdisc: netdev_queue.member("qdisc")?.offset(),
            qdisc_ops: btf.structure("Qdisc")?.member("ops")?.offset(),
            qdisc_ops_id: btf.structure("Qdisc_ops")?.member("id")?.offset(),
        })
    }
}

fn presence(sk_buff: &Struct<'_>) -> Result<Presence, BtfError> {
    if let Ok(bit) = sk_buff.member("vlan_present") {
        let ones = (1_u16 << bit.bits.max(1)) - 1;
        return Ok(Presence::Bit { offset: bit.offset(), mask: (ones << (bit.bit_offset % 8)) as u8 });
    }
    let offset = sk_buff.member("vlan_all")?.offset();
    Ok(Presence::NotZero { offset })
}

impl Presence {
    /// Whether there is a tag, from the byte or word at the offset.
    pub fn holds(self, word: u32) -> bool {
        match self {
            Self::Bit { mask, .. } => word & u32::from(mask) != 0,
            Self::NotZero { .. } => word != 0,
        }
    }
}

/// Names of drop reasons by number, from the enums that hold them.
///
/// The core's reasons lose their prefix. Subsystems have enums of their own whose numbers carry the subsystem in
/// the upper half (include/net/dropreason.h); of those, the ones built into the kernel are known here.
pub(crate) fn reasons(enums: BTreeMap<String, BTreeMap<u32, String>>) -> BTreeMap<u32, String> {
    const CORE_PREFIX: &str = "SKB_DROP_REASON_";
    let mut names = BTreeMap::new();
    for (value, name) in enums.into_values().flatten() {
        let is_core = name.starts_with("SKB_");
        // A subsystem's enum starts with a zero of its own, QDISC_DROP_UNSPEC; nothing is dropped for it.
        if is_core || value != 0 {
            let short = name.strip_prefix(CORE_PREFIX).unwrap_or(&name);
            names.insert(value, short.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: u32, name: &str) -> BTreeMap<u32, String> {
        BTreeMap::from([(value, name.to_owned())])
    }

    #[test]
    fn reasons_have_the_kernels_names() {
        let mut core = one(0, "SKB_NOT_DROPPED_YET");
        core.extend(one(3, "SKB_DROP_REASON_NO_SOCKET"));
        let mut qdisc = one(0, "QDISC_DROP_UNSPEC");
        qdisc.extend(one(0x3_0002, "QDISC_DROP_OVERLIMIT"));
        let enums =
            BTreeMap::from([("skb_drop_reason".to_owned(), core), ("qdisc_drop_reason".to_owned(), qdisc)]);
        let expected = [(0, "SKB_NOT_DROPPED_YET"), (3, "NO_SOCKET"), (0x3_0002, "QDISC_DROP_OVERLIMIT")];
        assert_eq!(reasons(enums), BTreeMap::from(expected.map(|(value, name)| (value, name.to_owned()))));
    }

    #[test]
    fn a_tag_is_present_by_its_bit_or_by_its_value() {
        let bit = Presence::Bit { offset: 130, mask: 0b100 };
        let value = Presence::NotZero { offset: 156 };
        for (presence, word, expected) in
            [(bit, 0b100, true), (bit, 0b011, false), (value, 0x0046_0081, true), (value, 0, false)]
        {
            assert_eq!(presence.holds(word), expected, "{presence:?} {word:#x}");
        }
    }
}
