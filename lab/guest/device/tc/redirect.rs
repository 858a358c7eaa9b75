//! Filters of clsact that send frames elsewhere (act_mirred) or change what the kernel has beside them (act_skbedit).

use netlink_packet_core::{NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::TcMessage;

use crate::agent::testbed::Testbed;
use crate::device::tc::clsact;
use crate::device::tc::filter::{
    ETH_P_8021Q, ETH_P_ALL, TCA_FLOWER_ACT, TCA_MATCHALL_ACT, at_hook, vlan_key,
};
use crate::device::tc::options::attribute;
use bondlab_core::net::link_extras::{Filter, FilterAction};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::Hook;

// Keep in sync with include/uapi/linux/pkt_cls.h and tc_act/.
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_SKBEDIT_PARMS: u16 = 2;
const TCA_SKBEDIT_PRIORITY: u16 = 3;
const TCA_SKBEDIT_QUEUE_MAPPING: u16 = 4;
const TCA_SKBEDIT_MARK: u16 = 5;
const TC_ACT_PIPE: i32 = 3;
const TC_ACT_STOLEN: i32 = 4;
const TCA_EGRESS_REDIR: i32 = 1;
const TCA_EGRESS_MIRROR: i32 = 2;
const TCA_INGRESS_REDIR: i32 = 3;
const TCA_INGRESS_MIRROR: i32 = 4;

/// After the drop filters of faults, whose priorities are 1 and 2 more than a VLAN's id.
const FIRST_PRIORITY: u32 = 8192;

/// Attaches a filter; `number` is its place among those of the device.
///
/// # Errors
/// The kernel's refusal, or there is no such device to send frames to.
pub async fn attach(bed: &Testbed, device: &DeviceRef, number: u16, filter: &Filter) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    let what = || format!("attach the filter {filter} to {device}");
    let target = match &filter.action {
        FilterAction::Mirred { to, .. } => bed.index(&DeviceRef::new(&device.ns, to)).await?,
        FilterAction::Skbedit { .. } => 0,
    };
    let rtnl = bed.rtnl(&device.ns)?;
    let request = RouteNetlinkMessage::NewQueueDiscipline(clsact(index));
    rtnl.change(request, NLM_F_CREATE).await.map_err(|error| error.during(what()))?;
    let request = RouteNetlinkMessage::NewTrafficFilter(message(index, number, filter, target));
    rtnl.change(request, NLM_F_CREATE | NLM_F_EXCL).await.map_err(|error| error.during(what()))
}

fn message(index: u32, number: u16, filter: &Filter, target: u32) -> TcMessage {
    let hook = if filter.ingress { Hook::Ingress } else { Hook::Egress };
    let actions = attribute(1 | NLA_F_NESTED, &action(&filter.action, target));
    let (protocol, options) = match filter.vlan {
        None => (ETH_P_ALL, attribute(TCA_MATCHALL_ACT | NLA_F_NESTED, &actions)),
        Some(vlan) => {
            (ETH_P_8021Q, [attribute(TCA_FLOWER_ACT | NLA_F_NESTED, &actions), vlan_key(vlan)].concat())
        }
    };
    at_hook(index, hook, (filter.classifier(), FIRST_PRIORITY + u32::from(number), protocol, options))
}

/// An action's kind and options. A frame that is redirected goes no further here, all others do.
fn action(action: &FilterAction, target: u32) -> Vec<u8> {
    let options = match action {
        FilterAction::Mirred { ingress, copy, .. } => {
            let (verdict, way) = match (ingress, copy) {
                (false, false) => (TC_ACT_STOLEN, TCA_EGRESS_REDIR),
                (false, true) => (TC_ACT_PIPE, TCA_EGRESS_MIRROR),
                (true, false) => (TC_ACT_STOLEN, TCA_INGRESS_REDIR),
                (true, true) => (TC_ACT_PIPE, TCA_INGRESS_MIRROR),
            };
            // struct tc_mirred
            let parms = [generic(verdict), way.to_ne_bytes().into(), target.to_ne_bytes().into()].concat();
            attribute(TCA_MIRRED_PARMS, &parms)
        }
        FilterAction::Skbedit { priority, mark, queue } => {
            let mut options = attribute(TCA_SKBEDIT_PARMS, &generic(TC_ACT_PIPE));
            for (kind, value) in [(TCA_SKBEDIT_PRIORITY, priority), (TCA_SKBEDIT_MARK, mark)] {
                options.extend(value.iter().flat_map(|value| attribute(kind, &value.to_ne_bytes())));
            }
            options.extend(
                queue.iter().flat_map(|queue| attribute(TCA_SKBEDIT_QUEUE_MAPPING, &queue.to_ne_bytes())),
            );
            options
        }
    };
    let kind = [action.kind().as_bytes(), &[0]].concat();
    [attribute(TCA_ACT_KIND, &kind), attribute(TCA_ACT_OPTIONS | NLA_F_NESTED, &options)].concat()
}

/// `tc_gen`: index, capab, action, refcnt, bindcnt.
fn generic(verdict: i32) -> Vec<u8> {
    [0, 0, verdict, 0, 0].map(i32::to_ne_bytes).concat()
}

/// A filter with that action at the ingress hook of device number `index`, to try whether the kernel has it.
pub(crate) fn example(index: u32, kind: &str) -> TcMessage {
    let action = match kind {
        "mirred" => FilterAction::Mirred { to: "lo".parse().expect("a name"), ingress: false, copy: true },
        _ => FilterAction::Skbedit { priority: Some(1), mark: None, queue: None },
    };
    message(index, 0, &Filter { ingress: true, vlan: None, action }, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_the_kernels_structure() {
        let to = "p0".parse().unwrap();
        let bytes = action(&FilterAction::Mirred { to, ingress: true, copy: false }, 7);
        let expected = [
            [11, 0, 1, 0].as_slice(),
            b"mirred\0\0",
            &[36, 0, 2, 0x80, 32, 0, 2, 0], // TCA_ACT_OPTIONS, TCA_MIRRED_PARMS
            &[0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // stolen
            &[3, 0, 0, 0, 7, 0, 0, 0],
        ];
        assert_eq!(bytes, expected.concat());
        let bytes = action(&FilterAction::Skbedit { priority: None, mark: None, queue: Some(3) }, 0);
        assert!(bytes.ends_with(&[6, 0, 4, 0, 3, 0, 0, 0]), "{bytes:?}");
    }
}
