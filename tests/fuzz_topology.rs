//! Fuzzing of the topology language: mutated topologies go through reading, checking and lowering. None may panic, hang or take
//! more memory than [`BYTES_MAX`].
//!
//! `cargo test` sends a few; `LAB_FUZZ_INPUTS=1000000 cargo test --test pure fuzz_topology -- --nocapture` sends a million and prints
//! figures. `LAB_FUZZ_SEED` makes other inputs.

pub mod memory;
pub mod mutations;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bondlab_core::judge::mutation;
use bondlab_core::plan::lower::{lower_attempts, lower_with};
use bondlab_core::plan::run_options::RunOptions;
use bondlab_core::plan::stepping::{Origin, Stepping, stepped};
use bondlab_core::topology::{Topology, TopologyErrors};
use mutations::{Vocabulary, mutated};

use crate::random::{self, Generator};

/// Inputs unless `LAB_FUZZ_INPUTS` says otherwise: some seconds.
const INPUTS: usize = 1500;
/// An input takes some ms. One that takes longer than this, on a machine that does other things as well, is a hang.
const SLOWEST: Duration = Duration::from_secs(20);
/// Of one input, in bytes.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// A run of more inputs than this shows how far it is.
const PROGRESS: usize = 100_000;
/// Failures that are shown, each with its input.
const FAILURES_MAX: usize = 20;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// Texts of all topologies below a folder, in the order of their paths.
fn texts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(texts(&path));
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            );
        }
    }
    found
}

/// Where inputs come from: the gallery, topologies with every key, and those with mistakes.
fn seeds() -> Vec<String> {
    let folders = ["topologies", "tests/plans", "tests/invalid"];
    folders.iter().flat_map(|folder| texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))).collect()
}

/// Reads, checks and lowers a text; whether it was accepted.
fn through_all(text: &str) -> bool {
    match Topology::variants("fuzz", "fuzz.toml", text, &[]) {
        Ok(variants) => {
            variants.iter().for_each(lowered);
            true
        }
        Err(errors) => {
            look_at(&errors, text);
            false
        }
    }
}

/// Each way in which a topology is lowered: a run with mutants, `lab try`, `lab shell`.
fn lowered(topology: &Topology) {
    let options = RunOptions { mutation: Some(mutation::of(topology)), ..RunOptions::default() };
    let plan = lower_with(topology, &options);
    assert!(!plan.trials.is_empty(), "a plan without a trial");
    if !topology.scenario.mitigations.is_empty() {
        lower_attempts(topology, &RunOptions::default(), true);
    }
    let stepped = stepped(topology, None).expect("no hypothesis was asked for");
    let origin = Origin { name: topology.name.clone(), files: Vec::new(), hypothesis: None };
    let stepping = Stepping::new(&stepped, origin);
    assert!(stepping.steps.iter().all(|(first, end)| first <= end && *end as usize <= stepping.ops().len()));
}

/// Each problem has a place in the text, a message and a hint.
fn look_at(errors: &TopologyErrors, text: &str) {
    assert!(!errors.problems.is_empty(), "refused without a reason");
    for problem in &errors.problems {
        let span = problem.span.clone();
        assert!(text.get(span).is_some(), "{problem:?} is outside the text");
        assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
        assert!(!problem.message.contains("--lost-"), "{problem:?} is about what the file has not");
    }
    assert!(!errors.lines().is_empty());
    // To draw a text takes longer than to read it.
    assert!(!text.len().is_multiple_of(8) || !errors.pretty(true).is_empty());
}

/// What became of one input.
struct Done {
    accepted: bool,
    took: Duration,
    bytes: usize,
    panic: Option<String>,
}

fn one(text: &str) -> Done {
    let begun = Instant::now();
    let (result, bytes) = memory::peak_of(|| catch_unwind(AssertUnwindSafe(|| through_all(text))));
    let panic = result.as_ref().err().map(|payload| {
        let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        payload.downcast_ref::<String>().cloned().or(literal).unwrap_or_else(|| "a panic".into())
    });
    Done { accepted: result.unwrap_or(false), took: begun.elapsed(), bytes, panic }
}

