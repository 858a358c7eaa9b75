//! What a trial tells of its frames, counters and states: at its end, and in the midst of it.

use indexmap::IndexMap;

use super::{Trial, failed};
use crate::agent::testbed::Testbed;
use crate::device::tap;
use crate::observe::{capture, link_reports, tables};
use crate::traffic::flood::{QUIET_ROUNDS, order};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::moment::When;
use bondlab_core::plan::record::{DeviceState, OpError, Record};
use bondlab_core::plan::{FlowPlan, Role};

const WHAT: &str = "let everything come to rest";

impl Trial<'_> {
    /// Lets everything come to rest, and tells all there is to tell.
    pub(super) async fn finish(&mut self) -> Result<Vec<Record>, OpError> {
        // What is in a tap's ring is on no counter: it is seen when the ring is drained.
        tap::let_all_go(&mut self.bed);
        let mut devices = self.count_at_rest().await?;
        self.drops.end_counting();
        let mut records = self.arrived(&mut devices).await?;
        let held = self.empty(&devices).await?;
        records.push(Record::Counters { trial: self.number, when: When::After, devices });
        records.extend(held);
        Ok(records)
    }

    /// The same during a trial, which goes on: queues keep their frames, and faults remain. What is
    /// held where no counter shows it is in none of the records.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn so_far(&mut self) -> Result<Vec<Record>, OpError> {
        let trial = self.number;
        let mut devices = self.count_at_rest().await?;
        let mut records = self.arrived(&mut devices).await?;
        records.push(Record::Counters { trial, when: When::After, devices });
        records.extend(self.drops.records());
        records.push(Record::Log { trial, kernel: None, acknowledged: self.acknowledged() });
        Ok(records)
    }

    /// Takes in what has arrived and what was dropped, so that no socket and no ring overflows while nothing is carried out.
    ///
    /// # Errors
    /// A socket or the drop observer cannot be read.
    pub fn keep_up(&mut self) -> Result<(), OpError> {
        self.watch().drain().map_err(|error| failed("take in what has arrived", &error))?;
        capture::count(&mut self.captures).map(drop)
    }

    /// What it is carried out in.
    pub fn bed(&self) -> &Testbed {
        &self.bed
    }

    async fn count_at_rest(&mut self) -> Result<IndexMap<DeviceRef, DeviceState>, OpError> {
        let is_missing = !self.missing().is_empty();
        let mut watch = self.watch();
        if !is_missing {
            watch.quiet_rounds = QUIET_ROUNDS;
        }
        watch.settle(|_| false).map_err(|error| failed(WHAT, &error))?;
        let mut devices = self.count().await?;
        self.replaced.tell(&mut devices);
        Ok(devices)
    }

    /// What has arrived and was captured, and what the kernel shows; the devices get what else is reported of them.
    async fn arrived(
        &mut self,
        devices: &mut IndexMap<DeviceRef, DeviceState>,
    ) -> Result<Vec<Record>, OpError> {
        let trial = self.number;
        // Frames that left a queue before it was counted have arrived by now, or were dropped.
        self.watch().drain().map_err(|error| failed(WHAT, &error))?;
        let mut records = Vec::new();
        for (number, FlowPlan { flow, .. }) in (0..).zip(&self.plan.flows) {
            if let Some(stream) = self.streams.get(&number) {
                let (frames, duplicated) = stream.seen();
                records.push(order(trial, number, stream.order().map_err(|error| failed(WHAT, &error))?));
                records.push(Record::Seen {
                    trial,
                    flow: number,
                    frames,
                    duplicated,
                    overrun: 0,
                    socket_dropped: None,
                });
            } else if let Some(receiver) = self.receivers.get(&flow.to) {
                let (frames, duplicated) = receiver.seen(number);
                let overrun = receiver.overrun().map_err(|error| failed(WHAT, &error))?;
                records.push(order(trial, number, receiver.order(number)));
                let sources = receiver.sources(number);
                records.push(Record::Sources { trial, flow: number, sources });
                let socket_dropped = receiver.dropped().map_err(|error| failed(WHAT, &error))?;
                records.push(Record::Seen {
                    trial,
                    flow: number,
                    frames,
                    duplicated,
                    overrun,
                    socket_dropped,
                });
            }
        }
        capture::count(&mut self.captures)?;
        records.extend(self.captures.iter().map(|(name, tap)| Record::Captured {
            trial,
            capture: name.clone(),
            count: tap.count(),
            overrun: tap.overrun(),
        }));
        records.push(Record::Tables { trial, tables: tables::read(&self.bed).await? });
        let plan = &self.plan.trials[usize::from(self.number)];
        let is_first = matches!(plan.role, Role::Main | Role::Control);
        for (device, report) in link_reports::read(&self.bed, is_first, !plan.lacp_waits().is_empty()).await?
        {
            if let Some(state) = devices.get_mut(&device) {
                state.report = Some(report);
            }
        }
        Ok(records)
    }
}
