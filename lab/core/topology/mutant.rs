//! Mutants: a topology with one element dropped, negated or emptied, under which an expectation must not hold.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::net::name::DeviceRef;
use crate::topology::condition::Condition;
use crate::topology::fault::Hook;

/// A topology with one change. [`Action`] and [`Element`] say which; `plan::mutants` has the table of what that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What is done.
    pub action: Action,
    /// To what.
    pub of: Element,
    /// Waited for after the last step: a state needs time to come about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Condition>,
}

/// What is done to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is left out.
    Drop,
    /// It is the opposite of what the topology has.
    Negate,
    /// It is there, with nothing in it.
    Empty,
}

impl Action {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Drop, Self::Negate, Self::Empty];
}

/// An element of a topology that a mutant changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// All faults.
    Faults,
    /// One fault, by its name.
    Fault(String),
    /// All steps.
    Steps,
    /// One step, by its number from 0.
    Step(usize),
    /// The frames of all flows.
    Flows,
    /// The networks of pods after the first so many.
    Networks(usize),
    /// A device.
    Link(DeviceRef),
    /// The addresses of a device.
    Addresses(DeviceRef),
    /// The permanent neighbours of a device.
    Neighbours(DeviceRef),
    /// A port of a bond or bridge.
    Port {
        /// The port.
        port: DeviceRef,
        /// The bond or bridge.
        controller: DeviceRef,
    },
    /// All ports of a bond.
    Ports(DeviceRef),
    /// That a device is set up.
    Up(DeviceRef),
    /// The Ethernet address of a device.
    Mac(DeviceRef),
    /// The largest packet of a device.
    Mtu(DeviceRef),
    /// The root queueing discipline of a device.
    Queue(DeviceRef),
    /// The frames that pass a device.
    Frames {
        /// The device.
        device: DeviceRef,
        /// On the way in or out.
        hook: Hook,
    },
    /// The cable of a device.
    Cable(DeviceRef),
    /// All that is configured, of which the hypothesis of this name has another version (`with`).
    Configuration(String),
}

impl Element {
    /// The topology without it.
    pub fn dropped(self) -> Mutant {
        self.with(Action::Drop)
    }

    /// The topology with its opposite.
    pub fn negated(self) -> Mutant {
        self.with(Action::Negate)
    }

    /// The topology with nothing in it.
    pub fn emptied(self) -> Mutant {
        self.with(Action::Empty)
    }

    fn with(self, action: Action) -> Mutant {
        Mutant { action, of: self, until: None }
    }
}

impl Mutant {
    /// The same, and then a wait for what it brings about.
    #[must_use]
    pub fn until(self, until: Condition) -> Self {
        Self { until: Some(until), ..self }
    }
}

/// A condition of the main trial that mutant trials are to break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutationTarget {
    /// An expectation, or what a step waits for.
    pub condition: Condition,
    /// The trials that are meant to, by their places among the mutant ones.
    pub mutants: Vec<usize>,
}

/// The label of its trial. An action that an element does not have is written as its word.
impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Action::{Drop, Empty, Negate};
        match (self.action, &self.of) {
            (Drop, Element::Faults) => f.write_str("nothing broken"),
            (Drop, Element::Fault(name)) => write!(f, "all but {name}"),
            (Negate, Element::Fault(name)) => write!(f, "{name} from the start"),
            (Drop, Element::Steps) => f.write_str("none of the steps"),
            (Drop, Element::Step(number)) => write!(f, "without step {}", number + 1),
            (Empty, Element::Flows) => f.write_str("half of the frames"),
            (Drop, Element::Networks(1)) => f.write_str("only the first network attached"),
            (Drop, Element::Networks(first)) => write!(f, "only the first {first} networks attached"),
            (Empty, Element::Networks(_)) => f.write_str("networks without VF settings"),
            (Negate, Element::Link(device)) => write!(f, "{device} made at the end"),
            (Empty, Element::Link(device)) => write!(f, "{device} without options"),
            (Drop, Element::Addresses(device)) => write!(f, "{device} without addresses"),
            (Drop, Element::Neighbours(device)) => write!(f, "{device} without permanent neighbours"),
            (Drop, Element::Port { port, controller }) => write!(f, "{port} released from {controller}"),
            (Negate, Element::Configuration(name)) => write!(f, "configured as under {name}"),
            (Empty, Element::Ports(device)) => write!(f, "{device} without ports"),
            (Negate, Element::Ports(device)) => write!(f, "{device} with another port"),
            (Drop, Element::Up(device)) => write!(f, "{device} set down"),
            (Negate, Element::Up(device)) => write!(f, "{device} set up at the end"),
            (Negate, Element::Mac(device)) => write!(f, "{device} given another address at the end"),
            (Negate, Element::Mtu(device)) => write!(f, "another mtu of {device}"),
            (Empty, Element::Mtu(device)) => write!(f, "smallest mtu of {device}"),
            (Negate, Element::Queue(device)) => write!(f, "queue of {device} held"),
            (Empty, Element::Queue(device)) => write!(f, "queue of {device} with limit 0"),
            (Drop, Element::Frames { device, hook }) => {
                write!(f, "all frames dropped at {} of {device}", hook.word())
            }
            (Negate, Element::Cable(device)) => {
                write!(f, "all cables out, and the one of {device} in again")
            }
            (action, of) => write!(f, "{action:?} of {of:?}"),
        }
    }
}
