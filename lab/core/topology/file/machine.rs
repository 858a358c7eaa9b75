//! The machine's table as written.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::machine::{KernelWord, ModuleName, ParameterValue};
use crate::topology::file::{At, in_file_order};

/// The machine that it runs in. What it asks for is looked at before anything is made: a machine that is not so, as with
/// `--kernel host`, skips the topology.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    /// Processors, 1 to 8; 1 without.
    pub cpus: Option<At<u8>>,
    /// Words after the lab's own on the kernel command line: `["ipv6.disable=1"]`.
    #[serde(default)]
    pub cmdline: Vec<At<KernelWord>>,
    /// Parameters of modules, by module: `[machine.module.bonding]` with `max_bonds = 1`.
    #[serde(default, deserialize_with = "in_file_order")]
    pub module: IndexMap<At<ModuleName>, IndexMap<At<ModuleName>, At<ParameterValue>>>,
    /// Modules that are not put into the machine.
    #[serde(default)]
    pub without_modules: Vec<At<ModuleName>>,
}
