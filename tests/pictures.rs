//! Pictures of the README and of docs/ are made by the lab, and show what the topologies are now.

use std::fs;
use std::path::Path;

use bondlab_core::report::drawing::{Structure, svg};
use bondlab_core::topology::Topology;
use rstest::rstest;

/// `lab topology graph TOPOLOGY --format svg > docs/PICTURE` makes them, and so does UPDATE_EXPECTED.
#[rstest]
#[case("vlan-over-bond-tx-drop.svg", "vlan-over-bond-tx-drop.toml")]
fn a_picture_shows_its_topology(#[case] picture: &str, #[case] topology: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let text = read(&root.join("topologies").join(topology));
    let topology = Topology::parse("t", topology, &text).unwrap_or_else(|errors| panic!("{errors}"));
    let made = svg::file(&Structure::of(&topology));
    let path = root.join("docs").join(picture);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &made).expect("the picture");
    }
    assert!(read(&path) == made, "docs/{picture} is another picture: UPDATE_EXPECTED=1 makes it again");
    let readme = read(&root.join("README.md"));
    let first_screen: Vec<&str> = readme.lines().take(20).collect();
    assert!(first_screen.iter().any(|line| line.contains(&format!("](docs/{picture})"))), "docs/{picture}");
}
