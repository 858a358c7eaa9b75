//! One flow: sends its frames, watches them arrive or get lost, and waits until nothing moves any more.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::agent::wait;
use crate::observe::drop_log::DropLog;
use crate::observe::drops::ObserveError;
use crate::observe::end_taps::EndTaps;
use crate::traffic::elsewhere::Elsewhere;
use crate::traffic::receiver;
use crate::traffic::receiver::Receiver;
use crate::traffic::sender::{SendError, Sender};
use crate::traffic::stream::{ANSWER_TIMEOUT, Stream};
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::probe::Probe;
use bondlab_core::plan::FlowPlan;
use bondlab_core::plan::record::Record;
use bondlab_core::topology::scenario::Flow;

/// Frames sent between two looks at the receiver and the drop observer, so that neither buffer fills up.
const BURST_FRAMES: u32 = 64;
/// A frame on its way is in a softirq or a NAPI poll. While the agent sleeps everything that can run runs, so a few
/// rounds without news mean that nothing is on its way; a queue that releases later is a queue that holds frames.
pub const QUIET_ROUNDS: u32 = 5;
/// The same where there are emulated NICs. Frames of theirs are in a thread of QEMU, which the guest's idle processor does not wait
/// for (`virtio_net_handle_tx_bh()` runs in QEMU's main loop): on a loaded host it ran later than five rounds, and a
/// frame on its way was taken for one that a queue holds. A second.
pub const QUIET_ROUNDS_WITH_NICS: u32 = 250;
/// Between two rounds.
const ROUND: Duration = Duration::from_millis(4);
/// Between two looks while the next frame of a paced flow is not due.
const PACE_LOOK: Duration = Duration::from_millis(1);
/// Frames that still trickle after this are left to the queues that hold them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a flow was given up.
#[derive(Debug, thiserror::Error)]
pub enum FloodError {
    /// The sender.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A receiver.
    #[error("receive at {device}: {source}")]
    Receive {
        /// Where.
        device: DeviceRef,
        /// What the tap said.
        source: io::Error,
    },
    /// The ICMP layer of a namespace.
    #[error("watch the ICMP layer of {ns}: {source}")]
    Elsewhere {
        /// Which.
        ns: NsName,
        /// What the raw socket said.
        source: io::Error,
    },
    /// The receiving end of a connection.
    #[error("read the connection of flow {flow}: {source}")]
    Stream {
        /// Its number.
        flow: u16,
        /// What the socket said.
        source: io::Error,
    },
    /// The plan forgot to connect.
    #[error("the flow has no connection")]
    NotConnected,
    /// The drop observer.
    #[error("read the drop observer: {0}")]
    Observe(#[from] ObserveError),
}

/// One flow on its way. Its receiver, and of TCP its connection, is among those of the watch.
pub struct Flood<'p> {
    plan: &'p FlowPlan,
    numbers: (u16, u16),
    mark: u16,
    /// Of TCP none: the connection has both ends.
    sender: Option<Sender>,
    next: u32,
    begun: Instant,
}

impl<'p> Flood<'p> {
    /// Nothing is sent yet. `numbers` are the trial's and the flow's own, `mark` is the trial's in the frames.
    pub fn new(plan: &'p FlowPlan, numbers: (u16, u16), mark: u16, sender: Option<Sender>) -> Self {
        Self { plan, numbers, mark, sender, next: 0, begun: Instant::now() }
    }

    /// Sends up to the frame `end`, which is not one of them.
    ///
    /// # Errors
    /// When a socket or the observer fails. Refused and lost frames are no errors.
    pub fn send(&mut self, end: u32, watch: &mut Watch<'_, '_>) -> Result<(), FloodError> {
        let flow = &self.plan.flow;
        let (_, number) = self.numbers;
        if self.next == 0 && flow.interval_us.is_some() {
            self.begun = Instant::now();
            match watch.streams.get_mut(&number) {
                Some(stream) => stream.listen(),
                None => watch.receivers.get_mut(&flow.to).into_iter().for_each(|it| it.listen(number)),
            }
        }
        for sequence in self.next..end {
            if flow.interval_us.is_some() {
                watch.drain_until(self.due(sequence))?;
            }
            let probe = Probe { trial: self.mark, flow: number, sequence };
            match &mut self.sender {
                Some(sender) => sender.send(&flow.name, probe)?,
                None => watch.streams.get_mut(&number).ok_or(FloodError::NotConnected)?.send(probe),
            }
            if sequence % BURST_FRAMES == BURST_FRAMES - 1 {
                watch.drain()?;
            }
        }
        self.next = end;
        Ok(())
    }

    /// Waits before anything is broken: in a flow with an interval until the next frame is due, in another until what was sent has
    /// come to rest. Frames that ksoftirqd has not passed on yet would meet the fault by chance.
    ///
    /// # Errors
    /// When a receiver or the observer fails.
    pub fn rest(&mut self, watch: &mut Watch<'_, '_>) -> Result<(), FloodError> {
        match self.plan.flow.interval_us {
            Some(_) => watch.drain_until(self.due(self.next)),
            None => watch.settle(|watch| self.is_accounted(self.next, watch)),
        }
    }

    /// Whether each of the first `frames` has arrived or was seen lost. What a stream's segments do is its own matter.
    fn is_accounted(&self, frames: u32, watch: &Watch<'_, '_>) -> bool {
        let (_, number) = self.numbers;
        if self.sender.is_none() {
            return true;
        }
        let seen = watch.receivers.get(&self.plan.flow.to).map(|receiver| receiver.seen(number).0);
        let missing = Frames::first(frames).difference(&seen.unwrap_or_default());
        missing.difference(&watch.drops.lost(number)).is_empty()
    }

