//! The topology reader: every mistake reported at its place with a hint, none reported twice, and never a panic.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bondlab_core::topology::Topology;
use rstest::rstest;

/// Set to write what the reader says now into the `.expected` files; look at the difference before you commit it.
const UPDATE: &str = "UPDATE_EXPECTED";

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("names of test files are UTF-8")
}

fn topologies(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    paths.iter().map(|path| (file_name(path).to_owned(), read(path))).collect()
}

/// A case is a file: `x.toml` is refused with exactly the words of `x.expected`.
#[rstest]
fn refused(#[files("tests/invalid/*.toml")] path: PathBuf) {
    let text = read(&path);
    let said = match Topology::parse("invalid", file_name(&path), &text) {
        Ok(_) => panic!("{} was read without complaint", path.display()),
        Err(errors) => errors.lines(),
    };
    let expected = path.with_extension("expected");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&expected, &said).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
    }
    let expected = fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(said, expected, "\nsaid:\n{said}\nexpected:\n{expected}\n{UPDATE}=1 writes what is said now");
}

#[test]
fn each_expectation_has_a_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        assert!(path.with_extension("toml").exists(), "{} has no topology", path.display());
    }
}

/// A reader that could only refuse would pass all the above.
#[test]
fn accepted() {
    for (name, text) in topologies("tests/plans") {
        if let Err(errors) = Topology::parse("valid", &name, &text) {
            panic!("{errors}");
        }
    }
}

/// vxlan_raw_setup(): packets have no Ethernet header, and the device no address.
#[test]
fn a_vxlan_with_gpe_gets_no_ethernet_address() {
    let mac = |gpe: &str| {
        let text = format!(
            "[ns.node.vxlan.x]\ndstport = 5001\nexternal = true\nlearning = false\n{gpe}\n\
             [[step]]\npause_ms = 1\n[[expect]]\ndevice = \"node:x\"\nshow = \"external\"\nis = \"true\"\n"
        );
        let topology = Topology::parse("gpe", "gpe.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        topology.links[0].mac
    };
    assert!(mac("").is_some());
    assert_eq!(mac("gpe = true"), None);
}

#[test]
fn the_pretty_form_shows_line_and_hint() {
    let text = "[ns.node.vlan.\"bond0.70\"]\nparent = \"bond0\"\nid = 4095\n";
    let errors = Topology::parse("x", "x.toml", text).expect_err("there is no VLAN 4095");
    let pretty = errors.pretty(false);
    for part in ["x.toml:3:6", "id = 4095", "^^^^", "0 to 4094", "2 problems in x.toml; nothing was created"]
    {
        assert!(pretty.contains(part), "{part:?} is not in\n{pretty}");
    }
}

/// A small fixed generator: the same texts in each run.
struct Generator(u64);

impl Generator {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

/// Either a topology or at least one problem, each with a place in the text and words.
fn holds_up(text: &str) {
    let Err(errors) = Topology::parse("fuzz", "fuzz.toml", text) else { return };
    assert!(!errors.problems.is_empty(), "refused without a reason:\n{text}");
    for problem in &errors.problems {
        let Range { start, end } = problem.span;
        assert!(text.get(start..end).is_some(), "{problem:?} lies outside the text:\n{text}");
        assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
        assert!(!problem.message.contains("--lost-"), "{problem:?} speaks of what nobody wrote:\n{text}");
    }
    // To draw a text takes longer than to read it: one in eight will do.
    assert!(!errors.lines().is_empty() && (!text.len().is_multiple_of(8) || !errors.pretty(true).is_empty()));
}

fn all() -> Vec<(String, String)> {
    let mut all = topologies("tests/plans");
    all.extend(topologies("tests/invalid"));
    all
}

/// Places at which one text is cut. Files differ in length, so all sorts of places are met.
const CUTS_MAX: usize = 40;

#[test]
fn a_text_cut_anywhere_does_no_harm() {
    for (_, text) in all() {
        let stride = text.len().div_ceil(CUTS_MAX).max(1);
        for at in (0..text.len()).step_by(stride).filter(|at| text.is_char_boundary(*at)) {
            holds_up(&text[..at]);
        }
    }
}

#[test]
fn a_text_with_other_bytes_does_no_harm() {
    const BYTES: &[u8] = b"\"'[]{}=.,#\n\r\t 0-9aZ_:/\\\0\x7f\xc3\xa4\xff";
    let mut generator = Generator(7);
    for (_, text) in all() {
        for _ in 0..24 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=generator.next(3) {
                let at = generator.next(bytes.len());
                match generator.next(3) {
                    0 if at < bytes.len() => bytes[at] = BYTES[generator.next(BYTES.len())],
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, BYTES[generator.next(BYTES.len())]),
                }
            }
            holds_up(&String::from_utf8_lossy(&bytes));
        }
    }
}

/// Whole lines out of order, twice or left out: mistakes in structure, not in letters.
#[test]
fn a_text_with_other_lines_does_no_harm() {
    let mut generator = Generator(11);
    for (_, text) in all() {
        let lines: Vec<&str> = text.lines().collect();
        for _ in 0..12 {
            let mut lines = lines.clone();
            for _ in 0..=generator.next(3) {
                let (from, to) = (generator.next(lines.len()), generator.next(lines.len()));
                match generator.next(3) {
                    0 => lines.swap(from, to),
                    1 => lines.insert(to, lines[from]),
                    _ => drop(lines.remove(from)),
                }
                if lines.is_empty() {
                    break;
                }
            }
            holds_up(&lines.join("\n"));
        }
    }
}

#[test]
fn the_reference_is_made_from_the_types() {
    let schema = serde_json::to_value(Topology::schema()).expect("a schema is JSON");
    let page = bondlab_core::report::reference::render(&schema);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert!(page == read(&path), "docs/reference.md is another one: {UPDATE}=1 writes it anew");
}
