//! The place of a loss, where `skb->dev` of the dropped frame alone would name another one.
//!
//! - A frame that a driver has refused waits in its queue again (`dev_requeue_skb()`). By then a veth has made its peer the
//!   frame's device (`eth_type_trans()` in `__dev_forward_skb()`) and `veth_xmit()` does not take that back. When the queue is
//!   drained, the frame belongs to the device whose queue it is.
//! - The layer `peer` names the end of a veth that does not take the frame. `____dev_forward_skb()` drops a frame that is too
//!   long, or for an end that is down, before it makes that end the frame's device; `veth_forward_skb()` afterwards.
//! - A queue is drained after its device got `noop` in its place (`dev_deactivate_many()`, `qdisc_graft()`), whatever the
//!   reason was: that the device is down, or that its queue was replaced. The event shows `noop` in both cases.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::ledger::ingress;
use crate::net::layer::Layer;
use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::op::Op;
use crate::plan::record::DropPlace;

/// The reason of it, from 6.12 on; of sockets as well.
const QUEUE_PURGE: &str = "QUEUE_PURGE";
/// Functions through which a queue is drained: its frames were taken, and reported as lost to no one.
const PURGES: [&str; 9] = [
    "qdisc_reset",
    "__qdisc_reset",
    "qdisc_put",
    "qdisc_destroy",
    "__qdisc_destroy",
    "dev_deactivate",
    "__rtnl_unlock",
    "rtnl_kfree_skbs",
    "qdisc_purge_queue",
];
/// A frame's device is still the sending end where these free it.
const BEFORE_THE_PEER: [&str; 2] = ["__dev_forward_skb", "____dev_forward_skb"];

/// Whether the frames of a place were lost because their queue was drained.
pub fn is_purge(place: &DropPlace) -> bool {
    let is_said = place.reason.as_deref() == Some(QUEUE_PURGE) && ingress::layer(place) == Some(Layer::Qdisc);
    is_said || functions(place).any(|function| PURGES.iter().any(|purge| function.starts_with(purge)))
}

/// Whether the frames had been requeued: `qdisc_reset()` itself frees those alone, a discipline's own reset the others.
fn is_requeued(place: &DropPlace) -> bool {
    place.location == "qdisc_reset"
}

/// Whether the device still has its queue, so that another one was drained: `dev_deactivate_many()` puts `noop` in its place
/// before the queue is reset.
fn has_its_queue(place: &DropPlace) -> bool {
    let is_deactivated = functions(place).any(|function| function.starts_with("dev_deactivate"));
    is_deactivated && place.qdisc.as_deref() != Some("noop")
}

/// Whether what was freed is no frame: `napi_get_frags_check()` allocates one that is empty and frees it, when a device gets NAPI.
pub fn is_no_frame(place: &DropPlace) -> bool {
    functions(place).any(|function| function.starts_with("napi_get_frags_check"))
}

fn functions(place: &DropPlace) -> impl Iterator<Item = &str> {
    [&place.location].into_iter().chain(&place.stack).map(String::as_str)
}

/// The other end of each cable of a trial.
#[derive(Debug, Default)]
pub struct Cables<'p>(BTreeMap<&'p DeviceRef, &'p DeviceRef>);

impl<'p> Cables<'p> {
    /// Those that the kernel under test has both ends of.
    pub fn of(trial: &'p Trial) -> Self {
        let mut cables = Self::default();
        trial.ops.iter().for_each(|op| cables.add(op));
        cables
    }

    fn add(&mut self, op: &'p Op) {
        match op {
            Op::Create { link: Link { device, kind: LinkKind::Veth { .. }, .. }, peer: Some(peer) } => {
                self.0.extend([(device, &peer.device), (&peer.device, device)]);
            }
            Op::Move { from, to } => {
                if let Some(other) = self.0.get(from).copied() {
                    self.0.extend([(to, other), (other, to)]);
                }
            }
            Op::Attach { parts, .. } => parts.iter().flat_map(|part| &part.ops).for_each(|op| self.add(op)),
            _ => {}
        }
    }

