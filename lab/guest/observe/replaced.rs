//! What root queueing disciplines had counted when a fault replaced or removed them: their counters go with them.

use indexmap::IndexMap;

use crate::agent::testbed::Testbed;
use crate::observe::counters;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::{DeviceState, OpError, QdiscState, REPLACED};
use bondlab_core::topology::fault::Fault;

/// Disciplines that are gone, in the order of that.
#[derive(Debug, Default)]
pub struct Replaced(Vec<(DeviceRef, QdiscState)>);

impl Replaced {
    /// The discipline that injecting or clearing a fault will replace.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn look(bed: &Testbed, fault: &Fault) -> Result<Option<(DeviceRef, QdiscState)>, OpError> {
        let Fault::Qdisc { device, .. } = fault else { return Ok(None) };
        Ok(counters::root(bed, device).await?.map(|root| (device.clone(), root)))
    }

    /// Keeps what was there before if something else is there now.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn keep(
        &mut self,
        bed: &Testbed,
        before: Option<(DeviceRef, QdiscState)>,
    ) -> Result<(), OpError> {
        let Some((device, before)) = before else { return Ok(()) };
        let now = counters::root(bed, &device).await?;
        if now.is_none_or(|now| (&now.kind, now.handle) != (&before.kind, before.handle)) {
            self.0.push((device, QdiscState { parent: REPLACED.into(), ..before }));
        }
        Ok(())
    }

    /// Puts them beside those that are there at the end.
    pub fn tell(&self, devices: &mut IndexMap<DeviceRef, DeviceState>) {
        for (device, qdisc) in &self.0 {
            if let Some(state) = devices.get_mut(device) {
                state.qdiscs.push(qdisc.clone());
            }
        }
    }
}
