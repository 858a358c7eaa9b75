//! What other crates may name: the documented names of the library are few, and every change of their signatures is seen.
//!
//! `tests/data/public_api.txt` has all of them. cargo-semver-checks (`.ci/semver`) says whether a change breaks other crates; this
//! test needs no tool and no earlier version, and says that there is one.

use std::fs;
use std::path::Path;

use rstest::rstest;

/// How many names a reader of the documentation may find at the root of the library.
const NAMES_MAX: usize = 12;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A name at the root of the library.
#[derive(Debug, PartialEq)]
struct Name {
    /// The path it is exported from.
    path: String,
    is_hidden: bool,
}

impl Name {
    fn last(&self) -> &str {
        self.path.rsplit("::").next().unwrap_or_default()
    }
}

/// The names that the text of lab/lib.rs makes public, in its order.
fn names(text: &str) -> Vec<Name> {
    let mut names = Vec::new();
    let mut is_hidden = false;
    for line in text.lines() {
        let public = line.strip_prefix("pub use ").or_else(|| line.strip_prefix("pub mod "));
        let Some(public) = public.and_then(|rest| rest.strip_suffix(';')) else {
            is_hidden = line == "#[doc(hidden)]" || (is_hidden && line.starts_with("#["));
            continue;
        };
        let (start, words) = match public.split_once('{') {
            Some((start, words)) => (start, words.trim_end_matches('}')),
            None => ("", public),
        };
        let paths = words.split(',').map(|word| format!("{start}{}", word.trim()));
        names.extend(paths.map(|path| Name { path, is_hidden }));
        is_hidden = false;
    }
    names
}

/// Public items of a source file that rustfmt has laid out, a line each: signatures below the `impl` they are in, with what is
/// derived, and implemented traits.
fn signatures(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let (mut found, mut owner, mut derived) = (Vec::new(), String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if indent == 0 && !code.is_empty() && !code.starts_with(['#', '/']) {
            owner.clear();
        }
        if let Some(traits) = code.strip_prefix("#[derive(").and_then(|rest| rest.strip_suffix(")]")) {
            derived = format!(" derives {traits}");
        }
        let is_impl = code.starts_with("impl");
        if !is_impl && !code.starts_with("pub ") {
            continue;
        }
        let mut whole = code.to_owned();
        let is_open = |text: &str| text.matches('(').count() > text.matches(')').count();
        while is_open(&whole) || !(whole.ends_with([';', ',']) || whole.contains('{')) {
            let Some(more) = lines.next() else { break };
            let more = more.trim();
            if more.starts_with(')') {
                whole.truncate(whole.trim_end_matches(',').len());
            } else if !whole.ends_with('(') {
                whole.push(' ');
            }
            whole.push_str(more);
        }
        let whole = whole.split(" {").next().unwrap_or_default().trim_end_matches([';', ',']).to_owned();
        match is_impl {
            true => {
                if whole.contains(" for ") {
                    found.push(whole.clone());
                }
                owner = whole;
            }
            false if owner.is_empty() => found.push(format!("{whole}{}", std::mem::take(&mut derived))),
            false => found.push(format!("{owner}: {whole}")),
        }
        derived.clear();
    }
    found
}

/// All that other crates may name, a line each.
fn public_api() -> String {
    let mut text = String::new();
    for name in names(&read("lab/lib.rs")) {
        let word = if name.is_hidden { "hidden" } else { "pub" };
        text.push_str(&format!("{word} {}\n", name.path));
    }
    let mut modules: Vec<String> = names(&read("lab/lib.rs"))
        .iter()
        .filter(|name| !name.is_hidden)
        .filter_map(|name| name.path.strip_prefix("testing::")?.split("::").next().map(str::to_owned))
        .collect();
    modules.dedup();
    modules.sort();
    modules.dedup();
    for module in modules {
        text.push_str(&format!("\n# lab/testing/{module}.rs\n"));
        for signature in signatures(&read(&format!("lab/testing/{module}.rs"))) {
            text.push_str(&format!("{signature}\n"));
        }
    }
    text
}

#[test]
fn the_documented_names_are_few_and_are_in_the_page_of_the_library() {
    let page = read("docs/library.md");
    let names = names(&read("lab/lib.rs"));
    let documented: Vec<&str> = names.iter().filter(|name| !name.is_hidden).map(Name::last).collect();
    assert!((1..=NAMES_MAX).contains(&documented.len()), "{documented:?}");
    for name in documented {
        let is_there = page.contains(&format!("`{name}`")) || page.contains(&format!("#[lab::{name}]"));
        assert!(is_there, "docs/library.md does not have `{name}`");
    }
}

/// What a macro expands to has to be public. Nothing else is hidden: what the command and the tests of this repository need of the
/// lab is in packages of its own, which a crate that tests with the lab does not name.
#[test]
fn only_what_a_macro_expands_to_is_hidden() {
    let names = names(&read("lab/lib.rs"));
    let hidden: Vec<&str> =
        names.iter().filter(|name| name.is_hidden).map(|name| name.path.as_str()).collect();
    assert_eq!(hidden, ["testing::guest_test as __guest_test"]);
    assert!(read("lab/macros/expand.rs").contains("::lab::__guest_test"));
}

#[test]
fn a_change_of_a_public_signature_is_seen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/public_api.txt");
    let made = public_api();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &made).expect("the list");
    }
    let kept = read("tests/data/public_api.txt");
    let missing = |from: &str, to: &str| {
        from.lines().filter(|line| !to.lines().any(|other| other == *line)).collect::<Vec<_>>().join("\n  ")
    };
    assert!(
        kept == made,
        "the public names have changed.\nGone, which breaks other crates and needs the next minor version:\n  {}\nNew:\n  {}\n\
         `UPDATE_EXPECTED=1 cargo test --test pure public_names` accepts it",
        missing(&kept, &made),
        missing(&made, &kept)
    );
}

#[rstest]
#[case("#[doc(hidden)]\npub use a::{b, c};\npub mod d;", &[("a::b", true), ("a::c", true), ("d", false)])]
#[case("pub(crate) mod a;\nmod b;\n#[doc(hidden)]\n#[cfg(x)]\npub mod c;", &[("c", true)])]
#[case("#[doc(hidden)]\nmod a;\npub use b::c as d;", &[("b::c as d", false)])]
fn exported_names_are_read(#[case] text: &str, #[case] expected: &[(&str, bool)]) {
    let expected =
        expected.iter().map(|(path, is_hidden)| Name { path: (*path).into(), is_hidden: *is_hidden });
    assert_eq!(names(text), expected.collect::<Vec<_>>());
}

#[test]
fn signatures_are_read() {
    let text = "#[derive(Debug, Clone)]\npub struct A {\n    pub field: u8,\n    own: u8,\n}\n\nimpl A {\n    /// pub fn no()\n    \
                pub fn long(\n        &self,\n        more: u8,\n    ) -> u8 {\n        0\n    }\n    fn own() {}\n}\n\nimpl Display for A \
                {\n}\n\npub(crate) fn inner() {}\npub fn free() {}\n\n#[cfg(test)]\nmod tests {\n    pub fn f() {}\n}\n";
    let expected = [
        "pub struct A derives Debug, Clone",
        "pub field: u8",
        "impl A: pub fn long(&self, more: u8) -> u8",
        "impl Display for A",
        "pub fn free()",
    ];
    assert_eq!(signatures(text), expected);
}
