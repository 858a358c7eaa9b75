//! A topology as a picture: pure functions of its namespaces and links.

pub mod dot;
pub mod layout;
pub mod mermaid;
pub mod structure;
pub mod svg;
pub mod tree;

pub use crate::report::drawing::structure::{LinkDocument, Structure};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

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

    fn structure() -> Structure {
        let topology = Topology::parse("t", "t.toml", TOPOLOGY).unwrap_or_else(|errors| panic!("{errors}"));
        Structure::of(&topology)
    }

    #[test]
    fn each_link_is_drawn_once_and_each_cable_too() {
        let structure = structure();
        let drawings = [
            (mermaid::render(&structure), " === ", " --- "),
            (dot::render("t", &structure), "dir=none", "];\n  }"),
        ];
        for (drawing, cable, stacked) in drawings {
            assert_eq!(drawing.matches(cable).count(), 2, "{drawing}");
            assert!(drawing.contains(stacked), "{drawing}");
            assert_eq!(drawing.matches("veth").count(), 4, "{drawing}");
        }
    }

    #[test]
    fn a_cable_that_only_the_later_end_names_is_drawn_in_all_pictures() {
        let link = |device: &str, peer: Option<&str>| LinkDocument {
            device: device.into(),
            kind: "netdevsim".into(),
            peer: peer.map(str::to_owned),
            ..LinkDocument::default()
        };
        let links = vec![link("a:x", None), link("a:y", Some("a:x"))];
        let structure = Structure { namespaces: vec!["a".into()], links };
        assert_eq!(structure.cables(), [(0, 1)]);
        assert!(mermaid::render(&structure).contains("l0 === l1"));
        assert!(dot::render("t", &structure).contains("l0 -> l1 [dir=none"));
        assert!(svg::file(&structure).contains("class=\"cable\""));
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        let structure = structure();
        assert!(mermaid::render(&structure).contains("<b>e#34;#60;0</b>"));
        assert!(dot::render("\"", &structure).starts_with("digraph \"\\\"\" {"));
        assert!(dot::render("t", &structure).contains("[label=\"e\\\"<0\\nmacvlan"));
        assert!(svg::file(&structure).contains("e&quot;&lt;0"));
    }
}
