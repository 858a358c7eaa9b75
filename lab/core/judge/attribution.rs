//! Which layer lost a frame: from the drop's reason, or from the functions that led to it.
//!
//! The kernel's reason decides where it says something. Where it does not (`NOT_SPECIFIED`, which is what
//! `kfree_skb()` passes) or there is none (before 5.17), the innermost function that is known decides.
//!
//! Verified by running, on Debian's 5.10.262, 6.1.192, 6.12.57, 6.18.15, 7.2.12 and 7.3.4: ip, nft, neighbour, tc,
//! qdisc, bond, vlan, switch, peer, receiver, backlog (a veth's ring, and net.core.netdev_max_backlog) and xdp (the driver
//! of a veth and of a NIC, and generic); driver from 6.12.69 on, where a veth stops its queue.
//!
//! A full queue and the `noop` of a device without carrier are both the qdisc's; [`Drop::qdisc`] tells them apart.
//! Not distinguished: a clsact filter from a tcx program (both are inlined in `__dev_queue_xmit()`), and before 5.17
//! an ingress filter from a frame no protocol wanted (both are freed by `__netif_receive_skb_core()`).

use crate::net::layer::Layer;

/// What is known of a lost frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drop<'a> {
    /// The kernel's reason without `SKB_DROP_REASON_`; `None` on kernels without reasons.
    pub reason: Option<&'a str>,
    /// The function the tracepoint names.
    pub location: &'a str,
    /// The functions that led to it, innermost first.
    pub stack: &'a [&'a str],
    /// The kind of qdisc on the frame's transmit queue, where there is one.
    pub qdisc: Option<&'a str>,
}

/// The layer that lost a frame; `None` if neither reason nor functions are known here.
pub fn layer(drop: &Drop<'_>) -> Option<Layer> {
    if let Some(layer) = drop.reason.and_then(by_reason) {
        return Some(layer);
    }
    // A softirq that frees frames itself is their place: net_tx_action() does it for drivers' interrupts.
    let path = match up_to_softirq(drop.stack) {
        [] => &[drop.location],
        path => path,
    };
    // Without a queue it cannot be full: __dev_queue_xmit() has found the device's own queue stopped.
    let is_possible = |layer: &Layer| *layer != Layer::Qdisc || drop.qdisc != Some("noqueue");
    (0..path.len()).find_map(|i| {
        let innermost = &path[i..];
        let untold = match drop.reason {
            None => lookup(WITHOUT_REASON, innermost).filter(is_possible),
            Some(_) => None,
        };
        untold.or_else(|| lookup(FUNCTIONS, innermost))
    })
}

/// A name that ends in `*` stands for every name that starts so.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn by_reason(reason: &str) -> Option<Layer> {
    REASONS.iter().find(|(pattern, ..)| matches(pattern, reason)).map(|(_, layer, _)| *layer)
}

/// The first row whose functions are the innermost of `path`.
fn lookup(table: &[(&[&str], Layer)], path: &[&str]) -> Option<Layer> {
    let leads = |functions: &[&str]| {
        functions.len() <= path.len() && functions.iter().zip(path).all(|(p, f)| matches(p, f))
    };
    table.iter().find(|(functions, _)| leads(functions)).map(|(_, layer)| *layer)
}

/// Cuts off what was merely interrupted: a softirq runs on the stack of whoever enabled it, which on a veth pair is
/// the sender of the very frame that is received.
fn up_to_softirq<'a, 'b>(stack: &'a [&'b str]) -> &'a [&'b str] {
    const SOFTIRQ: [&str; 4] = ["net_rx_action", "net_tx_action", "__do_softirq", "handle_softirqs"];
    let end = stack.iter().position(|f| SOFTIRQ.contains(f));
    &stack[..end.unwrap_or(stack.len())]
}

