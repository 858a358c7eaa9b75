//! A switch in the place of a PF beside the emulated igb: the same frames come to the same places, but for what is named.

use std::fs;

use bondlab_core::topology::substitute::DIFFERENCES;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{gallery_folder, lab_run, machine, pin};

/// Its kernel has both drivers.
const KERNEL_WITH_DRIVERS: &str = "6.12.57/generic";
/// Topologies, and the flows of each whose fates differ, by the number of the difference in [`DIFFERENCES`].
const COMPARED: [(&str, &[(&str, usize)]); 2] =
    [("vf-forwarding-switch", &[("stray", 0)]), ("pod-vf-vlan-switch", &[])];
/// What `hardware` does not do at all is left out of the file that is run there.
const SWITCH_ALONE: [&str; 2] = ["backing", "vf.1 = { link_state"];

pub fn trials() -> Vec<Trial> {
    let trial = |(name, differ): (&'static str, &'static [(&'static str, usize)])| {
        machine::trial(format!("substitutes: {name} by switch and by igb"), pin(), move |_, _| {
            compare(name, differ);
        })
    };
    COMPARED.into_iter().map(trial).collect()
}

fn compare(name: &str, differ: &[(&str, usize)]) {
    let path = gallery_folder().join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).expect("the gallery is there");
    let (_, switch) = lab_run::run(&path, KERNEL_WITH_DRIVERS);
    let folder = tempfile::tempdir().expect("a folder of one's own");
    let hardware = folder.path().join(format!("{name}.toml"));
    let is_for_both = |line: &&str| !SWITCH_ALONE.iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = text.lines().filter(is_for_both).collect();
    fs::write(&hardware, lines.join("\n")).expect("a folder can be written to");
    let (_, igb) = lab_run::run(&hardware, KERNEL_WITH_DRIVERS);
    let told = switch["stand_in_differences"].as_array().map_or(0, Vec::len);
    assert_eq!(told, DIFFERENCES.len(), "the result names every difference");
    let flows = |document: &Value| document["flows"].as_array().cloned().unwrap_or_default();
    let pairs: Vec<(Value, Value)> = flows(&switch).into_iter().zip(flows(&igb)).collect();
    assert!(!pairs.is_empty(), "nothing was compared: {igb:#}");
    for (switch, igb) in pairs {
        let name = switch["name"].as_str().unwrap_or_default();
        // Held down by link_state, which igb does not have.
        if name == "held" {
            continue;
        }
        assert_eq!(switch["delivered"], igb["delivered"], "{name}");
        let is_named = differ.iter().any(|(flow, _)| *flow == name);
        assert_eq!(switch["fates"] != igb["fates"], is_named, "{name}: {switch:#} {igb:#}");
    }
}
