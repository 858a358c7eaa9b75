//! Faults: break something on purpose, and mend it again.

use crate::guest::netns::Namespace;
use crate::guest::outside::Outside;
use crate::guest::rtnl::{Rtnl, RtnlError};
use crate::guest::testbed::Testbed;
use crate::guest::{hold, links, tc};
use crate::link::DeviceRef;
use crate::record::OpError;
use crate::scenario::{Fault, Qdisc};

/// Breaks something.
///
/// # Errors
/// The kernel's refusal.
pub async fn inject(bed: &Testbed, fault: &Fault, outside: &mut dyn Outside) -> Result<(), OpError> {
    match fault {
        Fault::Qdisc { device, qdisc } => tc::put_root(bed, device, qdisc).await,
        Fault::Filter { device, hook, vlan } => tc::drop_frames(bed, device, *hook, *vlan).await,
        Fault::Down { device } => links::set_down(bed, device).await,
        Fault::Release { device, .. } => links::leave(bed, device).await,
        Fault::Mtu { device, mtu, .. } => links::set_mtu(bed, device, *mtu).await,
        Fault::Hold { device, peer } => hold::hold(bed, device, peer).await,
        Fault::Unplug { device, slot } => outside.plug(device, *slot, false),
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
/// Of a device that was down, see [`links::set_down`] for what does not come back.
///
/// # Errors
/// The kernel's refusal.
pub async fn clear(
    bed: &Testbed,
    fault: &Fault,
    standing: Option<&Qdisc>,
    outside: &mut dyn Outside,
) -> Result<(), OpError> {
    match (fault, standing) {
        (Fault::Qdisc { device, .. }, Some(standing)) => tc::put_root(bed, device, standing).await,
        (Fault::Qdisc { device, .. }, None) => tc::remove_root(bed, device).await,
        (Fault::Filter { device, hook, vlan }, _) => tc::stop_dropping(bed, device, *hook, *vlan).await,
        (Fault::Down { device }, _) => links::set_up(bed, device).await,
        (Fault::Release { device, controller }, _) => {
            // A bond takes no port that is up (`bond_enslave()`).
            links::set_down(bed, device).await?;
            links::join(bed, device, controller).await?;
            links::set_up(bed, device).await
        }
        (Fault::Mtu { device, standing, .. }, _) => links::set_mtu(bed, device, *standing).await,
        (Fault::Hold { device, .. }, _) => hold::let_go(bed, device).await,
        (Fault::Unplug { device, slot }, _) => outside.plug(device, *slot, true),
    }
}
