//! The order in which places claim the frames of a flow that did not arrive.
//!
//! A frame has one fate. Each row of the table takes what it can show to be its own out of what the rows above it have left;
//! what no row takes is unattributed. A row is more certain than those below it: an event names the frame, an errno names the
//! send, a counter names only how many. docs/ledger.md is made of this table.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::account::Fate;
use crate::judge::ledger::fates::{claim, fate, take};
use crate::judge::ledger::pools::Pools;
use crate::judge::ledger::wires::Wires;
use crate::judge::ledger::{broadcast, drained, ingress};
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::record::{DropPlace, Record};
use crate::topology::scenario::Flow;

/// One row.
#[derive(Debug)]
pub struct Claim {
    /// What claims.
    pub name: &'static str,
    /// Which frames it claims, and what shows that they are its own.
    pub doc: &'static str,
    /// The layer and the reason of the fate.
    pub fate: &'static str,
    /// A recorded stream of tests/streams/ whose account is another one without this row.
    pub stream: &'static str,
    /// Takes frames out of what is left.
    pub(crate) take: fn(&mut Missing<'_, '_>),
}

/// From the first that claims to the last.
pub const CLAIMS: [Claim; 10] = [
    Claim {
        name: "copies in a broadcast bond",
        doc: "copies that the queue of a port holds at the end, whether or not other copies arrived or were dropped. Copies of \
              frames without a dropped copy are taken first, and those of a frame that was dropped at that port never",
        fate: "`qdisc`, `BACKLOG`",
        stream: "broadcast-port-holds",
        take: |missing| {
            let copies: Vec<_> = drops(missing.number, missing.records).collect();
            let on_way = (missing.trial, missing.flow, missing.way);
            let (held, rest) = (&mut missing.pools.held, &mut missing.rest);
            broadcast::claim_held(on_way, &copies, held, rest, &mut missing.fates);
        },
    },
    Claim {
        name: "drop events",
        doc: "frames that an event identifies, at the place of the first such event; a driver's event counts as a loss on the cable, \
              up to the number of frames that the NIC has sent and the other end has not received; an event of the receive path \
              counts as the filter's, up to the drops that clsact has counted",
        fate: "the place's layer, `skb_drop_reason` or function",
        stream: "filter-on-port",
        take: |missing| {
            for (place, frames) in drops(missing.number, missing.records) {
                let here = missing.take(frames);
                missing.dropped(place, here);
            }
        },
    },
    Claim {
        name: "refused sends that a counter shows",
        doc: "sends that returned an errno, up to the number of drops that queues and clsact have counted; only if drop events were \
              not observed",
        fate: "`qdisc` or `tc`, `COUNTED`",
        stream: "port-queue-full-unobserved",
        take: |missing| {
            for frames in missing.refused.values() {
                let mut here = missing.rest.intersection(frames);
                let before = here.clone();
                missing.pools.claim_dropped(&mut here, &mut missing.fates);
                missing.rest = missing.rest.difference(&before.difference(&here));
            }
        },
    },
    Claim {
        name: "refused sends",
        doc: "sends that returned an errno, without an event and without a counter: the kernel never created a packet",
        fate: "`socket`, the errno",
        stream: "bond-down",
        take: |missing| {
            for (errno, frames) in missing.refused {
                let frames = missing.take(frames).len();
                missing.claim(Layer::Socket, None, errno, frames);
            }
        },
    },
    Claim {
        name: "unacknowledged writes",
        doc: "writes of a TCP flow that its send queue holds, even if segments of them are held elsewhere too",
        fate: "`socket`, `UNACKNOWLEDGED`",
        stream: "tcp-way-cut",
        take: |missing| {
            let frames = missing.take(missing.unacknowledged).len();
            missing.claim(Layer::Socket, None, "UNACKNOWLEDGED", frames);
        },
    },
    Claim {
        name: "drained places",
        doc: "frames that were released when places without a counter were drained, at the end of the trial: neighbours that do not \
              answer, stopped drivers, incomplete datagrams",
        fate: "the place's layer, `HELD`; `receiver`, `OTHER_DEVICE`",
        stream: "neighbour-holds-frames",
        take: |missing| {
            drained::claim_drained(missing.number, missing.records, &mut missing.rest, &mut missing.fates);
        },
    },
    Claim {
        name: "queues",
        doc: "as many frames as a queue on the flow's path holds at the end",
        fate: "`qdisc`, `BACKLOG`",
        stream: "port-queue-held",
        take: |missing| {
            let way = missing.way;
            let on_way = missing.pools.held.iter_mut().filter(|(device, _)| way.contains(device));
            for (device, packets) in on_way {
                let (device, frames) = (Some(device.clone()), take(&mut missing.rest, packets));
                let reason = "BACKLOG".into();
                claim(&mut missing.fates, Fate { layer: Layer::Qdisc, device, reason, queue: None, frames });
            }
        },
    },
    Claim {
        name: "cables",
        doc: "as many frames as a NIC, or a linked netdevsim, has sent and the other end has not received",
        fate: "`wire`, `UNPLUGGED` or `NOT_RECEIVED`",
        stream: "nic-filters-addresses",
        take: |missing| missing.wires.claim(&mut missing.rest, &mut missing.fates),
    },
    Claim {
        name: "devices that discard",
        doc: "as many frames as a dummy, or a netdevsim without a peer, on the flow's path has counted as sent",
        fate: "`driver`, `DISCARDED`",
        stream: "dummy-discards",
        take: |missing| {
            let way = missing.way;
            let is_on_way = |device: &DeviceRef| way.contains(device);
            missing.pools.discards.claim(is_on_way, &mut missing.rest, &mut missing.fates);
        },
    },
    Claim {
        name: "accepted sends that a counter shows",
        doc: "as many frames as queues and clsact have counted as dropped; only if drop events were not observed",
        fate: "`qdisc` or `tc`, `COUNTED`",
        stream: "filter-on-gateway-unobserved",
        take: |missing| missing.pools.claim_dropped(&mut missing.rest, &mut missing.fates),
    },
];

