//! Puts the commit into the command, for `lab --version` and for results that are merged.
//!
//! In release builds only: in others it would build the command anew with each commit.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LAB_COMMIT");
    for file in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = std::env::var("LAB_COMMIT").ok();
    if let Some(commit) = given.or_else(|| is_release.then(commit).flatten()) {
        println!("cargo::rustc-env=LAB_BUILT_FROM={commit}");
    }
}

/// The first twelve digits of the checkout's commit; nothing outside a checkout.
fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && commit.chars().all(|c| c.is_ascii_hexdigit())).then_some(commit)
}