/// Reasons (include/net/dropreason-core.h, include/net/dropreason-qdisc.h), and a function that gives each.
/// A reason that is not here, or that many layers give, leaves the decision to the functions.
const REASONS: &[(&str, Layer, &str)] = &[
    ("QDISC_*", Layer::Qdisc, "__dev_xmit_skb"),
    ("FQ_*", Layer::Qdisc, "fq_enqueue"),
    ("CAKE_FLOOD", Layer::Qdisc, "cake_dequeue"),
    ("DUALPI2_STEP_DROP", Layer::Qdisc, "dualpi2_qdisc_dequeue"),
    ("TC_*", Layer::Tc, "sch_handle_egress"),
    ("NETFILTER_DROP", Layer::Nft, "nf_hook_slow"),
    ("XDP", Layer::Xdp, "do_xdp_generic"),
    ("CPU_BACKLOG", Layer::Backlog, "enqueue_to_backlog"),
    ("DEV_READY", Layer::Driver, "tun_net_xmit"),
    ("FULL_RING", Layer::Driver, "tun_net_xmit"),
    ("RECURSION_LIMIT", Layer::Driver, "__dev_queue_xmit"),
    ("NEIGH_*", Layer::Neighbour, "__neigh_event_send"),
    ("BRIDGE_*", Layer::Switch, "br_handle_frame_finish"),
    ("MACVLAN_*", Layer::Switch, "macvlan_broadcast_enqueue"),
    ("IPVLAN_*", Layer::Switch, "ipvlan_multicast_enqueue"),
    ("OTHERHOST", Layer::Ip, "ip_rcv_core"),
    ("IP_*", Layer::Ip, "ip_rcv_core"),
    ("IPV6*", Layer::Ip, "ip6_rcv_core"),
    ("UNICAST_IN_L2_MULTICAST", Layer::Ip, "ip_rcv_finish_core"),
    ("BPF_CGROUP_EGRESS", Layer::Ip, "ip_finish_output"),
    ("FRAG_*", Layer::Ip, "ip_frag_reinit"),
    ("DUP_FRAG", Layer::Ip, "ip_frag_queue"),
    ("UNHANDLED_PROTO", Layer::Receiver, "__netif_receive_skb_core"),
    ("NO_SOCKET", Layer::Receiver, "__udp4_lib_rcv"),
    ("SOCKET_*", Layer::Receiver, "udp_queue_rcv_one_skb"),
    ("PACKET_SOCK_ERROR", Layer::Receiver, "packet_rcv"),
    ("PROTO_MEM", Layer::Receiver, "udp_queue_rcv_one_skb"),
    ("UDP_CSUM", Layer::Receiver, "__udp4_lib_rcv"),
    ("ICMP_CSUM", Layer::Receiver, "icmp_rcv"),
    ("TCP_*", Layer::Receiver, "tcp_v4_rcv"),
];

/// For kernels without reasons, where a function alone has to tell what a reason tells later.
const WITHOUT_REASON: &[(&[&str], Layer)] = &[
    // What an enqueue refuses goes to the to_free list of __dev_xmit_skb(), which is inlined.
    (&["kfree_skb_list", "__dev_queue_xmit"], Layer::Qdisc),
    // sch_handle_egress(), inlined too, frees the frame itself.
    (&["kfree_skb", "__dev_queue_xmit"], Layer::Tc),
];

