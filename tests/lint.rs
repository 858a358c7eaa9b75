//! Lint: each rule has files in which it finds something and files in which it does not, and can be silenced; and its page.

use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::report::lint_rules;
use bondlab_core::topology::Topology;
use bondlab_core::topology::lint::{Finding, RULES};
use bondlab_core::topology::source::Source;
use rstest::rstest;

use crate::import::imported;

/// Set to write the page.
const UPDATE: &str = "UPDATE_EXPECTED";
/// Marks the line where a topology's finding has to be.
const HERE: &str = "# here";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn linted(text: &str) -> Vec<Finding> {
    let linted = Topology::parse_and_lint("t", &Source::of("t.toml", text));
    linted.unwrap_or_else(|errors| panic!("{errors}")).1
}

/// A topology by itself, or a text as an import reads it.
fn findings(path: &Path) -> Vec<Finding> {
    let text = read(path);
    if path.extension().is_some_and(|ending| ending == "toml") {
        return linted(&text);
    }
    imported(&text).unwrap_or_else(|error| panic!("{error}")).lint
}

/// `miimon-off.fires.toml`: the rule, and whether it is to find something.
fn expected(path: &Path) -> (String, bool) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut parts = name.split('.');
    let (rule, word) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    assert!(RULES.iter().any(|known| known.name == rule), "{name}: no rule `{rule}`");
    assert!(["fires", "silent"].contains(&word), "{name}: neither `fires` nor `silent`");
    (rule.to_owned(), word == "fires")
}

#[rstest]
fn a_rule_finds_what_its_file_says(#[files("tests/lint/*.*")] path: PathBuf) {
    let (rule, fires) = expected(&path);
    let all = findings(&path);
    let found: Vec<&Finding> = all.iter().filter(|finding| finding.rule.name == rule).collect();
    assert_eq!(!found.is_empty(), fires, "{rule}: {all:?}");
    let text = read(&path);
    if let Some(at) = text.lines().position(|line| line.ends_with(HERE)) {
        let is_here = |finding: &&Finding| finding.place.as_ref().is_some_and(|place| place.line == at + 1);
        assert!(found.iter().any(is_here), "line {}: {found:?}", at + 1);
    }
}

#[rstest]
fn a_rule_is_silenced_in_the_file(#[files("tests/lint/*.fires.toml")] path: PathBuf) {
    let (rule, _) = expected(&path);
    if rule == "allow-unused" {
        return;
    }
    let text = read(&path) + &format!("\n[lint.allow]\n{rule} = \"it is meant\"\n");
    let found = linted(&text);
    let is_left = |finding: &Finding| [rule.as_str(), "allow-unused"].contains(&finding.rule.name);
    assert!(!found.iter().any(is_left), "{found:?}");
}

/// Both the text and the topology that is made of it show the bridge's table.
#[test]
fn a_finding_of_the_text_and_of_its_topology_is_one() {
    let text = read(&folder("tests/lint/bridge-lacks-vlan.fires.txt"));
    let mut messages: Vec<String> =
        imported(&text).expect("it shows a bridge").lint.into_iter().map(|finding| finding.message).collect();
    messages.retain(|message| message.starts_with("node:br0 "));
    assert_eq!(messages, ["node:br0 filters VLANs, and does not have VLAN 70 of node:br0.70"]);
}

#[test]
fn each_rule_has_a_file_for_both() {
    let entries = fs::read_dir(folder("tests/lint")).expect("the folder is there");
    let known: Vec<(String, bool)> =
        entries.map(|entry| expected(&entry.expect("it can be read").path())).collect();
    for rule in RULES {
        for fires in [true, false] {
            assert!(
                known.contains(&(rule.name.to_owned(), fires)),
                "{}: no file with fires {fires}",
                rule.name
            );
        }
    }
}

#[rstest]
#[case("miimon-of = 'x'", "no rule of lint `miimon-of`", "did you mean `miimon-off`?")]
#[case("miimon-off = ' '", "`miimon-off` is allowed without a reason", "say why")]
fn what_is_allowed_is_a_rule_with_a_reason(#[case] line: &str, #[case] message: &str, #[case] hint: &str) {
    let text = format!("[ns.node.dummy.d0]\n[lint.allow]\n{line}\n");
    let errors = Topology::parse("t", "t.toml", &text).expect_err("it is refused").to_string();
    assert!(errors.contains(message) && errors.contains(hint), "{errors}");
    assert!(errors.starts_with("t.toml:3:"), "{errors}");
}

#[test]
fn the_page_is_made_from_the_rules() {
    let (path, page) = (folder("docs/lint.md"), lint_rules::page());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "{UPDATE}=1 writes it");
}
