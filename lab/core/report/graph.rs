//! A topology's links as a picture: a text tree, Mermaid, DOT, and SVG.

mod svg;

use std::fmt::Write as _;

use indexmap::{IndexMap, IndexSet};

use crate::net::link::{Link, LinkKind};
use crate::net::name::{DeviceRef, NsName};
use crate::topology::Topology;

pub use svg::svg;

/// Who stands on whom, and which ends a cable has.
struct Graph<'t> {
    /// Links by namespace, in the order of the file.
    namespaces: IndexMap<&'t NsName, Vec<&'t Link>>,
    /// The upper and the lower device.
    stacked: Vec<(DeviceRef, DeviceRef)>,
    /// Both ends, each cable once.
    cables: Vec<(DeviceRef, DeviceRef)>,
}

impl<'t> Graph<'t> {
    fn of(topology: &'t Topology) -> Self {
        let mut namespaces: IndexMap<&NsName, Vec<&Link>> =
            topology.namespaces.keys().map(|ns| (ns, Vec::new())).collect();
        let (mut stacked, mut cables) = (Vec::new(), IndexSet::new());
        for (device, link) in &topology.links {
            namespaces.entry(&device.ns).or_default().push(link);
            let below = link.below().into_iter().chain(pf(link).cloned());
            stacked.extend(below.map(|below| (device.clone(), below)));
            if let Some(peer) = peer(link).filter(|peer| !cables.contains(&((*peer).clone(), device.clone())))
            {
                cables.insert((device.clone(), peer.clone()));
            }
        }
        Self { namespaces, stacked, cables: cables.into_iter().collect() }
    }

    /// The name of a device in a drawing.
    fn id(&self, device: &DeviceRef) -> String {
        let all = self.namespaces.values().flatten();
        let place = all.into_iter().position(|link| link.device == *device).unwrap_or(usize::MAX);
        format!("d{place}")
    }
}

/// The other end of a link's cable.
fn peer(link: &Link) -> Option<&DeviceRef> {
    match &link.kind {
        LinkKind::Veth { peer } | LinkKind::Gadget { peer } | LinkKind::GadgetHost { peer } => Some(peer),
        LinkKind::Netdevsim(sim) => sim.peer.as_ref(),
        LinkKind::Nic(nic) | LinkKind::Pf(nic) => Some(&nic.peer),
        _ => None,
    }
}

fn pf(link: &Link) -> Option<&DeviceRef> {
    match &link.kind {
        LinkKind::Vf { of, .. } => Some(of),
        _ => None,
    }
}

/// A link in a few words: kind, name, what tells it from others of its kind, addresses.
fn label(link: &Link) -> Vec<String> {
    let name = &link.device.name;
    let mut lines = vec![match &link.kind {
        LinkKind::Bond(bond) => format!("bond {name} {}", bond.mode),
        LinkKind::Vlan { id, protocol, .. } => format!("vlan {name} {protocol} id {}", id.get()),
        LinkKind::Ipvlan { mode, .. } => format!("ipvlan {name} {mode}"),
        LinkKind::Macvlan { mode, .. } => format!("macvlan {name} {mode}"),
        LinkKind::Nic(nic) | LinkKind::Pf(nic) => format!("{} {name} {}", link.kind.word(), nic.driver),
        LinkKind::Vf { index, .. } => format!("vf {name} {index}"),
        kind => format!("{} {name}", kind.word()),
    }];
    lines.extend(link.addresses.iter().map(ToString::to_string));
    lines
}

/// A tree in text: each namespace with the devices on which nothing stands, and what those stand on below them.
pub fn text(topology: &Topology) -> String {
    let graph = Graph::of(topology);
    let mut out = String::new();
    for (ns, links) in &graph.namespaces {
        let _ = writeln!(out, "{ns}");
        let is_top = |link: &&&Link| {
            graph.stacked.iter().all(|(upper, lower)| *lower != link.device || upper.ns != link.device.ns)
        };
        for link in links.iter().filter(is_top) {
            branch(topology, ns, &link.device, 1, &mut out);
        }
    }
    out
}

