//! The typed builder of topologies: it writes the text of a topology file, which then goes through the same reading and the
//! same checks as any file.

use serde::Serialize;
use toml::{Table, Value};

use crate::testing::topology::{Topology, TopologyError};

/// What messages call a topology that has no file.
const NO_FILE: &str = "builder";

/// A table of a topology file under construction. What cannot be written as TOML is reported by `build`.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entries {
    table: Table,
    problems: Vec<String>,
}

impl Entries {
    /// Sets a key; `qdisc.limit` is the key `limit` of the table `qdisc`.
    fn set(&mut self, key: &str, value: impl Serialize) {
        let value = match Value::try_from(value) {
            Ok(value) => value,
            Err(error) => return self.problems.push(format!("the value of `{key}`: {error}")),
        };
        let mut names: Vec<&str> = key.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut table = &mut self.table;
        for name in names {
            let inner = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => table = inner,
                _ => return self.problems.push(format!("`{key}`: `{name}` has a value that is no table")),
            }
        }
        table.insert(last.to_owned(), value);
    }
}

/// Methods that every table has.
macro_rules! table {
    ($type:ident) => {
        impl $type {
            /// Sets any other key of the table, as `docs/reference.md` has it. A dot leads into a table below
            /// (`"qdisc.limit"`). An unknown key or a wrong value is an error of [`TopologyBuilder::build`].
            #[must_use]
            pub fn set(mut self, key: &str, value: impl Serialize) -> Self {
                self.entries.set(key, value);
                self
            }
        }
    };
}

/// A link of a namespace: its kind, and the keys of that kind.
///
/// ```
/// use lab::build::Link;
/// let bond = Link::bond("active-backup", ["p0", "p1"]).set("miimon", 100).address("192.0.2.1/24");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    kind: String,
    entries: Entries,
    addresses: Vec<String>,
}

table!(Link);

impl Link {
    /// A link of any kind, by the word that topology files have for it.
    #[must_use]
    pub fn of_kind(kind: &str) -> Self {
        Self { kind: kind.into(), entries: Entries::default(), addresses: Vec::new() }
    }

    /// One end of a cable; `peer` is the other one, `namespace:device`. Only one of the two needs to name the other.
    #[must_use]
    pub fn veth(peer: &str) -> Self {
        Self::of_kind("veth").set("peer", peer)
    }

    /// A device that swallows what it is given.
    #[must_use]
    pub fn dummy() -> Self {
        Self::of_kind("dummy")
    }

    /// A bond: the kernel's word for its mode (`active-backup`, `802.3ad`), and its ports.
    #[must_use]
    pub fn bond<'a>(mode: &str, ports: impl IntoIterator<Item = &'a str>) -> Self {
        let ports: Vec<&str> = ports.into_iter().collect();
        Self::of_kind("bond").set("mode", mode).set("ports", ports)
    }

    /// A VLAN device on `parent`, a device of the same namespace.
    #[must_use]
    pub fn vlan(parent: &str, id: u16) -> Self {
        Self::of_kind("vlan").set("parent", parent).set("id", id)
    }

    /// A bridge and its ports.
    #[must_use]
    pub fn bridge<'a>(ports: impl IntoIterator<Item = &'a str>) -> Self {
        let ports: Vec<&str> = ports.into_iter().collect();
        Self::of_kind("bridge").set("ports", ports)
    }

    /// An address with its prefix length; several may be given.
    #[must_use]
    pub fn address(mut self, cidr: &str) -> Self {
        self.addresses.push(cidr.into());
        let addresses = self.addresses.clone();
        self.set("addresses", addresses)
    }
}

/// A flow of numbered frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    entries: Entries,
}

table!(Flow);

impl Flow {
    /// So many frames from one device to another, by a packet socket and as fast as it goes.
    #[must_use]
    pub fn new(from: &str, to: &str, frames: u32) -> Self {
        Self { entries: Entries::default() }.set("from", from).set("to", to).set("frames", frames)
    }

    /// Another kind of socket: `packet-bypass`, `udp`, `udp-recverr`, `ping` or `tcp`.
    #[must_use]
    pub fn socket(self, socket: &str) -> Self {
        self.set("socket", socket)
    }
}

/// Something to break: its kind, and the keys of that kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    kind: String,
    entries: Entries,
}

table!(Fault);

impl Fault {
    /// A fault of any kind, by the word that topology files have for it (`down`, `filter`, `mtu`), on a device.
    #[must_use]
    pub fn of_kind(kind: &str, device: &str) -> Self {
        Self { kind: kind.into(), entries: Entries::default() }.set("device", device)
    }

    /// A queueing discipline at the root of a device; `.set("qdisc.limit", 0)` sets its options.
    #[must_use]
    pub fn qdisc(device: &str, kind: &str) -> Self {
        Self::of_kind("qdisc", device).set("qdisc.kind", kind)
    }

    /// The device is taken down.
    #[must_use]
    pub fn down(device: &str) -> Self {
        Self::of_kind("down", device)
    }
}

/// What must hold after the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    entries: Entries,
}

table!(Condition);

impl Condition {
    /// A number of a flow's account: `sent`, `delivered`, `lost`, ...
    #[must_use]
    pub fn flow(flow: &str, field: &str) -> Self {
        Self { entries: Entries::default() }.set("flow", flow).set("field", field)
    }

    /// Sends of a flow that were refused with this errno.
    #[must_use]
    pub fn refused(flow: &str, errno: &str) -> Self {
        Self { entries: Entries::default() }.set("flow", flow).set("errno", errno)
    }

