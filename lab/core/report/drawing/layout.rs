//! Places for a picture: namespaces side by side, in each the links in layers, cables below.
//!
//! A link is one layer above the highest link it stands on, so that lines between layers always go down. What a file
//! from outside says may be wrong: a name that leads nowhere has no line, and a circle ends after some rounds.

use std::collections::BTreeMap;

use crate::report::drawing::structure::{LinkDocument, Structure};

/// Layers above which a stack is no longer followed. The kernel's own limit is 8 (MAX_NEST_DEV, include/linux/netdevice.h).
const LAYERS_MAX: usize = 32;
/// Characters of a line of text in a picture.
pub const TEXT_MAX: usize = 44;

/// Width of a character of the font, in units of the picture.
const CHARACTER: usize = 7;
const LINE: usize = 14;
const PADDING: usize = 8;
const GAP: usize = 14;
const BETWEEN_LAYERS: usize = 26;
const BETWEEN_NAMESPACES: usize = 24;
const TITLE: usize = 22;
const TRACK: usize = 12;

/// A rectangle, in units of the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Area {
    /// From the left.
    pub x: usize,
    /// From the top.
    pub y: usize,
    /// Width.
    pub w: usize,
    /// Height.
    pub h: usize,
}

impl Area {
    /// Half-way between left and right.
    pub fn middle(&self) -> usize {
        self.x + self.w / 2
    }

    /// The lower edge.
    pub fn bottom(&self) -> usize {
        self.y + self.h
    }
}

/// A link in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is.
    pub area: Area,
    /// Its lines of text: name, kind, addresses.
    pub lines: Vec<String>,
    /// Whether it is made after the topology.
    pub later: bool,
}

/// A line between two nodes, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// From a link down to one it stands on.
    Below(usize, usize),
    /// A cable between two links, and how far below the picture's lowest node it runs.
    Cable(usize, usize, usize),
}

/// A picture's places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Width of all.
    pub width: usize,
    /// Height of all.
    pub height: usize,
    /// Namespaces with a link, by name.
    pub namespaces: Vec<(String, Area)>,
    /// Links, in the structure's order.
    pub nodes: Vec<Node>,
    /// Lines.
    pub edges: Vec<Edge>,
}