    /// When a frame is to be sent.
    fn due(&self, sequence: u32) -> Instant {
        let interval_us = self.plan.flow.interval_us.unwrap_or(0);
        self.begun + Duration::from_micros(u64::from(interval_us) * u64::from(sequence))
    }

    /// Waits until its frames have come to rest; returns what became of the sends.
    ///
    /// # Errors
    /// When a receiver or the observer fails.
    pub fn finish(self, mut watch: Watch<'_, '_>) -> Result<Vec<Record>, FloodError> {
        let flow = &self.plan.flow;
        let (trial, number) = self.numbers;
        if self.sender.is_none() {
            return finish_stream(flow, (trial, number), watch);
        }
        let mut records = Vec::new();
        if let (Some(_), Some(receiver)) = (flow.interval_us, watch.receivers.get(&flow.to)) {
            let longest_us = u64::try_from(receiver.longest_silence(number).as_micros()).unwrap_or(u64::MAX);
            records.push(Record::Silence { trial, flow: number, longest_us });
        }
        watch.settle(|watch| self.is_accounted(flow.frames, watch))?;
        let (accepted, refused) = self.sender.map(Sender::answers).unwrap_or_default();
        let unacknowledged = Frames::default();
        records.push(Record::Sent { trial, flow: number, accepted, refused, unacknowledged });
        Ok(records)
    }
}

/// Waits until all of a TCP flow was read, or no acknowledgement has come for long enough.
fn finish_stream(
    flow: &Flow,
    (trial, number): (u16, u16),
    mut watch: Watch<'_, '_>,
) -> Result<Vec<Record>, FloodError> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let all_read = wait::until(deadline, ROUND, || match watch.drain() {
        Ok(_) if watch.streams.get(&number).is_some_and(Stream::is_done) => Some(Ok(())),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    all_read.unwrap_or(Ok(()))?;
    let longest = watch.streams.get(&number).map(Stream::longest_silence);
    watch.settle(|_| true)?;
    let stream = watch.streams.get(&number).ok_or(FloodError::NotConnected)?;
    let answers = stream.answers();
    let (accepted, refused, unacknowledged) =
        answers.map_err(|source| FloodError::Receive { device: flow.from.clone(), source })?;
    let mut records = Vec::new();
    if let (Some(_), Some(longest)) = (flow.interval_us, longest) {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        records.push(Record::Silence { trial, flow: number, longest_us });
    }
    records.push(Record::Sent { trial, flow: number, accepted, refused, unacknowledged });
    Ok(records)
}

/// In which order a flow's frames arrived, and what TCP has sent again.
pub fn order(trial: u16, flow: u16, (reordered, retransmitted): (u32, Option<u32>)) -> Record {
    Record::Order { trial, flow, reordered, retransmitted }
}

/// Where frames show up again: at their receivers, or among the dropped.
pub struct Watch<'w, 'o> {
    /// By device.
    pub receivers: &'w mut IndexMap<DeviceRef, Receiver>,
    /// The ICMP layers of namespaces.
    pub elsewhere: &'w mut BTreeMap<NsName, Elsewhere>,
    /// TCP connections, by flow.
    pub streams: &'w mut BTreeMap<u16, Stream>,
    /// What is kept of both ends of flows.
    pub end_taps: &'w mut EndTaps,
    /// The trial's number in the frames.
    pub mark: u16,
    /// The drop observer's book.
    pub drops: &'w mut DropLog<'o>,
    /// Rounds without news after which a frame that is missing is not on its way.
    pub quiet_rounds: u32,
}

impl Watch<'_, '_> {
    /// Takes in what has happened; returns how many of the lab's frames have shown up.
    ///
    /// # Errors
    /// When a receiver or the observer fails.
    pub fn drain(&mut self) -> Result<u32, FloodError> {
        let mut news = self.drops.drain()?;
        for (device, receiver) in &mut *self.receivers {
            news +=
                receiver.drain().map_err(|source| FloodError::Receive { device: device.clone(), source })?;
        }
        receiver::share(self.receivers);
        for (ns, elsewhere) in &mut *self.elsewhere {
            elsewhere.drain().map_err(|source| FloodError::Elsewhere { ns: ns.clone(), source })?;
        }
        for (number, stream) in &mut *self.streams {
            let failed = |source| FloodError::Stream { flow: *number, source };
            news += stream.drain(self.mark).map_err(failed)?;
        }
        self.end_taps.drain();
        Ok(news)
    }

    /// Takes in what happens until then: what arrives is noticed soon after.
    fn drain_until(&mut self, then: Instant) -> Result<(), FloodError> {
        let drained = wait::until(then, PACE_LOOK, || self.drain().err());
        drained.map_or(Ok(()), Err)
    }

    /// Returns when nothing has moved for a while; sooner when `accounted` says that there is nothing to wait for.
    ///
    /// # Errors
    /// When a receiver or the observer fails.
    pub fn settle(&mut self, accounted: impl Fn(&Self) -> bool) -> Result<(), FloodError> {
        let mut quiet = 0;
        let mut round = || -> Result<bool, FloodError> {
            quiet = if self.drain()? == 0 { quiet + 1 } else { 0 };
            // One quiet round even then: a second copy of a frame may be on its way.
            Ok(quiet >= if accounted(self) { 1 } else { self.quiet_rounds })
        };
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        wait::until(deadline, ROUND, || match round() {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })
        .unwrap_or(Ok(()))
    }
}
