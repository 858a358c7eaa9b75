//! `lab import`: each case is a text and the topology that is made of it; and no text makes it panic.

use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::import::{self, ImportError, Imported, Known, Source, tree};
use bondlab_core::net::version::KernelVersion;
use bondlab_core::topology::Topology;
use bondlab_host::archive::{self, Limits};
use rstest::rstest;

use crate::fuzz::mutation::{Generator, mutated};
use crate::fuzz::tarball;

/// Set to write what is imported now into the `.expected` files; look at the difference before you commit it.
const UPDATE: &str = "UPDATE_EXPECTED";

/// The kernels that cases are about: those of kernels.toml come and go.
const KERNELS: [&str; 8] =
    ["5.10.262", "6.1.192", "6.12.43", "6.12.57", "6.12.117", "6.18.5", "6.18.15", "7.3.4"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    all.retain(|path| path.extension().is_some_and(|is| is == ending));
    all.sort();
    all
}

/// Some causes are enough for cases; the catalogue changes.
fn causes() -> Vec<(String, String)> {
    let names = [
        "filter-on-bond-by-tag",
        "filter-on-port-ingress",
        "lacp-partner-out-of-sync",
        "port-carrier-lost",
        "port-queue-full",
    ];
    let path = |name: &str| folder("topologies/causes").join(format!("{name}.toml"));
    names.iter().map(|name| ((*name).to_owned(), read(&path(name)))).collect()
}

/// Imports a text with the kernels and causes of the cases.
pub fn imported(text: &str) -> Result<Imported, ImportError> {
    imported_of(&[Source { name: "report".into(), text: text.to_owned() }])
}

fn imported_of(sources: &[Source]) -> Result<Imported, ImportError> {
    let causes = causes();
    let causes: Vec<_> = causes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let kernels: Vec<KernelVersion> =
        KERNELS.iter().map(|version| version.parse().expect("a version")).collect();
    import::import("imported", sources, &Known { kernels: &kernels, causes: &causes })
}

/// A sosreport's tarball: files that show no link are not read, names of files stand for the commands that printed them.
#[test]
fn a_tarball_of_a_sosreport_is_one_machine() {
    let tar = tarball(&folder("tests/import/sosreport"));
    let limits = Limits { members: 100, member_bytes: 1 << 20, bytes: 1 << 20 };
    let begin = tar[..512].to_vec();
    let members = archive::members_of("a.tar", &begin, std::io::Cursor::new(tar), limits, tree::is_wanted);
    let mut members = members.expect("it is a tarball");
    assert!(members.paths.iter().any(|path| path.ends_with("var/log/messages")), "{:?}", members.paths);
    assert!(!members.members.iter().any(|member| member.path.ends_with("messages")), "it is not wanted");
    members.members.sort_by(|one, other| one.path.cmp(&other.path));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sources: Vec<Source> =
        members.members.iter().map(|one| Source { name: one.path.clone(), text: text(&one.bytes) }).collect();
    let said = imported_of(&sources).expect("it shows links").toml;
    compare(&folder("tests/import/sosreport.expected"), &said);
}

/// A case is a file: of `x.txt` exactly `x.expected` is made, or it is refused with its words.
#[rstest]
fn case(#[files("tests/import/*.txt")] path: PathBuf) {
    let said = match imported(&read(&path)) {
        Ok(imported) => imported.toml,
        Err(error) => format!("error: {error}\n"),
    };
    compare(&path.with_extension("expected"), &said);
}

fn compare(expected: &Path, said: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(expected, said).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(said, expected, "\nsaid:\n{said}\nexpected:\n{expected}\n{UPDATE}=1 writes what is said now");
}

