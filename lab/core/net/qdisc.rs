//! Queueing disciplines with their options.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A queueing discipline with its options. Rates in bit/s, sizes in bytes, times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Qdisc {
    /// First in, first out, at most `limit` packets.
    Pfifo { limit: u32 },
    /// First in, first out, at most `limit` bytes.
    Bfifo { limit: u32 },
    /// First in, first out; of more than `limit` packets the oldest goes, which the sender does not learn.
    PfifoHeadDrop { limit: u32 },
    /// Three bands by priority, each as long as the device's txqueuelen; the default up to Debian 11.
    PfifoFast,
    /// Holds everything, up to `limit` bytes, until it is released (net/sched/sch_plug.c).
    Plug { limit: u32 },
    /// Token bucket. What waits for tokens waits in a bfifo of `limit` bytes, or in `child`.
    Tbf { rate: u64, burst: u32, limit: u32, child: Option<Box<Qdisc>> },
    /// Delay, random loss in percent, and a queue of `limit` packets.
    Netem { limit: u32, delay_us: u32, loss_percent: u32 },
    /// Stochastic fair queueing, at most `limit` packets; of a full queue the longest flow loses one.
    Sfq { limit: u32 },
    /// Controlled delay; full at `limit` packets it drops what comes, and the sender learns it.
    Codel { limit: Option<u32> },
    /// Fair queueing by flow with pacing: at most `limit` packets, and `flow_limit` of each socket.
    Fq { limit: Option<u32>, flow_limit: Option<u32> },
    /// Fair queueing with CoDel: hides every drop from the sender (NET_XMIT_CN).
    FqCodel { limit: Option<u32> },
    /// Common applications kept enhanced: a shaper, unlimited without `rate`, and a buffer of `limit` bytes of memory.
    Cake { rate: Option<u64>, limit: Option<u32> },
    /// No queue at all: what the device's driver says reaches the sender.
    Noqueue,
}

impl Qdisc {
    /// The word the kernel and `tc` use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pfifo { .. } => "pfifo",
            Self::Bfifo { .. } => "bfifo",
            Self::PfifoHeadDrop { .. } => "pfifo_head_drop",
            Self::PfifoFast => "pfifo_fast",
            Self::Plug { .. } => "plug",
            Self::Tbf { .. } => "tbf",
            Self::Netem { .. } => "netem",
            Self::Sfq { .. } => "sfq",
            Self::Codel { .. } => "codel",
            Self::Fq { .. } => "fq",
            Self::FqCodel { .. } => "fq_codel",
            Self::Cake { .. } => "cake",
            Self::Noqueue => "noqueue",
        }
    }

    /// The discipline inside, where the topology chooses it.
    pub fn child(&self) -> Option<&Self> {
        match self {
            Self::Tbf { child, .. } => child.as_deref(),
            _ => None,
        }
    }
}

/// As `tc` writes it, but with the lab's units.
impl fmt::Display for Qdisc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        let mut some =
            |key: &str, value: Option<u64>| value.map_or(Ok(()), |value| write!(f, " {key} {value}"));
        match self {
            Self::Pfifo { limit }
            | Self::Bfifo { limit }
            | Self::PfifoHeadDrop { limit }
            | Self::Plug { limit }
            | Self::Sfq { limit } => some("limit", Some(u64::from(*limit))),
            Self::Tbf { rate, burst, limit, child } => {
                some("rate", Some(*rate))?;
                some("burst", Some(u64::from(*burst)))?;
                some("limit", Some(u64::from(*limit)))?;
                child.as_ref().map_or(Ok(()), |child| write!(f, " child {child}"))
            }
            Self::Netem { limit, delay_us, loss_percent } => {
                some("limit", Some(u64::from(*limit)))?;
                some("delay_us", Some(u64::from(*delay_us)))?;
                some("loss_percent", Some(u64::from(*loss_percent)).filter(|percent| *percent > 0))
            }
            Self::Codel { limit } | Self::FqCodel { limit } => some("limit", limit.map(u64::from)),
            Self::Fq { limit, flow_limit } => {
                some("limit", limit.map(u64::from))?;
                some("flow_limit", flow_limit.map(u64::from))
            }
            Self::Cake { rate, limit } => {
                some("rate", *rate)?;
                some("limit", limit.map(u64::from))
            }
            Self::PfifoFast | Self::Noqueue => Ok(()),
        }
    }
}
