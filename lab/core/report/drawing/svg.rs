//! The picture as SVG: part of a page, or a file of its own.

use maud::{Markup, PreEscaped, html};

use crate::report::drawing::layout::{Edge, Layout, Node, clip, layout};
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

fn content(place: &Layout) -> Markup {
    html! {
        @for (name, area) in &place.namespaces {
            rect.ns x=(area.x + 1) y=(area.y + 1) width=(area.w) height=(area.h) rx="6" {}
            text.ns x=(area.x + 9) y=(area.y + 16) { (clip(name)) }
        }
        @for edge in &place.edges { (line(edge, &place.nodes)) }
        @for node in &place.nodes { (link(node)) }
    }
}

fn line(edge: &Edge, nodes: &[Node]) -> Markup {
    match edge {
        Edge::Below(upper, lower) => {
            let (upper, lower) = (nodes[*upper].area, nodes[*lower].area);
            let (x1, y1, x2, y2) = (upper.middle() + 1, upper.bottom() + 1, lower.middle() + 1, lower.y + 1);
            let bend = (y1 + y2) / 2;
            html! { path.below d={ "M" (x1) " " (y1) "C" (x1) " " (bend) " " (x2) " " (bend) " " (x2) " " (y2) } {} }
        }
        Edge::Cable(one, other, y) => {
            let (one, other) = (nodes[*one].area, nodes[*other].area);
            let (x1, x2, y) = (one.middle() + 1, other.middle() + 1, y + 1);
            html! {
                path.cable d={ "M" (x1) " " (one.bottom() + 1) "V" (y) "H" (x2) "V" (other.bottom() + 1) } {}
            }
        }
    }
}

fn link(node: &Node) -> Markup {
    let area = node.area;
    let class = if node.later { "link later" } else { "link" };
    html! {
        rect class=(class) x=(area.x + 1) y=(area.y + 1) width=(area.w) height=(area.h) rx="4" {}
        @for (number, text) in node.lines.iter().enumerate() {
            text class=(["name", "what", "address"][number.min(2)])
                x=(area.middle() + 1) y=(area.y + 14 * (number + 1) + 1) { (text) }
        }
    }
}
