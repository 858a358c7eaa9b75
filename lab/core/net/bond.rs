//! A bond: its mode, its ports, and what is asked of both.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::net::bond_option::{BondOptions, MODE, PortOptions};
use crate::net::mode::BondMode;
use crate::net::name::IfName;
use crate::net::option::{OptionRow, OptionType, Value};

/// A bond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// The mode.
    pub mode: BondMode,
    /// In the order they join.
    pub ports: Vec<IfName>,
    /// What is asked of the bond.
    pub options: BondOptions,
    /// What is asked of ports, by name.
    pub port_options: IndexMap<IfName, PortOptions>,
}

impl Bond {
    /// A bond of which everything is the kernel's choice but its mode and ports.
    pub fn new(mode: BondMode, ports: Vec<IfName>) -> Self {
        Self { mode, ports, options: BondOptions::default(), port_options: IndexMap::new() }
    }

    /// All that is asked of the bond, its mode first.
    pub fn values(&self) -> Vec<(&'static OptionRow, Value)> {
        let mut all = vec![(&MODE, self.mode.value())];
        all.extend(self.options.values());
        all
    }
}

/// What a bond or a port of one is asked in the midst of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BondChange {
    /// Of the bond.
    Bond {
        /// Another mode.
        mode: Option<BondMode>,
        /// Other options.
        options: Box<BondOptions>,
    },
    /// Of a port.
    Port(PortOptions),
}

impl BondChange {
    /// All that is asked for, the mode first.
    pub fn values(&self) -> Vec<(&'static OptionRow, Value)> {
        match self {
            Self::Bond { mode, options } => {
                let mode = mode.map(|mode| (&MODE, mode.value()));
                mode.into_iter().chain(options.values()).collect()
            }
            Self::Port(options) => options.values(),
        }
    }
}