/// Figures of a run.
#[derive(Default)]
struct Figures {
    inputs: usize,
    accepted: usize,
    slowest: Duration,
    bytes: usize,
    /// By message, with the first input.
    failures: BTreeMap<String, String>,
}

impl Figures {
    fn words(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64();
        format!(
            "{} inputs in {seconds:.0} s ({:.0}/s): {} accepted, slowest {:.0} ms, {:.1} MB at the most, {} failures",
            self.inputs,
            self.inputs as f64 / seconds,
            self.accepted,
            self.slowest.as_secs_f64() * 1e3,
            self.bytes as f64 / f64::from(1 << 20),
            self.failures.len()
        )
    }

    fn add(&mut self, done: Done, text: &str) {
        self.inputs += 1;
        self.accepted += usize::from(done.accepted);
        self.slowest = self.slowest.max(done.took);
        self.bytes = self.bytes.max(done.bytes);
        let too_much = (done.bytes > BYTES_MAX).then(|| format!("{} MB", done.bytes >> 20));
        let too_long = (done.took > SLOWEST).then(|| format!("{} s", done.took.as_secs()));
        for failure in [done.panic, too_much, too_long].into_iter().flatten() {
            // Numbers and names differ from input to input.
            let kind: String = failure.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            if self.failures.len() < FAILURES_MAX {
                self.failures.entry(kind).or_insert_with(|| format!("{failure}\n{text}"));
            }
        }
    }
}

/// Sends inputs on a thread of its own, so that one that never ends is noticed.
fn fuzz(seeds: Vec<String>, inputs: usize, seed: u64) -> Figures {
    let current = Arc::new(Mutex::new(String::new()));
    let (sender, receiver) = mpsc::sync_channel(1024);
    let writer = Arc::clone(&current);
    let worker = std::thread::spawn(move || {
        let vocabulary = Vocabulary::of(&seeds);
        let (mut random, mut figures, begun) = (Generator(seed), Figures::default(), Instant::now());
        for at in 0..inputs {
            let text = mutated(&seeds[at % seeds.len()], &seeds, &vocabulary, &mut random);
            writer.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&text);
            figures.add(one(&text), &text);
            if figures.inputs.is_multiple_of(PROGRESS) {
                println!("{}", figures.words(begun.elapsed()));
            }
            if sender.send(()).is_err() {
                break;
            }
        }
        figures
    });
    loop {
        match receiver.recv_timeout(2 * SLOWEST) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let text = current.lock().unwrap_or_else(PoisonError::into_inner);
                panic!("no end after {:?}:\n{text}", 2 * SLOWEST);
            }
        }
    }
    worker.join().expect("panics of the lab are caught")
}

#[test]
fn mutated_topologies_are_read_or_refused() {
    let (inputs, seed) = (number("LAB_FUZZ_INPUTS", INPUTS), number("LAB_FUZZ_SEED", 13) as u64);
    let (seeds, begun) = (seeds(), Instant::now());
    let count = seeds.len();
    let figures = fuzz(seeds, inputs, seed);
    println!("{count} seeds: {}", figures.words(begun.elapsed()));
    let failures: Vec<&str> = figures.failures.values().map(String::as_str).collect();
    assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n----\n"));
    assert_eq!(figures.inputs, inputs);
    // Were all refused, checking and lowering would hardly be reached.
    assert!(figures.accepted * 50 >= inputs, "{} of {inputs} inputs were accepted", figures.accepted);
    assert!(figures.bytes > 0, "memory is counted");
}

/// What the end-to-end suite makes in a guest has to be what the reader takes.
#[test]
fn random_topologies_are_accepted() {
    let mut random = Generator(number("LAB_FUZZ_SEED", 13) as u64);
    for at in 0..500 {
        let text = random::topology::topology(&mut random);
        if let Err(errors) = Topology::parse("random", "random.toml", &text) {
            panic!("topology {at}:\n{errors}\n{text}");
        }
    }
}

/// A test of the test: what it bounds is seen.
#[test]
fn memory_of_one_input_is_measured() {
    let (kept, bytes) = memory::peak_of(|| {
        drop(vec![1_u8; 3 << 20]);
        vec![1_u8; 1 << 20]
    });
    assert!(kept.len() == 1 << 20 && (3 << 20..4 << 20).contains(&bytes), "{bytes} bytes");
}
