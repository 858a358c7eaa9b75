//! The plan: what the agent does, in order. Lowering a checked topology to it cannot fail.

pub(crate) mod attach;
pub(crate) mod attach_bond;
pub mod bounds;
pub(crate) mod build;
pub(crate) mod cni_calls;
pub mod digest;
pub mod exec;
pub mod exec_frame;
pub mod fuse;
pub mod handshake;
pub(crate) mod limits;
pub mod lower;
pub(crate) mod mitigation;
pub mod moment;
pub mod mutant_order;
pub(crate) mod mutants;
pub(crate) mod need;
pub mod op;
pub mod record;
pub(crate) mod repeat;
pub mod run_options;
pub(crate) mod settled;
pub mod sharing;
pub(crate) mod shown;
pub mod stepping;
pub mod tapped;
pub(crate) mod text;
pub(crate) mod timing;

use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use crate::plan::cni_calls::{LeaseCall, PluginCall};
pub use crate::plan::mutant_order::{MutantOrder, OrderMutants};
pub use crate::plan::mutants::elements::plain;
pub use crate::plan::need::{Need, needs_drivers, needs_netdevsim};
pub use crate::plan::repeat::REPETITIONS_MAX;
pub use crate::plan::run_options::{Mutation, Programs, RunOptions};

use crate::net::machine::Machine;
use crate::net::nic::Slot;
use crate::plan::build::build;
use crate::plan::op::Op;
use crate::topology::scenario::Flow;

/// Everything a guest has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The topology's name.
    pub topology: String,
    /// What the kernel has to offer; probed before anything is made.
    pub needs: Vec<Need>,
    /// The NICs of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<Slot>,
    /// What is asked of the machine.
    #[serde(default, skip_serializing_if = "Machine::is_empty")]
    pub machine: Machine,
    /// Whether IPv6 is switched on in the namespaces.
    pub ipv6: bool,
    /// How it is run.
    #[serde(default)]
    pub options: RunOptions,
    /// Flows, by number.
    pub flows: Vec<FlowPlan>,
    /// Trials, by number. Each stands in namespaces of its own.
    pub trials: Vec<Trial>,
    /// How often they are there, one round after the other.
    #[serde(default = "repeat::once", skip_serializing_if = "repeat::is_once")]
    pub repetitions: NonZeroU16,
}

/// A flow with everything its sender and receiver need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPlan {
    /// As in the topology.
    pub flow: Flow,
    /// The sender's address.
    pub source: IpAddr,
    /// The receiver's address.
    pub destination: IpAddr,
}

/// One run of the topology from nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What it is for.
    pub role: Role,
    /// In order.
    pub ops: Vec<Op>,
}

/// What a trial is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The steps as written.
    Main,
    /// The report's flows with nothing broken: if they do not arrive, no hypothesis means anything.
    Control,
    /// The report's flows under one hypothesis.
    Hypothesis(String),
    /// The same, after something was tried against it.
    Mitigation {
        /// The hypothesis.
        cause: String,
        /// What was tried.
        mitigation: String,
    },
    /// A change in which some expectation must not hold.
    Mutant(String),
}
