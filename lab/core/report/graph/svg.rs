//! A topology as SVG: a column for each namespace, in it a row for each level; what stands on nothing is at the bottom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Graph, escaped, label};
use crate::net::link::Link;
use crate::net::name::DeviceRef;
use crate::topology::Topology;

/// Of one device, in pixels.
const BOX: (usize, usize) = (180, 44);
/// Between boxes, and around them.
const GAP: (usize, usize) = (24, 40);

/// Draws it.
pub fn svg(topology: &Topology) -> String {
    let graph = Graph::of(topology);
    let levels: BTreeMap<&DeviceRef, usize> = topology
        .links
        .values()
        .map(|link| (&link.device, level(topology, link, topology.links.len())))
        .collect();
    let highest = levels.values().copied().max().unwrap_or(0);
    let mut places: BTreeMap<&DeviceRef, (usize, usize)> = BTreeMap::new();
    let mut frames = Vec::new();
    let mut left = GAP.0;
    for (ns, links) in &graph.namespaces {
        let mut in_row: BTreeMap<usize, usize> = BTreeMap::new();
        for link in links {
            let level = levels[&link.device];
            let column = in_row.entry(level).or_default();
            let x = left + GAP.0 + *column * (BOX.0 + GAP.0);
            places.insert(&link.device, (x, GAP.1 * 2 + (highest - level) * (BOX.1 + GAP.1)));
            *column += 1;
        }
        let columns = in_row.values().copied().max().unwrap_or(1);
        let width = columns * (BOX.0 + GAP.0) + GAP.0;
        frames.push((left, width, ns.to_string()));
        left += width + GAP.0;
    }
    let height = GAP.1 * 2 + (highest + 1) * (BOX.1 + GAP.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{left}\" height=\"{}\" font-family=\"monospace\" font-size=\"11\">\n",
        height + GAP.1
    );
    for (x, width, ns) in frames {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"gray\"/>",
            GAP.1 / 2
        );
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 8, GAP.1, escaped(&ns));
    }
    let lines = graph.stacked.iter().map(|ends| (ends, 1)).chain(graph.cables.iter().map(|ends| (ends, 3)));
    for ((one, other), width) in lines {
        if let (Some(from), Some(to)) = (places.get(one), places.get(other)) {
            line(&mut out, *from, *to, width);
        }
    }
    for (device, place) in &places {
        if let Some(link) = topology.links.get(*device) {
            device_box(&mut out, *place, link);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn line(out: &mut String, from: (usize, usize), to: (usize, usize), width: usize) {
    let middle = |(x, y): (usize, usize)| (x + BOX.0 / 2, y + BOX.1 / 2);
    let ((x1, y1), (x2, y2)) = (middle(from), middle(to));
    let _ = writeln!(
        out,
        "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"black\" stroke-width=\"{width}\"/>"
    );
}

fn device_box(out: &mut String, (x, y): (usize, usize), link: &Link) {
    let (width, height) = BOX;
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"white\" stroke=\"black\"/>"
    );
    // Two lines have room; a third would stand outside of the box.
    for (row, words) in label(link).iter().take(2).enumerate() {
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 6, y + 17 + row * 16, escaped(words));
    }
}

/// How many devices are below it, one on the other. `depth` ends the walk in a ring.
fn level(topology: &Topology, link: &Link, depth: usize) -> usize {
    let below = link.below();
    let below = below.iter().chain(super::pf(link)).filter_map(|below| topology.links.get(below));
    below.filter(|_| depth > 0).map(|below| level(topology, below, depth - 1) + 1).max().unwrap_or(0)
}
