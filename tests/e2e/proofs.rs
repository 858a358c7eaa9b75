//! Proofs that were carried out before, so that they are repeated only where something that they depend on has changed.
//!
//! `proofs.txt` has a line for each topology whose expectations were all shown to be able to fail: its name, the kernel, and a
//! digest of what that depends on. A line is written after such a run, with `UPDATE_PROOFS=1 cargo test --test e2e`, and never in
//! CI. Where no line has the digest of today, the proof is carried out. `LAB_FULL=1` carries out all.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use sha2::{Digest, Sha256};

/// Whether proofs of this run are recorded.
const UPDATE_VARIABLE: &str = "UPDATE_PROOFS";
/// What decides whether a mutant breaks an expectation, besides the topology and the kernel: how a plan is made, carried out and
/// judged, and on which machine. Reports, imports and the command line are not among it.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "kernels.toml",
    "lab/core/judge",
    "lab/core/net",
    "lab/core/plan",
    "lab/core/topology",
    "lab/guest",
    "lab/host/run",
    "lab/host/vm",
];
/// The length of a digest in the file, in hex digits: nobody forges it, as whoever can write the file can write the sources.
const DIGITS: usize = 16;

/// What a proof is of: one topology, or one variant of it, on one kernel.
pub struct Subject<'a> {
    /// The topology's name, with the values of its parameters.
    pub topology: &'a str,
    pub kernel: &'a str,
    /// The topology's text.
    pub text: &'a str,
}

/// By topology: the kernel and the digest.
type Recorded = BTreeMap<String, String>;

static RECORDED: LazyLock<Mutex<Recorded>> = LazyLock::new(|| Mutex::new(read(&path())));
static NOT_REPEATED: AtomicUsize = AtomicUsize::new(0);

impl Subject<'_> {
    /// The kernel, and the digest of everything that the proof depends on.
    fn line(&self) -> String {
        static SOURCES_DIGEST: LazyLock<String> = LazyLock::new(|| digest_of(&root(), &SOURCES));
        let mut digest = Sha256::new();
        for part in [SOURCES_DIGEST.as_str(), self.topology, self.kernel, self.text] {
            add(&mut digest, part.as_bytes());
        }
        format!("{} {}", self.kernel, hex(digest))
    }

    /// Whether this proof was carried out, and nothing that it depends on has changed.
    pub fn is_known(&self) -> bool {
        let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.get(self.topology).is_some_and(|line| *line == self.line())
    }

    /// As [`Subject::is_known`]. It is counted as not repeated.
    pub fn is_recorded(&self) -> bool {
        let is_recorded = self.is_known();
        NOT_REPEATED.fetch_add(usize::from(is_recorded), Ordering::Relaxed);
        is_recorded
    }

    /// Takes note of a proof that this run has carried out, where such are recorded.
    pub fn record(&self) {
        if std::env::var_os(UPDATE_VARIABLE).is_none() {
            return;
        }
        let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.insert(self.topology.to_owned(), self.line());
        let mut text = String::new();
        for (topology, line) in &*recorded {
            writeln!(text, "{topology} {line}").expect("a String takes everything");
        }
        fs::write(path(), text).expect("the folder of the tests can be written to");
    }
}

/// How many proofs this run has not repeated.
pub fn summary() -> Option<String> {
    let number = NOT_REPEATED.load(Ordering::Relaxed);
    (number > 0).then(|| {
        format!("{number} proofs were not repeated, as nothing that they depend on has changed: LAB_FULL=1 repeats them")
    })
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn path() -> PathBuf {
    root().join("tests/e2e/proofs.txt")
}

fn read(path: &Path) -> Recorded {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let (topology, rest) = line.split_once(' ').expect("a topology, its kernel and a digest");
        (topology.to_owned(), rest.to_owned())
    };
    text.lines().map(line).collect()
}

/// The digest of files, and of all files in folders: their paths and contents, of Rust sources what they say to the compiler
/// of a program: a comment or a unit test decides nothing about a proof.
fn digest_of(root: &Path, sources: &[&str]) -> String {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut open: Vec<PathBuf> = sources.iter().map(|source| root.join(source)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the sources can be read");
            open.extend(entries.map(|entry| entry.expect("it can be read").path()));
        } else {
            files.push(path);
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).expect("it is below");
        add(&mut digest, name.as_os_str().as_encoded_bytes());
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        let program = is_rust.then(|| program_of(&bytes)).flatten();
        add(&mut digest, program.as_deref().map_or(&bytes, str::as_bytes));
    }
    hex(digest)
}

