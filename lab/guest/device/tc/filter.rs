//! Drop filters of clsact: matchall, or flower for one VLAN tag, with the action drop.

use netlink_packet_core::{NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcAttribute, TcFilterFlowerOption, TcFilterMatchAllOption, TcHandle,
    TcMessage, TcOption, TcStats2,
};

use crate::agent::testbed::Testbed;
use crate::device::tc::options::attribute;
use crate::device::tc::{clsact, kind, number, raw_options};
use bondlab_core::net::address::Mac;
use bondlab_core::net::name::{DeviceRef, VlanId};
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::Hook;

// Keep in sync with include/uapi/linux/pkt_cls.h.
pub(crate) const TCA_MATCHALL_ACT: u16 = 2;
pub(crate) const TCA_FLOWER_ACT: u16 = 3;
const TCA_FLOWER_KEY_ETH_SRC: u16 = 6;
const TCA_FLOWER_KEY_ETH_SRC_MASK: u16 = 7;
const TCA_FLOWER_KEY_ETH_TYPE: u16 = 8;
const TCA_FLOWER_KEY_VLAN_ID: u16 = 23;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TC_ACT_OK: i32 = 0;
const TC_ACT_SHOT: i32 = 2;
/// Keep in sync with include/uapi/linux/tc_act/tc_gact.h.
const TCA_GACT_PARMS: u16 = 2;

// Keep in sync with include/uapi/linux/if_ether.h.
pub(crate) const ETH_P_ALL: u16 = 0x0003;
pub(crate) const ETH_P_8021Q: u16 = 0x8100;

/// Drops every frame at a hook; with `vlan`, those that carry that 802.1Q tag.
///
/// # Errors
/// The kernel's refusal, or the same filter is there already.
pub async fn drop_frames(
    bed: &Testbed,
    device: &DeviceRef,
    hook: Hook,
    vlan: Option<VlanId>,
) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    let rtnl = bed.rtnl(&device.ns)?;
    let what = || format!("drop frames at the {} hook of {device}", word(hook));
    // Without NLM_F_EXCL one that is there stays as it is, with its filters and counters.
    let request = RouteNetlinkMessage::NewQueueDiscipline(clsact(index));
    rtnl.change(request, NLM_F_CREATE).await.map_err(|error| error.during(what()))?;
    let request = RouteNetlinkMessage::NewTrafficFilter(filter(index, hook, vlan));
    rtnl.change(request, NLM_F_CREATE | NLM_F_EXCL).await.map_err(|error| error.during(what()))
}

/// Drops every frame that enters a device with another source address than this one.
///
/// # Errors
/// The kernel's refusal.
pub async fn pass_source(bed: &Testbed, device: &DeviceRef, source: Mac) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    let what = || format!("drop frames of other sources than {source} at {device}");
    let request = RouteNetlinkMessage::NewQueueDiscipline(clsact(index));
    let rtnl = bed.rtnl(&device.ns)?;
    rtnl.change(request, NLM_F_CREATE).await.map_err(|error| error.during(what()))?;
    let mut pass = attribute(TCA_FLOWER_ACT | NLA_F_NESTED, &action(TC_ACT_OK));
    pass.extend(attribute(TCA_FLOWER_KEY_ETH_SRC, &source.0));
    pass.extend(attribute(TCA_FLOWER_KEY_ETH_SRC_MASK, &[0xff; 6]));
    let drop = attribute(TCA_MATCHALL_ACT | NLA_F_NESTED, &drop_action());
    for (kind, priority, options) in [("flower", 1, pass), ("matchall", 2, drop)] {
        let filter = at_hook(index, Hook::Ingress, (kind, priority, ETH_P_ALL, options));
        let request = RouteNetlinkMessage::NewTrafficFilter(filter);
        match rtnl.change(request, NLM_F_CREATE | NLM_F_EXCL).await {
            // A pod that is attached again has the same VF, with the same address.
            Err(error) if error.errno() == Some(libc::EEXIST) => {}
            made => made.map_err(|error| error.during(what()))?,
        }
    }
    Ok(())
}

/// Takes a filter of [`drop_frames`] away. The clsact discipline stays, with its counters.
///
/// # Errors
/// The kernel's refusal, or there is no such filter.
pub async fn stop_dropping(
    bed: &Testbed,
    device: &DeviceRef,
    hook: Hook,
    vlan: Option<VlanId>,
) -> Result<(), OpError> {
    let mut message = filter(bed.index(device).await?, hook, vlan);
    message.attributes.truncate(1);
    let request = RouteNetlinkMessage::DelTrafficFilter(message);
    let stopped = bed.rtnl(&device.ns)?.change(request, 0).await;
    stopped
        .map_err(|error| error.during(format!("stop dropping frames at the {} hook of {device}", word(hook))))
}

/// Frames a filter of [`drop_frames`] has dropped so far.
///
/// # Errors
/// There is no such filter.
pub async fn hits(
    bed: &Testbed,
    device: &DeviceRef,
    hook: Hook,
    vlan: Option<VlanId>,
) -> Result<u64, OpError> {
    let what = format!("count the frames dropped at the {} hook of {device}", word(hook));
    let wanted = filter(bed.index(device).await?, hook, vlan);
    let mut message = TcMessage::with_index(wanted.header.index);
    message.header.parent = wanted.header.parent;
    let dumped = bed.rtnl(&device.ns)?.dump(RouteNetlinkMessage::GetTrafficFilter(message)).await;
    let hits = dumped.map_err(|error| error.during(&what))?.into_iter().find_map(|answer| match answer {
        // Each filter comes as its protocol first, without handle and options, and then as itself.
        RouteNetlinkMessage::NewTrafficFilter(got)
            if got.header.info == wanted.header.info && kind(&got) == kind(&wanted) =>
        {
            packets(&got)
        }
        _ => None,
    });
    let text = || Some("there is no such filter".into());
    hits.ok_or_else(|| OpError { what, errno: None, text: text() })
}

