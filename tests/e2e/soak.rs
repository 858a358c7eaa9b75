//! The same run many times while every processor is busy with something else: the same document each time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{FULL_VARIABLE, KERNEL, flagship, gallery_folder, lab_run, machine, pin};

/// How many runs; the closing note of an issue takes 20.
const RUNS_VARIABLE: &str = "LAB_TEST_RUNS";
const RUNS_DEFAULT: usize = 2;

pub fn trial() -> Trial {
    let runs =
        std::env::var(RUNS_VARIABLE).map_or(RUNS_DEFAULT, |runs| runs.parse().expect("a number of runs"));
    // The topology of the report has 26 trials, one of a cause has one.
    let topology = if machine::is_set(FULL_VARIABLE) { flagship() } else { cause() };
    machine::trial(format!("soak: {runs} runs on a busy machine say the same"), pin(), move |_, _| {
        let first = busily(|| findings(&topology, 0));
        for number in 1..runs {
            let again = busily(|| findings(&topology, number));
            lab_run::assert_same(&first, &again, &format!("run 0 | run {number}"));
        }
    })
}

/// The rounds of one run, in fresh namespaces of one kernel.
pub fn rounds() -> Trial {
    machine::trial("soak: five rounds on a busy machine say the same", pin(), |_, _| {
        let (code, stdout) = busily(|| lab_run::output_with(&cause(), KERNEL, &["--repeat", "5"]));
        let document = lab_run::document(&stdout).expect("standard output is one document");
        assert_eq!(code, 0, "{document:#}");
        let rounds = &document["repetitions"];
        assert_eq!((&rounds["rounds"], &rounds["alike"]), (&json!(5), &json!(5)), "{rounds:#}");
        let flows = document["flows"].as_array().expect("it has flows");
        let asked: u64 = flows.iter().filter_map(|flow| flow["asked"].as_u64()).sum();
        assert_eq!(rounds["frames"], json!(5 * asked), "the frames of each round are accounted for");
    })
}

fn cause() -> PathBuf {
    gallery_folder().join("causes/port-queue-full.toml")
}

fn findings(topology: &Path, number: usize) -> Value {
    let (code, document) = lab_run::run(topology, KERNEL);
    assert_eq!(code, 0, "run {number}: {document:#}");
    lab_run::without_times(document)
}

/// Does `work` while as many threads as there are processors compute nothing.
fn busily<T>(work: impl FnOnce() -> T) -> T {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