/// Each format that a reader says it has recognised is recognised in a case.
#[test]
fn each_format_has_a_case() {
    let mut shown = String::new();
    for path in files(&folder("tests/import"), "expected") {
        shown += &read(&path);
    }
    let mut formats = Vec::new();
    for path in files(&folder("lab/core/import"), "rs") {
        let source = read(&path);
        for part in source.split("model.found(").skip(1) {
            // A name that is made at run time has no quote behind the bracket.
            let name = part.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            formats.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    assert!(formats.len() > 40, "{formats:?}");
    let lost: Vec<&String> =
        formats.iter().filter(|format| !shown.contains(&format!("{format} (report"))).collect();
    assert!(lost.is_empty(), "no file of tests/import shows {lost:?}");
}

/// The gallery's first report, as text: what its own topology states by hand is found in the words.
#[test]
fn a_report_in_prose_has_the_evidence_of_a_topology_by_hand() {
    let imported = imported(&read(&folder("tests/import/vlan-drops-post.txt"))).expect("it is a report");
    let topology = Topology::parse("x", "x", &imported.toml).expect("it is valid");
    let report = topology.scenario.report.expect("there is evidence");
    let names: Vec<&str> = report.evidence.iter().map(|item| item.condition.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "bond0.200 counts drops",
            "bond0 counts none",
            "the sender is told ENOBUFS",
            "what eno1.200 sends arrives",
            "what comes back to eno1.200 arrives",
            "untagged frames of bond0 arrive",
            "fq_codel-on-bond0 does not help: still ENOBUFS"
        ]
    );
    let filter = topology.scenario.hypotheses.iter().find(|one| one.name == "filter-on-bond-by-tag");
    assert!(filter.is_some(), "{:?}", topology.scenario.hypotheses);
}

fn node_links(toml: &str) -> usize {
    toml.lines().filter(|line| line.starts_with("[ns.node.veth.")).count()
}

/// `ip -j` without `-p` prints one line, of any length; lines of other formats are read up to a bound.
#[test]
fn json_on_one_long_line_is_read() {
    let links: Vec<String> = (0..60)
        .map(|at| {
            format!(
                r#"{{"ifindex":{at},"ifname":"eth{at}","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"mq","operstate":"UP","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"02:00:00:00:00:{at:02x}","broadcast":"ff:ff:ff:ff:ff:ff"}}"#
            )
        })
        .collect();
    let text = format!("It is this:\n# ip -j link\n[{}]\n# uname -r\n6.12.57\n", links.join(","));
    assert!(text.len() > 12 * 1024);
    assert_eq!(node_links(&imported(&text).expect("it shows links").toml), 60);
}

/// The other end of so many NICs does not fit into a topology either.
#[test]
fn more_links_than_a_topology_takes_are_left_out_with_a_note() {
    let links = |count: usize| {
        let link =
            |at: usize| format!("{at}: eth{at}: <UP> mtu 1500\n    inet 10.{}.{}.1/24\n", at / 256, at % 256);
        imported(&(1..=count).map(link).collect::<String>()).expect("it shows links")
    };
    let all = links(390);
    assert_eq!(node_links(&all.toml), 390);
    let first = links(600);
    assert_eq!(node_links(&first.toml), 400);
    assert!(first.notes.iter().any(|note| note.contains("more than 400 links")), "{:?}", first.notes);
}

/// A configuration that ends in the middle is read up to there, a list as well as a map.
#[rstest]
#[case(
    "interfaces:\n- name: bond7\n  type: bond\n  link-aggregation: {mode: active-backup, port: [eth0]}\n- name: eth0\n  type: [ethern"
)]
#[case(
    "- interface: bond7\n  bond:\n    mode: active-backup\n    interfaces: [eth0]\n- interface: eth0\n  addresses: [192.0.2."
)]
fn a_document_without_its_end_is_read(#[case] text: &str) {
    let toml = imported(text).expect("it shows a bond").toml;
    assert!(toml.contains("[ns.node.bond.bond7]"), "{toml}");
}

/// Whatever comes in: a topology that the checker takes, or an error with words, and never a panic.
#[test]
fn mutated_texts_are_imported_or_refused() {
    let texts: Vec<String> = files(&folder("tests/import"), "txt").iter().map(|path| read(path)).collect();
    let mut random = Generator(14);
    let (mut made, mut refused) = (0, 0);
    for round in 0..600 {
        let text = mutated(&texts[round % texts.len()], &texts, 6, &mut random);
        match imported(&text) {
            Ok(imported) => {
                made += 1;
                assert!(Topology::parse("x", "x", &imported.toml).is_ok(), "{}", imported.toml);
            }
            Err(ImportError::Invalid(errors)) => panic!("{errors}\nof\n{text}"),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(made > 100, "{made} made, {refused} refused: the mutations leave nothing to read");
}