/// Shortens a text to what a picture has room for.
pub fn clip(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some(_) => text.chars().take(TEXT_MAX - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Places all links of a structure.
pub fn layout(structure: &Structure) -> Layout {
    let mut nodes: Vec<Node> = structure.links.iter().map(node).collect();
    let below = below(structure);
    let layers = layers(&below);
    let tops = tops(&nodes, &layers);
    let mut left = 0;
    let mut namespaces = Vec::new();
    for (name, members) in by_namespace(structure) {
        let area = place(&mut nodes, &members, (&below, &layers, &tops), (left, &name));
        left = area.x + area.w + BETWEEN_NAMESPACES;
        namespaces.push((name, area));
    }
    let floor = namespaces.iter().map(|(_, area)| area.bottom()).max().unwrap_or(0);
    let mut edges: Vec<Edge> = Vec::new();
    for (upper, lowers) in below.iter().enumerate() {
        edges.extend(lowers.iter().map(|lower| Edge::Below(upper, *lower)));
    }
    let (cables, tracks) = cables(structure, &nodes);
    edges
        .extend(cables.into_iter().map(|(one, other, track)| Edge::Cable(one, other, floor + track * TRACK)));
    Layout {
        width: left.saturating_sub(BETWEEN_NAMESPACES).max(1),
        height: floor + (tracks + 1) * TRACK,
        namespaces,
        nodes,
        edges,
    }
}

fn node(link: &LinkDocument) -> Node {
    let mut lines = vec![clip(link.name()), clip(&link.what())];
    match &link.addresses[..] {
        [] => {}
        [one] => lines.push(clip(one)),
        [one, rest @ ..] => lines.push(clip(&format!("{one} +{}", rest.len()))),
    }
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let area = Area { x: 0, y: 0, w: longest * CHARACTER + 2 * PADDING, h: lines.len() * LINE + PADDING };
    Node { area, lines, later: link.later }
}

/// By link, the numbers of those it stands on.
fn below(structure: &Structure) -> Vec<Vec<usize>> {
    let numbers: BTreeMap<&str, usize> =
        structure.links.iter().enumerate().map(|(number, link)| (link.device.as_str(), number)).collect();
    let of =
        |link: &LinkDocument| link.below.iter().filter_map(|name| numbers.get(&**name)).copied().collect();
    structure.links.iter().map(of).collect()
}

fn layers(below: &[Vec<usize>]) -> Vec<usize> {
    let mut layers = vec![0; below.len()];
    for _ in 0..LAYERS_MAX {
        let mut changed = false;
        for (number, lowers) in below.iter().enumerate() {
            let layer = lowers.iter().map(|lower| layers[*lower] + 1).max().unwrap_or(0).min(LAYERS_MAX);
            changed |= layer != layers[number];
            layers[number] = layer;
        }
        if !changed {
            break;
        }
    }
    layers
}

/// The upper edge of each layer; the last layer is at the top.
fn tops(nodes: &[Node], layers: &[usize]) -> Vec<usize> {
    let count = layers.iter().max().map_or(0, |last| last + 1);
    let mut heights = vec![0; count];
    for (node, layer) in nodes.iter().zip(layers) {
        heights[*layer] = heights[*layer].max(node.area.h);
    }
    let mut tops = vec![0; count];
    let mut top = TITLE;
    for layer in (0..count).rev() {
        tops[layer] = top;
        top += heights[layer] + BETWEEN_LAYERS;
    }
    tops
}

/// The numbers of each namespace's links; namespaces without a link are not shown.
fn by_namespace(structure: &Structure) -> Vec<(String, Vec<usize>)> {
    let mut all: Vec<(String, Vec<usize>)> =
        structure.namespaces.iter().map(|name| (name.clone(), Vec::new())).collect();
    for (number, link) in structure.links.iter().enumerate() {
        match all.iter_mut().find(|(name, _)| name == link.namespace()) {
            Some((_, members)) => members.push(number),
            None => all.push((link.namespace().to_owned(), vec![number])),
        }
    }
    all.retain(|(_, members)| !members.is_empty());
    all
}

/// Places a namespace's links: each layer in the middle, in the order of what is below. Returns the namespace's place.
fn place(
    nodes: &mut [Node],
    members: &[usize],
    (below, layers, tops): (&[Vec<usize>], &[usize], &[usize]),
    (left, name): (usize, &str),
) -> Area {
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for number in members {
        rows.entry(layers[*number]).or_default().push(*number);
    }
    let wide = |row: &Vec<usize>, nodes: &[Node]| {
        row.iter().map(|number| nodes[*number].area.w).sum::<usize>() + (row.len() - 1) * GAP
    };
    let title = clip(name).chars().count() * CHARACTER;
    let inner = rows.values().map(|row| wide(row, nodes)).chain([title]).max().unwrap_or(0);
    // Those below come first, so that their places are known.
    for (layer, row) in &mut rows {
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (place, number) in row.iter().enumerate() {
            let own: Vec<usize> =
                below[*number].iter().filter(|lower| members.contains(lower)).copied().collect();
            let sum: usize = own.iter().map(|lower| nodes[*lower].area.middle()).sum();
            order.push((sum.checked_div(own.len()).unwrap_or(left + place), *number));
        }
        order.sort_by_key(|(middle, _)| *middle);
        let mut x = left + PADDING + (inner - wide(row, nodes)) / 2;
        for (_, number) in order {
            let area = &mut nodes[number].area;
            (area.x, area.y) = (x, tops[*layer]);
            x += area.w + GAP;
        }
    }
    let top = members.iter().map(|number| nodes[*number].area.y).min().unwrap_or(TITLE) - TITLE;
    let bottom = members.iter().map(|number| nodes[*number].area.bottom()).max().unwrap_or(0) + PADDING;
    Area { x: left, y: top, w: inner + 2 * PADDING, h: bottom - top }
}

/// Cables, short ones above long ones, none over another; and how many tracks they take.
fn cables(structure: &Structure, nodes: &[Node]) -> (Vec<(usize, usize, usize)>, usize) {
    let mut pairs = structure.cables();
    let ends = |(one, other): &(usize, usize)| {
        let (one, other) = (nodes[*one].area.middle(), nodes[*other].area.middle());
        (one.min(other), one.max(other))
    };
    pairs.sort_by_key(|pair| ends(pair).1 - ends(pair).0);
    let mut tracks: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut placed = Vec::new();
    for pair in pairs {
        let (from, to) = ends(&pair);
        let is_free =
            |taken: &Vec<(usize, usize)>| taken.iter().all(|(begin, end)| to < *begin || *end < from);
        let track = tracks.iter().position(is_free).unwrap_or_else(|| {
            tracks.push(Vec::new());
            tracks.len() - 1
        });
        tracks[track].push((from, to));
        placed.push((pair.0, pair.1, track + 1));
    }
    (placed, tracks.len())
}
