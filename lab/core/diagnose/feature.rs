//! What can be read of a machine that loses frames, and what was measured of each cause: the same features on both sides.

use std::fmt;

/// Which device of the sending machine's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The VLAN by which frames are sent.
    Vlan,
    /// The bond below it.
    Bond,
    /// The bond's ports, as one: of a counter the largest share, of a state the worst.
    Port,
}

impl Role {
    /// All of them, the uppermost first.
    pub const ALL: [Self; 3] = [Self::Vlan, Self::Bond, Self::Port];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vlan => "the VLAN",
            Self::Bond => "the bond",
            Self::Port => "the port",
        })
    }
}

/// A second way by which frames are sent, beside the one that loses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// By a VLAN with the same number on the port itself.
    NicVlan,
    /// By the bond, without a tag.
    Untagged,
    /// By the bond, with the tag written by the sender.
    InBand,
    /// By another VLAN of the bond.
    OtherVlan,
}

/// One thing that a text can show and a run has measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A device's counter, by its name in `ip -s link`.
    Counter(Role, &'static str),
    /// Carrier and flags.
    State(Role),
    /// `Link Failure Count` of the ports.
    Failures,
    /// What the sender is told.
    Told,
    /// A counter of a queueing discipline at the root: `drops`, `requeues`, `backlog`.
    Queue(Role, &'static str),
    /// What filters at clsact dropped.
    Hook(Role),
    /// Whether what is sent by another way arrives.
    Arrives(Way),
    /// What the sender is told once a queue was put at this device.
    UnderQueue(Role),
    /// Whether LACP is in sync.
    Lacp,
    /// The layer and the device at which the kernel frees the frames (`kfree_skb`).
    LostAt,
    /// What devices of other machines count.
    Far,
}

/// Counters of devices that tell of a loss.
pub const LOSSES: [&str; 4] = ["tx_dropped", "tx_errors", "rx_dropped", "rx_errors"];
/// Counters of queueing disciplines.
pub const QUEUE: [&str; 3] = ["drops", "requeues", "backlog"];

/// What it shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// The counter did not move.
    None,
    /// Less than 5 % of the frames.
    Few,
    /// Less than 90 %.
    Part,
    /// More.
    Most,
    /// A state, an errno, a place.
    Word(String),
}

impl Value {
    /// A share of frames.
    pub fn share(counted: u64, of: u64) -> Self {
        match counted.saturating_mul(100) / of.max(1) {
            _ if counted == 0 => Self::None,
            0..5 => Self::Few,
            5..90 => Self::Part,
            _ => Self::Most,
        }
    }

    /// A word.
    pub fn word(text: impl Into<String>) -> Self {
        Self::Word(text.into())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Few => "few",
            Self::Part => "some",
            Self::Most => "nearly all",
            Self::Word(word) => word,
        })
    }
}

/// The word for a state, from the flag IFF_UP and from carrier (IFF_LOWER_UP).
pub fn state(up: bool, carrier: bool) -> Value {
    Value::word(match (up, carrier) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    })
}

impl Feature {
    /// How likely it is to see `seen` where a run has measured `measured`.
    ///
    /// This is the noise of a machine in use: counters count since the boot, other frames dilute shares, received frames of
    /// others move `rx_dropped`. It is the same for all causes; what is a cause's own is measured.
    pub fn likelihood(self, measured: &Value, seen: &Value) -> f64 {
        use Value::{Few, Most, None, Part, Word};
        let is_weak = match self {
            Self::Counter(_, name) => name.starts_with("rx_"),
            Self::Queue(_, name) => name == "requeues",
            Self::Failures => true,
            _ => false,
        };
        match (measured, seen) {
            (Word(one), Word(other)) => match self {
                _ if one == other => 0.92,
                Self::UnderQueue(_) => 0.15,
                _ => 0.04,
            },
            (None, None) if is_weak => 0.6,
            (None, Few) if is_weak => 0.25,
            (None, _) if is_weak => 0.15,
            (_, None) if is_weak => 0.15,
            (_, _) if is_weak => 0.3,
            (None, None) => 0.86,
            (None, Few) => 0.1,
            (None, Part) => 0.02,
            (None, Most) => 0.02,
            // A queue that waits is empty again, or its counters are another one's, when somebody looks.
            (Few | Part, None) => 0.08,
            (Few | Part, Few) => 0.25,
            (Few | Part, Part) => 0.42,
            (Few | Part, Most) => 0.25,
            (Most, None) => 0.04,
            (Most, Few) => 0.14,
            (Most, Part) => 0.27,
            (Most, Most) => 0.55,
            (Word(_), _) | (_, Word(_)) => 0.04,
        }
    }

    /// Whether it shows by itself that frames are lost.
    pub fn shows_loss(self, seen: &Value) -> bool {
        match self {
            Self::Counter(_, name) => name.starts_with("tx_") && !matches!(seen, Value::None | Value::Few),
            Self::Queue(_, name) => name != "requeues" && !matches!(seen, Value::None | Value::Few),
            Self::Hook(_) => !matches!(seen, Value::None | Value::Few),
            Self::State(_) => *seen != Value::word("up"),
            Self::Told => *seen != Value::word("nothing"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_was_given_to_the_device() {
        assert_eq!(Value::share(0, 0), Value::None);
        assert_eq!(Value::share(1, 1000), Value::Few);
        assert_eq!(Value::share(222_430, 222_441), Value::Most);
        assert_eq!(Value::share(u64::MAX, u64::MAX), Value::Few, "saturates instead of overflowing");
        assert_eq!(Value::share(100, 200), Value::Part);
    }

    /// What was measured must never be worse than something else, or ranks would follow the noise.
    #[test]
    fn the_measured_value_is_the_likeliest_cause_of_itself() {
        let values = [Value::None, Value::Part, Value::Most, Value::word("up"), Value::word("down")];
        for feature in
            [Feature::Counter(Role::Bond, "tx_dropped"), Feature::State(Role::Port), Feature::Failures]
        {
            for seen in &values {
                let own = feature.likelihood(seen, seen);
                assert!(
                    values.iter().all(|other| feature.likelihood(other, seen) <= own),
                    "{feature:?} {seen}"
                );
            }
        }
    }
}