    /// The other end of a veth.
    pub fn other_end(&self, device: &DeviceRef) -> Option<&'p DeviceRef> {
        self.0.get(device).copied()
    }

    /// The place with the device that lost the frames. `way` has the devices that they may leave by, where that is known.
    ///
    /// Linux 7.2 and later drain a replaced queue when the device has its new one (`qdisc_graft()`, `__qdisc_destroy()`):
    /// the event then shows nothing of the old one, and the way alone tells whose it was.
    pub fn settle(&self, place: &DropPlace, way: Option<&BTreeSet<&DeviceRef>>) -> DropPlace {
        let mut place = place.clone();
        let Some((device, other)) =
            place.device.as_ref().and_then(|device| Some((device, self.other_end(device)?)))
        else {
            return place;
        };
        let leaves_by_other = way.is_some_and(|way| way.contains(other) && !way.contains(device));
        let is_requeued = is_requeued(&place) && (has_its_queue(&place) || leaves_by_other);
        let is_before_the_peer = ingress::layer(&place) == Some(Layer::Peer)
            && functions(&place).any(|function| BEFORE_THE_PEER.iter().any(|it| function.starts_with(it)));
        if is_requeued || is_before_the_peer {
            place.device = Some(other.clone());
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::judge::ledger::fates::fate;
    use crate::topology::Topology;

    const TOPOLOGY: &str = "[ns.a.veth.x]\npeer = \"b:y\"\n[ns.b.veth.y]\npeer = \"a:x\"\n";

    fn place(device: &str, qdisc: Option<&str>, functions: &str) -> DropPlace {
        let stack: Vec<String> = functions.split(" < ").map(str::to_owned).collect();
        DropPlace {
            device: Some(device.parse().unwrap()),
            reason: Some("NOT_SPECIFIED".into()),
            qdisc: qdisc.map(str::to_owned),
            location: stack[1].clone(),
            stack,
        }
    }

    fn device_of(place: &DropPlace) -> String {
        settled(place, &[])
    }

    /// With the devices that the frames may leave by; without any, they are not known.
    fn settled(place: &DropPlace, way: &[&str]) -> String {
        let topology = Topology::parse("t", "t.toml", TOPOLOGY).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = crate::plan::lower::lower(&topology);
        let way: Vec<DeviceRef> = way.iter().map(|device| device.parse().unwrap()).collect();
        let way: Option<BTreeSet<&DeviceRef>> = (!way.is_empty()).then(|| way.iter().collect());
        Cables::of(&plan.trials[0]).settle(place, way.as_ref()).device.unwrap().to_string()
    }

    #[test]
    fn a_requeued_frame_of_a_replaced_queue_belongs_to_the_end_that_it_left_by() {
        let destroyed = "sk_skb_reason_drop < qdisc_reset < __qdisc_destroy < qdisc_graft < tc_modify_qdisc";
        let purged = place("b:y", Some("noqueue"), destroyed);
        assert_eq!(settled(&purged, &["a:x"]), "a:x");
        assert_eq!(settled(&purged, &["b:y"]), "b:y");
        // A bridge sends out by either: nothing tells whose it was.
        assert_eq!(settled(&purged, &["a:x", "b:y"]), "b:y");
        // A discipline frees frames that no layer had refused: they are lost at its device.
        let waited = "sk_skb_reason_drop < pfifo_fast_reset < qdisc_reset < __qdisc_destroy < qdisc_graft";
        assert_eq!(settled(&place("a:x", Some("noqueue"), waited), &["b:y"]), "a:x");
    }

    #[test]
    fn a_requeued_frame_that_is_purged_belongs_to_its_queue() {
        let purge = "sk_skb_reason_drop < qdisc_reset < dev_deactivate_many < dev_deactivate < qdisc_graft";
        assert_eq!(device_of(&place("b:y", Some("noqueue"), purge)), "a:x");
        // Its own queue: `noop` has come in its place.
        assert_eq!(device_of(&place("b:y", Some("noop"), purge)), "b:y");
        let refused = "kfree_skb_list_reason < __dev_queue_xmit < packet_sendmsg";
        assert_eq!(device_of(&place("b:y", Some("noqueue"), refused)), "b:y");
        // What waited behind it is freed when all is done, and the new queue is there.
        let unlocked = "sk_skb_reason_drop < __rtnl_unlock < netdev_run_todo < rtnetlink_rcv_msg";
        assert_eq!(device_of(&place("a:x", Some("noqueue"), unlocked)), "a:x");
    }

    #[test]
    fn the_layer_peer_names_the_end_that_does_not_take_the_frame() {
        for functions in [
            "kfree_skb < __dev_forward_skb < veth_xmit",
            "sk_skb_reason_drop < __dev_forward_skb2 < veth_xmit",
        ] {
            assert_eq!(device_of(&place("a:x", Some("pfifo"), functions)), "b:y", "{functions}");
        }
        assert_eq!(
            device_of(&place("b:y", Some("noqueue"), "kfree_skb < veth_xmit < dev_hard_start_xmit")),
            "b:y"
        );
    }

    #[test]
    fn an_empty_frame_of_a_check_is_none() {
        let check =
            "sk_skb_reason_drop < napi_get_frags_check < netif_napi_add_weight < veth_enable_xdp_range";
        assert!(is_no_frame(&place("b:y", Some("noqueue"), check)));
        assert!(!is_no_frame(&place("b:y", Some("noqueue"), "kfree_skb < veth_xmit < dev_hard_start_xmit")));
    }

    #[test]
    fn a_purged_queue_is_not_that_of_a_device_without_carrier() {
        let purged = place("a:x", Some("noop"), "kfree_skb < __rtnl_unlock < netdev_run_todo");
        assert_eq!(fate(Layer::Qdisc, &purged, 3).queue, None);
        let refused = place("a:x", Some("noop"), "kfree_skb_list_reason < __dev_queue_xmit");
        assert_eq!(fate(Layer::Qdisc, &refused, 3).queue.as_deref(), Some("noop"));
    }
}
