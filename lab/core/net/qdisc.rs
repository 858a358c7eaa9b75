//! Queueing disciplines with their options.

use std::fmt;

use schemars::JsonSchema;
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
    /// Proportional integral controller enhanced, at most `limit` packets.
    Pie { limit: Option<u32> },
    /// Random early detection by an averaged length: from `min` bytes on some are dropped, up to `probability_percent`, from
    /// `max` on all; never more than `limit` bytes.
    Red { limit: u32, min: u32, max: u32, probability_percent: u32 },
    /// Hierarchical token bucket with one class for all packets: `rate`, and `ceil` when there is more. What waits is in
    /// `child`, or in a pfifo as long as the device's txqueuelen.
    Htb { rate: u64, ceil: Option<u64>, burst: u32, child: Option<Box<Qdisc>> },
    /// Hierarchical fair service curve with one class for all packets.
    Hfsc { rate: u64, child: Option<Box<Qdisc>> },
    /// A band for each transmit queue; frames go to the one that they were given.
    Multiq,
    /// Classes of transmit queues: so many queues each, and the class of each priority.
    Mqprio { queues: Vec<u16>, priorities: Vec<u8> },
    /// A discipline for each transmit queue.
    Mq { children: Vec<Qdisc> },
    /// A port of the link equalizer teql0: a queue of txqueuelen packets.
    Teql,
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
            Self::Pie { .. } => "pie",
            Self::Red { .. } => "red",
            Self::Htb { .. } => "htb",
            Self::Hfsc { .. } => "hfsc",
            Self::Multiq => "multiq",
            Self::Mqprio { .. } => "mqprio",
            Self::Mq { .. } => "mq",
            Self::Teql => "teql0",
            Self::Noqueue => "noqueue",
        }
    }

    /// The discipline inside, where the topology chooses it.
    pub fn child(&self) -> Option<&Self> {
        match self {
            Self::Tbf { child, .. } | Self::Htb { child, .. } | Self::Hfsc { child, .. } => child.as_deref(),
            _ => None,
        }
    }

    /// The disciplines inside with the number of the class that each hangs at.
    pub fn children(&self) -> Vec<(u16, &Self)> {
        match self {
            Self::Mq { children } => (1..).zip(children).collect(),
            other => other.child().map(|child| (1, child)).into_iter().collect(),
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
            Self::Codel { limit } | Self::FqCodel { limit } | Self::Pie { limit } => {
                some("limit", limit.map(u64::from))
            }
            Self::Red { limit, min, max, probability_percent } => {
                some("limit", Some(u64::from(*limit)))?;
                some("min", Some(u64::from(*min)))?;
                some("max", Some(u64::from(*max)))?;
                some("probability_percent", Some(u64::from(*probability_percent)))
            }
            Self::Htb { rate, ceil, burst, child } => {
                some("rate", Some(*rate))?;
                some("ceil", *ceil)?;
                some("burst", Some(u64::from(*burst)))?;
                child.as_ref().map_or(Ok(()), |child| write!(f, " child {child}"))
            }
            Self::Hfsc { rate, child } => {
                some("rate", Some(*rate))?;
                child.as_ref().map_or(Ok(()), |child| write!(f, " child {child}"))
            }
            Self::Mqprio { queues, priorities } => {
                write!(f, " queues {queues:?} priorities {priorities:?}")
            }
            Self::Mq { children } => children.iter().try_for_each(|child| write!(f, " child {child}")),
            Self::Fq { limit, flow_limit } => {
                some("limit", limit.map(u64::from))?;
                some("flow_limit", flow_limit.map(u64::from))
            }
            Self::Cake { rate, limit } => {
                some("rate", *rate)?;
                some("limit", limit.map(u64::from))
            }
            Self::PfifoFast | Self::Multiq | Self::Teql | Self::Noqueue => Ok(()),
        }
    }
}

/// What a plug is asked for, `include/uapi/linux/pkt_sched.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlugAction {
    /// What comes from here on belongs to the next buffer; a plug that was released holds again (TCQ_PLUG_BUFFER).
    Buffer,
    /// Send what came before the last `buffer` and behind the one before it, and hold the rest (TCQ_PLUG_RELEASE_ONE).
    ReleaseOne,
    /// Send all that is held, and hold nothing any more (TCQ_PLUG_RELEASE_INDEFINITE).
    Release,
}

impl PlugAction {
    /// Its number in `struct tc_plug_qopt`.
    pub fn value(self) -> i32 {
        match self {
            Self::Buffer => 0,
            Self::ReleaseOne => 1,
            Self::Release => 2,
        }
    }

    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::ReleaseOne => "release_one",
            Self::Release => "release",
        }
    }
}
