//! The pages of docs/ as a book: each is in its contents, and what a page refers to is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The contents (mdBook).
const SUMMARY: &str = "docs/SUMMARY.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of docs/, by its path from there.
fn pages() -> BTreeMap<PathBuf, String> {
    let entries = fs::read_dir(root().join("docs")).expect("docs/ can be read");
    let pages = entries.map(|entry| entry.expect("docs/ can be read").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(&path).expect("a page is text"))).collect()
}

/// What the text outside of code refers to.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in outside_of_code(text) {
        let mut rest = line.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find(')').unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    found
}

/// Lines without fenced blocks, and without what is between backquotes.
fn outside_of_code(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line.split('`').step_by(2).collect());
        }
    }
    lines
}

/// The ids of headings, as mdBook and GitHub make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if let Some(title) = line.strip_prefix('#').filter(|_| !is_code) {
            let title = title.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

#[test]
fn the_contents_have_every_page_once() {
    let summary = fs::read_to_string(root().join(SUMMARY)).expect("the book has contents");
    let listed: Vec<String> = links(&summary);
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a page is there twice: {listed:?}");
    let listed: BTreeSet<PathBuf> = listed.iter().map(|page| root().join("docs").join(page)).collect();
    let there: BTreeSet<PathBuf> = pages().into_keys().filter(|page| *page != root().join(SUMMARY)).collect();
    assert_eq!(listed, there, "contents | pages");
}

#[test]
fn what_a_page_refers_to_is_there() {
    let mut texts = pages();
    for name in ["README.md", "ARCHITECTURE.md"] {
        texts.insert(root().join(name), fs::read_to_string(root().join(name)).expect("it is text"));
    }
    let mut wrong = Vec::new();
    for (page, text) in &texts {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().expect("a page is in a folder");
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let is_page = target.extension().is_some_and(|ending| ending == "md");
            let has_anchor = || fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
            if !target.exists() || (is_page && !anchor.is_empty() && !has_anchor()) {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A page of the book is at another place than in docs/: what is beside docs/ has to be beside the book's pages, too.
#[test]
fn files_beside_docs_are_beside_the_book() {
    let book = fs::read_to_string(root().join("book.toml")).expect("the book has a configuration");
    let book: toml::Table = book.parse().expect("it is TOML");
    let outputs = book["output"].as_table().expect("the book has outputs");
    let mut count = 0;
    for (page, text) in pages() {
        for link in links(&text) {
            let Some((folder, _)) =
                link.strip_prefix("../").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            else {
                continue;
            };
            count += 1;
            assert!(
                outputs.contains_key(folder),
                "{}: {link}: no [output.{folder}] in book.toml",
                page.display()
            );
        }
    }
    assert!(count > 100, "{count} links lead out of docs/");
    // With one output mdBook would not make a folder for it.
    assert!(outputs.contains_key("html") && outputs.len() > 1, "{outputs:?}");
}

#[test]
fn links_in_code_are_none_and_an_anchor_is_a_heading() {
    assert_eq!(links("a [b](c.md) `[d](e)` [f](g#h)\n```\n[i](j)\n```\n"), ["c.md", "g#h"]);
    let known = anchors("# `lab` here: now\n```\n# no\n```\n## Two words\n");
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["lab-here-now", "two-words"]);
}
