//! Cables of emulated NICs: frames that one has sent and that arrived nowhere.
//!
//! A NIC's cable, and the switch inside one with VFs, are QEMU's: no event tells of a frame lost there. What tells are
//! the counters at both ends of a cable: a NIC and its VFs have sent more than the other end took in. So it is with
//! linked netdevsims: what is in the far end's queue when that is set down stays there (`nsim_del_napi()`).

use indexmap::IndexMap;

use crate::judge::account::{Fate, TrialAccount};
use crate::judge::ledger::fates::{claim, take};
use crate::net::frame_set::Frames;
use crate::net::layer::Layer;
use crate::net::link::{Link, LinkKind};
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::op::Op;
use crate::plan::record::DropPlace;
use crate::topology::fault::Fault;

/// Why a frame is lost there: the cable was out at some time of the trial.
const UNPLUGGED: &str = "UNPLUGGED";
/// The cable was in. The NIC at its end did not want the frame, or one with VFs had none for its address.
const NOT_RECEIVED: &str = "NOT_RECEIVED";

/// Frames that NICs have sent and that did not arrive; each is claimed once.
pub struct Wires {
    /// By the NIC that sent, for itself and its VFs.
    missing: IndexMap<DeviceRef, u64>,
    /// The NIC of each VF, and each NIC's own.
    nic_of: IndexMap<DeviceRef, DeviceRef>,
    unplugged: Vec<DeviceRef>,
}

impl Wires {
    /// What the counters of a trial's NICs say.
    pub fn of(trial: &Trial, account: &TrialAccount) -> Self {
        let mut nic_of: IndexMap<DeviceRef, DeviceRef> = IndexMap::new();
        let mut peer_of: IndexMap<DeviceRef, DeviceRef> = IndexMap::new();
        let mut pulled: Vec<&DeviceRef> = Vec::new();
        let mut linked: Vec<(&DeviceRef, &DeviceRef)> = Vec::new();
        for op in &trial.ops {
            match op {
                Op::Adopt { link, .. } => {
                    nic_of.insert(link.device.clone(), link.device.clone());
                    if let LinkKind::Nic(nic) | LinkKind::Pf(nic) = &link.kind {
                        peer_of.insert(link.device.clone(), nic.peer.clone());
                    }
                }
                Op::Create { link: Link { device, kind: LinkKind::Netdevsim(_), .. }, peer: Some(peer) } => {
                    linked.extend([(device, &peer.device), (&peer.device, device)]);
                }
                Op::AdoptVf { link, of, .. } => drop(nic_of.insert(link.device.clone(), of.clone())),
                Op::Inject { fault: Fault::Unplug { device, .. }, .. } => pulled.push(device),
                Op::Flood { broken: Some(broken), .. } => {
                    if let Fault::Unplug { device, .. } = &broken.fault {
                        pulled.push(device);
                    }
                }
                _ => {}
            }
        }
        let count = |nic: &DeviceRef, counter: &str| -> u64 {
            let of_nic = nic_of.iter().filter(|(_, its)| *its == nic);
            of_nic.filter_map(|(device, _)| account.devices.get(device)?.get(counter)).sum()
        };
        let netdevsims = linked.into_iter().filter_map(|(device, peer)| {
            let counter = |of: &DeviceRef, counter: &str| account.devices.get(of)?.get(counter).copied();
            // Older ones count nothing that they take in.
            let arrived = counter(peer, "rx_packets").filter(|arrived| *arrived > 0)?;
            Some((device.clone(), counter(device, "tx_packets")?.saturating_sub(arrived)))
        });
        let missing = peer_of
            .iter()
            .map(|(nic, peer)| {
                let arrived = count(peer, "rx_packets") + count(peer, "rx_missed_errors");
                (nic.clone(), count(nic, "tx_packets").saturating_sub(arrived))
            })
            .chain(netdevsims)
            .collect();
        let is_out = |(nic, peer): &(&DeviceRef, &DeviceRef)| pulled.contains(nic) || pulled.contains(peer);
        let unplugged = peer_of.iter().filter(is_out).map(|(nic, _)| nic.clone()).collect();
        Self { missing, nic_of, unplugged }
    }

    /// Of the frames that a driver released, those that its NIC had sent.
    pub fn sent(&mut self, place: &DropPlace, frames: u32) -> Fate {
        let nic = place.device.as_ref().and_then(|device| self.nic_of.get(device)).cloned();
        let sent = nic.as_ref().and_then(|nic| self.missing.get_mut(nic)).map_or(0, |missing| {
            let sent = u32::try_from(*missing).unwrap_or(u32::MAX).min(frames);
            *missing -= u64::from(sent);
            sent
        });
        self.lost_at(nic, sent)
    }

    /// Gives frames of `rest` to the NICs that have sent more than the other end took in.
    pub fn claim(&mut self, rest: &mut Frames, fates: &mut Vec<Fate>) {
        let nics: Vec<DeviceRef> = self.missing.keys().cloned().collect();
        for nic in nics {
            let frames = self.missing.get_mut(&nic).map_or(0, |missing| take(rest, missing));
            claim(fates, self.lost_at(Some(nic), frames));
        }
    }

    fn lost_at(&self, nic: Option<DeviceRef>, frames: u32) -> Fate {
        let is_out = nic.as_ref().is_some_and(|nic| self.unplugged.contains(nic));
        let reason = if is_out { UNPLUGGED } else { NOT_RECEIVED };
        Fate { layer: Layer::Wire, device: nic, reason: reason.into(), queue: None, frames }
    }
}
