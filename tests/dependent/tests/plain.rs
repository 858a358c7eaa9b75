//! Tests that know nothing of the lab: cargo's runner takes the whole test program into a guest.

use std::fs;
use std::process::Command;

/// With a variable of the runner's.
#[test]
fn the_kernel_is_the_one_of_the_runner() {
    let expected = std::env::var("EXPECTED_KERNEL").expect("the runner hands it on");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(release.starts_with(&expected), "{release:?} is not {expected}");
}

#[test]
fn a_link_can_be_made() {
    assert!(Command::new("ip").args(["link", "add", "d0", "type", "dummy"]).status().unwrap().success());
    assert!(fs::exists("/sys/class/net/d0").unwrap());
}

/// Relative paths are those of the package, as on the host.
#[test]
fn files_of_the_package_are_found() {
    assert!(fs::read_to_string("Cargo.toml").unwrap().contains("dependent"));
}