/// The frames of a flow that did not arrive, and what their claims are made from.
pub(crate) struct Missing<'m, 'r> {
    pub(crate) trial: &'m Trial,
    pub(crate) flow: &'m Flow,
    /// The flow's.
    pub(crate) number: u16,
    pub(crate) records: &'m [&'r Record],
    /// Sends by errno.
    pub(crate) refused: &'m BTreeMap<String, Frames>,
    pub(crate) unacknowledged: &'m Frames,
    /// The devices by which the flow's frames may leave.
    pub(crate) way: &'m BTreeSet<&'m DeviceRef>,
    pub(crate) pools: &'m mut Pools,
    pub(crate) wires: &'m mut Wires,
    /// Not claimed yet.
    pub(crate) rest: Frames,
    pub(crate) fates: Vec<Fate>,
    /// Dropped at places that the lab does not know.
    pub(crate) unknown: Vec<(DropPlace, Frames)>,
}

impl Missing<'_, '_> {
    /// Takes those of `frames` out of what is left that are there.
    fn take(&mut self, frames: &Frames) -> Frames {
        let here = self.rest.intersection(frames);
        self.rest = self.rest.difference(&here);
        here
    }

    fn claim(&mut self, layer: Layer, device: Option<DeviceRef>, reason: &str, frames: u32) {
        claim(&mut self.fates, Fate { layer, device, reason: reason.into(), queue: None, frames });
    }

    /// Frames of which an event says where they were dropped.
    fn dropped(&mut self, place: &DropPlace, here: Frames) {
        match ingress::layer(place) {
            Some(Layer::Driver) => {
                // Some drivers free what was sent as if it were lost.
                let sent = self.wires.sent(place, here.len());
                let frames = here.len() - sent.frames;
                claim(&mut self.fates, sent);
                claim(&mut self.fates, fate(Layer::Driver, place, frames));
            }
            Some(layer) => {
                let filtered = self.pools.ingress.claim(place, here.len());
                claim(&mut self.fates, fate(Layer::Tc, place, filtered));
                claim(&mut self.fates, fate(layer, place, here.len() - filtered));
            }
            None if here.is_empty() => {}
            None => self.unknown.push((place.clone(), here)),
        }
    }
}

fn drops<'a>(number: u16, records: &[&'a Record]) -> impl Iterator<Item = (&'a DropPlace, &'a Frames)> {
    records.iter().filter_map(move |record| match record {
        Record::Dropped { flow, frames, place, .. } if *flow == number => Some((place, frames)),
        _ => None,
    })
}

/// docs/ledger.md: the table, for people.
pub fn page() -> String {
    let mut page = String::from(
        "# Where a missing frame is accounted for\n\n\
         <!-- Made from the table in lab/core/judge/ledger/claims.rs: UPDATE_EXPECTED=1 cargo test --test pure claims -->\n\n\
         A frame that did not arrive has one fate. The rows are evaluated from the top. Each row takes frames out of those that the\n\
         rows above have left, if its source shows where they were lost. A frame that no row takes is `unattributed`, and the run\n\
         fails. A row is more certain than those below it: an event identifies the frame, an errno identifies the send call, a\n\
         counter only has a number.\n\n\
         The last column is a recorded run in `tests/streams/` whose account changes if the row is removed.\n\n\
         | | claimed by | which frames | layer, reason | shown by |\n|---|---|---|---|---|\n",
    );
    for (number, Claim { name, doc, fate, stream, .. }) in (1..).zip(&CLAIMS) {
        page += &format!("| {number} | {name} | {doc} | {fate} | `{stream}` |\n");
    }
    page
}
