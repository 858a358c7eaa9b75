//! Faults as written, keyed by kind, and what each kind becomes.
//!
//! A new kind of fault is here (its table, its field, its check), a variant of `Fault` in topology/fault.rs, and what it does in
//! guest/fault.rs.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::topology::check::{Checker, faults, qdiscs};
use crate::topology::fault::Fault;
use crate::topology::file::{
    At, BacklogFaultTable, ClosedFaultTable, DownFaultTable, FilterFaultTable, HoldFaultTable, MtuFaultTable,
    Named, PartnerFaultTable, QdiscFaultTable, RcvbufFaultTable, ReleaseFaultTable, StallFaultTable,
    UnplugFaultTable, in_file_order,
};
use crate::topology::{Topology, substitute};

/// Faults, keyed by kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultTables {
    /// A queueing discipline at the root of a device.
    #[serde(default, deserialize_with = "in_file_order")]
    pub qdisc: Named<QdiscFaultTable>,
    /// A filter that drops.
    #[serde(default, deserialize_with = "in_file_order")]
    pub filter: Named<FilterFaultTable>,
    /// A device that is set down.
    #[serde(default, deserialize_with = "in_file_order")]
    pub down: Named<DownFaultTable>,
    /// A port taken out of its bond or bridge.
    #[serde(default, deserialize_with = "in_file_order")]
    pub release: Named<ReleaseFaultTable>,
    /// Another MTU.
    #[serde(default, deserialize_with = "in_file_order")]
    pub mtu: Named<MtuFaultTable>,
    /// A cable's receiving end that accepts frames into its ring and processes none.
    #[serde(default, deserialize_with = "in_file_order")]
    pub hold: Named<HoldFaultTable>,
    /// The cable of an emulated NIC, unplugged: both ends lose their carrier.
    #[serde(default, deserialize_with = "in_file_order")]
    pub unplug: Named<UnplugFaultTable>,
    /// The gadget's end of a USB pair with its transmit queue stopped by its driver, or a tap or tun whose program stops reading.
    #[serde(default, deserialize_with = "in_file_order")]
    pub stall: Named<StallFaultTable>,
    /// An LACP partner that is never in sync.
    #[serde(default, deserialize_with = "in_file_order")]
    pub partner: Named<PartnerFaultTable>,
    /// A receiving socket whose buffer is full.
    #[serde(default, deserialize_with = "in_file_order")]
    pub rcvbuf: Named<RcvbufFaultTable>,
    /// A receiving socket that is closed.
    #[serde(default, deserialize_with = "in_file_order")]
    pub closed: Named<ClosedFaultTable>,
    /// A short queue between devices and the receiving processor.
    #[serde(default, deserialize_with = "in_file_order")]
    pub backlog: Named<BacklogFaultTable>,
}

impl FaultTables {
    /// The names of all, kind by kind.
    pub fn names(&self) -> Vec<&At<String>> {
        let Self { qdisc, filter, down, release, mtu, hold, unplug, stall, partner, rcvbuf, closed, backlog } =
            self;
        let mut names: Vec<&At<String>> = Vec::new();
        names.extend(qdisc.keys().chain(filter.keys()).chain(down.keys()).chain(release.keys()));
        names.extend(mtu.keys().chain(hold.keys()).chain(unplug.keys()).chain(stall.keys()));
        names.extend(partner.keys().chain(rcvbuf.keys()).chain(closed.keys()).chain(backlog.keys()));
        names
    }
}

/// What each fault of a file becomes, kind by kind; nothing where it has a mistake, which is reported.
pub(crate) fn of_each_kind<'f>(
    tables: &'f FaultTables,
    topology: &Topology,
    checker: &mut Checker<'_>,
) -> Vec<(&'f At<String>, Option<Fault>)> {
    let mut found: Vec<(&At<String>, Option<Fault>)> = Vec::new();
    for (name, table) in &tables.qdisc {
        checker.device(&table.device);
        let device = table.device.value.clone();
        found
            .push((name, qdiscs::resolve(&table.qdisc, checker).map(|qdisc| Fault::Qdisc { device, qdisc })));
    }
    for (name, table) in &tables.filter {
        found.push((name, Some(faults::filter(table, checker))));
    }
    for (name, table) in &tables.down {
        checker.device(&table.device);
        found.push((name, Some(substitute::set_down(topology, &table.device.value))));
    }
    for (name, table) in &tables.release {
        found.push((name, faults::release(&table.device, topology, checker)));
    }
    for (name, table) in &tables.mtu {
        checker.device(&table.device);
        found.push((name, Some(faults::mtu(table, topology, checker))));
    }
    for (name, table) in &tables.hold {
        found.push((name, faults::hold(&table.device, topology, checker)));
    }
    for (name, table) in &tables.unplug {
        found.push((name, faults::unplug(&table.device, topology, checker)));
    }
    for (name, table) in &tables.stall {
        found.push((name, faults::stall(&table.device, topology, checker)));
    }
    for (name, table) in &tables.partner {
        found.push((name, faults::partner(table, topology, checker)));
    }
    for (name, table) in &tables.rcvbuf {
        checker.device(&table.device);
        found.push((name, Some(Fault::Rcvbuf { device: table.device.value.clone() })));
    }
    for (name, table) in &tables.closed {
        checker.device(&table.device);
        found.push((name, Some(Fault::Closed { device: table.device.value.clone() })));
    }
    for (name, table) in &tables.backlog {
        checker.device(&table.device);
        found.push((name, Some(faults::backlog(table, checker))));
    }
    found
}
