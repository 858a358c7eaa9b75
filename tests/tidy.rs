//! The rules of the tree, as a test that reads it; and each rule on a snippet that breaks it.

#[path = "tidy/lints.rs"]
mod lints;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::topology::Topology;
use rstest::rstest;
use rules::{File, RULES, forbidden_text};
use source::below;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All text files that belong to the project.
fn tree() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if [".git", ".vagrant", "target"].contains(&name.as_str()) || name.ends_with(".snap.new") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                files.push(File::new(&relative(&path), &text));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("it was found below the root");
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_tree_keeps_the_rules() {
    let tree = tree();
    assert!(tree.iter().any(|file| file.path == "lab/lib.rs"), "the tree was not found");
    let wrong: Vec<String> =
        tree.iter().flat_map(|file| RULES.iter().flat_map(|(_, rule)| rule(file))).collect();
    assert_none(&wrong);
}

/// Cargo finds no test by itself here (`autotests = false`): a file that no program names would never run.
#[test]
fn each_file_of_tests_is_part_of_a_program() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let names: Vec<&str> = manifest
        .split("[[test]]")
        .skip(1)
        .filter_map(|table| table.split('"').nth(1).filter(|_| table.trim_start().starts_with("name = ")))
        .collect();
    let programs: Vec<String> = names
        .iter()
        .map(|name| fs::read_to_string(root().join("tests").join(format!("{name}.rs"))).expect("its source"))
        .collect();
    for entry in fs::read_dir(root().join("tests")).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|ending| ending == "rs") {
            let module = format!("mod {stem};");
            let is_run = names.contains(&stem.as_str()) || programs.iter().any(|text| text.contains(&module));
            assert!(is_run, "tests/{stem}.rs is no test program, and no program has `{module}`");
        }
    }
}

/// Names of hosts in a text of apt's configuration.
fn mirrors(text: &str) -> BTreeSet<String> {
    let is_comment = |line: &&str| ["#", "//"].iter().any(|mark| line.trim_start().starts_with(mark));
    let urls = text.lines().filter(|line| !is_comment(line)).flat_map(|line| line.split("://").skip(1));
    let hosts = urls.map(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || "/:\";]".contains(c)).unwrap_or(rest.len());
        rest[..end].rsplit('@').next().unwrap_or_default().to_owned()
    });
    hosts.filter(|host| host.contains('.')).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

#[test]
fn no_file_names_a_mirror_of_this_machine() {
    let mut found = BTreeSet::new();
    for part in ["sources.list", "sources.list.d", "apt.conf", "apt.conf.d"] {
        let path = Path::new("/etc/apt").join(part);
        let files = if path.is_dir() { files_below(&path) } else { vec![path] };
        files
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .for_each(|text| found.extend(mirrors(&text)));
    }
    let hosts: Vec<&str> = found.iter().map(String::as_str).collect();
    let hint = "a mirror of this machine: read apt's configuration at run time";
    assert_none(&tree().iter().flat_map(|file| forbidden_text(file, &hosts, hint)).collect::<Vec<_>>());
}

/// The folder of the project and the one above it, unless that is one every machine has.
fn folders_of_this_machine(manifest: &Path) -> Vec<String> {
    let everywhere = ["", "home", "media", "mnt", "opt", "root", "srv", "tmp", "usr", "var"];
    let parent = manifest.parent().filter(|parent| {
        let parts: Vec<_> = parent.iter().skip(1).collect();
        parts.len() > 1 || !everywhere.iter().any(|name| parts.first().is_none_or(|part| *part == *name))
    });
    [Some(manifest), parent].into_iter().flatten().map(|path| format!("{}/", path.display())).collect()
}

#[test]
fn no_file_names_a_folder_of_this_machine() {
    let folders = folders_of_this_machine(root());
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let hint = "a folder of this machine: make the path relative";
    assert_none(&tree().iter().flat_map(|file| forbidden_text(file, &folders, hint)).collect::<Vec<_>>());
}

#[test]
fn each_topology_of_the_gallery_is_read() {
    for path in files_below(&root().join("topologies")) {
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if let Err(errors) = Topology::parse("gallery", &relative(&path), &text) {
                panic!("{errors}");
            }
        }
    }
}

/// What all rules together say about one file.
fn said(path: &str, text: &str) -> Vec<String> {
    let file = File::new(path, text);
    RULES.iter().flat_map(|(_, rule)| rule(&file)).collect()
}

const PURPOSE: &str = "//! What it is for.\n";

