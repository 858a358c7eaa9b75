//! Commands of the README and of docs/ are carried out as they are written, in a folder with a reporter's text, and what they print is
//! what the page shows. tests/pages/commands.toml names those that are not, with the reason; those that need one machine are carried
//! out by tests/vm/pages.rs.

#[path = "pages/shell.rs"]
mod shell;

use std::collections::BTreeSet;

use shell::{APART, MACHINE, Shown, apart, carry_out, commands, is_shown, of_pages};

/// A command of a page ends well and prints what the page shows, or is in the list with a reason.
#[test]
fn commands_of_pages_print_what_the_pages_show() {
    let mut apart = apart();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (page, shown) in of_pages() {
        let own = apart.remove(&page).unwrap_or_default();
        let there: BTreeSet<&String> = shown.iter().map(|one| &one.command).collect();
        for command in own.keys().filter(|command| !there.contains(command)) {
            wrong.push(format!("{APART}: {page} has no command `{command}`"));
        }
        for (command, reason) in &own {
            if reason != MACHINE && reason.trim().len() < 10 {
                wrong.push(format!("{APART}: no reason for `{command}` of {page}"));
            }
        }
        let shown: Vec<Shown> = shown.into_iter().filter(|one| !own.contains_key(&one.command)).collect();
        count += shown.len();
        if !shown.is_empty() {
            wrong.extend(carry_out(&page, &shown, true));
        }
    }
    wrong.extend(apart.keys().map(|page| format!("{APART}: {page} is no page with commands")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 10, "{count} commands were carried out");
}

/// The guide's first topology of one's own: the file of `lab init` up to its fault, and what the guide has from there.
#[test]
fn the_topology_that_the_guide_makes_has_no_mistake() {
    let guide = std::fs::read_to_string(shell::root().join("docs/first.md")).expect("a page");
    let own = guide
        .split("```toml\n")
        .nth(1)
        .and_then(|text| text.split("```").next())
        .expect("its part of the file");
    let folder = tempfile::tempdir().expect("a folder");
    let lab = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lab"));
        let ended = command.args(arguments).current_dir(&folder).output().expect("cargo has built it");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    lab(&["init", "."]);
    let file = |name: &str| folder.path().join("topologies").join(name);
    let first = std::fs::read_to_string(file("first.toml")).expect("it was made");
    let (begin, _) = first.split_once("[fault.down.cable]").expect("where the guide goes on");
    std::fs::write(file("full-queue.toml"), format!("{begin}{own}")).expect("it can be written");
    lab(&["topology", "check", "topologies/full-queue.toml"]);
}

#[test]
fn output_of_a_page_is_compared_with_what_stands_for_any_lines() {
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(is_shown(&shown(&["a", "...", "d"]), &shown(&["a", "b", "c", "d"])));
    assert!(is_shown(&shown(&["a", "..."]), &shown(&["a"])));
    assert!(!is_shown(&shown(&["a", "...", "d"]), &shown(&["a", "b", "c"])));
    assert!(!is_shown(&shown(&["a"]), &shown(&["a", "b"])));
}

#[test]
fn commands_are_found_with_their_output() {
    let text = "lab no\n```\n$ lab a b\nout\n$ echo c\n```\n```\nlab d > e\ncd f\nother\n```\n";
    let found = commands(text);
    let all: Vec<(&str, usize)> = found.iter().map(|one| (&one.command[..], one.output.len())).collect();
    assert_eq!(all, [("lab a b", 1), ("echo c", 0), ("lab d > e", 0), ("cd f", 0)]);
}
