//! How a topology is run is beside it, and substitutes for NICs come before the mutants.

use std::fs;
use std::path::Path;

use bondlab_core::judge::mutation;
use bondlab_core::net::link::LinkKind;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::switch_port::Substitute;
use bondlab_core::plan::lower::{lower, lower_with};
use bondlab_core::plan::op::Op;
use bondlab_core::plan::{Plan, Role, RunOptions};
use bondlab_core::topology::fault::Fault;
use bondlab_core::topology::{Topology, substitute};

fn gallery() -> Vec<Topology> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies")];
    let mut topologies = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the gallery is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                topologies.push(read(&path));
            }
        }
    }
    topologies
}

fn read(path: &Path) -> Topology {
    let name = path.file_stem().and_then(|name| name.to_str()).expect("names in the gallery are UTF-8");
    let text = fs::read_to_string(path).expect("it can be read");
    Topology::parse(name, "t.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn proven(topology: &Topology) -> Plan {
    let mutation = Some(mutation::of(topology));
    lower_with(topology, &RunOptions { mutation, ..RunOptions::default() })
}

/// A PF that is set down takes the carrier of its VFs with it. Where a switch is in its place that is a fault of more
/// devices, in the file's own faults and in those of mutants.
#[test]
fn mutants_set_a_pf_down_as_the_file_does_where_a_switch_is_in_its_place() {
    let mut set_down = 0;
    for mut topology in gallery() {
        if substitute::fall_back(&mut topology) != Ok(true) {
            continue;
        }
        let is_switch = |device: &DeviceRef| {
            topology.substitutions.iter().any(|it| it.nic == *device && it.by == Substitute::Switch)
        };
        let plan = proven(&topology);
        let mutants = plan.trials.iter().filter(|trial| matches!(trial.role, Role::Mutant(_)));
        for op in mutants.flat_map(|trial| &trial.ops) {
            match op {
                Op::Inject { fault: Fault::CarrierLost { .. }, .. } => set_down += 1,
                Op::Inject { fault: Fault::Down { device }, .. } if is_switch(device) => {
                    panic!("{}: {op} leaves the VFs of {device} their carrier", topology.name)
                }
                _ => {}
            }
        }
    }
    assert!(set_down > 0, "no mutant sets a PF down: nothing was compared");
}

/// Options add trials and needs, and change nothing of what the topology's own trials do.
#[test]
fn the_trials_of_a_topology_are_the_same_with_mutants_beside_them() {
    for topology in gallery() {
        let (plain, proven) = (lower(&topology), proven(&topology));
        assert_eq!(plain.trials[..], proven.trials[..plain.trials.len()], "{}", topology.name);
        assert!(plain.needs.iter().all(|need| proven.needs.contains(need)), "{}", topology.name);
        assert_eq!(plain.options, RunOptions::default());
    }
}

/// docs/vf.md names each topology that is compared on a switch and on hardware, and no topology with a PF is left out.
#[test]
fn the_page_of_vfs_has_every_topology_that_is_compared_on_a_switch() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
    let (page, compared) = (read("docs/vf.md"), read("tests/e2e/gallery_by_switch.txt"));
    let names =
        compared.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next());
    let names: Vec<&str> = names.collect();
    for name in &names {
        assert!(page.contains(&format!("`{name}`")), "docs/vf.md does not say what {name} does by a switch");
    }
    let has_pf =
        |topology: &&Topology| topology.links.values().any(|link| matches!(link.kind, LinkKind::Pf(_)));
    let gallery = gallery();
    let with_pfs: Vec<&str> = gallery.iter().filter(has_pf).map(|topology| topology.name.as_str()).collect();
    assert!(with_pfs.len() > 10, "{with_pfs:?}");
    let missing: Vec<&&str> = with_pfs.iter().filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not compared");
}
