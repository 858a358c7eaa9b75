//! What is published is whole: each file that the compiler has read for the binary is in one of the packages.
//!
//! `cargo publish --dry-run` shows it by building everything anew, which takes minutes; rustc's list of files takes none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages, with their folders.
const PACKAGES: [(&str, &str); 4] = [
    ("bondlab", ""),
    ("bondlab-core", "lab/core"),
    ("bondlab-guest", "lab/guest"),
    ("bondlab-macros", "lab/macros"),
];

/// The files of a package, seen from its folder.
fn packaged(package: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--allow-dirty", "--offline", "--package", package]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// What the binary was built from, by the rule for make that cargo writes beside it, seen from the repository.
fn sources() -> Vec<PathBuf> {
    let rule = Path::new(env!("CARGO_BIN_EXE_lab")).with_extension("d");
    let text = fs::read_to_string(&rule).unwrap_or_else(|error| panic!("{}: {error}", rule.display()));
    let (_, files) = text.split_once(": ").expect("a rule has a target");
    // A blank in a name is behind a backslash.
    let files = files.replace("\\ ", "\0");
    let files = files.split_whitespace().map(|file| PathBuf::from(file.replace('\0', " ")));
    files.filter_map(|file| Some(file.strip_prefix(env!("CARGO_MANIFEST_DIR")).ok()?.to_owned())).collect()
}

/// The package that a file belongs to: the one of the innermost folder.
fn package_of(file: &Path) -> (&'static str, &'static str) {
    let within = PACKAGES.into_iter().filter(|(_, folder)| file.starts_with(folder));
    within.max_by_key(|(_, folder)| folder.len()).expect("the root has a package")
}

#[test]
fn each_file_that_the_binary_is_built_from_is_published() {
    let sources = sources();
    for part in ["lab/main.rs", "lab/core/lib.rs", "lab/guest/lib.rs", "kernels.toml"] {
        assert!(sources.iter().any(|file| file == Path::new(part)), "{part} is not in the compiler's list");
    }
    let packages = PACKAGES.map(|(package, _)| (package, packaged(package)));
    let missing: Vec<String> = sources
        .iter()
        .filter_map(|file| {
            let (package, folder) = package_of(file);
            let inside = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned();
            let is_there = packages.iter().any(|(name, files)| *name == package && files.contains(&inside));
            (!is_there).then(|| format!("{} is not in the package {package}", file.display()))
        })
        .collect();
    assert!(missing.is_empty(), "\n{}\nhint: `include` in Cargo.toml", missing.join("\n"));
}