#[rstest]
#[case("lab/core/a.rs", "use std::fs;", "`std::fs`")]
#[case("lab/core/a.rs", "use std::{fmt, io::{self, Read}};", "`std::io`")]
#[case("lab/core/topology/a.rs", "fn f() { std::thread::spawn(g); }", "`std::thread`")]
#[case("lab/guest/agent/a.rs", "use bondlab_core::judge::ledger;", "`guest` names `judge`")]
#[case("lab/guest/a.rs", "use bondlab_host::vm;", "`guest` names `host`")]
#[case("lab/host/a.rs", "use bondlab_guest::agent;", "`host` names `guest`")]
#[case("lab/host/a.rs", "fn f() { super::guest::g() }", "`host` names `guest`")]
#[case("lab/host/a.rs", "use crate::testing::on::Lab;", "`host` names `testing`")]
#[case("lab/testing/a.rs", "use crate::guest::agent;", "`testing` names `guest`")]
#[case("lab/core/net/a.rs", "use crate::topology::Topology;", "`net` names `topology`")]
#[case("lab/core/topology/cni/a.rs", "use crate::{net::name, plan::op};", "`topology` names `plan`")]
#[case("lab/core/plan.rs", "fn f() { crate::judge::g() }", "`plan` names `judge`")]
#[case("lab/core/judge/a.rs", "use crate::report::document::Document;", "`judge` names `report`")]
#[case("lab/host/utils.rs", "", "`utils` says nothing")]
#[case("tests/common/a.rs", "", "`common` says nothing")]
#[case("lab/a.rs", "mod helpers;", "`mod helpers` says nothing")]
#[case("lab/host/a.rs", "fn f() { Command::new(p).output() }", "no wait without a bound")]
#[case(
    "lab/guest/a.rs",
    "fn f(command: &mut Command) { command.args(x).status() }",
    "no wait without a bound"
)]
#[case("lab/cli/a.rs", "fn f(mut child: Child) { child.wait(); }", "no wait without a bound")]
#[case(
    "lab/host/a.rs",
    "fn f(child: Child) { child.kill(); g(); child.wait_with_output() }",
    "no wait without"
)]
#[case("tests/a.rs", "#[test]\n#[ignore]\nfn f() {}", "proves nothing")]
#[case("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", "proves nothing")]
fn a_rule_can_fail(#[case] path: &str, #[case] text: &str, #[case] expected: &str) {
    let said = said(path, &format!("{PURPOSE}\n{text}\n"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(expected), "{said:?}");
    let line = said[0].strip_prefix(&format!("{path}:")).and_then(|rest| rest.split(':').next());
    assert!(line.is_some_and(|line| line.parse::<usize>().is_ok()), "{said:?} names no line");
}

#[rstest]
#[case("lab/a.rs", "use std::net::{IpAddr, Ipv4Addr};\nuse std::fmt;")]
#[case("lab/a.rs", "// std::fs, HashMap, todo!()\nconst X: &str = \"#[ignore] mod utils\";")]
#[case("lab/a.rs", "const X: &str = r#\"a \" todo!() \"#; const Y: char = '\"'; const Z: &str = \"nix\";")]
#[case("lab/a.rs", "fn f<'a>(x: &'a str) -> &'a str { x } /* nix /* libc */ tokio */")]
#[case("lab/host/a.rs", "use std::collections::HashMap;\nuse std::fs;")]
#[case("lab/core/plan/a.rs", "use crate::net::name;\n#[cfg(test)]\nmod tests { use crate::judge::ledger; }")]
#[case("lab/guest/a.rs", "use crate::fault::Guard;\nuse bondlab_core::plan::op::Op;")]
#[case("lab/host/a.rs", "use bondlab_core::plan::Plan;\n/// As the guest does.\nfn guest() { host() }")]
#[case(
    "lab/host/a.rs",
    "fn f(mut child: Child) { let _ = child.kill(); let _ = child.wait(); row.status(); }"
)]
#[case("lab/host/a.rs", "use p::Command;\n#[cfg(test)]\nmod tests { fn f() { Command::new(p).output(); } }")]
#[case("tests/a.rs", "fn f() { Command::new(p).output(); }")]
#[case("README.md", "use std::fs and println! as you like; https://example.org/home/page")]
fn a_rule_can_hold(#[case] path: &str, #[case] text: &str) {
    assert_none(&said(path, &format!("{PURPOSE}\n{text}\n")));
}

#[test]
fn a_file_without_purpose_or_measure_is_reported() {
    assert!(said("lab/a.rs", "fn f() {}\n")[0].contains("lab/a.rs:1: open the file with"));
    let long_file = format!("{PURPOSE}{}", "const X: u8 = 0;\n".repeat(600));
    assert!(said("lab/a.rs", &long_file)[0].contains("lab/a.rs:601: over 600 lines"));
}

#[test]
fn paths_are_found_in_groups_too() {
    let named =
        |code: &str| below(code, "std").into_iter().map(|(_, word)| word.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        named("use std::{fmt, io::{self, fs}, process};\nstd :: fs::read(x); core::std(y)"),
        ["fmt", "io", "process", "fs"]
    );
}

#[test]
fn texts_of_a_machine_are_found() {
    let apt = "deb [arch=amd64] http://mirror.example.net/debian stable main\n# see https://github.com/x\nURIs: https://user@cache.example.net:3142/x\n\
               deb http://second.example.org/debian stable main\nAcquire::http::Proxy \"http://localhost:3142\";\n";
    assert_eq!(
        mirrors(apt).into_iter().collect::<Vec<_>>(),
        ["cache.example.net", "mirror.example.net", "second.example.org"]
    );
    let file = File::new(
        "notes.md",
        "see\nhttp://mirror.example.net/x and not-mirror.example.net or mirror.example.network\n",
    );
    assert_eq!(
        forbidden_text(&file, &["mirror.example.net"], "x"),
        ["notes.md:2: `mirror.example.net` is x"]
    );
    let home = format!("See /{}/somebody/notes.", "home");
    assert!(said("README.md", &home)[0].starts_with("README.md:1: "));
    let folders = |path: &str| folders_of_this_machine(Path::new(path));
    assert_eq!(folders("/build/lab"), ["/build/lab/", "/build/"]);
    assert_eq!(folders("/usr/lab"), ["/usr/lab/"]);
}
