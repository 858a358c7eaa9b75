//! Mutants: changes of a topology under which an expectation must not hold.

use serde::{Deserialize, Serialize};

use crate::net::name::DeviceRef;
use crate::topology::condition::Condition;
use crate::topology::fault::Fault;

/// A change of a topology in which an expectation must not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// None of its faults.
    Healthy,
    /// None of its faults, but this one from the first step on.
    Broken(Fault),
    /// This one of its faults from the first step on, and everything else as written.
    Named(String),
    /// Half of the frames.
    Halved,
    /// A device made without its options, and nothing broken. A PF's are its VF settings; a VF's, those that its
    /// PF has for it.
    Plain(DeviceRef),
    /// A device without addresses, the routes through them and the flows from or to it, and nothing broken.
    Unaddressed(DeviceRef),
    /// A device without the permanent neighbours of the topology, and nothing broken.
    WithoutNeighbours(DeviceRef),
    /// A bond with another port, which has carrier, and nothing broken.
    Joined(DeviceRef),
    /// All cables of a namespace out, and this one in again.
    Replugged(DeviceRef),
    /// No pod attached to anything, and nothing done.
    Undone,
    /// Pods attached to so many of their networks only, and nothing done.
    Networks(usize),
    /// Pods attached by a sriov plugin that tells the PF nothing: no VLAN, no spoofchk, no trust.
    WithoutVfSettings,
    /// Everything as written, but no pod detached.
    NotDetached,
    /// Everything as written, and then this device set up.
    Raised(DeviceRef),
    /// Everything as written, and then this device given a stranger's Ethernet address.
    Readdressed(DeviceRef),
    /// Everything as written, and then a device of this name made.
    Made(DeviceRef),
    /// Another one of these, and then a wait for what it brings about.
    Until(Box<Mutant>, Condition),
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

impl Mutant {
    /// The fault that it injects and the topology does not have.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Broken(fault) => Some(fault),
            Self::Until(other, _) => other.fault(),
            _ => None,
        }
    }
}
