//! Every file of snapshots/ is read into values and written again without a difference.

use std::fs;
use std::path::Path;

use bondlab_core::report::behaviour::Label;
use bondlab_core::report::snapshot::Accepted;

/// The number of files below which the test has not found them.
const FILES_MIN: usize = 150;

#[test]
fn every_snapshot_is_read_and_written_without_a_difference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let mut read = 0;
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|ending| ending != "snap") {
            continue;
        }
        let content = fs::read_to_string(&path).expect("it can be read");
        let accepted =
            Accepted::parse(&content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, body) = content.split_once("\n---\n").expect("it has a header");
        assert!(body.trim_end() == accepted.body(), "{}: it is written otherwise", path.display());
        for kernel in accepted.kernels() {
            let behaviour = accepted.behaviour(kernel).expect("it is one of its kernels");
            // A line that is taken for a name is one that the reader does not know.
            let unknown = behaviour.lines.iter().find(|line| matches!(line.label, Label::Name(_)));
            assert!(unknown.is_none(), "{} on {kernel}: {unknown:?}", path.display());
        }
        read += 1;
    }
    assert!(read >= FILES_MIN, "{read} snapshots");
}
