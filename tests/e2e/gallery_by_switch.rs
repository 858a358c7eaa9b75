//! Every topology of the gallery with PFs, run with switches in their place, beside what was accepted of the hardware: outcome,
//! checks, states, refusals, flows and places of losses. What differs is in gallery_by_switch.txt, and docs/vf.md says why.
//!
//! `UPDATE_EXPECTED=1 cargo test --test e2e by-switch` writes what differs to target/gallery_by_switch/, a file for each topology.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bondlab_core::report::behaviour::{Behaviour, Label};
use bondlab_core::report::snapshot::Accepted;
use bondlab_core::topology::Topology;
use libtest_mimic::Trial;

use crate::machine::LAB;
use crate::{KERNEL, machine, pin, topologies};

/// A line `NAME: the same`, `NAME: refused: MESSAGE`, or `NAME:` with a line for each difference.
const EXPECTED: &str = include_str!("gallery_by_switch.txt");

pub fn trials() -> Vec<Trial> {
    let with_pfs = topologies().into_iter().filter_map(|path| Some((by_switch(&path)?, path)));
    with_pfs
        .map(|(text, path)| {
            let name = format!("by-switch: {}", stem(&path));
            machine::trial(name, pin(), move |_, _| compare(&path, &text))
        })
        .collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a topology has a name").to_string_lossy().into_owned()
}

/// A topology's text with a switch in the place of each PF; none where it has no PF, or chooses what is in its place.
fn by_switch(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).expect("the gallery is there");
    let is_pf = |line: &str| line.starts_with("[ns.") && line.split('.').nth(2) == Some("pf");
    if !text.lines().any(is_pf) || text.lines().any(|line| line.starts_with("backing")) {
        return None;
    }
    let mut in_pf = false;
    let mut changed = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            in_pf = is_pf(line);
        }
        changed += line;
        changed.push('\n');
        if in_pf && line.starts_with("driver") {
            changed += "backing = \"switch\"\n";
        }
    }
    Some(changed)
}

fn compare(path: &Path, text: &str) {
    let name = stem(path);
    let found = found(&name, text);
    let expected = expected();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gallery_by_switch");
        fs::create_dir_all(&folder).expect("a folder of this test's own");
        fs::write(folder.join(format!("{name}.txt")), format!("{name}:{found}")).expect("it can be written");
        return;
    }
    let expected =
        expected.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not expected; it is:{found}"));
    assert_eq!(*expected, found, "{name} by switch");
}

/// What is expected of each topology, after its name and a colon.
fn expected() -> BTreeMap<&'static str, String> {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "";
    for line in EXPECTED.lines() {
        if line.starts_with(' ') {
            *all.entry(name).or_default() += &format!("{line}\n");
        } else {
            let (begins, rest) = line.split_once(':').expect("a topology and what is expected of it");
            name = begins;
            all.insert(name, format!("{rest}\n"));
        }
    }
    all
}

fn found(name: &str, text: &str) -> String {
    if let Err(errors) = Topology::parse(name, name, text) {
        let message = errors.to_string();
        let first = message.lines().next().unwrap_or_default();
        let message = first.splitn(4, ':').last().unwrap_or_default().trim();
        return format!(" refused: {message}\n");
    }
    let switch = shown(&run(name, text));
    let hardware = shown(&accepted(name));
    let only_in = |one: &[String], other: &[String], sign: char| -> String {
        let lines = one.iter().filter(|line| !other.contains(line));
        lines.map(|line| format!("  {sign} {line}\n")).collect()
    };
    let differences = only_in(&hardware, &switch, '-') + &only_in(&switch, &hardware, '+');
    if differences.is_empty() { " the same\n".into() } else { format!("\n{differences}") }
}

/// The canonical text of a run.
fn run(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder of one's own");
    let path = folder.path().join(format!("{name}.toml"));
    fs::write(&path, text).expect("a folder can be written to");
    let mut command = Command::new(LAB);
    command.arg("run").arg(&path).args(["--kernel", KERNEL, "--format", "snapshot", "--no-install"]);
    let output = command.output().expect("cargo has built it");
    String::from_utf8(output.stdout).expect("a result is text")
}

/// What was accepted of the hardware on the same kernel.
fn accepted(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(format!("{name}.snap"));
    let content = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let accepted = Accepted::parse(&content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let accepted = accepted.behaviour(KERNEL).unwrap_or_else(|| panic!("{name} was accepted on {KERNEL}"));
    accepted.to_string()
}

/// Lines about what was asked for and what became of frames. Links and features are of what they are made of, and so are its
/// counters.
fn shown(text: &str) -> Vec<String> {
    let behaviour = Behaviour::parse(text);
    let is_shown = |label: &Label| {
        matches!(
            label,
            Label::Outcome
                | Label::Check(_)
                | Label::State
                | Label::Refused
                | Label::Flow { .. }
                | Label::LostAt { .. }
        )
    };
    let lines = behaviour.all().filter(|line| is_shown(&line.label));
    lines.map(|line| format!("{}: {}", line.label, line.value())).collect()
}