    /// Frames of a flow that were lost at a layer.
    #[must_use]
    pub fn lost_at(flow: &str, layer: &str) -> Self {
        Self { entries: Entries::default() }.set("flow", flow).set("layer", layer)
    }

    /// By how much a counter of a device has moved.
    #[must_use]
    pub fn counter(device: &str, counter: &str) -> Self {
        Self { entries: Entries::default() }.set("device", device).set("counter", counter)
    }

    /// A state of a device: `carrier`, `active`, `ports`, ...
    #[must_use]
    pub fn state(device: &str, state: &str) -> Self {
        Self { entries: Entries::default() }.set("device", device).set("state", state)
    }

    /// What a capture has counted.
    #[must_use]
    pub fn captured(capture: &str) -> Self {
        Self { entries: Entries::default() }.set("capture", capture)
    }

    /// It is exactly this.
    #[must_use]
    pub fn equals(self, number: u64) -> Self {
        self.set("equals", number)
    }

    /// It is this or more.
    #[must_use]
    pub fn at_least(self, number: u64) -> Self {
        self.set("at_least", number)
    }

    /// It is this or less.
    #[must_use]
    pub fn at_most(self, number: u64) -> Self {
        self.set("at_most", number)
    }
}

/// Builds a topology, table by table. [`TopologyBuilder::build`] reports all mistakes at once, as for a file, with the lines of
/// the text that was written ([`TopologyBuilder::text`]).
///
/// ```
/// use lab::Topology;
/// use lab::build::{Condition, Flow, Link};
///
/// let topology = Topology::builder("two-ports")
///     .link("node:p0", Link::veth("switch:p0"))
///     .link("switch:p0", Link::veth("node:p0").address("192.0.2.2/24"))
///     .link("node:bond0", Link::bond("active-backup", ["p0"]).set("miimon", 100).address("192.0.2.1/24"))
///     .flow("stream", Flow::new("node:bond0", "switch:p0", 100))
///     .flood("stream")
///     .expect(Condition::flow("stream", "delivered").equals(100))
///     .build()?;
/// assert_eq!(topology.name(), "two-ports");
/// # Ok::<(), lab::TopologyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TopologyBuilder {
    name: String,
    root: Entries,
    steps: Vec<Value>,
    conditions: Vec<Value>,
}

impl TopologyBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), root: Entries::default(), steps: Vec::new(), conditions: Vec::new() }
    }

    /// Puts a table at a path of names, which may have dots in them.
    fn put(&mut self, path: &[&str], entries: Entries) {
        self.root.problems.extend(entries.problems);
        let Some((last, above)) = path.split_last() else { return };
        let mut table = &mut self.root.table;
        for name in above {
            let inner = table.entry(*name).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => table = inner,
                _ => return self.root.problems.push(format!("`{name}` has a value that is no table")),
            }
        }
        if table.insert((*last).to_owned(), Value::Table(entries.table)).is_some() {
            self.root.problems.push(format!("`{}` is there twice", path.join(".")));
        }
    }

    /// Sets any other key of the file (`"ns.node.forwarding"`). A dot leads into a table below.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Serialize) -> Self {
        self.root.set(key, value);
        self
    }

    /// Adds a link; `device` is `namespace:device`.
    #[must_use]
    pub fn link(mut self, device: &str, link: Link) -> Self {
        match device.split_once(':') {
            Some((ns, name)) => self.put(&["ns", ns, &link.kind, name], link.entries),
            None => self.root.problems.push(format!("`{device}` is no device: write `namespace:device`")),
        }
        self
    }

    /// Adds a flow.
    #[must_use]
    pub fn flow(mut self, name: &str, flow: Flow) -> Self {
        self.put(&["flow", name], flow.entries);
        self
    }

    /// Adds something to break. A step injects it.
    #[must_use]
    pub fn fault(mut self, name: &str, fault: Fault) -> Self {
        self.put(&["fault", &fault.kind, name], fault.entries);
        self
    }

    /// A step: a flow is sent.
    #[must_use]
    pub fn flood(self, flow: &str) -> Self {
        self.step("flood", flow)
    }

    /// A step: a fault is injected.
    #[must_use]
    pub fn inject(self, fault: &str) -> Self {
        self.step("inject", fault)
    }

    /// A step: a fault is cleared again.
    #[must_use]
    pub fn clear(self, fault: &str) -> Self {
        self.step("clear", fault)
    }

    /// A step of any verb that topology files have.
    #[must_use]
    pub fn step(mut self, verb: &str, value: impl Serialize) -> Self {
        let mut step = Entries::default();
        step.set(verb, value);
        self.root.problems.append(&mut step.problems);
        self.steps.push(Value::Table(step.table));
        self
    }

    /// Adds what must hold after the steps.
    #[must_use]
    pub fn expect(mut self, condition: Condition) -> Self {
        self.root.problems.extend(condition.entries.problems);
        self.conditions.push(Value::Table(condition.entries.table));
        self
    }

    /// The topology file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = self.root.table.clone();
        for (name, items) in [("step", &self.steps), ("expect", &self.conditions)] {
            if !items.is_empty() {
                table.insert(name.into(), Value::Array(items.clone()));
            }
        }
        table.to_string()
    }

    /// Checks it.
    ///
    /// # Errors
    /// All that is wrong with it, as [`Topology::from_text`] reports it.
    pub fn build(&self) -> Result<Topology, TopologyError> {
        if !self.root.problems.is_empty() {
            let lines = self.root.problems.iter().map(|problem| format!("error: {problem}"));
            return Err(TopologyError::new(lines.collect::<Vec<_>>().join("\n")));
        }
        Topology::read(&self.name, NO_FILE, self.text())
    }
}
