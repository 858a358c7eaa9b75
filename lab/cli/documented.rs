//! Commands of the README, of docs/ and of what `lab init` writes are commands of this lab.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::cli::Cli;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = |folder: &str| fs::read_dir(root.join(folder)).expect("it can be read");
    let entries = ["docs", "docs/ci", "lab/cli/init"].into_iter().flat_map(below);
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    pages.retain(|page| page.extension().is_some_and(|ending| ending == "md" || ending == "yml"));
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

/// The commands of a page: of a fenced block of Markdown, and of all lines of another file.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page is text");
    let is_markdown = page.extension().is_some_and(|ending| ending == "md");
    let mut is_code = !is_markdown;
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        if is_markdown && line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            found.extend(line.split(['|', ';']).flat_map(|part| part.split("&&")).filter_map(command));
        }
    }
    found
}

/// The arguments of a part of a line that calls the lab.
fn command(part: &str) -> Option<String> {
    let mut rest = part.trim();
    for lead in ["$ ", "# ", "- run: ", "- ", "run: ", "sudo -E ", "sudo "] {
        rest = rest.strip_prefix(lead).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("cargo run --release -- ").or_else(|| rest.strip_prefix("lab "))?;
    // What a sentence in a transcript says of the lab is no command.
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    rest.split(' ').next().filter(|word| word.chars().all(is_word))?;
    let end = [" > ", " < ", " 2> ", " # "].iter().filter_map(|mark| rest.find(mark)).min();
    Some(rest[..end.unwrap_or(rest.len())].trim().to_owned())
}

/// Words as a shell has them, with a number for each variable and computation.
fn words(command: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = command;
    while let Some(at) = rest.find('$') {
        text += &rest[..at];
        rest = &rest[at..];
        let end = match () {
            () if rest.starts_with("${{") => rest.find("}}").map(|at| at + 2),
            () if rest.starts_with("$((") => rest.find("))").map(|at| at + 2),
            () if rest.starts_with("${") => rest.find('}').map(|at| at + 1),
            () => rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(|at| at + 1),
        };
        text.push('1');
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    text += rest;
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(end)) if c == end => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_pages_is_one_that_this_lab_takes() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        for command in commands(&page) {
            seen += 1;
            let words = words(&command);
            if let Err(error) = Cli::try_parse_from(std::iter::once("lab".to_owned()).chain(words))
                && error.use_stderr()
            {
                let said = error.to_string();
                wrong.push(format!(
                    "{}: lab {command}: {}",
                    page.display(),
                    said.lines().next().unwrap_or("")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "{seen} commands");
}

#[test]
fn a_command_is_found_behind_what_is_before_it() {
    assert_eq!(command("$ lab run T --prove").as_deref(), Some("run T --prove"));
    assert_eq!(command("  - run: lab matrix a > b.json").as_deref(), Some("matrix a"));
    assert_eq!(command("lab: nothing"), None);
    assert_eq!(
        words("matrix 'a b' --shard \"$I/3\" ${{ x.y }} $((J + 1))/3"),
        ["matrix", "a b", "--shard", "1/3", "1", "1/3"]
    );
}
