//! The page of `lab report html` in a headless browser: clicks, keys, links to a cell, axe-core's rules, and no request to anywhere.
//!
//! `tests/browser/run` does it where Chromium, node and npm are; elsewhere the test says what is missing, and tests nothing.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Exit code of `tests/browser/run` where something is missing.
const SKIPPED: i32 = 77;
const KERNELS: [&str; 3] = ["5.10.262", "6.1.192", "7.3.4"];

/// What one topology did on one kernel: frames are lost in a queue, or by a bond that fails over.
fn result(topology: &str, kernel: usize, lost: u32) -> Value {
    let flow = json!({
        "name": "flood", "from": "node:bond0", "to": "switch:p0", "socket": "packet", "counts_at": "device", "asked": 100,
        "sent": 100, "errors": {}, "delivered": 100 - lost, "duplicated": 0, "unattributed": 0, "interval_us": 2000,
        "silence_ms": 10 + 7 * lost,
        "fates": if lost == 0 { json!([]) } else { json!([{ "layer": "qdisc", "device": "node:p0", "reason": "QDISC_DROP",
            "queue": "pfifo", "frames": lost }]) },
    });
    let trial = json!({
        "name": "main", "flows": [flow], "devices": { "node:p0": { "tx_packets": 100 - lost, "tx_dropped": lost } },
        "qdiscs": { "node:p0": { "kind": "pfifo", "drops": lost } }, "hooks": {}, "foreign_drops": 0,
    });
    let outcome = if topology == "needs-hardware" { "skip" } else { "pass" };
    json!({
        "topology": topology, "about": "Frames are lost in the queue of a port.", "outcome": outcome,
        "kernel": { "id": KERNELS[kernel], "release": format!("{}-amd64", KERNELS[kernel]), "backend": "vm", "accelerator": "tcg" },
        "structure": { "namespaces": ["node", "switch"], "links": [
            { "device": "node:p0", "kind": "veth", "peer": "switch:p0" },
            { "device": "switch:p0", "kind": "veth", "peer": "node:p0", "addresses": ["192.0.2.2/24"] },
            { "device": "node:bond0", "kind": "bond", "detail": "active-backup", "below": ["node:p0"] } ] },
        "checks": [{ "name": "most arrive", "outcome": "pass", "expected": "at least 1", "observed": (100 - lost).to_string() }],
        "flows": [], "devices": {}, "qdiscs": {}, "hooks": {}, "states": { "node:p0 carrier": 1 },
        "hypotheses": [{ "name": "slow-port", "about": "The port is slow.", "fits": true,
            "evidence": [{ "item": "p0 drops", "fits": true, "observed": lost }] }],
        "trials": if outcome == "skip" { json!([]) } else { json!([trial]) },
        "timing_ms": { "start": 300, "build": 100, "run": 200 + 100 * kernel, "total": 700 + 100 * kernel },
    })
}

/// More topologies than a browser lays out of the grid at once, and as many that it lays out when those are hidden.
const ALIKE: usize = 90;

/// Makes a page of some topologies on the first kernels, and uses it in a browser.
fn use_page(name: &str, topologies: &[&str], kernels: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The packages of npm's are in it, once for all pages.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    let results = folder.join(format!("results-{name}"));
    // What an older test program left is not of this page.
    let _ = std::fs::remove_dir_all(&results);
    std::fs::create_dir_all(&results).expect("a folder for results");
    for topology in topologies {
        for (kernel, lost) in [3, 3, 0].into_iter().enumerate().take(kernels) {
            let file = results.join(format!("{topology}-{kernel}.json"));
            std::fs::write(&file, result(topology, kernel, lost).to_string()).expect("a result");
        }
    }
    let page = folder.join(format!("{name}.html"));
    let made = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["report", "html"])
        .arg(&results)
        .arg("--snapshots")
        .arg(root.join("snapshots"))
        .arg("--output")
        .arg(&page)
        .output()
        .expect("cargo has built it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tested =
        Command::new(root.join("tests/browser/run")).arg(&page).arg(&folder).output().expect("a script");
    let said =
        format!("{}{}", String::from_utf8_lossy(&tested.stdout), String::from_utf8_lossy(&tested.stderr));
    match tested.status.code() {
        Some(0) => assert!(said.contains(" passed, 0 failed"), "{name}: {said}"),
        // With CI set nobody would see what was not tested.
        Some(SKIPPED) if !bondlab_host::ci::is_ci() => eprintln!("{said}"),
        code => panic!("tests/browser/run ended with {code:?} for {name}:\n{said}"),
    }
}

/// One after another: they share the packages.
#[test]
fn pages_work_by_their_address_by_clicks_and_by_keys() {
    let alike = |name| (0..ALIKE).map(move |number| format!("{name}-{number}"));
    let alike: Vec<String> = alike("alike").chain(alike("other")).collect();
    let mut many = vec!["needs-hardware", "port-queue-full", "vlan-drop"];
    many.extend(alike.iter().map(String::as_str));
    use_page("many", &many, KERNELS.len());
    use_page("one-column", &many[..3], 1);
    use_page("one-cell", &["vlan-drop"], 1);
}
