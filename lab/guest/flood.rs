//! One flow: sends its frames, watches them arrive or get lost, and waits until nothing moves any more.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::drop_book::DropBook;
use super::drops::ObserveError;
use super::receiver::Receiver;
use super::sender::{SendError, Sender};
use super::stream::{ANSWER_TIMEOUT, Stream};
use super::wait;
use crate::frames::Frames;
use crate::link::DeviceRef;
use crate::plan::FlowPlan;
use crate::record::Record;
use crate::wire::Probe;

/// Frames sent between two looks at the receiver and the drop observer, so that neither buffer fills up.
const BURST_FRAMES: u32 = 64;
/// A frame on its way is in a softirq or a NAPI poll. While the agent sleeps everything that can run runs, so a few
/// rounds without news mean that nothing is on its way; a queue that releases later is a queue that holds frames.
const QUIET_ROUNDS: u32 = 5;
/// Between two rounds.
const ROUND: Duration = Duration::from_millis(4);
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

/// Sends one flow and waits until its frames have come to rest; returns what became of the sends. Its receiver is
/// among those of `watch`.
///
/// # Errors
/// When a socket or the observer fails. Refused and lost frames are no errors.
pub fn flood(
    plan: &FlowPlan,
    (trial, number): (u16, u16),
    mut sender: Sender,
    mut watch: Watch<'_, '_>,
) -> Result<Record, FloodError> {
    let flow = &plan.flow;
    for sequence in 0..flow.frames {
        sender.send(&flow.name, Probe { trial, flow: number, sequence })?;
        if sequence % BURST_FRAMES == BURST_FRAMES - 1 {
            watch.drain()?;
        }
    }
    let (accepted, refused) = sender.answers();
    let asked = Frames::first(flow.frames);
    watch.settle(|watch| {
        let seen = watch.receivers.get(&flow.to).map(|receiver| receiver.seen(number).0);
        let missing = asked.difference(&seen.unwrap_or_default());
        missing.difference(&watch.drops.lost(number)).is_empty()
    })?;
    Ok(Record::Sent { trial, flow: number, accepted, refused, unacknowledged: Frames::default() })
}

/// Writes one TCP flow and waits until all of it was read, or nobody has answered for long enough.
///
/// # Errors
/// When a socket or the observer fails. Refused and unacknowledged writes are no errors.
pub fn flood_stream(
    plan: &FlowPlan,
    (trial, number): (u16, u16),
    mut watch: Watch<'_, '_>,
) -> Result<Record, FloodError> {
    let flow = &plan.flow;
    for sequence in 0..flow.frames {
        let stream = watch.streams.get_mut(&number).ok_or(FloodError::NotConnected)?;
        stream.send(Probe { trial, flow: number, sequence });
        if sequence % BURST_FRAMES == BURST_FRAMES - 1 {
            watch.drain()?;
        }
    }
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let all_read = wait::until(deadline, ROUND, || match watch.drain() {
        Ok(_) if watch.streams.get(&number).is_some_and(Stream::is_done) => Some(Ok(())),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    all_read.unwrap_or(Ok(()))?;
    watch.settle(|_| true)?;
    let stream = watch.streams.get(&number).ok_or(FloodError::NotConnected)?;
    let answers = stream.answers();
    let (accepted, refused, unacknowledged) =
        answers.map_err(|source| FloodError::Receive { device: flow.from.clone(), source })?;
    Ok(Record::Sent { trial, flow: number, accepted, refused, unacknowledged })
}

/// Where frames show up again: at their receivers, or among the dropped.
pub struct Watch<'w, 'o> {
    /// By device.
    pub receivers: &'w mut IndexMap<DeviceRef, Receiver>,
    /// TCP connections, by flow.
    pub streams: &'w mut BTreeMap<u16, Stream>,
    /// The trial's number.
    pub trial: u16,
    /// The drop observer's book.
    pub drops: &'w mut DropBook<'o>,
}

impl Watch<'_, '_> {
    /// Takes in what has happened; returns how many of the lab's frames have shown up.
    fn drain(&mut self) -> Result<u32, FloodError> {
        let mut news = self.drops.drain()?;
        for (device, receiver) in &mut *self.receivers {
            news +=
                receiver.drain().map_err(|source| FloodError::Receive { device: device.clone(), source })?;
        }
        for (number, stream) in &mut *self.streams {
            let failed = |source| FloodError::Stream { flow: *number, source };
            news += stream.drain(self.trial).map_err(failed)?;
        }
        Ok(news)
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
            Ok(quiet >= if accounted(self) { 1 } else { QUIET_ROUNDS })
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
