//! Tests that cannot run: this kernel has no netdevsim, and the running one may lack anything.

use lab::build::{Flow, Link};
use lab::{Lab, Skip, Topology};

#[test]
fn a_driver_that_the_kernel_lacks() {
    let topology =
        Topology::builder("no-driver").link("node:pf0", Link::of_kind("netdevsim")).build().unwrap();
    let skip: Skip = Lab::on("5.10.262").run(&topology).expect_err("it cannot run");
    assert!(skip.reason().starts_with("no-driver on 5.10.262: "), "{skip}");
}

/// Without root, or without the veth driver, this is a skip; all else is a run of the agent on this kernel.
#[test]
fn the_running_kernel() {
    let topology = Topology::builder("cable")
        .link("node:p0", Link::veth("switch:p0").address("192.0.2.1/24"))
        .link("switch:p0", Link::veth("node:p0").address("192.0.2.2/24"))
        .flow("stream", Flow::new("node:p0", "switch:p0", 100))
        .flood("stream")
        .build()
        .unwrap();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    match Lab::here().run(&topology) {
        Ok(run) => {
            assert_eq!(run.release(), release.trim());
            run.flow("stream").assert_lossless();
        }
        Err(skip) => assert!(skip.reason().starts_with("cable on host: "), "{skip}"),
    }
}
