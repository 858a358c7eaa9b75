//! The picture as SVG: part of a page, or a file of its own.

use maud::{Markup, PreEscaped, html};

use crate::report::drawing::layout::{Area, Edge, Layout, Node, clip, layout};
use crate::report::drawing::structure::Structure;

/// How classes of the picture look. The colours are variables of a page, with values for a file without one.
pub const STYLE: &str = include_str!("svg/drawing.css");

/// The picture as an element of a page, which has [`STYLE`].
pub fn element(structure: &Structure) -> Markup {
    let place = layout(structure);
    html! {
        svg.drawing role="img" aria-label=(summary(structure))
            viewBox={ "0 0 " (place.width + 2) " " (place.height + 2) }
            width=(place.width + 2) height=(place.height + 2) {
            (content(&place))
        }
    }
}

/// The picture as a file.
pub fn file(structure: &Structure) -> String {
    let place = layout(structure);
    let file = html! {
        svg.drawing xmlns="http://www.w3.org/2000/svg"
            viewBox={ "0 0 " (place.width + 2) " " (place.height + 2) }
            width=(place.width + 2) height=(place.height + 2) {
            title { (summary(structure)) }
            style { (PreEscaped(STYLE)) }
            (content(&place))
        }
    };
    format!("{}\n", file.into_string())
}

/// For those who do not see it: links and what each stands on.
fn summary(structure: &Structure) -> String {
    let links = structure.links.len();
    let cables = structure.links.iter().filter(|link| link.peer.is_some()).count();
    let namespaces = structure.namespaces.join(", ");
    format!("{links} links in the namespaces {namespaces}; {cables} of them are ends of cables")
}

/// Elements that look alike are in one group, and lines of a kind are one path: a page has hundreds of pictures.
fn content(place: &Layout) -> Markup {
    let lines = |is_cable: bool| -> String {
        let of_kind = place.edges.iter().filter(|edge| matches!(edge, Edge::Cable(..)) == is_cable);
        of_kind.map(|edge| line(edge, &place.nodes)).collect()
    };
    let later: (Vec<&Node>, Vec<&Node>) = place.nodes.iter().partition(|node| node.later);
    html! {
        g.ns {
            @for (name, area) in &place.namespaces {
                (rect(*area))
                text x=(area.x + 9) y=(area.y + 16) { (clip(name)) }
            }
        }
        @for (class, path) in [("below", lines(false)), ("cable", lines(true))] {
            @if !path.is_empty() { path class=(class) d=(path) {} }
        }
        @for (class, nodes) in [("link", later.1), ("link later", later.0)] {
            @if !nodes.is_empty() { g class=(class) { @for node in nodes { (rect(node.area)) } } }
        }
        @for (first, class) in ["name", "what", "address"].into_iter().enumerate() { (texts(place, first, class)) }
    }
}

fn rect(area: Area) -> Markup {
    html! { rect x=(area.x + 1) y=(area.y + 1) width=(area.w) height=(area.h) {} }
}

/// A line as part of a path.
fn line(edge: &Edge, nodes: &[Node]) -> String {
    match edge {
        Edge::Below(upper, lower) => {
            let (upper, lower) = (nodes[*upper].area, nodes[*lower].area);
            let (x1, y1, x2, y2) = (upper.middle() + 1, upper.bottom() + 1, lower.middle() + 1, lower.y + 1);
            let bend = (y1 + y2) / 2;
            if x1 == x2 {
                format!("M{x1} {y1}V{y2}")
            } else {
                format!("M{x1} {y1}C{x1} {bend} {x2} {bend} {x2} {y2}")
            }
        }
        Edge::Cable(one, other, y) => {
            let (one, other) = (nodes[*one].area, nodes[*other].area);
            let (x1, x2, y) = (one.middle() + 1, other.middle() + 1, y + 1);
            format!("M{x1} {}V{y}H{x2}V{}", one.bottom() + 1, other.bottom() + 1)
        }
    }
}

/// The lines of text of all links that are of one class: the first, the second, or all after these.
fn texts(place: &Layout, first: usize, class: &str) -> Markup {
    let of_class = |number: usize| number.min(2) == first;
    html! {
        g class=(class) {
            @for node in &place.nodes {
                @for (number, text) in node.lines.iter().enumerate().filter(|(number, _)| of_class(*number)) {
                    text x=(node.area.middle() + 1) y=(node.area.y + 14 * (number + 1) + 1) { (text) }
                }
            }
        }
    }
}