fn word(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => "ingress",
        Hook::Egress => "egress",
    }
}

/// A filter at a hook. Its priority says what it matches, so that one can be taken away without its handle.
fn filter(index: u32, hook: Hook, vlan: Option<VlanId>) -> TcMessage {
    let what = match vlan {
        None => ("matchall", 1, ETH_P_ALL, attribute(TCA_MATCHALL_ACT | NLA_F_NESTED, &drop_action())),
        Some(id) => {
            let mut options = attribute(TCA_FLOWER_ACT | NLA_F_NESTED, &drop_action());
            options.extend(vlan_key(id));
            ("flower", 2 + u32::from(id.get()), ETH_P_8021Q, options)
        }
    };
    at_hook(index, hook, what)
}

/// What flower matches: frames with that 802.1Q tag.
pub(crate) fn vlan_key(id: VlanId) -> Vec<u8> {
    let mut key = attribute(TCA_FLOWER_KEY_ETH_TYPE, &ETH_P_8021Q.to_be_bytes());
    key.extend(attribute(TCA_FLOWER_KEY_VLAN_ID, &id.get().to_ne_bytes()));
    key
}

/// A filter by kind, priority, protocol and options.
pub(crate) fn at_hook(
    index: u32,
    hook: Hook,
    (kind, priority, protocol, options): (&str, u32, u16, Vec<u8>),
) -> TcMessage {
    let minor = match hook {
        Hook::Ingress => TcHandle::MIN_INGRESS,
        Hook::Egress => TcHandle::MIN_EGRESS,
    };
    let mut message = TcMessage::with_index(number(index));
    message.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor };
    // TC_H_MAKE(priority << 16, htons(protocol))
    message.header.info = (priority << 16) | u32::from(protocol.to_be());
    message.attributes.push(TcAttribute::Kind(kind.into()));
    message.attributes.push(raw_options(options));
    message
}

/// A filter of that kind at the egress hook, to try whether the kernel takes it. A kind this module does not
/// make gets the options of matchall; the kernel looks at the kind first.
pub(crate) fn example(index: u32, kind: &str) -> TcMessage {
    let vlan = VlanId::try_from(1).ok().filter(|_| kind == "flower");
    let mut message = filter(index, Hook::Egress, vlan);
    message.attributes[0] = TcAttribute::Kind(kind.into());
    message
}

fn drop_action() -> Vec<u8> {
    action(TC_ACT_SHOT)
}

/// A list of one action: gact.
fn action(verdict: i32) -> Vec<u8> {
    // struct tc_gact: index, capab, action, refcnt, bindcnt.
    let mut gact = [0; 20];
    gact[8..12].copy_from_slice(&verdict.to_ne_bytes());
    let mut action = attribute(TCA_ACT_KIND, b"gact\0");
    action.extend(attribute(TCA_ACT_OPTIONS | NLA_F_NESTED, &attribute(TCA_GACT_PARMS, &gact)));
    attribute(1 | NLA_F_NESTED, &action)
}

/// What the action of a dumped filter has counted.
fn packets(filter: &TcMessage) -> Option<u64> {
    let options = filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let actions: &Vec<TcAction> = options.iter().find_map(|option| match option {
        TcOption::MatchAll(TcFilterMatchAllOption::Action(actions))
        | TcOption::Flower(TcFilterFlowerOption::Actions(actions)) => Some(actions),
        _ => None,
    })?;
    actions.iter().flat_map(|action| &action.attributes).find_map(|attribute| {
        let TcActionAttribute::Stats(stats) = attribute else { return None };
        stats.iter().find_map(|stat| match stat {
            TcStats2::Basic(basic) => Some(u64::from(basic.packets)),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    #[test]
    fn a_filter_is_the_kernels_bytes() {
        let id = VlanId::try_from(70).unwrap();
        let message = filter(3, Hook::Egress, Some(id));
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert_eq!(
            bytes,
            [
                0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, // tcmsg: device 3, no handle
                0xf3, 0xff, 0xff, 0xff, 0x81, 0, 72, 0, // egress hook, 802.1Q, priority 72
                11, 0, 1, 0, b'f', b'l', b'o', b'w', b'e', b'r', 0, 0, // TCA_KIND
                68, 0, 2, 0, // TCA_OPTIONS
                48, 0, 3, 0x80, // TCA_FLOWER_ACT
                44, 0, 1, 0x80, // the first action
                9, 0, 1, 0, b'g', b'a', b'c', b't', 0, 0, 0, 0, // TCA_ACT_KIND
                28, 0, 2, 0x80, // TCA_ACT_OPTIONS
                24, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // tc_gact
                6, 0, 8, 0, 0x81, 0, 0, 0, // TCA_FLOWER_KEY_ETH_TYPE
                6, 0, 23, 0, 70, 0, 0, 0, // TCA_FLOWER_KEY_VLAN_ID
            ]
        );
    }

    #[test]
    fn a_filter_for_all_frames_is_matchall() {
        let message = filter(3, Hook::Ingress, None);
        assert_eq!(kind(&message), Some("matchall"));
        assert_eq!(u32::from(message.header.parent), 0xffff_fff2);
        assert_eq!(message.header.info, 0x0001_0300);
    }
}
