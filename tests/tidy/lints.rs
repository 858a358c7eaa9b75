//! The rules that clippy holds: each on a snippet that breaks it, with the configuration and the levels of the tree.

use std::fs;
use std::path::Path;
use std::process::Command;

use rstest::rstest;

/// Attribute of a room that returns or records what it has to say.
const NO_PRINTING: &str = "#![deny(clippy::print_stdout, clippy::print_stderr)]";
const ROOMS_THAT_DO_NOT_PRINT: [&str; 3] = ["lab/core/lib.rs", "lab/guest/lib.rs", "lab/host/lib.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `-D` for each lint that the workspace denies or forbids.
fn levels() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let manifest: toml::Table = manifest.parse().expect("cargo reads it too");
    let lints = manifest["workspace"]["lints"]["clippy"].as_table().expect("a table of lints").clone();
    let level = |(lint, level): (String, toml::Value)| {
        let level = level.get("level").unwrap_or(&level).as_str().map(str::to_owned);
        (level.as_deref() == Some("deny")).then(|| format!("-Dclippy::{lint}"))
    };
    // A group comes first: what is said of one lint of it stands.
    let mut levels: Vec<String> = lints.into_iter().filter_map(level).collect();
    levels.sort_by_key(|level| level != "-Dclippy::all");
    levels
}

/// What clippy says of a snippet in the package of `folder`; nothing where this toolchain has no clippy.
fn said(folder: &str, code: &str) -> Option<String> {
    let scratch = tempfile::tempdir().expect("a folder of one's own");
    let file = scratch.path().join("snippet.rs");
    fs::write(&file, format!("//! What it is for.\n\n{code}\n")).expect("it can be written");
    let mut command = Command::new("clippy-driver");
    command.env("CLIPPY_CONF_DIR", root().join(folder)).args(["--edition", "2024", "--crate-type", "lib"]);
    command.args(["--emit", "metadata", "--out-dir"]).arg(scratch.path()).args(levels()).arg(&file);
    let Ok(output) = command.output() else {
        assert!(!bondlab_host::ci::is_ci(), "CI needs clippy");
        eprintln!("skipped: this toolchain has no clippy-driver: rustup component add clippy");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || text.contains("clippy::"), "{text}");
    Some(if output.status.success() { String::new() } else { text })
}

#[rstest]
#[case("lab/core", "pub type T = std::collections::HashMap<u8, u8>;", "BTreeMap or IndexMap")]
#[case("lab/core", "use std::collections::HashSet;\npub type T = HashSet<u8>;", "BTreeSet or IndexSet")]
#[case(
    "lab/core",
    "pub fn f() -> std::time::Instant { std::time::Instant::now() }",
    "a clock in a pure package"
)]
#[case("lab/core", "pub use std::time::SystemTime;", "a clock in a pure package")]
#[case("lab/core", "pub type T = std::net::UdpSocket;", "I/O in a pure package")]
#[case("lab/core", "pub use std::net::{TcpListener, TcpStream};", "I/O in a pure package")]
#[case(
    "lab/core",
    "pub fn f(to: impl std::net::ToSocketAddrs) { drop(to.to_socket_addrs()) }",
    "I/O in a pure package"
)]
#[case(".", "pub fn f() { std::thread::sleep(std::time::Duration::ZERO) }", "wait::until")]
#[case(".", "pub fn f() { todo!() }", "todo")]
#[case(".", "pub fn f() { unimplemented!() }", "unimplemented")]
#[case(".", "pub fn f() { dbg!(1); }", "dbg_macro")]
#[case(".", "#[allow(dead_code, reason = \"later\")]\nfn f() {}", "allow_attributes")]
#[case(
    "lab/guest",
    "#![deny(clippy::print_stdout, clippy::print_stderr)]\npub fn f() { println!() }",
    "print_stdout"
)]
#[case(
    "lab/guest",
    "#![deny(clippy::print_stdout, clippy::print_stderr)]\npub fn f() { eprintln!() }",
    "print_stderr"
)]
fn a_lint_can_fail(#[case] folder: &str, #[case] code: &str, #[case] expected: &str) {
    // Clippy looks for its configuration from the package up; the driver alone takes the folder it is given.
    let folder = if root().join(folder).join("clippy.toml").exists() { folder } else { "." };
    let Some(said) = said(folder, code) else { return };
    assert!(said.contains(expected), "{said:?}");
}

#[test]
fn functions_of_more_than_70_lines_are_reported() {
    let function = |lines: usize| format!("pub fn f(x: &mut u8) {{\n{}}}\n", "    *x += 1;\n".repeat(lines));
    for folder in [".", "lab/core"] {
        let (Some(short), Some(long)) = (said(folder, &function(69)), said(folder, &function(72))) else {
            return;
        };
        assert_eq!(short, "", "{folder}");
        assert!(long.contains("too_many_lines"), "{folder}: {long}");
    }
}

#[test]
fn rooms_below_the_command_line_do_not_print() {
    for file in ROOMS_THAT_DO_NOT_PRINT {
        let text = fs::read_to_string(root().join(file)).expect("it is there");
        assert!(text.contains(NO_PRINTING), "{file} has no `{NO_PRINTING}`");
    }
}
