//! One trial: carries out its operations, and watches from the first step to the last.

mod count;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indexmap::IndexMap;

use crate::agent::guard::Guard;
use crate::agent::host_control::HostControl;
use crate::agent::testbed::{Testbed, netns_error};
use crate::agent::{Prepared, wait};
use crate::device::links::XdpMode;
use crate::device::{addresses, build, ethtool, links, nic, ready, tap, tc, vf};
use crate::fault::restore::Restorer;
use crate::fault::{partner, xdp};
use crate::observe::capture::Tap;
use crate::observe::drain::ByFlow;
use crate::observe::drop_log::DropLog;
use crate::observe::end_taps::EndTaps;
use crate::observe::replaced::Replaced;
use crate::observe::shown::Baseline;
use crate::observe::waiting::{self, Ended};
use crate::observe::{capture, counters, drain, kernel_log};
use crate::syscall::netns::Spares;
use crate::traffic::elsewhere::Elsewhere;
use crate::traffic::flood::{Flood, QUIET_ROUNDS, QUIET_ROUNDS_WITH_NICS, Watch};
use crate::traffic::receiver::Receiver;
use crate::traffic::sender::Sender;
use crate::traffic::stream::{self, Stream};
use crate::{fault, pod};
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::frame_template::group_mac;
use bondlab_core::net::layer::Layer;
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::probe::Probe;
use bondlab_core::net::qdisc::Qdisc;
use bondlab_core::plan::moment::When;
use bondlab_core::plan::op::{Broken, Op};
use bondlab_core::plan::record::{DeviceState, OpError, Record};
use bondlab_core::plan::{FlowPlan, Plan};
use bondlab_core::topology::fault::{Fault, FilterKind};
use bondlab_core::topology::scenario::Socket;

/// Between two looks at a driver whose frames are to come out.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What comes out of a driver does so within milliseconds; under emulation and load it takes many times that.
const COME_OUT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often everything is counted again because something was dropped meanwhile.
const COUNT_ATTEMPTS_MAX: u32 = 10;

/// A trial that runs.
pub struct Trial<'a> {
    plan: &'a Plan,
    number: u16,
    /// Its number in the frames, which no other trial of this agent has had.
    mark: u16,
    bed: Testbed,
    spares: &'a mut Spares,
    drops: DropLog<'a>,
    /// By receiving device; open until the trial ends: what a queue holds may arrive long after its flow was sent.
    receivers: IndexMap<DeviceRef, Receiver>,
    /// The ICMP layers of all namespaces, once echo requests are sent.
    elsewhere: BTreeMap<NsName, Elsewhere>,
    captures: IndexMap<String, Tap>,
    /// What is kept of both ends of the flows.
    end_taps: EndTaps,
    /// TCP connections by flow; open until the trial ends.
    streams: BTreeMap<u16, Stream>,
    /// Devices whose receiving sockets are not read.
    unread: BTreeSet<DeviceRef>,
    /// Devices without a listening socket.
    closed: BTreeSet<DeviceRef>,
    /// See [`Watch::quiet_rounds`].
    quiet_rounds: u32,
    /// What the kernel accepted, by flow; a TCP flow's is in its connection.
    accepted: ByFlow,
    /// Devices whose drivers have stopped, and who is to take their frames.
    stalled: BTreeMap<DeviceRef, DeviceRef>,
    /// Whether some wait did not come to what it waited for.
    timed_out: bool,
    /// What the kernel logs meanwhile.
    log: Option<kernel_log::Reader>,
    /// What is reported as a difference of two numbers of the kernel.
    baseline: Baseline,
    restorer: Restorer,
    /// Queues that faults replaced.
    replaced: Replaced,
}

