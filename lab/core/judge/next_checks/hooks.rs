//! What the hooks of a device lost, by the hook: frames on their way out, and frames on their way in.

use crate::judge::account::TrialAccount;
use crate::judge::ledger::moved::Foreign;
use crate::net::layer::Layer;
use crate::net::name::DeviceRef;
use crate::plan::record::DropPlace;

/// A hook of traffic control or nftables at a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `sch_handle_egress()` and `nf_hook_egress()`, called by `__dev_queue_xmit()`.
    Egress,
    /// `sch_handle_ingress()` and `nf_ingress()`, called by `__netif_receive_skb_core()`.
    Ingress,
}

impl Hook {
    /// Both, in the order in which tools print them.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// As `tc`, `nft` and `bpftool` write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }

    /// Of a drop event, by its reason or by the nearest function of its stack that only one hook is called by. A veth pair
    /// receives on the stack of its sender, so the nearest decides.
    fn of<'a>(reason_and_path: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        reason_and_path.into_iter().find_map(|name| match name {
            "TC_EGRESS" => Some(Self::Egress),
            "TC_INGRESS" => Some(Self::Ingress),
            // Of a function, the compiler may make copies with a suffix as `.constprop.0`.
            name if name.starts_with("sch_handle_egress") => Some(Self::Egress),
            name if name.starts_with("__dev_queue_xmit") => Some(Self::Egress),
            name if name.starts_with("sch_handle_ingress") => Some(Self::Ingress),
            name if name.starts_with("__netif_receive_skb") => Some(Self::Ingress),
            _ => None,
        })
    }
}

/// Frames that `layer` of `device` lost at one hook: those of all flows, and the kernel's own, such as LACPDUs and ARP. `sends` says
/// whether a flow's sender sends through the device: such a flow meets its layers on the way out. An XDP program is always on the way in.
pub fn lost(
    trial: &TrialAccount,
    device: &DeviceRef,
    layer: Layer,
    hook: Hook,
    sends: impl Fn(&DeviceRef) -> bool,
) -> u64 {
    let known = (layer == Layer::Xdp).then_some(Hook::Ingress);
    let of_flows = trial.flows.iter().flat_map(|account| {
        let fates = account.fates.iter().filter(|fate| fate.layer == layer);
        fates.filter(|fate| fate.device.as_ref() == Some(device)).map(|fate| {
            let by_way = if sends(&account.flow.from) { Hook::Egress } else { Hook::Ingress };
            (known.or_else(|| Hook::of([fate.reason.as_str()])).or(Some(by_way)), fate.frames)
        })
    });
    let here = |place: &DropPlace| place.device.as_ref() == Some(device);
    let of_kernel = trial.foreign.iter().filter(|lost| lost.layer == Some(layer) && here(&lost.place));
    let of_kernel = of_kernel.map(|Foreign { place, frames, .. }| {
        let path = place.reason.iter().chain([&place.location]).chain(&place.stack).map(String::as_str);
        (known.or_else(|| Hook::of(path)), *frames)
    });
    of_flows.chain(of_kernel).filter(|(at, _)| *at == Some(hook)).map(|(_, frames)| u64::from(frames)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    /// Frames of the kernel's own, lost at `REASON < FUNCTION < CALLER...` of a:p0; `-` is no reason.
    fn lost_of_kernel(layer: Layer, path: &str, frames: u32) -> Foreign {
        let mut path = path.split(" < ").map(str::to_owned);
        let reason = path.next().filter(|reason| reason != "-");
        let (device, location) = (Some("a:p0".parse().unwrap()), path.next().expect("a function"));
        let place = DropPlace { device, reason, qdisc: None, location, stack: path.collect() };
        Foreign { class: None, vlan: None, layer: Some(layer), place, frames }
    }

    fn at_hooks(layer: Layer, path: &str) -> [u64; 2] {
        let mut trial = TrialAccount::empty(Role::Control);
        trial.foreign = vec![lost_of_kernel(layer, path, 24)];
        Hook::ALL.map(|hook| lost(&trial, &"a:p0".parse().unwrap(), layer, hook, |_| true))
    }

    #[test]
    fn a_drop_event_tells_the_hook_with_and_without_a_reason() {
        let (in_, out) = ([24, 0], [0, 24]);
        for (layer, path, wanted) in [
            (
                Layer::Tc,
                "TC_INGRESS < sch_handle_ingress.constprop.0 < __netif_receive_skb_core.constprop.0",
                in_,
            ),
            (Layer::Tc, "TC_EGRESS < __dev_queue_xmit < packet_sendmsg", out),
            // 5.10, where both are inlined; a veth pair receives on the stack of its sender.
            (
                Layer::Tc,
                "- < __netif_receive_skb_core < __netif_receive_skb_one_core < veth_poll < __dev_queue_xmit",
                in_,
            ),
            (Layer::Tc, "- < kfree_skb < __dev_queue_xmit < bond_dev_queue_xmit", out),
            (Layer::Nft, "NETFILTER_DROP < nf_hook_slow < __netif_receive_skb_core.constprop.0", in_),
            (Layer::Nft, "NETFILTER_DROP < nf_hook_slow < __dev_queue_xmit", out),
            (Layer::Xdp, "- < veth_xdp_rcv_skb < veth_poll < __napi_poll", in_),
        ] {
            assert_eq!(at_hooks(layer, path), wanted, "{path}");
        }
    }

    #[test]
    fn an_event_that_names_no_hook_counts_at_none() {
        assert_eq!(at_hooks(Layer::Nft, "NETFILTER_DROP < nf_hook_slow"), [0, 0]);
    }

    #[test]
    fn another_device_and_another_layer_are_not_counted() {
        let mut trial = TrialAccount::empty(Role::Control);
        trial.foreign = vec![lost_of_kernel(Layer::Tc, "TC_INGRESS < sch_handle_ingress", 24)];
        let at = |device: &str, layer| lost(&trial, &device.parse().unwrap(), layer, Hook::Ingress, |_| true);
        assert_eq!((at("a:p0", Layer::Tc), at("a:p1", Layer::Tc), at("a:p0", Layer::Nft)), (24, 0, 0));
    }
}
