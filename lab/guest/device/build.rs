//! Operations that make, change and take away links and what hangs on them.

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::{
    addresses, bond, bridge, configure, links, mdb, nat, nic, ready, request, switch, tc, verify, vf,
};
use crate::pod::{dhcp, plugin};
use crate::syscall::netns::Namespace;
use bondlab_core::net::bond::BondChange;
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::OpError;

/// Carries out one of them.
///
/// # Errors
/// The kernel's refusal, or an operation that is none of these.
pub async fn perform(bed: &mut Testbed, op: &Op) -> Result<(), OpError> {
    match op {
        Op::Create { link, peer } => links::create(bed, link, peer.as_ref()).await,
        Op::Adopt { link, slot } => nic::adopt(bed, link, *slot).await,
        Op::SetVf { pf, index, settings } => vf::set(bed, pf, *index, settings).await,
        Op::SetBond { device, change, read_back: true } => {
            bond::change(bed, device, change).await?;
            bond::read_back(bed, device, change).await
        }
        Op::SetBond { device, change, read_back: false } => {
            if let BondChange::Bond { options, .. } = change
                && let Some(port) = &options.active_slave
            {
                ready::can_be_active(bed, device, port).await?;
            }
            bond::change(bed, device, change).await
        }
        Op::Request(request) => request::perform(bed, request).await,
        Op::SwitchPort(port) => switch::set(bed, port).await,
        Op::AdoptVf { link, of, index, is_addressed } => {
            nic::adopt_vf(bed, link, of, *index, *is_addressed).await
        }
        Op::Sysctls { ns, sysctls } => {
            let what = format!("set sysctls of {ns}");
            let set = bed.namespaces.get(ns).and_then(|namespace| namespace.set_sysctls(sysctls));
            set.map_err(|error| netns_error(&what, &error))
        }
        Op::Forward(ns) => {
            let what = format!("let {ns} pass IPv4 on");
            let done = bed.namespaces.get(ns).and_then(Namespace::forward_ipv4);
            done.map_err(|error| netns_error(&what, &error))
        }
        Op::Masquerade(device) => nat::masquerade(bed, device),
        Op::Join { port, controller } => links::join(bed, port, controller).await,
        Op::Leave(port) => links::leave(bed, port).await,
        Op::Up(device) => links::set_up(bed, device).await,
        Op::Down(device) => links::set_down(bed, device).await,
        Op::Address { device, mac } => links::set_mac(bed, device, *mac).await,
        Op::Move { from, to } => links::move_to(bed, from, to).await,
        Op::Delete(device) => links::delete(bed, device).await,
        Op::Qdisc { device, qdisc } => tc::put_root(bed, device, qdisc).await,
        Op::Addresses(link) => addresses::add_all(bed, link).await,
        Op::Route { ns, route } => addresses::add_route(bed, ns, route).await,
        Op::Rule { ns, rule } => addresses::add_rule(bed, ns, rule).await,
        Op::Secure { device, macsec } => configure::secure(bed, device, macsec).await,
        Op::Configure(link) => configure::configure(bed, link).await,
        Op::BridgePort { port, settings } => bridge::set_port(bed, port, settings).await,
        Op::BridgeVlans { bridge, vlans } => bridge::set_vlans(bed, bridge, vlans, true).await,
        Op::Filter { device, number, filter } => tc::attach(bed, device, *number, filter).await,
        Op::Forwarding { device, entry } => bridge::add_entry(bed, device, entry).await,
        Op::Multicast { device, entry } => mdb::add(bed, device, entry).await,
        Op::Neighbour { ns, neighbour } => addresses::add_neighbour(bed, ns, neighbour).await,
        Op::Verify { links } => verify::verify(bed, links).await,
        Op::Serve(server) => dhcp::serve(bed, server),
        Op::Lease(call) => dhcp::lease(bed, call).await,
        Op::Release(call) => dhcp::release(bed, call).await,
        Op::Plugin(call) => plugin::run(bed, call),
        Op::Refuse(words) => Err(OpError { what: words.clone(), errno: None, text: None }),
        other => {
            let text = Some("it makes nothing".into());
            Err(OpError { what: format!("carry out `{other}`"), errno: None, text })
        }
    }
}
