//! One flow: sends its frames, watches them arrive or get lost, and waits until nothing moves any more.

use std::io;
use std::time::{Duration, Instant};

use super::drop_book::DropBook;
use super::drops::ObserveError;
use super::receiver::Receiver;
use super::sender::{SendError, Sender};
use super::wait;
use crate::frames::Frames;
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
    /// The receiver.
    #[error("receive flow {flow}: {source}")]
    Receive {
        /// Which flow.
        flow: String,
        /// What the tap said.
        source: io::Error,
    },
    /// The drop observer.
    #[error("read the drop observer: {0}")]
    Observe(#[from] ObserveError),
}

/// Sends one flow and tells what became of it.
///
/// # Errors
/// When a socket or the observer fails. Refused and lost frames are no errors.
pub fn flood(
    plan: &FlowPlan,
    (trial, number): (u16, u16),
    mut sender: Sender,
    mut receiver: Receiver,
    drops: &mut DropBook<'_>,
) -> Result<[Record; 2], FloodError> {
    let flow = &plan.flow;
    let receive = |source| FloodError::Receive { flow: flow.name.clone(), source };
    for sequence in 0..flow.frames {
        sender.send(&flow.name, Probe { trial, flow: number, sequence })?;
        if sequence % BURST_FRAMES == BURST_FRAMES - 1 {
            receiver.drain().map_err(receive)?;
            drops.drain(number)?;
        }
    }
    let (accepted, refused) = sender.answers();
    settle(plan, number, &mut receiver, drops)?;
    let (duplicated, overrun) = receiver.faults();
    let frames = receiver.frames().clone();
    Ok([
        Record::Sent { trial, flow: number, accepted, refused },
        Record::Seen { trial, flow: number, frames, duplicated, overrun },
    ])
}

/// Returns when every frame has arrived or is known to be lost, or when nothing has moved for a while.
fn settle(
    plan: &FlowPlan,
    number: u16,
    receiver: &mut Receiver,
    drops: &mut DropBook<'_>,
) -> Result<(), FloodError> {
    let asked = Frames::first(plan.flow.frames);
    let mut quiet = 0;
    let mut round = || -> Result<bool, FloodError> {
        let receive = |source| FloodError::Receive { flow: plan.flow.name.clone(), source };
        let news = receiver.drain().map_err(receive)? + drops.drain(number)?;
        quiet = if news == 0 { quiet + 1 } else { 0 };
        let missing = asked.difference(receiver.frames());
        let accounted = missing.difference(&drops.lost(number)).is_empty();
        // One quiet round even then: a second copy of a frame may be on its way.
        Ok(quiet >= if accounted { 1 } else { QUIET_ROUNDS })
    };
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    wait::until(deadline, ROUND, || match round() {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    })
    .unwrap_or(Ok(()))
}
