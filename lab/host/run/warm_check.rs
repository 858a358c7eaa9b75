//! Whether a restored machine does what a booted one does, under an accelerator that the project has not seen work.
//!
//! No machine of the project had a working KVM, so it is not known whether a machine that KVM saved is restored as it was.
//! The first run with KVM finds out: it is carried out on a booted machine and on a restored one, and the canonical texts
//! are compared. The answer is kept for this QEMU, this host's kernel and processor.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::file;
use crate::run::runner::{Machine, Run, RunError};
use crate::vm::accel;
use crate::vm::qemu::Accelerator;
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::report::snapshot;

/// Set (to anything but nothing) to have TCG checked too.
pub const CHECK_VARIABLE: &str = "LAB_CHECK_WARM";

const ANSWER_FILE: &str = "warm-check.json";

/// An answer is a line or two.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Cells of a matrix that run at the same time wait for the first answer.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What an answer is true for, and the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    accelerator: String,
    qemu: String,
    host_release: String,
    host_cpu: String,
    /// Where the texts differ; nothing when they are alike.
    difference: Option<String>,
}

/// How a run is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// As the user asked.
    AsAsked,
    /// On a booted machine, for a restored one has been seen to differ.
    Cold {
        /// Where.
        difference: String,
    },
    /// On both.
    Both,
}

/// Decides from what is remembered.
#[must_use]
pub fn way(accelerator: Accelerator, checks_all: bool, is_warm: bool, remembered: Option<&Answer>) -> Way {
    if !is_warm || (accelerator == Accelerator::Tcg && !checks_all) {
        return Way::AsAsked;
    }
    match remembered.map(|answer| &answer.difference) {
        None => Way::Both,
        Some(None) => Way::AsAsked,
        Some(Some(difference)) => Way::Cold { difference: difference.clone() },
    }
}

