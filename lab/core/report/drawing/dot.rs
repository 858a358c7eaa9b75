//! The structure as a graph of Graphviz.

use std::fmt::Write;

use crate::report::drawing::structure::{LinkDocument, Structure};

/// A digraph: namespaces as clusters, arrows from each link to those it stands on, bold lines for cables.
pub fn render(name: &str, structure: &Structure) -> String {
    let mut out = format!("digraph \"{}\" {{\n  node [shape=box];\n", quoted(name));
    for (number, ns) in structure.namespaces.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster{number} {{\n    label=\"{}\";", quoted(ns));
        for (number, link) in structure.links.iter().enumerate() {
            if link.namespace() == ns {
                let _ = writeln!(out, "    l{number} [label=\"{}\"];", label(link));
            }
        }
        out.push_str("  }\n");
    }
    for (upper, lower) in structure.stacked() {
        let _ = writeln!(out, "  l{upper} -> l{lower};");
    }
    for (one, other) in structure.cables() {
        let _ = writeln!(out, "  l{one} -> l{other} [dir=none, style=bold];");
    }
    out.push_str("}\n");
    out
}

fn label(link: &LinkDocument) -> String {
    let lines = [link.name(), &link.what()].map(quoted).into_iter();
    lines.chain(link.addresses.iter().map(|address| quoted(address))).collect::<Vec<_>>().join("\\n")
}

/// A text inside of a label.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
