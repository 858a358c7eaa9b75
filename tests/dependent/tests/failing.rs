//! Tests that fail, each in its own way.

use lab::__guest_test::{GuestTest, run};
use lab::build::{Flow, Link};
use lab::{Lab, Skip, Topology};

fn cable() -> Topology {
    Topology::builder("cable")
        .link("node:p0", Link::veth("switch:p0").address("192.0.2.1/24"))
        .link("switch:p0", Link::veth("node:p0").address("192.0.2.2/24"))
        .flow("stream", Flow::new("node:p0", "switch:p0", 100))
        .flood("stream")
        .build()
        .unwrap()
}

#[test]
fn a_wrong_number() -> Result<(), Skip> {
    Lab::on("6.12.57").run(&cable())?.flow("stream").assert_delivered(99);
    Ok(())
}

#[test]
fn a_wrong_name() -> Result<(), Skip> {
    assert_eq!(Lab::on("6.12.57").run(&cable())?.flow("strem").sent(), 0);
    Ok(())
}

#[test]
fn a_kernel_that_is_none() -> Result<(), Skip> {
    Lab::on("6.12.999").run(&cable())?.assert_expected();
    Ok(())
}

#[lab::test(kernels = "6.12.57")]
fn a_body_that_panics() {
    println!("before the panic");
    assert_eq!(1 + 1, 3, "arithmetic");
}

#[lab::test(kernels = "6.12.57")]
fn a_body_that_ends_the_process() {
    std::process::exit(0);
}

#[lab::test(kernels = "6.12.57")]
fn a_body_that_returns_an_error() -> Result<(), String> {
    Err("not today".into())
}

#[lab::test(kernels = "6.12.57", timeout_s = 1)]
fn a_body_that_does_not_end() {
    std::process::Command::new("sleep").arg("1000").status().unwrap();
}

#[lab::test(kernels = "6.12.57")]
fn a_body_that_takes_the_kernel_with_it() {
    std::fs::write("/proc/sysrq-trigger", "c").unwrap();
}

#[lab::test(kernels = "6.12.57")]
fn a_body_that_is_killed() {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// In the guest the harness of `cargo test` runs no test of this name, and ends with status 0.
#[test]
fn a_body_that_is_filtered_out() {
    let test = GuestTest {
        module: module_path!(),
        name: "a_body_of_another_name",
        package_dir: env!("CARGO_MANIFEST_DIR"),
        kernels: "6.12.57",
        topology: None,
        ns: None,
        timeout_s: 60,
        modules: &[],
        env: &[],
    };
    run(&test, || -> () { unreachable!("it is not run on the host") });
}