impl<'a> Trial<'a> {
    /// Nothing is there yet.
    pub fn new(plan: &'a Plan, number: u16, prepared: &'a mut Prepared) -> Self {
        let mark = prepared.trials_before.saturating_add(number);
        Self {
            plan,
            number,
            mark,
            bed: Testbed::new(plan.ipv6),
            spares: &mut prepared.spares,
            drops: DropLog::new(&mut prepared.observer, number, mark),
            receivers: IndexMap::new(),
            elsewhere: BTreeMap::new(),
            captures: IndexMap::new(),
            end_taps: EndTaps::of(plan, number),
            streams: BTreeMap::new(),
            unread: BTreeSet::new(),
            closed: BTreeSet::new(),
            quiet_rounds: if plan.slots.is_empty() { QUIET_ROUNDS } else { QUIET_ROUNDS_WITH_NICS },
            accepted: ByFlow::new(),
            stalled: BTreeMap::new(),
            timed_out: false,
            log: kernel_log::Reader::start(),
            baseline: Baseline::start(&plan.trials[usize::from(number)].ops),
            restorer: Restorer::default(),
            replaced: Replaced::default(),
        }
    }

    /// Carries out one operation; returns what it has to tell.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn perform(
        &mut self,
        op_number: u32,
        op: &Op,
        host_control: &mut dyn HostControl,
    ) -> Result<Vec<Record>, OpError> {
        let trial = self.number;
        let bed = &mut self.bed;
        // What an attempt was refused says nothing of what fails after it.
        bed.is_unsupported.set(false);
        self.restorer.before(bed, op, &self.plan.trials[usize::from(trial)].ops).await?;
        match op {
            Op::Attach { .. } | Op::Detach { .. } | Op::CheckPod { .. } => {
                return Ok(vec![pod::perform((trial, op_number), bed, op).await?]);
            }
            Op::Attempt { ops, .. } => {
                let error = self.attempt(op_number, ops, host_control).await;
                return Ok(vec![Record::Attempted { trial, op: op_number, error }]);
            }
            Op::Namespace(ns) => bed.add_namespace(ns, self.spares).await?,
            Op::TxQueueLen { device, len } => links::set_txqueuelen(bed, device, *len).await?,
            Op::Offload { device, offload, on } => ethtool::set_offload(bed, device, *offload, *on)?,
            Op::Adopt { link, slot } => nic::adopt(bed, link, *slot).await?,
            Op::SetVf { pf, index, settings } => vf::set(bed, pf, *index, settings).await?,
            Op::AdoptVf { link, of, index, is_addressed } => {
                nic::adopt_vf(bed, link, of, *index, *is_addressed).await?;
            }
            Op::Ready { devices } => ready::ready(bed, devices).await?,
            Op::Inject { name, fault } => self.inject(name, fault, host_control).await?,
            Op::Clear { name, fault, standing } => {
                let before = Replaced::look(bed, fault).await?;
                fault::clear(bed, name, fault, standing.as_ref(), host_control).await?;
                self.replaced.keep(bed, before).await?;
                self.restorer.restore(bed, name).await?;
                self.set_reading(fault, true)?;
                self.set_listening(fault, true)?;
                if let Fault::Stall { device, .. } = fault {
                    self.stalled.remove(device);
                    self.come_out()?;
                }
            }
            Op::Pause(for_ms) => wait::pause(Duration::from_millis((*for_ms).into())),
            Op::Capture(capture) => {
                self.captures
                    .insert(capture.name.clone(), capture::start(bed, capture, &self.plan.flows).await?);
            }
            Op::Count(When::Before) => {
                partner::take_lacpdus(bed, &self.plan.trials[usize::from(trial)].ops).await?;
                // Watching begins when the topology is up: while it is built the kernel loses frames of its own.
                self.drops.begin(self.bed.inodes());
                self.baseline.begin(&self.bed, &self.plan.trials[usize::from(trial)].ops)?;
                let devices = self.count().await?;
                self.drops.forget_foreign();
                self.end_taps.open(&self.bed).await;
                return Ok(vec![Record::Counters { trial, when: When::Before, devices }]);
            }
            Op::Count(When::After) => return self.finish().await,
            Op::Wait { until, within_ms, unless_timed_out } => {
                let within_ms = if *unless_timed_out && self.timed_out { 0 } else { *within_ms };
                let ended =
                    waiting::wait(&self.bed, &mut self.captures, &mut self.baseline, until, within_ms);
                let Ended { value, text, held } = ended.await?;
                self.timed_out |= !held;
                return Ok(vec![Record::Waited { trial, op: op_number, value, text, held }]);
            }
            Op::Show(all) => {
                let values = self.baseline.read_all(bed, all).await?;
                return Ok(vec![Record::Shown { trial, op: op_number, values }]);
            }
            Op::Connect { flow } => self.connect(*flow)?,
            Op::Flood { flow, broken } => return self.run_flow(*flow, broken.as_ref(), host_control).await,
            building => build::perform(bed, building).await?,
        }
        Ok(Vec::new())
    }

    /// Does what the kernel may refuse; returns what it says.
    async fn attempt(
        &mut self,
        op_number: u32,
        ops: &[Op],
        host_control: &mut dyn HostControl,
    ) -> Option<OpError> {
        for op in ops {
            if let Err(error) = Box::pin(self.perform(op_number, op, host_control)).await {
                return Some(error);
            }
        }
        None
    }

    async fn inject(
        &mut self,
        name: &str,
        fault: &Fault,
        host_control: &mut dyn HostControl,
    ) -> Result<(), OpError> {
        let before = Replaced::look(&self.bed, fault).await?;
        match fault {
            Fault::Filter { device, kind: FilterKind::Xdp, .. } if self.is_nic(device) => {
                let namespace = self.bed.namespaces.get(&device.ns);
                let namespace = namespace.map_err(|error| netns_error("use a namespace", &error))?;
                let program = self.drops.xdp_program(namespace.inum(), &device.name);
                match program.map_err(|error| xdp::not_loaded(device, &error))? {
                    Some(program) => xdp::hang_up(&self.bed, device, &program, XdpMode::Driver).await,
                    None => fault::inject(&mut self.bed, name, fault, host_control).await,
                }
            }
            _ => fault::inject(&mut self.bed, name, fault, host_control).await,
        }?;
        self.replaced.keep(&self.bed, before).await?;
        self.set_reading(fault, false)?;
        self.set_listening(fault, false)?;
        if let Fault::Stall { device, peer } = fault
            && !tap::is_one(&self.bed, device)
        {
            self.stalled.insert(device.clone(), peer.clone());
        }
        Ok(())
    }

    /// What the kernel has said besides, up to now.
    pub fn log(&mut self) -> Record {
        let kernel = self.log.take().map(kernel_log::Reader::finish);
        Record::Log { trial: self.number, kernel, acknowledged: self.acknowledged() }
    }

    fn acknowledged(&self) -> BTreeMap<String, u32> {
        let mut acknowledged: BTreeMap<String, u32> = BTreeMap::new();
        for (text, requests) in self.bed.sockets().flat_map(|(_, rtnl)| rtnl.acknowledged()) {
            *acknowledged.entry(text).or_default() += requests;
        }
        acknowledged
    }

    /// What the ends of flows have seen.
    pub fn tapped(&mut self) -> Vec<Record> {
        self.end_taps.take(self.number)
    }

    /// Whether what failed last is only that the kernel does not know an option.
    pub fn is_unsupported(&self) -> bool {
        self.bed.is_unsupported.get()
    }

    /// The drop observer's account, and what still stands.
    pub fn close(mut self) -> (Vec<Record>, Testbed) {
        // Namespaces go on standing, and what is the machine's must not.
        self.bed.held.retain(|_, held| !matches!(held, Guard::Backlog(_)));
        tap::stop_all(&mut self.bed);
        (self.drops.records(), self.bed)
    }

    fn connect(&mut self, number: u16) -> Result<(), OpError> {
        let FlowPlan { flow, source, destination, .. } = &self.plan.flows[usize::from(number)];
        let what = format!("connect flow {}", flow.name);
        let enter = |error| netns_error(&what, &error);
        let namespaces = &self.bed.namespaces;
        let listener = namespaces.enter(&flow.to.ns, || stream::listen(*destination)).map_err(enter)?;
        let listener = listener.map_err(|error| failed(&what, &error))?;
        let open = || stream::connect(&listener, *source, flow);
        let stream = match namespaces.enter(&flow.from.ns, open).map_err(enter)? {
            Err(error) if flow.connect_late && error.raw_os_error().is_some() => {
                Stream::refused(&error, flow)
            }
            stream => stream.map_err(|error| failed(&what, &error))?,
        };
        self.streams.insert(number, stream);
        Ok(())
    }

    /// A receiver that is not read has a full buffer soon; also one that is opened later.
    fn set_reading(&mut self, fault: &Fault, reading: bool) -> Result<(), OpError> {
        let Fault::Rcvbuf { device } = fault else { return Ok(()) };
        let _ = if reading { self.unread.remove(device) } else { self.unread.insert(device.clone()) };
        let Some(receiver) = self.receivers.get_mut(device) else { return Ok(()) };
        let set = receiver.set_reading(reading);
        set.map_err(|error| failed(&format!("set the receive buffer at {device}"), &error))
    }

    /// A receiver without a listener has no socket; also one that is opened later.
    fn set_listening(&mut self, fault: &Fault, listening: bool) -> Result<(), OpError> {
        let Fault::Closed { device } = fault else { return Ok(()) };
        let _ = if listening { self.closed.remove(device) } else { self.closed.insert(device.clone()) };
        let Some(receiver) = self.receivers.get_mut(device) else { return Ok(()) };
        let what = format!("open or close the socket at {device}");
        let set = self.bed.namespaces.enter(&device.ns, || receiver.set_listening(listening));
        set.map_err(|error| netns_error(&what, &error))?.map_err(|error| failed(&what, &error))
    }

    async fn run_flow(
        &mut self,
        number: u16,
        broken: Option<&Broken>,
        host_control: &mut dyn HostControl,
    ) -> Result<Vec<Record>, OpError> {
        let plans: &'a Plan = self.plan;
        let plan = &plans.flows[usize::from(number)];
        let flow = &plan.flow;
        let what = format!("send flow {}", flow.name);
        self.end_taps.open(&self.bed).await;
        let sender = match flow.socket {
            Socket::Tcp => {
                if flow.connect_late {
                    self.connect(number)?;
                }
                None
            }
            _ => Some(self.open_ends(plan, number, &what).await?),
        };
        let mut flood = Flood::new(plan, (self.number, number), self.mark, sender);
        let gave_up = |error| failed(&what, &error);
        if let Some(Broken { at_frame, name, fault }) = broken {
            let mut watch = watch(
                self.mark,
                (&mut self.receivers, &mut self.elsewhere),
                (&mut self.streams, &mut self.end_taps),
                (&mut self.drops, self.quiet_rounds),
            );
            flood.send(*at_frame, &mut watch).map_err(gave_up)?;
            flood.rest(&mut watch).map_err(gave_up)?;
            if let (Fault::Down { device }, Some(_)) = (fault, &self.bed.home) {
                // A NIC's driver may take seconds to go down, and the request is its own thread's until then.
                let namespace =
                    self.bed.namespaces.get(&device.ns).map_err(|error| netns_error(&what, &error))?;
                std::thread::scope(|scope| {
                    let down = scope.spawn(|| fault::down_apart(namespace, device));
                    let sent = flood.send(flow.frames, &mut watch).map_err(gave_up);
                    down.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(sent)
                })?;
            } else {
                self.inject(name, fault, host_control).await?;
            }
        }
        let mut watch = self.watch();
        flood.send(flow.frames, &mut watch).map_err(gave_up)?;
        let records = flood.finish(watch).map_err(gave_up)?;
        self.accepted.extend(records.iter().find_map(|record| match record {
            // What TCP has accepted is in its send queue, or read.
            Record::Sent { accepted, .. } if flow.socket != Socket::Tcp => Some((number, accepted.clone())),
            _ => None,
        }));
        Ok(records)
    }

    /// The sender of a flow; its receiver is among those that there are.
    async fn open_ends(&mut self, plan: &'a FlowPlan, number: u16, what: &str) -> Result<Sender, OpError> {
        let flow = &plan.flow;
        let (from_index, to_index) = (self.bed.index(&flow.from).await?, self.bed.index(&flow.to).await?);
        let next_hop = match (&flow.destination_mac, flow.shape.group.and_then(group_mac)) {
            // The kernel writes the header, if the device has one: a tun and a GRE tunnel have none.
            _ if !flow.socket.writes_ethernet() => None,
            (Some(mac), _) => Some(addresses::mac_from(&self.bed, mac).await?),
            (None, Some(mac)) => Some(mac),
            (None, None) => Some(addresses::mac_of(&self.bed, &flow.to).await?),
        };
        let header = match next_hop {
            Some(next_hop) => Some((addresses::mac_of(&self.bed, &flow.from).await?, next_hop)),
            None => None,
        };
        let enter = |error| netns_error(what, &error);
        if !self.receivers.contains_key(&flow.to) {
            let open = || Receiver::open(self.mark, plan.destination, to_index);
            let receiver = self.bed.namespaces.enter(&flow.to.ns, open).map_err(enter)?;
            let mut receiver = receiver.map_err(|error| failed(what, &error))?;
            if self.closed.contains(&flow.to) {
                receiver.set_listening(false).map_err(|error| failed(what, &error))?;
            } else if self.unread.contains(&flow.to) {
                receiver.set_reading(false).map_err(|error| failed(what, &error))?;
            }
            self.receivers.insert(flow.to.clone(), receiver);
        }
        if let Some(receiver) = self.receivers.get_mut(&flow.to) {
            let expected =
                self.bed.namespaces.enter(&flow.to.ns, || receiver.expect(number, plan)).map_err(enter)?;
            expected.map_err(|error| failed(what, &error))?;
        }
        if flow.socket == Socket::Ping && self.elsewhere.is_empty() {
            for (name, namespace) in self.bed.namespaces.iter() {
                let opened = namespace.enter(|| Elsewhere::open(self.mark)).map_err(enter)?;
                self.elsewhere.insert(name.clone(), opened.map_err(|error| failed(what, &error))?);
            }
        }
        let open = || Sender::open(plan, from_index, header);
        let sender = self.bed.namespaces.enter(&flow.from.ns, open).map_err(enter)?;
        sender.map_err(|error| failed(what, &error))
    }

    /// Whether a driver of hardware has the device.
    fn is_nic(&self, device: &DeviceRef) -> bool {
        let adopts = |op: &Op| match op {
            Op::Adopt { link, .. } | Op::AdoptVf { link, .. } => link.device == *device,
            _ => false,
        };
        self.plan.trials[usize::from(self.number)].ops.iter().any(adopts)
    }

    /// Frames that the kernel accepted and that are neither at their receivers nor among the dropped.
    fn missing(&self) -> ByFlow {
        let missing = self.accepted.iter().map(|(flow, accepted)| {
            let receiver = self.receivers.get(&self.plan.flows[usize::from(*flow)].flow.to);
            let seen = receiver.map(|receiver| receiver.seen(*flow).0).unwrap_or_default();
            (*flow, accepted.difference(&seen).difference(&self.drops.lost(*flow)))
        });
        missing.filter(|(_, frames)| !frames.is_empty()).collect()
    }

    /// Waits until the frames that a driver has released have arrived: they go through timers and work queues.
    fn come_out(&mut self) -> Result<(), OpError> {
        let what = "see what the driver held";
        let deadline = std::time::Instant::now() + COME_OUT_TIMEOUT;
        let all_out = wait::until(deadline, LOOK_INTERVAL, || match self.watch().settle(|_| true) {
            Ok(()) => self.missing().is_empty().then_some(Ok(())),
            Err(error) => Some(Err(failed(what, &error))),
        });
        all_out.unwrap_or(Ok(()))
    }

    /// Empties what no counter shows. Everything was counted before, so that nothing of it is in any other number.
    async fn empty(&mut self, counted: &IndexMap<DeviceRef, DeviceState>) -> Result<Vec<Record>, OpError> {
        let (trial, mark, what) = (self.number, self.mark, "empty what no counter shows");
        let unread = |error| failed(what, &error);
        let mut missing = self.missing();
        let held = |flow, frames, layer, device| Record::Drained { trial, flow, frames, layer, device };
        let mut records = Vec::new();
        if missing.is_empty() {
            return Ok(records);
        }
        self.drops.begin_emptying().map_err(unread)?;
        drain::neighbours(&self.bed).await?;
        for ((flow, device), frames) in self.drops.take_drained().map_err(unread)? {
            if let Some(missing) = missing.get_mut(&flow) {
                *missing = missing.difference(&frames);
            }
            records.push(held(flow, frames, Layer::Neighbour, device));
        }
        for device in tap::that_stop(&self.bed) {
            // What waits above the ring is in the queue's backlog.
            tc::put_root(&self.bed, &device, &Qdisc::Noqueue).await?;
            self.drops.take_drained().map_err(unread)?;
            tap::let_go(&mut self.bed, &device);
            for ((flow, _), frames) in self.drops.take_drained().map_err(unread)? {
                records.push(held(flow, frames, Layer::Backlog, Some(device.clone())));
            }
        }
        for (device, flow, frames) in self.in_rings(&missing).await? {
            if let Some(missing) = missing.get_mut(&flow) {
                *missing = missing.difference(&frames);
            }
            records.push(held(flow, frames, Layer::Backlog, Some(device)));
        }
        for (flow, missing) in &mut missing {
            let to = &self.plan.flows[usize::from(*flow)].flow.to;
            let partial_datagrams = self.receivers.get(to).map(|it| it.incomplete(*flow)).unwrap_or_default();
            let partial_datagrams = partial_datagrams.intersection(missing);
            if !partial_datagrams.is_empty() {
                *missing = missing.difference(&partial_datagrams);
                records.push(held(*flow, partial_datagrams, Layer::Ip, Some(to.clone())));
            }
        }
        for (flow, frames, device) in self.via_other_device(&missing, counted) {
            records.push(held(flow, frames, Layer::Receiver, Some(device)));
        }
        let queued: u64 =
            counted.values().filter_map(|state| state.qdiscs.first()?.counters.get("backlog_packets")).sum();
        for (device, peer) in &self.stalled {
            let all: u32 = missing.values().map(Frames::len).sum();
            let expected = all.saturating_sub(u32::try_from(queued).unwrap_or(u32::MAX));
            let out = drain::driver(&self.bed, mark, (device, peer), (&missing, expected)).await?;
            records.extend(
                out.into_iter().map(|(flow, frames)| held(flow, frames, Layer::Driver, Some(device.clone()))),
            );
        }
        Ok(records)
    }

    /// Missing frames that are in the rings of taps whose program has stopped, by device and flow.
    async fn in_rings(&mut self, missing: &ByFlow) -> Result<Vec<(DeviceRef, u16, Frames)>, OpError> {
        let unread = |error| failed("empty the rings of taps", &error);
        let mut found = Vec::new();
        for device in tap::stopped(&self.bed) {
            // What waits above the ring is in the queue's backlog, and would follow into the ring.
            tc::put_root(&self.bed, &device, &Qdisc::Noqueue).await?;
            self.drops.take_drained().map_err(unread)?;
            let mut in_ring = ByFlow::new();
            for frame in tap::take(&self.bed, &device)? {
                let probe = Probe::parse_frame(&frame).or_else(|| Probe::parse_ip(&frame));
                if let Some(probe) = probe.filter(|probe| probe.trial == self.mark) {
                    in_ring.entry(probe.flow).or_default().insert(probe.sequence);
                }
            }
            found.extend(in_ring.into_iter().filter_map(|(flow, frames)| {
                let frames = frames.intersection(missing.get(&flow)?);
                (!frames.is_empty()).then(|| (device.clone(), flow, frames))
            }));
        }
        Ok(found)
    }

    /// Missing frames that came to their socket by another device than they were sent to, by flow.
    fn via_other_device(
        &self,
        missing: &ByFlow,
        counted: &IndexMap<DeviceRef, DeviceState>,
    ) -> Vec<(u16, Frames, DeviceRef)> {
        let at_receivers = self.receivers.iter().flat_map(|(at, receiver)| {
            receiver.via_other_device().map(|(flow, index, frames)| (&at.ns, flow, index, frames))
        });
        let elsewhere = self.elsewhere.iter().flat_map(|(ns, elsewhere)| {
            elsewhere.seen().map(move |(flow, index, frames)| (ns, flow, index, frames))
        });
        let mut left = missing.clone();
        let mut found = Vec::new();
        for (ns, flow, index, frames) in at_receivers.chain(elsewhere) {
            let Some(left) = left.get_mut(&flow) else { continue };
            let here = left.intersection(frames);
            let is_it =
                |(device, state): &(&DeviceRef, &DeviceState)| device.ns == *ns && state.index == index;
            if let Some((device, _)) = counted.iter().find(is_it).filter(|_| !here.is_empty()) {
                *left = left.difference(&here);
                found.push((flow, here, device.clone()));
            }
        }
        found
    }

    /// Counts everything at a moment at which nothing is dropped: what a counter has counted, the book has then too. Where
    /// there is no such moment, the last one has to do, and a drop may be in one of the two only.
    async fn count(&mut self) -> Result<IndexMap<DeviceRef, DeviceState>, OpError> {
        let unread = |error| failed("read the drops", &error);
        let mut before = self.drops.events().map_err(unread)?;
        for _ in 1..COUNT_ATTEMPTS_MAX {
            let devices = counters::count(&self.bed).await?;
            let after = self.drops.events().map_err(unread)?;
            if after == before {
                return Ok(devices);
            }
            before = after;
        }
        counters::count(&self.bed).await
    }

    fn watch(&mut self) -> Watch<'_, 'a> {
        let arrivals = (&mut self.receivers, &mut self.elsewhere);
        let drops = (&mut self.drops, self.quiet_rounds);
        watch(self.mark, arrivals, (&mut self.streams, &mut self.end_taps), drops)
    }
}

/// All that frames may show up at.
fn watch<'w, 'o>(
    mark: u16,
    (receivers, elsewhere): (&'w mut IndexMap<DeviceRef, Receiver>, &'w mut BTreeMap<NsName, Elsewhere>),
    (streams, end_taps): (&'w mut BTreeMap<u16, Stream>, &'w mut EndTaps),
    (drops, quiet_rounds): (&'w mut DropLog<'o>, u32),
) -> Watch<'w, 'o> {
    Watch { receivers, elsewhere, streams, end_taps, mark, drops, quiet_rounds }
}

fn failed(what: &str, error: &dyn std::error::Error) -> OpError {
    OpError { what: what.into(), errno: None, text: Some(error.to_string()) }
}
