//! What is published is whole: each file that the compiler has read for the binary is in one of the packages.
//!
//! `cargo publish --dry-run` shows it by building everything anew, which takes minutes; rustc's list of files takes none.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages, with their folders.
const PACKAGES: [(&str, &str); 5] = [
    ("bondlab", ""),
    ("bondlab-core", "lab/core"),
    ("bondlab-guest", "lab/guest"),
    ("bondlab-host", "lab/host"),
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

/// The libraries that the binary is linked from, beside itself.
const LIBRARIES: [&str; 4] = ["lab", "bondlab_core", "bondlab_guest", "bondlab_host"];

/// What the binary was built from, by the rules for make that rustc writes beside each crate, seen from the repository. `cargo test`
/// gathers them for the targets that it was asked for alone, and the binary is not one of them.
fn sources() -> Vec<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_lab")).parent().expect("a program is in a folder").join("deps");
    let entries = fs::read_dir(&built).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder that is read").path()).collect();
    let mut rules = vec![binary(&files).with_extension("d")];
    rules.extend(LIBRARIES.map(|library| newest_rule(&files, library)));
    let mut sources = BTreeSet::new();
    for rule in rules {
        let text = fs::read_to_string(&rule).unwrap_or_else(|error| panic!("{}: {error}", rule.display()));
        let (_, files) = text.split_once(": ").expect("a rule has a target");
        let files = files.lines().next().unwrap_or_default();
        // A blank in a name is behind a backslash.
        let files = files.replace("\\ ", "\0");
        sources.extend(files.split_whitespace().map(|file| PathBuf::from(file.replace('\0', " "))));
    }
    sources.into_iter().map(|file| seen_from_the_repository(&file)).collect()
}

/// The file that `lab` is a hard link to: a test of the binary's own is named alike.
fn binary(files: &[PathBuf]) -> PathBuf {
    let number = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let lab = number(Path::new(env!("CARGO_BIN_EXE_lab")));
    let mut all = files.iter().filter(|file| number(file) == lab);
    all.next().expect("cargo links the binary from deps/").clone()
}

/// The rule of the library that was compiled last; tests of the same crate make a program, and lints no archive.
fn newest_rule(files: &[PathBuf], library: &str) -> PathBuf {
    let start = format!("lib{library}-");
    let name = |file: &Path| {
        Some(file.file_name()?.to_str()?.strip_prefix(&start)?.strip_suffix(".rlib")?.to_owned())
    };
    let archives = files.iter().filter(|file| name(file).is_some());
    let newest = archives.max_by_key(|file| fs::metadata(file).and_then(|file| file.modified()).ok());
    let newest = newest.unwrap_or_else(|| panic!("{library} was not compiled"));
    newest.with_file_name(format!("{library}-{}.d", name(newest).expect("it was chosen by its name")))
}

/// rustc names files as the source includes them, with `..` in their paths.
fn seen_from_the_repository(file: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join(file);
    let name = file.file_name().expect("rustc reads files");
    // A link to a file is packaged as the file, where the link is.
    let folder = file.parent().expect("a file is in a folder").canonicalize();
    let file = folder.unwrap_or_else(|error| panic!("{}: {error}", file.display())).join(name);
    let root = root.canonicalize().expect("the repository is there");
    file.strip_prefix(root).unwrap_or(&file).to_owned()
}

/// The package that a file belongs to: the one of the innermost folder.
fn package_of(file: &Path) -> (&'static str, &'static str) {
    let within = PACKAGES.into_iter().filter(|(_, folder)| file.starts_with(folder));
    within.max_by_key(|(_, folder)| folder.len()).expect("the root has a package")
}

#[test]
fn each_file_that_the_binary_is_built_from_is_published() {
    let sources = sources();
    for part in ["lab/main.rs", "lab/core/lib.rs", "lab/guest/lib.rs", "lab/host/kernels.toml"] {
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
