//! The machine's table as written.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::net::machine::{KernelWord, ModuleName, ParameterValue};
use crate::topology::file::{At, in_file_order};

/// The machine that it runs in. It is checked before any link is created: if the machine is different, as with `--kernel host`, the
/// topology is skipped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    /// Number of processors, 1 to 8. Default: 1.
    pub cpus: Option<At<u8>>,
    /// Parameters that are added to the kernel command line: `["ipv6.disable=1"]`.
    #[serde(default)]
    pub cmdline: Vec<At<KernelWord>>,
    /// Parameters of modules, by module: `[machine.module.bonding]` with `max_bonds = 1`.
    #[serde(default, deserialize_with = "in_file_order")]
    pub module: IndexMap<At<ModuleName>, IndexMap<At<ModuleName>, At<ParameterValue>>>,
    /// Modules that are not available in the machine.
    #[serde(default)]
    pub without_modules: Vec<At<ModuleName>>,
}
