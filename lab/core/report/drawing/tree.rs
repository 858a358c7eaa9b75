//! The structure as a tree of text: each namespace, its topmost links, and below each what it stands on.

use std::fmt::Write;

use crate::report::drawing::structure::{LinkDocument, Structure};

/// Layers after which a stack from outside is no longer followed.
const DEPTH_MAX: usize = 16;

/// How a part of a line is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A namespace's name.
    Namespace,
    /// A link's name.
    Name,
    /// Lines of the tree, and what is said of a link beside its name.
    Plain,
}

/// Renders the tree; `paint` is given each part with what it is, and returns it as it is to be shown.
pub fn render(structure: &Structure, paint: impl Fn(Part, &str) -> String) -> String {
    let mut out = String::new();
    for name in &structure.namespaces {
        let tops: Vec<&LinkDocument> = structure
            .links
            .iter()
            .filter(|link| link.namespace() == name && is_top(structure, link))
            .collect();
        let _ = writeln!(out, "{}", paint(Part::Namespace, name));
        for (number, link) in tops.iter().enumerate() {
            let is_last = number + 1 == tops.len();
            branch(&mut out, structure, link, ("", is_last, 0, name), &paint);
        }
    }
    out
}

/// Whether nothing of the same namespace stands on it.
fn is_top(structure: &Structure, link: &LinkDocument) -> bool {
    let stands_on = |upper: &&LinkDocument| {
        upper.namespace() == link.namespace()
            && upper.below.contains(&link.device)
            && upper.device != link.device
    };
    !structure.links.iter().any(|upper| stands_on(&upper))
}

fn branch(
    out: &mut String,
    structure: &Structure,
    link: &LinkDocument,
    (before, is_last, depth, ns): (&str, bool, usize, &str),
    paint: &impl Fn(Part, &str) -> String,
) {
    let corner = if is_last { "└─ " } else { "├─ " };
    let is_here = link.namespace() == ns;
    let name = if is_here { link.name() } else { &link.device };
    let mut said = format!(" {}", link.what());
    if let Some(peer) = &link.peer {
        let _ = write!(said, " <-> {peer}");
    }
    for address in &link.addresses {
        let _ = write!(said, " {address}");
    }
    if link.later {
        said += " (later)";
    }
    let lead = paint(Part::Plain, &format!("{before}{corner}"));
    let _ = writeln!(out, "{lead}{}{}", paint(Part::Name, name), paint(Part::Plain, &said));
    // What is in another namespace is shown in full there.
    if depth == DEPTH_MAX || !is_here {
        return;
    }
    let before = format!("{before}{}", if is_last { "   " } else { "│  " });
    let lowers: Vec<&LinkDocument> =
        link.below.iter().filter_map(|name| structure.links.iter().find(|it| it.device == *name)).collect();
    for (number, lower) in lowers.iter().enumerate() {
        branch(out, structure, lower, (&before, number + 1 == lowers.len(), depth + 1, ns), paint);
    }
}
