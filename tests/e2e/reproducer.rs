//! Scripts of `lab run --reproducer`: run without the lab in a guest of the same kernel, they count what the lab counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::machine::{self, LAB, trial};
use crate::{KERNEL, flagship, gallery_folder};

/// The trials: frames held by a queue, shown by the report's topology; a queue with something inside; a filter of tc.
pub fn trials() -> Vec<Trial> {
    let pin = || machine::pins(KERNEL).remove(0);
    let causes = gallery_folder().join("causes");
    [flagship(), causes.join("port-queue-full.toml"), causes.join("filter-on-bond-by-tag.toml")]
        .into_iter()
        .map(|path| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            trial(format!("reproducer/{name}"), pin(), move |_, _| counts_the_same(&path))
        })
        .collect()
}

fn counts_the_same(topology: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("reproducer.sh");
    let run = Command::new(LAB)
        .args(["run", "--no-install", "--kernel", KERNEL, "--format", "json", "--reproducer"])
        .arg(&script)
        .arg(topology)
        .output()
        .expect("cargo has built it");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let document: Value =
        serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let text = std::fs::read_to_string(&script).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(!text.contains("NOT DONE"), "all of it is commands:\n{text}");

    let alone = Command::new(LAB)
        .args(["exec", "--no-install", "--kernel", KERNEL, "--", "sh"])
        .arg(&script)
        .stdin(Stdio::null())
        .output()
        .expect("cargo has built it");
    let shown = String::from_utf8_lossy(&alone.stdout).into_owned();
    let complained = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(alone.status.success(), "{shown}\n{complained}\n{text}");

    for flow in document["flows"].as_array().expect("flows") {
        let name = flow["name"].as_str().expect("a name");
        let mut answers: Vec<String> = flow["errors"]
            .as_object()
            .expect("errors")
            .iter()
            .map(|(errno, count)| format!("{count} {errno}"))
            .collect();
        answers.extend(flow["sent"].as_u64().filter(|sent| *sent > 0).map(|sent| format!("{sent} accepted")));
        let line = shown.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        let mut got: Vec<String> = line.unwrap_or_default().split(", ").map(str::to_owned).collect();
        answers.sort();
        got.sort();
        assert_eq!(got, answers, "flow {name}:\n{shown}\n{complained}");
    }
    let (expected, got) = (expected(&document), counted(&shown));
    assert!(expected.values().any(|count| *count > 0), "nothing is dropped in {document:#}");
    assert_eq!(got, expected, "{shown}\n{complained}");
}

/// What the lab's run has counted as dropped, by device and counter.
fn expected(document: &Value) -> BTreeMap<String, u64> {
    let drops = |of: &str, counter: &str, name: &str| -> Vec<(String, u64)> {
        let all = document[of].as_object().expect("an object").iter();
        all.filter_map(|(device, counters)| Some((format!("{device} {name}"), counters[counter].as_u64()?)))
            .collect()
    };
    let all = drops("devices", "tx_dropped", "tx_dropped").into_iter().chain(drops(
        "qdiscs",
        "drops",
        "qdisc_drops",
    ));
    all.filter(|(_, count)| *count > 0).collect()
}

/// The same of a script's output.
fn counted(shown: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (counter, count) = line.strip_prefix("  ")?.rsplit_once(' ')?;
        let is_of_drops = counter.ends_with(" tx_dropped") || counter.ends_with(" qdisc_drops");
        is_of_drops.then_some((counter.to_owned(), count.parse().ok()?))
    };
    shown.lines().filter_map(line).collect()
}