/// Functions that lose frames without a reason, on any kernel; a row of two is a caller on the right.
const FUNCTIONS: &[(&[&str], Layer)] = &[
    // bond_tx_drop() of include/net/bonding.h is inlined in bond_start_xmit() and the modes' own functions.
    (&["bond_*"], Layer::Bond),
    (&["vlan_*"], Layer::Vlan),
    // What waits in a veth's ring when its driver lets go of it (ptr_ring_cleanup(), inlined).
    (&["veth_ptr_free"], Layer::Backlog),
    (&["veth_napi_del*"], Layer::Backlog),
    (&["veth_disable_xdp*"], Layer::Backlog),
    // What waits in a tap's ring when its reader goes: tun_ptr_free(), inlined or not.
    (&["tun_ptr_free"], Layer::Backlog),
    (&["tun_queue_purge"], Layer::Backlog),
    (&["__tun_detach"], Layer::Backlog),
    // A program in a veth's driver drops without a reason: veth_xdp_rcv_skb(), inlined or not. What fails there because
    // memory is out is freed at the same place.
    (&["veth_xdp_rcv*"], Layer::Xdp),
    (&["veth_poll"], Layer::Xdp),
    // veth_forward_skb(), inlined, and __dev_forward_skb() below it: peer down, MTU too small.
    (&["veth_*"], Layer::Peer),
    (&["macvlan_*"], Layer::Switch),
    (&["ipvlan_*"], Layer::Switch),
    (&["br_*"], Layer::Switch),
    (&["nf_hook_slow"], Layer::Nft),
    (&["nft_do_chain"], Layer::Nft),
    (&["ipt_do_table"], Layer::Nft),
    (&["ip6t_do_table"], Layer::Nft),
    (&["tcf_*"], Layer::Tc),
    (&["sch_handle_*"], Layer::Tc),
    (&["tcx_run"], Layer::Tc),
    // A queue is drained when its discipline is replaced or its device goes down.
    (&["qdisc_*"], Layer::Qdisc),
    // rtnl_kfree_skbs() collects what a qdisc's reset throws away; unlocking frees it.
    (&["__rtnl_unlock"], Layer::Qdisc),
    (&["__qdisc_*"], Layer::Qdisc),
    (&["dev_deactivate*"], Layer::Qdisc),
    // The lab's own program in a NIC's driver tells of its frames itself (guest/drops/xdp.rs).
    (&["bpf_prog_run_xdp"], Layer::Xdp),
    (&["do_xdp_generic"], Layer::Xdp),
    (&["netif_receive_generic_xdp"], Layer::Xdp),
    (&["bpf_prog_run_generic_xdp"], Layer::Xdp),
    (&["enqueue_to_backlog"], Layer::Backlog),
    (&["netif_rx_internal"], Layer::Backlog),
    (&["flush_backlog"], Layer::Backlog),
    // igbvf_put_txbuf() frees what the NIC has sent as if it were lost, in hard interrupt context, from where it gets
    // to net_tx_action() without its stack; the NIC's counters tell what was sent (ledger/wires.rs).
    (&["net_tx_action"], Layer::Driver),
    (&["igbvf_*"], Layer::Driver),
    (&["igb_*"], Layer::Driver),
    // e1000e names its functions e1000_; what it frees with e1000_put_txbuf() and drop = false it consumes.
    (&["e1000*"], Layer::Driver),
    // What a driver frees in its ndo_start_xmit(), and a device without a qdisc whose queue is stopped.
    (&["dev_hard_start_xmit"], Layer::Driver),
    (&["__dev_queue_xmit"], Layer::Driver),
    (&["__dev_direct_xmit"], Layer::Driver),
    (&["neigh_*"], Layer::Neighbour),
    (&["__neigh_event_send"], Layer::Neighbour),
    (&["arp_error_report"], Layer::Neighbour),
    (&["ip_rcv*"], Layer::Ip),
    (&["ip6_rcv*"], Layer::Ip),
    (&["ipv6_rcv"], Layer::Ip),
    // A group that this host has not joined.
    (&["ip6_mc_input"], Layer::Ip),
    (&["ip_forward"], Layer::Ip),
    (&["ip6_forward"], Layer::Ip),
    (&["ip_error"], Layer::Ip),
    (&["ip_finish_output*"], Layer::Ip),
    (&["ip6_finish_output*"], Layer::Ip),
    // When one fragment is refused, those after it are freed here.
    (&["ip_do_fragment"], Layer::Ip),
    (&["ip6_fragment"], Layer::Ip),
    // Fragments whose others did not come: ip_frag_reasm(), inlined or not, and the timer.
    (&["ip_frag*"], Layer::Ip),
    (&["inet_frag*"], Layer::Ip),
    (&["ip_protocol_deliver_rcu"], Layer::Ip),
    (&["arp_rcv"], Layer::Receiver),
    (&["arp_process"], Layer::Receiver),
    (&["icmp_rcv"], Layer::Receiver),
    (&["udp_queue_rcv_one_skb"], Layer::Receiver),
    (&["udpv6_queue_rcv_one_skb"], Layer::Receiver),
    (&["udp_rcv"], Layer::Receiver),
    (&["__udp4_lib_rcv"], Layer::Receiver),
    (&["__udp6_lib_rcv"], Layer::Receiver),
    // Frames still queued on a socket that is closed.
    (&["udp_destruct_*"], Layer::Receiver),
    (&["inet_sock_destruct"], Layer::Receiver),
    (&["packet_release"], Layer::Receiver),
    (&["packet_rcv*"], Layer::Receiver),
    (&["tpacket_rcv"], Layer::Receiver),
    (&["__netif_receive_skb_core"], Layer::Receiver),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A case as it was measured: `reason @ functions, innermost first`.
    #[track_caller]
    fn check(reason: &str, functions: &str, expected: Option<Layer>) {
        let stack: Vec<&str> = functions.split(" < ").collect();
        let reason = (reason != "-").then_some(reason);
        let drop = Drop { reason, location: stack[0], stack: &stack, ..Drop::default() };
        assert_eq!(layer(&drop), expected, "{drop:?}");
    }

    #[test]
    fn all_layers_are_in_the_list_and_have_one_word() {
        for (place, layer) in Layer::ALL.into_iter().enumerate() {
            assert_eq!(layer as usize, place);
            assert_eq!(serde_json::to_string(&layer).unwrap(), format!("\"{layer}\""));
        }
        assert_eq!(Layer::ALL.len(), Layer::Receiver as usize + 1);
    }

    #[test]
    fn on_5_10_functions_decide() {
        const CORE: &str = "kfree_skb < __netif_receive_skb_core < __netif_receive_skb_one_core";
        for (functions, expected) in [
            ("kfree_skb < kfree_skb_list < __dev_queue_xmit < bond_start_xmit", Layer::Qdisc),
            ("kfree_skb < __dev_queue_xmit < vlan_dev_hard_start_xmit < dev_hard_start_xmit", Layer::Tc),
            ("kfree_skb < nf_hook_slow < __netif_receive_skb_core", Layer::Nft),
            ("kfree_skb < bond_start_xmit < dev_hard_start_xmit < __dev_queue_xmit", Layer::Bond),
            ("kfree_skb < __dev_forward_skb < veth_xmit < dev_hard_start_xmit", Layer::Peer),
            ("kfree_skb < __udp4_lib_rcv < ip_protocol_deliver_rcu", Layer::Receiver),
            ("kfree_skb < udp_queue_rcv_one_skb < udp_unicast_rcv_skb", Layer::Receiver),
            ("kfree_skb < ip_rcv_core < ip_rcv", Layer::Ip),
            ("kfree_skb < kfree_skb_list < ip_do_fragment < ip_fragment", Layer::Ip),
            ("kfree_skb < veth_poll < net_rx_action < __do_softirq", Layer::Xdp),
            ("kfree_skb < netif_receive_generic_xdp < do_xdp_generic < __netif_receive_skb_core", Layer::Xdp),
            ("kfree_skb < enqueue_to_backlog < netif_rx_internal < netif_rx < veth_xmit", Layer::Backlog),
            (CORE, Layer::Receiver),
        ] {
            check("-", functions, Some(expected));
        }
    }

    #[test]
    fn a_reason_decides_where_it_says_something() {
        for (reason, functions, expected) in [
            ("QDISC_DROP", "kfree_skb_list_reason < __dev_queue_xmit < bond_start_xmit", Layer::Qdisc),
            ("QDISC_DROP_OVERLIMIT", "__tcf_kfree_skb_list < __dev_queue_xmit", Layer::Qdisc),
            ("TC_EGRESS", "sk_skb_reason_drop < __dev_queue_xmit < vlan_dev_hard_start_xmit", Layer::Tc),
            (
                "NETFILTER_DROP",
                "sk_skb_reason_drop < nft_do_chain < nft_do_chain_netdev < nf_hook_slow",
                Layer::Nft,
            ),
            ("UNHANDLED_PROTO", "sk_skb_reason_drop < __netif_receive_skb_core", Layer::Receiver),
            ("RECURSION_LIMIT", "kfree_skb_list_reason < __dev_queue_xmit < packet_sendmsg", Layer::Driver),
            ("NEIGH_FAILED", "sk_skb_reason_drop < neigh_invalidate < neigh_timer_handler", Layer::Neighbour),
            // What was requeued goes with its qdisc; the reason is one of many layers.
            ("QUEUE_PURGE", "sk_skb_reason_drop < qdisc_reset < dev_reset_queue", Layer::Qdisc),
            ("OTHERHOST", "sk_skb_reason_drop < ip_rcv_core", Layer::Ip),
            ("IP_INHDR", "kfree_skb_reason < ip_rcv_core", Layer::Ip),
            ("SOCKET_RCVBUFF", "kfree_skb_reason < udp_queue_rcv_one_skb", Layer::Receiver),
        ] {
            check(reason, functions, Some(expected));
        }
    }

    #[test]
    fn a_reason_that_says_nothing_leaves_it_to_the_functions() {
        for (functions, expected) in [
            ("sk_skb_reason_drop < bond_start_xmit < dev_hard_start_xmit < __dev_queue_xmit", Layer::Bond),
            ("sk_skb_reason_drop < __dev_forward_skb2 < veth_xmit < dev_hard_start_xmit", Layer::Peer),
            ("sk_skb_reason_drop < udp_destruct_common < udp_destruct_sock", Layer::Receiver),
            ("sk_skb_reason_drop < __rtnl_unlock < netdev_run_todo < rtnetlink_rcv_msg", Layer::Qdisc),
            ("sk_skb_reason_drop < veth_xmit < dev_hard_start_xmit < sch_direct_xmit", Layer::Peer),
            ("sk_skb_reason_drop < veth_ptr_free < veth_napi_del_range < veth_xdp", Layer::Backlog),
            ("kfree_skb_list_reason < __dev_queue_xmit < packet_sendmsg < __sys_sendto", Layer::Driver),
            ("net_tx_action < handle_softirqs < __irq_exit_rcu < common_interrupt", Layer::Driver),
            ("kfree_skb < e1000_xmit_frame < dev_hard_start_xmit < sch_direct_xmit", Layer::Driver),
        ] {
            check("NOT_SPECIFIED", functions, Some(expected));
        }
    }

    #[test]
    fn the_stack_below_a_softirq_is_another_frames() {
        check(
            "NOT_SPECIFIED",
            "kfree_skb < some_rx_handler < net_rx_action < __do_softirq < bond_start_xmit",
            None,
        );
    }

    #[test]
    fn without_a_stack_the_location_decides() {
        for (location, expected) in [("ip_rcv_core", Some(Layer::Ip)), ("unheard_of", None)] {
            let drop = Drop { location, ..Drop::default() };
            assert_eq!(layer(&drop), expected, "{drop:?}");
        }
    }

    #[test]
    fn a_device_without_a_queue_has_none_that_is_full() {
        const SENT: &[&str] = &["kfree_skb", "kfree_skb_list", "__dev_queue_xmit"];
        const RESET: &[&str] = &["kfree_skb", "__rtnl_unlock", "netdev_run_todo"];
        for (stack, qdisc, expected) in [
            (SENT, "noqueue", Layer::Driver),
            (SENT, "noop", Layer::Qdisc),
            // What was queued before the queue was taken away.
            (RESET, "noqueue", Layer::Qdisc),
        ] {
            let drop = Drop { stack, qdisc: Some(qdisc), ..Drop::default() };
            assert_eq!(layer(&drop), Some(expected), "{drop:?}");
        }
    }
}
