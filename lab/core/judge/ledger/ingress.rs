//! Frames that a filter on the way in has dropped, on kernels whose drops have no reasons.
//!
//! Up to 5.16 `sch_handle_ingress()` is inlined in `__netif_receive_skb_core()`, which also frees what no protocol wants:
//! the drop event is the same. What tells them apart is that clsact counts its drops.

use std::collections::BTreeMap;

use crate::judge::account::TrialAccount;
use crate::judge::attribution;
use crate::net::layer::Layer;
use crate::net::name::DeviceRef;
use crate::plan::record::{DropPlace, Record};

/// The function that frees both.
const BOTH: &str = "__netif_receive_skb_core";

/// Drops that clsact counted and no event has been seen of, by device.
pub struct IngressDrops(BTreeMap<DeviceRef, u64>);

impl IngressDrops {
    /// What each device's clsact dropped, less what it dropped on the way out: those events speak for themselves.
    pub fn of(account: &TrialAccount, records: &[&Record]) -> Self {
        let drops = account
            .hooks
            .iter()
            .map(|(device, hook)| (device.clone(), hook.counters.get("drops").copied().unwrap_or(0)));
        let mut left = Self(drops.collect());
        for record in records {
            if let Record::Dropped { frames, place, .. } = record
                && layer(place) == Some(Layer::Tc)
            {
                left.take(place, frames.len());
            }
        }
        left
    }

    /// How many of the frames that were lost at a place a filter has dropped there.
    pub fn claim(&mut self, place: &DropPlace, frames: u32) -> u32 {
        if place.reason.is_some() || place.location != BOTH { 0 } else { self.take(place, frames) }
    }

    fn take(&mut self, place: &DropPlace, frames: u32) -> u32 {
        let Some(left) = place.device.as_ref().and_then(|device| self.0.get_mut(device)) else { return 0 };
        let taken = u64::from(frames).min(*left);
        *left -= taken;
        u32::try_from(taken).expect("no more than were asked for")
    }
}

/// The layer that lost the frames of a place.
pub fn layer(place: &DropPlace) -> Option<Layer> {
    let stack: Vec<&str> = place.stack.iter().map(String::as_str).collect();
    attribution::layer(&attribution::Drop {
        reason: place.reason.as_deref(),
        location: &place.location,
        stack: &stack,
        qdisc: place.qdisc.as_deref(),
    })
}
