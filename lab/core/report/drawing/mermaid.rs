//! The structure as Mermaid text, which GitHub and GitLab draw in Markdown.

use std::fmt::Write;

use crate::report::drawing::structure::{LinkDocument, Structure};

/// A flowchart: namespaces as subgraphs, lines from each link to those it stands on, thick lines for cables. Without the
/// fence of Markdown around it.
pub fn render(structure: &Structure) -> String {
    let mut out = String::from("flowchart TB\n");
    for (number, name) in structure.namespaces.iter().enumerate() {
        let _ = writeln!(out, "  subgraph n{number}[\"{}\"]", quoted(name));
        for (number, link) in structure.links.iter().enumerate() {
            if link.namespace() == name {
                let _ = writeln!(out, "    l{number}[\"{}\"]", label(link));
            }
        }
        out += "  end\n";
    }
    for (upper, lower) in structure.stacked() {
        let _ = writeln!(out, "  l{upper} --- l{lower}");
    }
    for (one, other) in structure.cables() {
        let _ = writeln!(out, "  l{one} === l{other}");
    }
    out
}

fn label(link: &LinkDocument) -> String {
    let mut label = format!("<b>{}</b><br/>{}", quoted(link.name()), quoted(&link.what()));
    for address in &link.addresses {
        let _ = write!(label, "<br/>{}", quoted(address));
    }
    label
}

/// Mermaid's own entities: a quote would end the label, and what looks like markup would be some.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' | '|' | '%' | ';' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