/// The tokens of a Rust source without comments and unit tests; none where it cannot be read as such.
fn program_of(source: &[u8]) -> Option<String> {
    let tokens: TokenStream = std::str::from_utf8(source).ok()?.parse().ok()?;
    Some(without_tests_and_docs(tokens).to_string())
}

/// Comments are no tokens, but those that document an item are: `#[doc = "..."]`.
fn without_tests_and_docs(tokens: TokenStream) -> TokenStream {
    let mut left = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let inner =
            tokens.next_if(|it| is_hash && matches!(it, TokenTree::Punct(punct) if punct.as_char() == '!'));
        match tokens.peek() {
            Some(TokenTree::Group(group)) if is_hash && is_doc(group) => drop(tokens.next()),
            Some(TokenTree::Group(group)) if is_hash && inner.is_none() && is_test(group) => {
                // Up to the end of what it stands before: a body or a semicolon.
                let is_end = |token: &TokenTree| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(punct) => punct.as_char() == ';',
                    _ => false,
                };
                drop(tokens.by_ref().find(is_end));
            }
            _ => {
                left.push(match token {
                    TokenTree::Group(group) => {
                        Group::new(group.delimiter(), without_tests_and_docs(group.stream())).into()
                    }
                    other => other,
                });
                left.extend(inner);
            }
        }
    }
    left.into_iter().collect()
}

fn is_doc(attribute: &Group) -> bool {
    let mut tokens = attribute.stream().into_iter();
    let is_word = |token: Option<TokenTree>| matches!(token, Some(TokenTree::Ident(word)) if word == "doc");
    let is_equal =
        |token: Option<TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == '=');
    attribute.delimiter() == Delimiter::Bracket && is_word(tokens.next()) && is_equal(tokens.next())
}

fn is_test(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    attribute.delimiter() == Delimiter::Bracket && text == "cfg(test)"
}

/// A part with its length, so that no two lists of parts are one.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

fn hex(digest: Sha256) -> String {
    let bytes = digest.finalize();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..DIGITS].to_owned()
}

/// Tests of the digest itself, which need no machine.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    vec![libtest_mimic::Trial::test("proofs: any change of what they depend on changes the digest", || {
        let folder = tempfile::tempdir().expect("a folder of one's own");
        let write =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it can be written");
        fs::create_dir(folder.path().join("lab")).expect("a folder can be written to");
        write("Cargo.lock", "1");
        write("lab/a.rs", "fn a() {}");
        let digest = || digest_of(folder.path(), &["Cargo.lock", "lab"]);
        let first = digest();
        assert_eq!(first, digest(), "the same sources");
        for same in [
            "// A comment\nfn a() {}",
            "//! Of the file.\n\n/// Of it.\nfn a() { /* none */ }",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn b() {}\n}\n",
            "#[cfg(test)]\nmod tests;\nfn a() {}",
        ] {
            write("lab/a.rs", same);
            assert_eq!(first, digest(), "no other program: {same}");
        }
        for other in [
            "fn a() { 1 }",
            "#[cfg(test)] mod t {} fn a() {} fn b() {}",
            "#[inline] fn a() {}",
            "fn a() {} }",
        ] {
            write("lab/a.rs", other);
            assert_ne!(first, digest(), "another program: {other}");
        }
        write("lab/a.rs", "fn b() {}");
        let other = digest();
        write("lab/b.rs", "");
        let more = digest();
        assert!(first != other && other != more && first != more, "{first} {other} {more}");
        for source in SOURCES {
            assert!(root().join(source).exists(), "{source} is not there: what do proofs depend on?");
        }
        let subject = |topology, kernel, text| Subject { topology, kernel, text }.line();
        let line = subject("t", "6.12.57", "x");
        for changed in
            [subject("u", "6.12.57", "x"), subject("t", "7.3.4", "x"), subject("t", "6.12.57", "y")]
        {
            assert_ne!(line, changed);
        }
        Ok(())
    })]
}
