//! The order of pins: by version, then flavour, then the name of a user's own build.

use crate::kernel::pins::Flavour;
use bondlab_core::net::version::{KernelVersion, Series};

/// The place of a pin in the order of versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) version: KernelVersion,
    pub(super) flavour: Flavour,
    /// The name of a user's own kernel: numbers in it are compared as such, so that 6.8.0-31 is before 6.8.0-100.
    build: Vec<(u64, String)>,
    name: String,
}

impl Place {
    /// Whether it is a pin of Debian's, of this series.
    pub(super) fn is_debians_of(&self, series: Series) -> bool {
        self.version.series() == series && self.flavour != Flavour::Local
    }

    /// The place of a pin of Debian's.
    pub(super) fn debian(version: KernelVersion, flavour: Flavour) -> Self {
        Self { version, flavour, build: Vec::new(), name: String::new() }
    }

    /// The place of a kernel of the user's own.
    pub(super) fn local(version: KernelVersion, name: &str) -> Self {
        let is_digit = |c: char| c.is_ascii_digit();
        let mut build = Vec::new();
        let mut rest = name;
        while !rest.is_empty() {
            let (digits, after) = rest.split_at(rest.find(|c| !is_digit(c)).unwrap_or(rest.len()));
            let (text, after) = after.split_at(after.find(is_digit).unwrap_or(after.len()));
            build.push((digits.parse().unwrap_or(u64::MAX), text.to_owned()));
            rest = after;
        }
        Self { version, flavour: Flavour::Local, build, name: name.to_owned() }
    }
}
