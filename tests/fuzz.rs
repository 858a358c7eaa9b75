//! Fuzzing: each reader of `lab import`, the import as a whole, lint and archives get mutated inputs, and must neither panic nor
//! hang. `cargo test` gives each a few; `LAB_FUZZ_INPUTS=1000000 cargo test --release --test pure fuzz -- --nocapture` gives each a
//! million, and prints what was found. `LAB_FUZZ_TARGETS=tc,nft` takes some, `LAB_FUZZ_SEED` other inputs.

pub mod mutation;

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bondlab_core::import::{ImportError, readers, tree};
use bondlab_core::topology::Topology;
use bondlab_core::topology::source::Source;
use bondlab_host::archive::{self, Limits};
use mutation::{Generator, mutated, mutated_bytes};
use nix::time::{ClockId, clock_gettime};

use crate::import::imported;

/// Inputs of each target unless `LAB_FUZZ_INPUTS` says otherwise.
const INPUTS: usize = 120;
/// So many of a target's inputs are whole texts; those behind are parts of them, of which an hour has ten times as many.
const WHOLE: usize = 20_000;
/// One input takes some ms of a processor; more than this is a hang to whoever waits.
const SLOWEST: Duration = Duration::from_secs(20);
/// Texts larger than this are no seeds: small ones have as many places to break.
const SEED_BYTES_MAX: usize = 8 * 1024;

/// The time that this thread has computed: a loaded machine makes nothing slower by it.
fn computed() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Texts of all files with this ending below a folder.
fn texts(folder: &Path, ending: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            found.extend(texts(&path, None));
        } else if ending.is_none_or(|ending| path.extension().is_some_and(|is| is == ending)) {
            found.extend(fs::read_to_string(&path).ok().filter(|text| text.len() <= SEED_BYTES_MAX));
        }
    }
    found
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// What is fuzzed.
struct Target {
    name: String,
    seeds: Vec<String>,
    /// Changes of one input at the most: a topology that the checker refuses is not linted.
    changes_max: usize,
    /// How much it found in an input.
    run: Box<dyn Fn(&str) -> usize>,
}

fn import_as_a_whole(text: &str) -> usize {
    match imported(text) {
        Ok(imported) => {
            assert!(Topology::parse("x", "x", &imported.toml).is_ok(), "{}", imported.toml);
            1
        }
        Err(ImportError::Invalid(errors)) => panic!("{errors}"),
        Err(error) => usize::from(error.to_string().is_empty()),
    }
}

fn targets() -> Vec<Target> {
    let mut seeds = texts(&folder("tests/import"), Some("txt"));
    seeds.extend(texts(&folder("tests/lint"), Some("txt")));
    seeds.extend(texts(&folder("tests/fuzz/seeds"), Some("txt")));
    let mut all: Vec<Target> = readers::names()
        .into_iter()
        .map(|name| Target {
            name: name.to_owned(),
            changes_max: 6,
            seeds: seeds
                .iter()
                .filter(|seed| readers::alone(name, seed).is_some_and(|n| n > 0))
                .cloned()
                .collect(),
            run: Box::new(move |text| readers::alone(name, text).unwrap_or(0)),
        })
        .collect();
    all.push(Target { name: "import".into(), seeds, changes_max: 6, run: Box::new(import_as_a_whole) });
    all.push(Target {
        name: "lint".into(),
        changes_max: 1,
        seeds: texts(&folder("tests/lint"), Some("toml")),
        run: Box::new(|text| {
            Topology::parse_and_lint("x", &Source::of("x", text)).map_or(0, |(_, found)| 1 + found.len())
        }),
    });
    let wanted = std::env::var("LAB_FUZZ_TARGETS").unwrap_or_default();
    all.retain(|target| wanted.is_empty() || wanted.split(',').any(|name| name == target.name));
    all
}

/// Halved as often as a half is still read: what is left of each text, once.
fn parts(target: &Target, random: &mut Generator) -> Vec<String> {
    let is_read = |text: &String| (target.run)(text) > 0;
    let mut all = Vec::new();
    // Either half may be read: another round may end at another place.
    for seed in target.seeds.iter().cycle().take(target.seeds.len() * 4) {
        let mut part = seed.clone();
        loop {
            let lines: Vec<&str> = part.lines().collect();
            let (first, second) = lines.split_at(lines.len() / 2);
            let mut halves = [first.join("\n"), second.join("\n")];
            halves.rotate_left(random.next(2));
            match halves.into_iter().find(|half| lines.len() > 1 && is_read(half)) {
                Some(half) => part = half,
                None => break,
            }
        }
        if !all.contains(&part) {
            all.push(part);
        }
    }
    all
}

