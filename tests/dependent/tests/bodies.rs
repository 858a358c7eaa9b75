//! Test bodies that run as root in a guest.

use std::fs;
use std::process::Command;

use rstest::rstest;

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap()
}

#[lab::test(kernels = ["5.10.262", "7.3.4"], topology = "topologies/two-ports.toml", ns = "node")]
fn the_first_port_is_active() {
    assert_eq!(dependent::active_port("bond0").unwrap().as_deref(), Some("p0"));
}

#[lab::test(kernels = "5.10.262,6.12.57")]
fn the_kernel_is_one_of_those_that_were_asked_for() {
    let release = release();
    assert!(release.starts_with("5.10.") || release.starts_with("6.12."), "{release}");
}

/// On the host nobody may write there.
#[lab::test(kernels = "6.12.57", timeout_s = 120)]
fn a_body_is_root() -> std::io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    let made = Command::new("ip").args(["link", "add", "d0", "type", "dummy"]).status()?;
    assert!(made.success());
    println!("made d0 on {}", release().trim());
    Ok(())
}

#[rstest]
#[case::first("p0")]
#[case::second("p1")]
#[lab::test(kernels = "6.12.57", topology = "topologies/two-ports.toml", ns = "node")]
fn a_port_has_carrier(#[case] port: &str) {
    assert_eq!(fs::read_to_string(format!("/sys/class/net/{port}/carrier")).unwrap(), "1\n");
}
