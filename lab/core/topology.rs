//! A topology: read from TOML, checked as a whole, resolved to a graph of namespaces and links.

pub(crate) mod check;
pub mod cni;
pub mod condition;
pub mod fault;
pub mod file;
pub mod lint;
pub mod mitigation;
pub mod mutant;
pub mod observation;
pub mod parse;
pub mod places;
pub mod request;
pub mod scenario;
pub mod source;
pub mod substitute;
pub mod value;

use std::net::IpAddr;

use indexmap::IndexMap;

pub use crate::topology::check::conditions::SEND_ERRNOS;
pub use crate::topology::check::nearest;
pub use crate::topology::parse::diagnostic::{Diagnostic, TopologyErrors};
pub use crate::topology::parse::format::NEWEST as NEWEST_FORMAT;
pub use crate::topology::parse::parameters::{Setting, SettingError};

use crate::net::family::Family;
use crate::net::link::Link;
use crate::net::machine::Machine;
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::net::route::{Neighbour, Route, Rule};
use crate::net::sysctl::Sysctl;
use crate::topology::check::{alternatives, limits, selectors};
use crate::topology::cni::{Attachment, Attachments};
use crate::topology::lint::Finding;
use crate::topology::parse::read;
use crate::topology::scenario::{Scenario, Step};
use crate::topology::source::Source;
use crate::topology::substitute::Substitution;

/// A checked topology. Every reference in it leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The file's name without ending.
    pub name: String,
    /// What it shows, in plain words.
    pub about: Option<String>,
    /// The kernel it was written for: an id of kernels.toml.
    pub kernel: Option<String>,
    /// What it asks of its machine.
    pub machine: Machine,
    /// Namespaces in the order of the file.
    pub namespaces: IndexMap<NsName, Namespace>,
    /// Links, those below before those above.
    pub links: IndexMap<DeviceRef, Link>,
    /// What attaching pods adds to it.
    pub attachments: Attachments,
    /// What is in the place of NICs.
    pub substitutions: Vec<Substitution>,
    /// What happens on it.
    pub scenario: Scenario,
    /// What it is under a hypothesis that makes it in another way, by the hypothesis' name.
    pub alternatives: IndexMap<String, Topology>,
}

/// A namespace's tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Whether it passes IPv4 on.
    pub forwarding: bool,
    /// Devices by which packets leave with the device's own address.
    pub masquerade: Vec<IfName>,
    /// In the order of the file.
    pub sysctls: Vec<Sysctl>,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// In the order of the file.
    pub neighbours: Vec<Neighbour>,
}

impl Topology {
    /// Reads and checks a topology file's text. `name` is the file's name without ending; `path` is for messages.
    ///
    /// # Errors
    /// All that is wrong with the text, each with its place and a hint.
    pub fn parse(name: &str, path: &str, text: &str) -> Result<Self, TopologyErrors> {
        // Of a file with parameters the first variant; each of them has to be one.
        let all = Self::variants(name, path, text, &[])?;
        Ok(all.into_iter().next().expect("a file has one variant at least"))
    }

    /// As [`Topology::variants`], with what lint finds in any of them and the file does not allow, in its order.
    ///
    /// # Errors
    /// As [`Topology::parse`].
    pub fn parse_and_lint(name: &str, source: &Source) -> Result<(Vec<Self>, Vec<Finding>), TopologyErrors> {
        let all = Self::variants_with_files(name, source, &[])?;
        let mut findings = Vec::new();
        for (topology, file) in &all {
            let found = lint::lint(file, topology, source);
            findings.extend(found.into_iter().filter(|one| !findings.contains(one)).collect::<Vec<_>>());
        }
        Ok((all.into_iter().map(|(topology, _)| topology).collect(), findings))
    }

    /// Reads and checks all variants of a topology file, one for each combination of its parameters' values. A parameter that is
    /// `set` has that value alone.
    ///
    /// # Errors
    /// As [`Topology::parse`], of all variants.
    pub fn variants(
        name: &str,
        path: &str,
        text: &str,
        set: &[Setting],
    ) -> Result<Vec<Self>, TopologyErrors> {
        Self::variants_of(name, &Source::of(path, text), set)
    }

