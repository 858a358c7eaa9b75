//! What only the host can do: the guest asks, and waits for the answer.

use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

/// Whoever answers the agent.
pub trait HostControl {
    /// Pulls the cable of a slot's NIC out, or puts it in again.
    ///
    /// # Errors
    /// The host could not; or there is none.
    fn plug(&mut self, device: &DeviceRef, slot: usize, is_in: bool) -> Result<(), OpError>;
}
