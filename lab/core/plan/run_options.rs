//! How a topology is run: what the user chooses, or the machine has. Nothing of it is in the topology's file.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::topology::Topology;
use crate::topology::cni::Network;
use crate::topology::mutant::{Mutant, MutationTarget};

/// The options of a run. Lowering takes them beside the topology.
///
/// The order in which they are set matters once: mutants are made of the topology that runs, so substitutes for NICs come
/// first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// Whether the expectations are mutation-tested (`--prove`), and with which mutants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation: Option<Mutation>,
    /// Whether the drop tracepoint is left alone (`--no-observer`): to measure what watching costs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unobserved: bool,
    /// Whether frames are kept as both ends of a flow see them (`--pcap`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pcap: bool,
    /// Whether the topology has substitutes because QEMU or the kernel has not the NICs that its file asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used_fallback: bool,
    /// Who attaches pods (`--cni`).
    #[serde(default)]
    pub programs: Programs,
}

/// Mutants, and what each of them is to break.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// In the order in which their trials are in the plan.
    pub mutants: Vec<Mutant>,
    /// None where only a report's evidence is proven, which needs no mutants.
    pub targets: Vec<MutationTarget>,
}

/// Which networks are attached by the plugins' own programs; the others by the lab's own implementation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Programs {
    /// As the file says of each network.
    #[default]
    AsWritten,
    /// None.
    Never,
    /// All.
    Always,
    /// Those of which every program is one of these.
    WhereThere(BTreeSet<String>),
}

impl RunOptions {
    /// Whether a network's plugins are run by their own programs.
    pub fn runs_programs_of(&self, network: &Network) -> bool {
        match &self.programs {
            Programs::AsWritten => network.real,
            Programs::Never => false,
            Programs::Always => true,
            Programs::WhereThere(names) => network.programs().all(|name| names.contains(name)),
        }
    }

    /// The topology with each network's choice in the place of what the file says of it.
    pub(crate) fn with_programs<'t>(&self, topology: &'t Topology) -> Cow<'t, Topology> {
        if self.programs == Programs::AsWritten {
            return Cow::Borrowed(topology);
        }
        let mut topology = topology.clone();
        topology.each_attachment(|attachment| {
            for attached in &mut attachment.delegates {
                attached.network.real = self.runs_programs_of(&attached.network);
            }
        });
        Cow::Owned(topology)
    }

    /// The mutants of the run.
    pub(crate) fn mutants(&self) -> &[Mutant] {
        self.mutation.as_ref().map_or(&[], |mutation| &mutation.mutants)
    }

    /// What they are to break.
    pub fn mutation_targets(&self) -> &[MutationTarget] {
        self.mutation.as_ref().map_or(&[], |mutation| &mutation.targets)
    }
}