/// Gives a target as many inputs; one line of figures.
fn fuzz(target: &Target, inputs: usize, seed: u64) -> String {
    assert!(!target.seeds.is_empty(), "{}: no text of tests/import is one that it reads", target.name);
    let mut random = Generator(seed);
    let parts = if inputs > WHOLE { parts(target, &mut Generator(seed)) } else { Vec::new() };
    let (mut known, mut slowest, begun) = (0, Duration::ZERO, Instant::now());
    for at in 0..inputs {
        let seeds = if at < WHOLE { &target.seeds } else { &parts };
        let text = mutated(&seeds[at % seeds.len()], seeds, target.changes_max, &mut random);
        let one = computed();
        match catch_unwind(AssertUnwindSafe(|| (target.run)(&text))) {
            Ok(found) => known += usize::from(found > 0),
            Err(_) => panic!("{} panicked at input {at} of seed {seed}:\n{text:?}", target.name),
        }
        let took = computed() - one;
        assert!(took < SLOWEST, "{} took {took:?} for input {at} of seed {seed}:\n{text:?}", target.name);
        slowest = slowest.max(took);
    }
    assert!(
        known * 10 >= inputs,
        "{}: {known} of {inputs} inputs are read: the others test nothing",
        target.name
    );
    format!(
        "{:<14} {inputs} inputs of {} seeds: 0 panics, {known} read, slowest {:.1} ms, {:.0} s",
        target.name,
        target.seeds.len(),
        slowest.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64()
    )
}

#[test]
fn mutated_texts_make_no_reader_panic_or_hang() {
    let (inputs, seed) = (number("LAB_FUZZ_INPUTS", INPUTS), number("LAB_FUZZ_SEED", 14) as u64);
    for target in targets() {
        println!("{}", fuzz(&target, inputs, seed));
    }
}

/// Lines that made an import as slow as the square of their number, or that have parsers begin again and again; `%` is a number.
const REPEATED: [&str; 12] = [
    "cat <<A%",
    "port              vlan-id\nbond0  1-4095",
    "{",
    "[{\"ifname\":\"a%\"}]",
    "- interface: a%",
    "network: {ethernets: {e%: {}}}\n---",
    "addresses: [",
    "interfaces:",
    "table inet t {",
    "```",
    "%: a%: <UP> mtu 1500",
    "ping -I e% 192.0.2.1\n1 packets transmitted, 0 received, 100% packet loss",
];

/// A user's file may be large, and made by somebody else: what it costs grows with its length.
#[test]
fn a_line_that_is_repeated_all_over_a_large_text_makes_no_import_hang() {
    let bytes = number("LAB_FUZZ_BYTES", 192 * 1024);
    for line in REPEATED {
        let mut text = String::from("2: eth0: <UP> mtu 1500\n");
        for at in 0.. {
            if text.len() > bytes {
                break;
            }
            text += &line.replace('%', &at.to_string());
            text.push('\n');
        }
        let begun = computed();
        drop(imported(&text));
        let took = computed() - begun;
        assert!(took < SLOWEST, "{line:?} took {took:?} in {bytes} bytes");
    }
}

/// Two maps of many keys, of which one might be a part of the other.
#[test]
fn large_documents_side_by_side_make_no_import_hang() {
    let map = |last: &str| {
        let entries: Vec<String> = (0..20_000).map(|at| format!("\"k{at}\":{{\"link\":{at}}}")).collect();
        let link = "[{\"ifname\":\"eth0\",\"flags\":[],\"all\":";
        format!("{link}{{{},\"{last}\":0}}}}]\n", entries.join(","))
    };
    let begun = computed();
    drop(imported(&(map("a") + &map("b"))));
    let took = computed() - begun;
    assert!(took < SLOWEST, "{took:?}");
}

/// A tarball of a fixture's files, as sos makes it.
pub fn tarball(folder: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    builder.append_dir_all("sosreport-node1-2026-01-01", folder).expect("the fixture is there");
    builder.into_inner().expect("it is in memory")
}

#[test]
fn mutated_archives_are_read_or_refused() {
    let wanted = std::env::var("LAB_FUZZ_TARGETS").unwrap_or_default();
    if !wanted.is_empty() && !wanted.split(',').any(|name| name == "archive") {
        return;
    }
    let tar = tarball(&folder("tests/import/sosreport"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).expect("it is in memory");
    let seeds = [tar, gzip.finish().expect("it is in memory")];
    let limits = Limits { members: 100, member_bytes: 1 << 20, bytes: 8 << 20 };
    let mut random = Generator(number("LAB_FUZZ_SEED", 14) as u64);
    let (inputs, mut read, begun) = (number("LAB_FUZZ_INPUTS", INPUTS), 0, Instant::now());
    for at in 0..inputs {
        let bytes = mutated_bytes(&seeds[at % seeds.len()], &mut random);
        let begin: Vec<u8> = bytes.iter().take(512).copied().collect();
        let members = archive::members_of("a", &begin, Cursor::new(bytes), limits, tree::is_wanted);
        read += usize::from(members.is_ok_and(|members| !members.members.is_empty()));
    }
    assert!(read * 10 >= inputs, "{read} of {inputs} archives are read");
    println!("archive        {inputs} inputs: 0 panics, {read} read, {:.0} s", begun.elapsed().as_secs_f64());
}
