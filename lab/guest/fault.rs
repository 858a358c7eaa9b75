//! Faults: break something on purpose, and mend it again.

pub mod backlog;
pub mod hold;
pub mod nft;
pub mod nft_input;
pub mod partner;
pub mod restore;
pub mod rules;
pub mod taken;
pub mod tcx;
pub mod xdp;

use crate::agent::guard::Guard;
use crate::agent::host_control::HostControl;
use crate::agent::testbed::Testbed;
use crate::device::links::XdpMode;
use crate::device::{gadget, links, tap, tc};
use crate::fault::xdp::Action;
use crate::syscall::netns::Namespace;
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::qdisc::Qdisc;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::{Fault, FilterKind};

/// Breaks something. What has to be held for that is kept in `bed` by the fault's name.
///
/// # Errors
/// The kernel's refusal.
pub async fn inject(
    bed: &mut Testbed,
    name: &str,
    fault: &Fault,
    host_control: &mut dyn HostControl,
) -> Result<(), OpError> {
    match fault {
        Fault::Qdisc { device, qdisc } => tc::put_root(bed, device, qdisc).await,
        Fault::Filter { device, hook, vlan, kind } => match kind {
            FilterKind::Clsact => tc::drop_frames(bed, device, *hook, *vlan).await,
            FilterKind::Tcx => {
                let link = tcx::drop_frames(bed, device, *hook, *vlan).await?;
                bed.held.insert(name.into(), Guard::Descriptor(link));
                Ok(())
            }
            FilterKind::Nft => {
                let owner = nft::drop_frames(bed, device, *hook)?;
                bed.held.insert(name.into(), Guard::Descriptor(owner));
                Ok(())
            }
            FilterKind::NftInput => {
                let owner = nft_input::drop_packets(bed, device)?;
                bed.held.insert(name.into(), Guard::Descriptor(owner));
                Ok(())
            }
            FilterKind::Xdp => xdp::put(bed, device, Action::Drop, XdpMode::Driver).await,
            FilterKind::XdpGeneric => xdp::put(bed, device, Action::Drop, XdpMode::Generic).await,
        },
        Fault::Down { device } => links::set_down(bed, device).await,
        Fault::Release { device, .. } => links::leave(bed, device).await,
        Fault::Mtu { device, mtu, .. } => links::set_mtu(bed, device, *mtu).await,
        Fault::Hold { device, peer } => hold::hold(bed, device, peer).await,
        Fault::Unplug { device, slot } => {
            // First: a cable of which only one end came out is to be put in again as well.
            bed.unplugged.insert(*slot, device.clone());
            host_control.plug(device, *slot, false)
        }
        Fault::CarrierLost { down, .. } => {
            for device in down {
                links::set_down(bed, device).await?;
            }
            Ok(())
        }
        Fault::Stall { device, .. } if tap::is_one(bed, device) => tap::set_reading(bed, device, false),
        Fault::Stall { device, peer } => gadget::stall(bed, device, peer).await,
        Fault::Partner { device, peer, script } => {
            let partner = partner::start(bed, device, peer, script).await?;
            bed.held.insert(name.into(), Guard::Partner(partner));
            Ok(())
        }
        Fault::Backlog { limit, .. } => {
            bed.held.insert(name.into(), Guard::Backlog(backlog::shorten(*limit)?));
            Ok(())
        }
        // The trial has the receivers.
        Fault::Rcvbuf { .. } | Fault::Closed { .. } => Ok(()),
    }
}

/// Takes a device down by a socket of the calling thread's own.
///
/// # Errors
/// The kernel's refusal.
pub fn down_apart(namespace: &Namespace, device: &DeviceRef) -> Result<(), OpError> {
    let what = format!("set {device} down");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RtnlError::Open(error).during(&what))?;
    let work = async {
        let rtnl = Rtnl::open(namespace)?;
        let index = rtnl.index(&device.name).await?;
        links::set_index_down(&rtnl, index).await
    };
    runtime.block_on(work).map_err(|error| error.during(what))
}

/// Mends it. `standing` is the discipline the topology gives the device; without one it is back to its default.
/// What the kernel took with it is given back afterwards ([`crate::fault::restore`]).
///
/// # Errors
/// The kernel's refusal, or the fault is not there.
pub async fn clear(
    bed: &mut Testbed,
    name: &str,
    fault: &Fault,
    standing: Option<&Qdisc>,
    host_control: &mut dyn HostControl,
) -> Result<(), OpError> {
    match (fault, standing) {
        (Fault::Qdisc { device, .. }, Some(standing)) => tc::put_root(bed, device, standing).await,
        (Fault::Qdisc { device, .. }, None) => tc::remove_root(bed, device).await,
        (Fault::Filter { device, hook, vlan, kind: FilterKind::Clsact }, _) => {
            tc::stop_dropping(bed, device, *hook, *vlan).await
        }
        (Fault::Filter { device, kind: FilterKind::Xdp, .. }, _) => {
            links::set_xdp(bed, device, None, XdpMode::Driver).await
        }
        (Fault::Filter { device, kind: FilterKind::XdpGeneric, .. }, _) => {
            links::set_xdp(bed, device, None, XdpMode::Generic).await
        }
        (Fault::Filter { .. } | Fault::Partner { .. } | Fault::Backlog { .. }, _) => {
            match bed.held.remove(name) {
                Some(held) => {
                    drop(held);
                    Ok(())
                }
                None => {
                    let text = Some("it was not injected, or is cleared already".into());
                    Err(OpError { what: format!("clear {name}"), errno: None, text })
                }
            }
        }
        (Fault::Down { device }, _) => links::set_up(bed, device).await,
        (Fault::Release { device, controller }, _) => {
            // A bond takes no port that is up (`bond_enslave()`).
            links::set_down(bed, device).await?;
            links::join(bed, device, controller).await?;
            links::set_up(bed, device).await
        }
        (Fault::Mtu { device, standing, .. }, _) => links::set_mtu(bed, device, *standing).await,
        (Fault::Hold { device, .. }, _) => hold::let_go(bed, device).await,
        (Fault::Unplug { device, slot }, _) => {
            host_control.plug(device, *slot, true)?;
            bed.unplugged.remove(slot);
            Ok(())
        }
        (Fault::CarrierLost { down, .. }, _) => {
            for device in down {
                links::set_up(bed, device).await?;
            }
            Ok(())
        }
        (Fault::Stall { device, .. }, _) if tap::is_one(bed, device) => tap::set_reading(bed, device, true),
        (Fault::Stall { peer, .. }, _) => gadget::go_on(bed, peer).await,
        (Fault::Rcvbuf { .. } | Fault::Closed { .. }, _) => Ok(()),
    }
}
