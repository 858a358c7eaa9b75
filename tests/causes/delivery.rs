//! Obstacles on the way in: the table is what the accepted results say, and no cell of it is left to what a kernel happened to do.

use std::fs;

use bondlab_core::report::delivery::FLOWS;
use bondlab_core::topology::Topology;
use bondlab_core::topology::condition::{FlowField, Subject};

use super::{assert_page, files_of};

const DELIVERY: &str = "topologies/delivery";
/// What each obstacle is tried with. TCP needs a way back, which not every obstacle leaves.
const ALWAYS: [&str; 6] = ["packet-device", "packet-stack", "packet-socket", "udp", "udp-recverr", "ping"];

fn obstacles() -> Vec<Topology> {
    let parse = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("it can be read");
        Topology::parse(&name, &path.display().to_string(), &text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    files_of(DELIVERY).iter().map(parse).collect()
}

#[test]
fn the_table_says_what_the_accepted_results_say() {
    assert_page("delivery", DELIVERY, "docs/delivery.md");
}

/// What arrives and what does not is a condition of its topology, so that it is asked on each kernel.
#[test]
fn each_cell_of_the_table_is_a_condition_of_its_topology() {
    for obstacle in obstacles() {
        let asked = |flow: &str| {
            obstacle.scenario.expect.iter().any(|condition| match &condition.subject {
                Subject::Flow { flow: of, field: FlowField::Delivered | FlowField::Lost } => of == flow,
                _ => false,
            })
        };
        let flows = &obstacle.scenario.flows;
        let shown = FLOWS.into_iter().filter(|flow| flows.contains_key(*flow));
        for flow in shown.chain(ALWAYS) {
            assert!(flows.contains_key(flow), "{} lacks the flow {flow}", obstacle.name);
            assert!(asked(flow), "{}: no condition says what becomes of {flow}", obstacle.name);
        }
    }
}