/// Carries out a run as [`way`] says; `run` is given whether to boot anew.
///
/// # Errors
/// As `run`.
pub fn carry_out(
    machine: &Machine<'_>,
    run: impl Fn(&Machine<'_>) -> Result<Run, RunError>,
) -> Result<Run, RunError> {
    let is_warm = !machine.cold && machine.qemu.has_mapped_ram();
    let checks_all = std::env::var_os(CHECK_VARIABLE).is_some_and(|value| !value.is_empty());
    let (file, question) = (machine.cache.path(ANSWER_FILE), question(machine));
    let now = || way(machine.accelerator, checks_all, is_warm, recall(&file, &question).as_ref());
    let cold = Machine { cold: true, ..*machine };
    if now() == Way::AsAsked {
        return run(machine);
    }
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match now() {
        Way::AsAsked => run(machine),
        Way::Cold { difference } => {
            let mut booted = run(&cold)?;
            booted.notes.push(not_used(machine.accelerator, &difference));
            Ok(booted)
        }
        Way::Both => {
            let (run, answer) = compared(machine.accelerator, run(&cold)?, || run(machine))?;
            if let Some(difference) = answer {
                // Without it the next run checks again, which is slower and no more.
                let _ = remember(&file, &Answer { difference, ..question });
            }
            Ok(run)
        }
    }
}

/// Whether a restored machine is known to differ: none needs to be saved then.
#[must_use]
pub fn is_distrusted(machine: &Machine<'_>) -> bool {
    let remembered = recall(&machine.cache.path(ANSWER_FILE), &question(machine));
    let checks_all = std::env::var_os(CHECK_VARIABLE).is_some_and(|value| !value.is_empty());
    matches!(way(machine.accelerator, checks_all, true, remembered.as_ref()), Way::Cold { .. })
}

/// Whether a restored machine is taken for a booted one without more ado: TCG's, and one that was compared and did the same.
#[must_use]
pub fn trusts_restored(machine: &Machine<'_>) -> bool {
    let remembered = recall(&machine.cache.path(ANSWER_FILE), &question(machine));
    let checks_all = std::env::var_os(CHECK_VARIABLE).is_some_and(|value| !value.is_empty());
    way(machine.accelerator, checks_all, true, remembered.as_ref()) == Way::AsAsked
}

/// The result, and the answer if the two runs tell anything.
type Compared = (Run, Option<Option<String>>);

fn compared(
    accelerator: Accelerator,
    cold: Run,
    warm: impl FnOnce() -> Result<Run, RunError>,
) -> Result<Compared, RunError> {
    // A skip or a dead guest says nothing about restored machines.
    if cold.document.reason.is_some() {
        return Ok((cold, None));
    }
    let mut warm = warm()?;
    let behaviours = [&cold, &warm].map(|run| snapshot::behaviour(&run.document));
    let name = accelerator.name();
    if snapshot::same(&behaviours[0], &behaviours[1]) {
        warm.notes.push(format!(
            "the first run with {name} here was carried out on a booted and on a restored machine: they did the same, and it \
             is remembered"
        ));
        return Ok((warm, Some(None)));
    }
    let [cold_text, warm_text] = behaviours.map(|behaviour| behaviour.to_string());
    let difference = first_difference(&cold_text, &warm_text);
    let mut failed = cold;
    failed.document.outcome = Outcome::Error;
    failed.document.reason = Some(format!(
        "a restored machine does not do what a booted one does, with {name}: {difference}\nnext: run it again: restored \
         machines are not used with {name} from now on; report it with the topology"
    ));
    Ok((failed, Some(Some(difference))))
}

fn first_difference(cold: &str, warm: &str) -> String {
    let (mut cold, mut warm) = (cold.lines(), warm.lines());
    loop {
        match (cold.next(), warm.next()) {
            (Some(one), Some(other)) if one == other => {}
            (one, other) => {
                let [one, other] = [one, other].map(|line| line.unwrap_or("nothing").trim());
                return format!("booted `{one}`, restored `{other}`");
            }
        }
    }
}

fn not_used(accelerator: Accelerator, difference: &str) -> String {
    let name = accelerator.name();
    format!(
        "restored machines are not used with {name}, for one did not do what a booted one did ({difference})"
    )
}

fn question(machine: &Machine<'_>) -> Answer {
    Answer {
        accelerator: machine.accelerator.name().into(),
        qemu: machine.qemu.release.clone(),
        host_release: accel::host_release(),
        host_cpu: accel::host_cpu(),
        difference: None,
    }
}

fn recall(path: &Path, question: &Answer) -> Option<Answer> {
    let remembered: Answer = serde_json::from_slice(&file::read(path, ANSWER_BYTES_MAX).ok()?).ok()?;
    let asked = Answer { difference: remembered.difference.clone(), ..question.clone() };
    (remembered == asked).then_some(remembered)
}

fn remember(file: &Path, answer: &Answer) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut unfinished = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(&mut unfinished, answer)?;
    unfinished.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use bondlab_core::report::document::{Document, FlowDocument, KernelDocument, Timing, TrialDocument};

    fn answer(difference: Option<&str>) -> Answer {
        Answer {
            accelerator: "kvm".into(),
            qemu: "10.0.2".into(),
            host_release: "6.1".into(),
            host_cpu: "cpu".into(),
            difference: difference.map(str::to_owned),
        }
    }

    fn ended(outcome: Outcome) -> Document {
        let kernel = KernelDocument {
            id: "6.1".into(),
            release: "6.1-amd64".into(),
            backend: "vm".into(),
            accelerator: "kvm".into(),
            clock: "real".into(),
        };
        let mut document = Document::unfinished("t", kernel, outcome, "no igb".into(), Timing::default());
        document.reason = document.reason.filter(|_| outcome == Outcome::Skip);
        document
    }

    fn run(lost: u32) -> Run {
        let flow: FlowDocument = serde_json::from_value(serde_json::json!({
            "name": "f", "from": "a:v", "to": "b:v", "socket": "packet", "asked": 100, "sent": 100, "errors": {},
            "delivered": 100 - lost, "duplicated": 0, "unattributed": 0, "fates": [],
        }))
        .expect("a flow");
        let mut document = ended(Outcome::Pass);
        document.trials.push(TrialDocument {
            name: "main".into(),
            flows: vec![flow],
            ..TrialDocument::default()
        });
        Run { document, account: None, missing: Vec::new(), notes: Vec::new(), records: Vec::new() }
    }

    #[test]
    fn the_first_run_with_kvm_is_checked_and_tcg_is_known() {
        use Accelerator::{Kvm, Tcg};
        let (alike, differs) = (answer(None), answer(Some("x")));
        let cold = Way::Cold { difference: "x".into() };
        for (accelerator, checks_all, is_warm, remembered, expected) in [
            (Tcg, false, true, None, Way::AsAsked),
            (Tcg, true, true, None, Way::Both),
            (Kvm, false, true, None, Way::Both),
            (Kvm, false, false, None, Way::AsAsked),
            (Kvm, false, true, Some(&alike), Way::AsAsked),
            (Kvm, false, true, Some(&differs), cold.clone()),
            (Kvm, false, false, Some(&differs), Way::AsAsked),
        ] {
            assert_eq!(way(accelerator, checks_all, is_warm, remembered), expected, "{accelerator:?}");
        }
    }

    #[test]
    fn a_restored_machine_that_differs_is_an_error_and_remembered() {
        let (alike, remembered) = compared(Accelerator::Kvm, run(3), || Ok(run(3))).unwrap();
        assert_eq!((alike.document.outcome, remembered), (Outcome::Pass, Some(None)));
        assert!(alike.notes[0].contains("kvm"), "{:?}", alike.notes);

        let (differs, remembered) = compared(Accelerator::Kvm, run(3), || Ok(run(4))).unwrap();
        assert_eq!(differs.document.outcome, Outcome::Error);
        let difference = remembered.flatten().expect("they differ");
        assert!(difference.contains("97") && difference.contains("96"), "{difference}");
        assert!(differs.document.reason.unwrap().contains(&difference));

        let skip = Run { document: ended(Outcome::Skip), ..run(0) };
        let (skip, remembered) = compared(Accelerator::Kvm, skip, || panic!("it tells nothing")).unwrap();
        assert_eq!((skip.document.outcome, remembered), (Outcome::Skip, None));
    }

    #[test]
    fn an_answer_is_true_for_its_own_machine_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(ANSWER_FILE);
        assert_eq!(recall(&file, &answer(None)), None);
        remember(&file, &answer(Some("x"))).unwrap();
        assert_eq!(recall(&file, &answer(None)), Some(answer(Some("x"))));
        for other in [
            Answer { qemu: "10.0.3".into(), ..answer(None) },
            Answer { accelerator: "tcg".into(), ..answer(None) },
            Answer { host_release: "6.2".into(), ..answer(None) },
            Answer { host_cpu: "another".into(), ..answer(None) },
        ] {
            assert_eq!(recall(&file, &other), None, "{other:?}");
        }
        fs::write(&file, "not json").unwrap();
        assert_eq!(recall(&file, &answer(None)), None);
    }
}