    /// As [`Topology::variants`], of a file with those that it includes.
    ///
    /// # Errors
    /// As [`Topology::variants`]; each mistake has its own file's name.
    pub fn variants_of(name: &str, source: &Source, set: &[Setting]) -> Result<Vec<Self>, TopologyErrors> {
        let all = Self::variants_with_files(name, source, set)?;
        Ok(all.into_iter().map(|(topology, _)| topology).collect())
    }

    fn variants_with_files(
        name: &str,
        source: &Source,
        set: &[Setting],
    ) -> Result<Vec<(Self, file::TopologyFile)>, TopologyErrors> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let (mut variant, mut count) = (0, 1);
        while variant < count {
            let mut read = read::read(source, set, variant);
            (variant, count) = (variant + 1, read.variants);
            let own = format!("{name}{}", read.name_suffix);
            let others = std::mem::take(&mut read.alternatives);
            let (mut both, mut wrong) = Self::checked(&own, read);
            alternatives::add(both.as_mut().map(|(topology, _)| topology), others, &mut wrong);
            found.extend(both);
            problems.extend(wrong.into_iter().filter(|one| !problems.contains(one)).collect::<Vec<_>>());
        }
        if problems.is_empty() && found.len() == count {
            return Ok(found);
        }
        Err(TopologyErrors::of(source, problems))
    }

    pub(crate) fn checked(
        name: &str,
        read: read::Read,
    ) -> (Option<(Self, file::TopologyFile)>, Vec<Diagnostic>) {
        let mut problems = read.problems;
        let file = read.file.filter(|file| limits::check(file, &mut problems));
        let both = file.map(|mut file| {
            selectors::expand(&mut file, &mut problems);
            (check::check(name, &file, read.lost, &mut problems), file)
        });
        (both, problems)
    }

    /// A device that is there from the start, or once a pod is attached.
    pub fn link(&self, device: &DeviceRef) -> Option<&Link> {
        self.links.get(device).or_else(|| self.attachments.devices.get(device))
    }

    /// Changes all that is attached: by its step's number, and in the step itself.
    pub fn each_attachment(&mut self, mut change: impl FnMut(&mut Attachment)) {
        self.attachments.by_step.values_mut().for_each(&mut change);
        for step in &mut self.scenario.steps {
            if let Step::Attach(attachment) | Step::Detach(attachment) | Step::Check(attachment) = step {
                change(attachment);
            }
        }
    }

    /// Those that are there from the start, and those that attaching pods brings.
    pub fn all_links(&self) -> impl Iterator<Item = &Link> {
        self.links.values().chain(self.attachments.devices.values())
    }

    /// The topology as it is under a hypothesis.
    pub fn under(&self, hypothesis: &str) -> &Self {
        self.alternatives.get(hypothesis).unwrap_or(self)
    }

    /// The IPv4 addresses of a device, in the order of the file.
    pub fn ipv4_of(&self, device: &DeviceRef) -> Option<std::net::Ipv4Addr> {
        self.link(device)?.addresses.iter().find_map(|cidr| match cidr.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// The address of a device that a flow of this family is sent from or to: its first one, of IPv6 no link-local one.
    pub fn address_of(&self, device: &DeviceRef, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4 => self.ipv4_of(device).map(IpAddr::V4),
            Family::Ipv6 => self.link(device)?.addresses.iter().find_map(|cidr| match cidr.address {
                IpAddr::V6(address) if !address.is_unicast_link_local() => Some(IpAddr::V6(address)),
                _ => None,
            }),
        }
    }

    /// Whether any address of the topology is of IPv6; if none is, IPv6 stays off and sends nothing of its own.
    pub fn uses_ipv6(&self) -> bool {
        let mut links = self.links.values().chain(self.attachments.devices.values());
        links.any(|link| link.addresses.iter().any(|cidr| cidr.address.is_ipv6()))
            || self.alternatives.values().any(Self::uses_ipv6)
    }

    /// The JSON Schema of the file, from the same types that read it.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(file::TopologyFile)
    }
}
