//! Topologies on pinned kernels: results, asked and asserted.

use lab::build::{Condition, Fault, Flow, Link};
use lab::{Lab, Run, Skip, Topology};
use rstest::{fixture, rstest};

#[fixture]
fn full_queue() -> Topology {
    Topology::builder("full-queue")
        .link("node:p0", Link::veth("switch:p0").address("192.0.2.1/24"))
        .link("switch:p0", Link::veth("node:p0").address("192.0.2.2/24"))
        .fault("full", Fault::qdisc("node:p0", "pfifo").set("qdisc.limit", 0))
        .flow("flood", Flow::new("node:p0", "switch:p0", 1000))
        .inject("full")
        .flood("flood")
        .expect(Condition::refused("flood", "ENOBUFS").equals(1000))
        .expect(Condition::state("node:p0", "carrier").equals(1))
        .build()
        .unwrap()
}

#[rstest]
fn a_full_queue_refuses(
    full_queue: Topology,
    #[values("5.10.262", "6.12.57")] kernel: &str,
) -> Result<(), Skip> {
    let run = Lab::on(kernel).run(&full_queue)?;
    run.assert_expected();
    let flood = run.flow("flood");
    flood.assert_refused("ENOBUFS", 1000);
    flood.assert_lost_on("qdisc", "node:p0", 1000);
    assert_eq!((flood.sent(), flood.delivered(), flood.unattributed()), (0, 0, 0));
    assert_eq!(run.state("node:p0", "carrier"), 1);
    run.main().assert_counter("switch:p0", "rx_packets", 0);
    Ok(())
}

#[rstest]
#[case::reasons("6.12.57", "QDISC_DROP")]
#[case::no_reasons("5.10.262", "kfree_skb_list")]
fn the_reason_is_the_kernels(
    full_queue: Topology,
    #[case] kernel: &str,
    #[case] reason: &str,
) -> Result<(), Skip> {
    let run = Lab::on(kernel).run(&full_queue)?;
    assert_eq!(run.flow("flood").lost_for("qdisc", "node:p0", reason), 1000, "{}", run.flow("flood"));
    Ok(())
}

#[test]
fn a_run_is_its_snapshot() -> Result<(), Skip> {
    let topology = Topology::from_file("topologies/two-ports.toml").unwrap();
    let run: Run = Lab::on(topology.kernel().unwrap()).run(&topology)?;
    insta::assert_snapshot!(run);
    Ok(())
}

#[test]
fn a_set_is_several_kernels() {
    let kernels = Lab::on_each("quick");
    assert!(kernels.len() > 2 && kernels.contains(&Lab::on("6.12.57")), "{kernels:?}");
    assert_eq!(Lab::here().kernel(), "host");
}

#[test]
fn mistakes_of_a_built_topology_are_those_of_a_file() {
    let wrong = Topology::builder("wrong")
        .link("node:bond0", Link::bond("active-bakup", ["p0"]))
        .flow("stream", Flow::new("node:bond0", "switch:p0", 10).set("colour", "red"));
    let error = wrong.build().unwrap_err().to_string();
    for expected in ["active-bakup", "active-backup", "colour", "5 problems in builder; nothing was created"] {
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(Topology::from_text("builder", &wrong.text()).unwrap_err().to_string(), error);
}

struct Quiet;

impl log::Log for Quiet {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

#[rstest]
fn the_logger_is_the_programs_own(full_queue: Topology) -> Result<(), Skip> {
    Lab::on("6.12.57").run(&full_queue)?.assert_expected();
    log::set_logger(&Quiet).expect("the lab has not set one");
    Ok(())
}
