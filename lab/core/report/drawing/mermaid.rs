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
    let number = |name: &String| structure.links.iter().position(|link| link.device == *name);
    for (upper, link) in structure.links.iter().enumerate() {
        for lower in link.below.iter().filter_map(number) {
            let _ = writeln!(out, "  l{upper} --- l{lower}");
        }
        if let Some(other) = link.peer.as_ref().and_then(number).filter(|other| upper < *other) {
            let _ = writeln!(out, "  l{upper} === l{other}");
        }
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
