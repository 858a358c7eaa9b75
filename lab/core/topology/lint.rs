//! Lint: what a kernel takes, and what surprises whoever runs it. Each rule has a severity, a reason, a public report behind it
//! where there is one, and can be silenced in the file: `[lint.allow]`, with a word why.

pub(crate) mod bonds;
pub(crate) mod options;
pub(crate) mod stack;
pub(crate) mod table;

use std::fmt;
use std::ops::Range;

use crate::net::bond::Bond;
use crate::net::clean;
use crate::net::link::{Link, LinkKind};
use crate::net::name::{DeviceRef, IfName, NsName};
use crate::topology::Topology;
use crate::topology::file::{At, BondTable, NsTable, TopologyFile};
use crate::topology::source::{Place, Source};

pub use crate::topology::lint::table::RULES;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth to know; it may be meant.
    Info,
    /// It works, and fails when it matters, or does something else than it says.
    Warning,
    /// The kernel refuses it, or frames are lost.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// By which it is silenced.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What happens, and where the kernel or a manual says so.
    pub reason: &'static str,
    /// A public report or manual.
    pub report: Option<&'static str>,
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// A lowercase fragment that names the device.
    pub message: String,
    /// None where no file shows a place of its own.
    pub place: Option<Place>,
}

impl Finding {
    /// Without a place.
    pub fn new(rule: &'static Rule, message: impl AsRef<str>) -> Self {
        Self { rule, message: clean::line(message.as_ref()).into_owned(), place: None }
    }
}

impl fmt::Display for Finding {
    /// `warning: message [rule]`, and under it the reason and the report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { name, severity, reason, report } = self.rule;
        write!(f, "{severity}: {} [{name}]\n  reason: {reason}", self.message)?;
        report.map_or(Ok(()), |report| write!(f, "\n  see: {report}"))
    }
}

/// The rule of a name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}

/// A topology and the file that it was made of, while rules look at it.
pub(crate) struct Scope<'a> {
    pub file: &'a TopologyFile,
    pub topology: &'a Topology,
    found: Vec<(Finding, Range<usize>)>,
}

/// A bond that the file has a table for.
pub(crate) struct WrittenBond<'a> {
    pub device: DeviceRef,
    pub name: &'a At<IfName>,
    pub table: &'a BondTable,
    pub bond: &'a Bond,
}

impl WrittenBond<'_> {
    /// Where an option is written, else the bond's name.
    pub fn place(&self, key: &str) -> Range<usize> {
        self.table.place(key).unwrap_or_else(|| self.name.span.clone())
    }
}

impl<'a> Scope<'a> {
    /// Notes what a rule found.
    pub fn find(&mut self, rule: &'static Rule, span: &Range<usize>, message: impl AsRef<str>) {
        self.found.push((Finding::new(rule, message), span.clone()));
    }

    /// Namespaces with their tables.
    pub fn namespaces(&self) -> impl Iterator<Item = (&'a NsName, &'a NsTable)> {
        self.file.ns.iter().map(|(ns, table)| (&ns.value, table))
    }

    /// All bonds of the file.
    pub fn bonds(&self) -> Vec<WrittenBond<'a>> {
        let mut all = Vec::new();
        for (ns, table) in self.namespaces() {
            for (name, table) in &table.bond {
                let device = DeviceRef::new(ns, &name.value);
                if let Some(LinkKind::Bond(bond)) = self.topology.links.get(&device).map(|link| &link.kind) {
                    all.push(WrittenBond { device, name, table, bond });
                }
            }
        }
        all
    }

    /// The bond that a device is a port of.
    pub fn bond_of(&self, port: &DeviceRef) -> Option<&'a Link> {
        let is_it = |link: &&Link| matches!(link.kind, LinkKind::Bond(_)) && link.has_port(port);
        self.topology.all_links().find(is_it)
    }

    /// Where a device has a table of its own: its name's place.
    pub fn place_of(&self, device: &DeviceRef) -> Option<Range<usize>> {
        let (_, table) = self.namespaces().find(|(ns, _)| **ns == device.ns)?;
        macro_rules! named {
            ($($kind:ident)+) => {
                [$(table.$kind.keys().find(|name| name.value == device.name)),+]
            };
        }
        let found = named![veth dummy gadget tap tun bond vlan ipvlan macvlan bridge netdevsim nic pf vf];
        found.into_iter().flatten().next().map(|name| name.span.clone())
    }
}

/// Looks at a topology with every rule, and leaves out what the file allows.
pub(crate) fn lint(file: &TopologyFile, topology: &Topology, source: &Source) -> Vec<Finding> {
    let mut scope = Scope { file, topology, found: Vec::new() };
    for check in table::CHECKS {
        check(&mut scope);
    }
    let Scope { mut found, .. } = scope;
    let allowed: Vec<_> = file.lint.iter().flat_map(|lint| &lint.allow).collect();
    for (name, _) in &allowed {
        let is_used = found.iter().any(|(finding, _)| finding.rule.name == name.value);
        if !is_used {
            let message = format!("`{}` is allowed, and finds nothing here", name.value);
            found.push((Finding::new(&table::ALLOW_UNUSED, message), name.span.clone()));
        }
    }
    found.retain(|(finding, _)| !allowed.iter().any(|(name, _)| name.value == finding.rule.name));
    found.sort_by_key(|(finding, span)| (span.start, finding.rule.name));
    found.dedup();
    let with_place = |(finding, span): (Finding, Range<usize>)| {
        let place = (span != NOWHERE).then(|| source.place(span.start));
        Finding { place, ..finding }
    };
    found.into_iter().map(with_place).collect()
}

/// The place of what has none.
pub(crate) const NOWHERE: Range<usize> = crate::topology::parse::document::NOWHERE;