fn branch(topology: &Topology, ns: &NsName, device: &DeviceRef, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let Some(link) = topology.links.get(device).filter(|_| device.ns == *ns) else {
        let _ = writeln!(out, "{indent}{device}");
        return;
    };
    let cable = peer(link).map(|peer| format!(" -- {peer}")).unwrap_or_default();
    let _ = writeln!(out, "{indent}{}{cable}", label(link).join(" "));
    for below in link.below().iter().chain(pf(link)) {
        branch(topology, ns, below, depth + 1, out);
    }
}

/// A flowchart of Mermaid.
pub fn mermaid(topology: &Topology) -> String {
    let graph = Graph::of(topology);
    let mut out = String::from("flowchart TB\n");
    for (number, (ns, links)) in graph.namespaces.iter().enumerate() {
        let _ = writeln!(out, "  subgraph ns{number}[\"{}\"]", escaped(&ns.to_string()));
        for link in links {
            let label: Vec<String> = label(link).iter().map(|line| escaped(line)).collect();
            let _ = writeln!(out, "    {}[\"{}\"]", graph.id(&link.device), label.join("<br>"));
        }
        out.push_str("  end\n");
    }
    for (upper, lower) in &graph.stacked {
        let _ = writeln!(out, "  {} --> {}", graph.id(upper), graph.id(lower));
    }
    for (one, other) in &graph.cables {
        let _ = writeln!(out, "  {} --- {}", graph.id(one), graph.id(other));
    }
    out
}

/// A graph of Graphviz.
pub fn dot(topology: &Topology) -> String {
    let graph = Graph::of(topology);
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = format!("digraph \"{}\" {{\n  node [shape=box];\n", quoted(&topology.name));
    for (number, (ns, links)) in graph.namespaces.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster{number} {{\n    label=\"{}\";", quoted(&ns.to_string()));
        for link in links {
            let label: Vec<String> = label(link).iter().map(|line| quoted(line)).collect();
            let _ = writeln!(out, "    {} [label=\"{}\"];", graph.id(&link.device), label.join("\\n"));
        }
        out.push_str("  }\n");
    }
    for (upper, lower) in &graph.stacked {
        let _ = writeln!(out, "  {} -> {};", graph.id(upper), graph.id(lower));
    }
    for (one, other) in &graph.cables {
        let _ = writeln!(out, "  {} -> {} [dir=none, style=bold];", graph.id(one), graph.id(other));
    }
    out.push_str("}\n");
    out
}

/// A text inside of HTML or XML, or of a quoted label.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPOLOGY: &str = r#"
        [ns.node.veth.p0]
        peer = "switch:s0"
        [ns.node.veth.p1]
        peer = "switch:s1"
        [ns.node.bond.bond0]
        mode = "active-backup"
        ports = ["p0", "p1"]
        [ns.node.vlan."bond0.70"]
        parent = "bond0"
        id = 70
        addresses = ["192.0.2.1/24"]
        [ns.pod.macvlan."e\"<0"]
        parent = "node:bond0"
    "#;

    fn topology() -> Topology {
        Topology::parse("t", "t.toml", TOPOLOGY).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn the_tree_has_what_a_device_stands_on_below_it() {
        let expected = "\
node
  vlan bond0.70 802.1Q id 70 192.0.2.1/24
    bond bond0 active-backup
      veth p0 -- switch:s0
      veth p1 -- switch:s1
pod
  macvlan e\"<0 bridge
    node:bond0
switch
  veth s0 -- node:p0
  veth s1 -- node:p1
";
        assert_eq!(text(&topology()), expected);
    }

    #[test]
    fn each_link_is_drawn_once_and_each_cable_too() {
        let topology = topology();
        for (drawing, cable, stacked) in
            [(mermaid(&topology), " --- ", " --> "), (dot(&topology), "dir=none", "];\n  }")]
        {
            assert_eq!(drawing.matches(cable).count(), 2, "{drawing}");
            assert!(drawing.contains(stacked), "{drawing}");
            assert_eq!(drawing.matches("veth").count(), 4, "{drawing}");
        }
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        let topology = topology();
        assert!(mermaid(&topology).contains("macvlan e&quot;&lt;0 bridge"));
        assert!(dot(&topology).contains("macvlan e\\\"<0 bridge"));
        let picture = svg(&topology);
        assert!(picture.contains("macvlan e&quot;&lt;0 bridge"), "{picture}");
        assert_eq!(picture.matches("<line").count(), 2 + 4, "{picture}");
    }
}
