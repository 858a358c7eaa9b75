//! Which mutants are made for each topology of the gallery, and which conditions each is made to break.
//!
//! tests/mutants/gallery.txt has the mutants of each topology, and below each condition the numbers of those that are made for it.
//! `UPDATE_EXPECTED=1 cargo test --test pure mutants` writes what they are now: a review then shows what a change of the mutants
//! adds and takes away.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::judge::mutation;
use bondlab_core::topology::Topology;

const UPDATE: &str = "UPDATE_EXPECTED";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies")
}

/// All topology files below a folder, in the order of their paths.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(path);
        }
    }
    found
}

/// The mutants of one topology, numbered, and the targets with the numbers of theirs.
fn described(topology: &Topology, out: &mut String) {
    let mutation = mutation::of(topology);
    if mutation.targets.is_empty() {
        return;
    }
    writeln!(out, "{}", topology.name).expect("a String takes everything");
    for (number, mutant) in mutation.mutants.iter().enumerate() {
        writeln!(out, "  {number:>2} {mutant}").expect("a String takes everything");
    }
    for target in &mutation.targets {
        let numbers: Vec<String> = target.mutants.iter().map(ToString::to_string).collect();
        writeln!(out, "  {} <- {}", target.condition.name, numbers.join(" "))
            .expect("a String takes everything");
    }
}

#[test]
fn mutants_of_the_gallery_are_the_recorded_ones() {
    let mut now = String::new();
    for path in files(&root()) {
        let name = path.strip_prefix(root()).expect("it is below").with_extension("");
        let name = name.to_str().expect("names in the gallery are UTF-8");
        let text = fs::read_to_string(&path).expect("it can be read");
        let variants = Topology::variants(name, "t.toml", &text, &[]);
        // Variants differ in values, not in what can be taken away: the first stands for all.
        let variants = variants.unwrap_or_else(|errors| panic!("{name}: {errors}"));
        described(&variants[0], &mut now);
    }
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants/gallery.txt");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&expected, &now).expect("the folder of the tests can be written to");
    }
    let recorded = fs::read_to_string(&expected).unwrap_or_default();
    let differs = recorded.lines().zip(now.lines()).find(|(before, after)| before != after);
    assert!(recorded == now, "{differs:?}: {UPDATE}=1 cargo test --test pure mutants writes them");
}
