//! Drop events sorted into the lab's frames, by flow and place, and everybody else's, by place.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::fault::hold::is_arming_frame;
use crate::observe::drops::{DropEvent, DropObserver, ObserveError};
use crate::syscall::bpf::BpfError;
use bondlab_core::net::frame_class::FrameClass;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::name::{DeviceRef, IfName, NsName};
use bondlab_core::net::probe::Probe;
use bondlab_core::plan::record::{DropPlace, Record};

/// What was lost in one trial.
pub struct DropLog<'a> {
    observer: &'a mut Result<DropObserver, String>,
    trial: u16,
    /// The trial's number in the frames.
    mark: u16,
    /// Events the observer had lost when the trial began.
    lost_before: u64,
    /// Which namespace has which inode number; none before the trial's counting begins.
    namespaces: BTreeMap<u64, NsName>,
    own: BTreeMap<(u16, DropPlace), Frames>,
    /// By what they are, the VLAN they were in, and the place.
    foreign: BTreeMap<(Option<FrameClass>, Option<u16>, DropPlace), u32>,
    /// Events of the trial's namespaces so far, whoever's frames they tell of.
    events: u64,
    /// Whether everything was counted: what the kernel loses of its own from there on is in no counter of the result.
    counted: bool,
    /// What came out of places that were drained, once they are.
    drained: Option<BTreeMap<(u16, Option<DeviceRef>), Frames>>,
}

impl<'a> DropLog<'a> {
    /// An empty book. Where the kernel does not let itself be watched, it stays empty and says why.
    /// `mark` is the trial's number in the frames.
    pub fn new(observer: &'a mut Result<DropObserver, String>, trial: u16, mark: u16) -> Self {
        Self {
            observer,
            trial,
            mark,
            lost_before: 0,
            namespaces: BTreeMap::new(),
            own: BTreeMap::new(),
            foreign: BTreeMap::new(),
            events: 0,
            counted: false,
            drained: None,
        }
    }

    /// The topology stands: what was lost while it was built is forgotten, and these are its namespaces.
    pub fn begin(&mut self, namespaces: BTreeMap<u64, NsName>) {
        if self.namespaces.is_empty() {
            if let Ok(observer) = self.observer {
                // An observer that cannot be read says so again when the first flow is sent.
                let _ = observer.drain();
                self.lost_before = observer.lost();
            }
            self.namespaces = namespaces;
        }
    }

    /// Takes in what was dropped since the last call; returns how many of the lab's frames were among it.
    ///
    /// # Errors
    /// When the observer cannot be read.
    pub fn drain(&mut self) -> Result<u32, ObserveError> {
        let Ok(observer) = self.observer else { return Ok(0) };
        let mut news = 0;
        for event in observer.drain()? {
            let is_here = self.namespaces.contains_key(&event.netns.into());
            self.events += u64::from(is_here);
            let probe = Probe::parse_frame(&event.head).or_else(|| Probe::parse_ip(&event.head));
            match probe {
                Some(probe) if probe.trial == self.mark => {
                    let place = place(&self.namespaces, &event);
                    if let Some(drained) = &mut self.drained {
                        drained.entry((probe.flow, place.device)).or_default().insert(probe.sequence);
                        continue;
                    }
                    self.own.entry((probe.flow, place)).or_default().insert(probe.sequence);
                    news += 1;
                }
                None if self.drained.is_none() && !self.counted && is_here => {
                    let DropEvent { protocol, head, head_has_mac, vlan_tci, .. } = &event;
                    if is_arming_frame(*protocol, head) {
                        continue;
                    }
                    let (class, vlan) = FrameClass::of_dropped(*protocol, head, *head_has_mac, *vlan_tci);
                    *self.foreign.entry((class, vlan, place(&self.namespaces, &event))).or_default() += 1;
                }
                // Another namespace's frame, or a straggler of an earlier trial.
                _ => {}
            }
        }
        Ok(news)
    }

    /// Events of the trial's namespaces so far: as many after counters were read as before mean that none of them is in only
    /// one of the two.
    ///
    /// # Errors
    /// When the observer cannot be read.
    pub fn events(&mut self) -> Result<u64, ObserveError> {
        self.drain()?;
        Ok(self.events)
    }

    /// All counters were read for the last time.
    pub fn end_counting(&mut self) {
        self.counted = true;
    }

    /// What the kernel has lost of its own so far is in the counters that were read: it is forgotten.
    pub fn forget_foreign(&mut self) {
        self.foreign.clear();
    }

    /// An XDP program that drops all frames of a device and tells of each; none where the kernel does not let itself be
    /// watched. `netns` is the inode number of the device's namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn xdp_program(&self, netns: u64, device: &IfName) -> Result<Option<OwnedFd>, BpfError> {
        let Ok(observer) = &*self.observer else { return Ok(None) };
        let netns =
            u32::try_from(netns).expect("inode numbers of namespaces are unsigned int (struct ns_common)");
        observer.xdp_program(netns, device.as_str()).map(Some)
    }

    /// Frames of one flow that were lost so far, wherever.
    pub fn lost(&self, flow: u16) -> Frames {
        let of_flow = self.own.iter().filter(|((number, _), _)| *number == flow);
        of_flow.fold(Frames::default(), |all, (_, frames)| all.union(frames))
    }

    /// What is dropped from here on, the lab itself throws away: it is no loss of the trial's.
    ///
    /// # Errors
    /// When the observer cannot be read.
    pub fn begin_emptying(&mut self) -> Result<(), ObserveError> {
        self.drain()?;
        self.drained.get_or_insert_default();
        Ok(())
    }

    /// What was thrown away since the last call, by flow and device.
    ///
    /// # Errors
    /// When the observer cannot be read.
    pub fn take_drained(&mut self) -> Result<BTreeMap<(u16, Option<DeviceRef>), Frames>, ObserveError> {
        self.drain()?;
        Ok(self.drained.as_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The book as records, as far as it has come.
    pub fn records(&self) -> Vec<Record> {
        let trial = self.trial;
        let own = self.own.iter().map(|((flow, place), frames)| Record::Dropped {
            trial,
            flow: *flow,
            frames: frames.clone(),
            place: place.clone(),
        });
        let foreign = self.foreign.iter().map(|((class, vlan, place), count)| Record::DroppedForeign {
            trial,
            count: *count,
            class: *class,
            vlan: *vlan,
            place: place.clone(),
        });
        let (lost, unavailable) = match &*self.observer {
            Ok(observer) => (observer.lost().saturating_sub(self.lost_before), None),
            Err(why) => (0, Some(why.clone())),
        };
        own.chain(foreign).chain([Record::Observed { trial, lost, unavailable }]).collect()
    }
}

fn place(namespaces: &BTreeMap<u64, NsName>, event: &DropEvent) -> DropPlace {
    let ns = namespaces.get(&event.netns.into());
    let name = event.device.parse::<IfName>().ok();
    DropPlace {
        device: ns.zip(name).map(|(ns, name)| DeviceRef { ns: ns.clone(), name }),
        reason: event.reason.clone(),
        qdisc: event.qdisc.clone(),
        location: event.location.function.to_string(),
        stack: event.stack.iter().map(|symbol| symbol.function.to_string()).collect(),
    }
}
