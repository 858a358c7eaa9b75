//! Commands of pages: found in fenced blocks, carried out in a folder as a user has one, compared with the output that is shown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The pages' commands that are not carried out without a machine, by page.
pub const APART: &str = "tests/pages/commands.toml";
/// A reason that begins so: tests/vm/pages.rs carries the command out.
pub const MACHINE: &str = "machine";
/// What a reporter pasted.
const REPORT: &str = "tests/pages/report.md";
/// Between the outputs of commands. No command prints it.
const MARK: &str = "\u{1}command ";
/// On a page, a line that stands for any number of lines.
const ANY: &str = "...";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command of a page, with the output that the page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// From 1.
    pub line: usize,
    pub command: String,
    pub output: Vec<String>,
}

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).expect("docs/ can be read");
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.expect("docs/ can be read").path()).collect();
    pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// Commands of fenced blocks: lines behind `$`, with the lines below as output; in a block without `$` lines that call the lab or
/// change the folder.
pub fn commands(text: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let (mut is_code, mut has_output) = (false, false);
    for (number, line) in text.replace("\\\n", "\u{2}").lines().enumerate() {
        if line.trim_start().starts_with("```") {
            (is_code, has_output) = (!is_code, false);
            continue;
        }
        if !is_code {
            continue;
        }
        let line = line.replace('\u{2}', "");
        let prompted = line.strip_prefix("$ ");
        let calls = ["lab ", "cd ", "cargo run --release -- "].iter().any(|begin| line.starts_with(begin));
        if let Some(command) = prompted.or_else(|| (calls && !has_output).then_some(&line[..])) {
            has_output |= prompted.is_some();
            found.push(Shown { line: number + 1, command: command.trim().to_owned(), output: Vec::new() });
        } else if let Some(last) = found.last_mut().filter(|_| has_output) {
            last.output.push(line);
        }
    }
    found
}

/// Whether lines are those of a page, in which `...` stands for any.
pub fn is_shown(shown: &[String], said: &[String]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((line, rest)) if line.trim() == ANY => (0..=said.len()).any(|at| is_shown(rest, &said[at..])),
        Some((line, rest)) => {
            said.split_first().is_some_and(|(first, others)| first == line && is_shown(rest, others))
        }
    }
}

/// By page: commands with the reason why they are not carried out.
pub fn apart() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = fs::read_to_string(root().join(APART)).expect("the list is there");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{APART}: {error}"))
}

/// A folder as a user has one: the reporter's text under the names that pages have for it, and topologies.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["report.md", "issue.md", "node.txt"] {
        fs::copy(root().join(REPORT), at(name)).expect("the text can be copied");
    }
    fs::create_dir(at("bin")).expect("a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lab"), at("bin/lab")).expect("a link");
    fs::create_dir(at("topologies")).expect("a folder");
    let name = "vlan-over-bond-tx-drop.toml";
    fs::copy(root().join("topologies").join(name), at("topologies").join(name)).expect("it can be copied");
    folder
}

/// Commands of all pages, with the page's name.
pub fn of_pages() -> BTreeMap<String, Vec<Shown>> {
    let name = |page: &Path| page.strip_prefix(root()).expect("it is below").display().to_string();
    let shown = |page: &Path| commands(&fs::read_to_string(page).expect("a page is text"));
    pages().iter().map(|page| (name(page), shown(page))).collect()
}

/// Carries out commands of a page, one after the other in one shell. What is wrong with each: its exit code, or another output than
/// the page shows.
pub fn carry_out(page: &str, shown: &[Shown], with_own_cache: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (one, (code, said)) in shown.iter().zip(carried_out(shown, with_own_cache)) {
        let place = format!("{page}:{}: `{}`", one.line, one.command);
        let said: Vec<String> = said.lines().map(without_time).collect();
        let expected: Vec<String> = one.output.iter().map(|line| without_time(line)).collect();
        if code != 0 {
            wrong.push(format!("{place} ends with {code}, and is not in {APART}:\n{}", said.join("\n")));
        } else if !expected.is_empty() && !is_shown(&expected, &said) {
            let (said, expected) = (said.join("\n"), expected.join("\n"));
            wrong.push(format!("{place} prints\n{said}\nand the page shows\n{expected}"));
        }
    }
    wrong
}

/// A headline without its seconds, which chance decides.
fn without_time(line: &str) -> String {
    match line.split_once(": PASS in ") {
        Some((head, _)) => format!("{head}: PASS"),
        None => line.to_owned(),
    }
}

/// The exit code and output of each command.
fn carried_out(shown: &[Shown], with_own_cache: bool) -> Vec<(i32, String)> {
    let folder = folder();
    let mut script = String::new();
    for one in shown {
        let command = one.command.replace("cargo run --release -- ", "lab ");
        _ = writeln!(script, "printf '%s\\n' '{MARK}'\n{command}\nprintf '\\n%s%s\\n' '{MARK}' $?");
    }
    let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", folder.path().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.path()).env("PATH", path).env("NO_COLOR", "1");
    shell.env_remove("GITHUB_ACTIONS");
    if with_own_cache {
        shell.env("LAB_CACHE", folder.path().join("cache"));
    }
    let output = shell.output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let parts: Vec<&str> = text.split(MARK).skip(1).collect();
    assert_eq!(parts.len(), shown.len() * 2, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let part = |pair: &[&str]| {
        let code = pair[1].lines().next().and_then(|code| code.parse().ok());
        let said = pair[0].strip_prefix('\n').unwrap_or(pair[0]);
        (code.expect("an exit code"), said.strip_suffix('\n').unwrap_or(said).to_owned())
    };
    parts.chunks(2).map(part).collect()
}
