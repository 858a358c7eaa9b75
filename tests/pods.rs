//! Attachments of pods: what plugins would do, as operations, and every mistake of a configuration at its place.

use std::fs;
use std::path::Path;

use lab::plan::{Plan, lower};
use lab::topology::Topology;

fn every_key() -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods/every-key.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Topology::parse("every-key", "every-key.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn plugins_do_these_operations() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("pods");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("every-key", lower(&every_key()).to_string()));
}

#[test]
fn attachments_travel() {
    let plan = lower(&every_key());
    let json = serde_json::to_string(&plan).expect("a plan is plain data");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("what was written can be read"), plan);
}
