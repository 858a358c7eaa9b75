//! KVM or TCG: KVM only after a guest has booted with it on this machine.
//!
//! /dev/kvm can exist, open, create a VM and a vCPU and still not run a kernel (nested virtualisation without the MSRs
//! a kernel needs), so nothing short of a boot proves anything. The answer is remembered.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::file;
use crate::vm::qemu::{Accelerator, Qemu, QemuError, VmSpec};
use crate::vm::{Timeouts, Vm};

/// What is untested with KVM, for the places where it matters.
pub const UNTESTED_WITH_KVM: &str = "no machine of the project had a working KVM. Untested with it: saved machines (a user's \
    first run with KVM compares a restored machine with a booted one, once), and how \
    silences and losses of flows with an interval vary, for virtual time is TCG's alone. All accepted snapshots are from TCG";

const KVM_DEVICE: &str = "/dev/kvm";

/// A guest with a working KVM is ready in under 2 s; one that never prints costs this once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

const ANSWER_FILE: &str = "accelerator.json";

/// The note that was shown last.
const NOTED_FILE: &str = "accelerator-noted";

/// An answer is a line or two.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// KVM where it works.
    #[default]
    Auto,
    /// TCG, without a question.
    Tcg,
    /// KVM or an error.
    Kvm,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "tcg" => Ok(Self::Tcg),
            "kvm" => Ok(Self::Kvm),
            other => Err(format!("unknown accelerator {other:?}: tcg, kvm or auto")),
        }
    }
}

/// What is used, and why it is not the faster one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// For [`VmSpec`].
    pub accelerator: Accelerator,
    /// Why not KVM.
    pub note: Option<String>,
}

/// Why there is no such accelerator.
#[derive(Debug, thiserror::Error)]
pub enum AccelError {
    /// KVM was demanded.
    #[error("kvm does not work here: {reason}; use --accel tcg or auto")]
    Kvm {
        /// What it did instead.
        reason: String,
    },
    /// QEMU did not start.
    #[error(transparent)]
    Qemu(#[from] QemuError),
}

/// What a probe found, and for which machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    host_release: String,
    host_cpu: String,
    qemu: String,
    /// Nothing when KVM works.
    failure: Option<String>,
}

/// Decides for this machine: by what is known without a boot, else by booting the machine of `spec` once; `cache` remembers the
/// answer. `spec` packs an initramfs, and is asked for where a boot has to tell.
///
/// # Errors
/// When KVM is demanded and does not work, QEMU does not start, or there is no such machine.
pub fn decide<E: From<AccelError>>(
    choice: Choice,
    qemu: &Qemu,
    cache: &Path,
    spec: impl FnOnce() -> Result<VmSpec, E>,
) -> Result<Decision, E> {
    if let Some(known) = known(choice, qemu, cache) {
        return Ok(known);
    }
    let failure = match device_failure() {
        Some(failure) => Some(failure),
        None => probe(qemu, &spec()?).map_err(AccelError::from)?,
    };
    match (choice, failure) {
        (Choice::Kvm, Some(reason)) => Err(AccelError::Kvm { reason }.into()),
        (Choice::Kvm, None) => Ok(Decision::of(None)),
        (Choice::Auto | Choice::Tcg, failure) => {
            // Without it the next run probes again, which is slower and no more.
            let _ =
                remember(&cache.join(ANSWER_FILE), &Answer { failure: failure.clone(), ..question(qemu) });
            Ok(Decision::of(failure))
        }
    }
}

/// What is known without a boot; `None` where only a probe can tell. Who demands KVM may have just repaired it: nothing is
/// recalled then.
#[must_use]
pub fn known(choice: Choice, qemu: &Qemu, cache: &Path) -> Option<Decision> {
    match choice {
        Choice::Tcg => Some(Decision { accelerator: Accelerator::Tcg, note: None }),
        Choice::Kvm => None,
        Choice::Auto => match device_failure() {
            Some(failure) => Some(Decision::of(Some(failure))),
            None => {
                recall(&cache.join(ANSWER_FILE), &question(qemu)).map(|answer| Decision::of(answer.failure))
            }
        },
    }
}

impl Decision {
    /// KVM, unless it does not work.
    fn of(failure: Option<String>) -> Self {
        match failure {
            None => Self { accelerator: Accelerator::Kvm, note: None },
            Some(reason) => Self { accelerator: Accelerator::Tcg, note: Some(format!("no kvm: {reason}")) },
        }
    }
}

/// The processor's name, as /proc/cpuinfo has it.
#[must_use]
pub fn host_cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// The running kernel's release.
#[must_use]
pub fn host_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim_end().to_owned()
}

/// Why KVM is out of the question here, without a boot.
#[must_use]
pub fn device_failure() -> Option<String> {
    open_device().err().map(|error| device_error(&error))
}

/// Opens the device as QEMU does.
///
/// # Errors
/// What the system says.
pub fn open_device() -> io::Result<()> {
    fs::File::options().read(true).write(true).open(KVM_DEVICE).map(drop)
}

/// The system's words with the device's name.
#[must_use]
pub fn device_error(error: &io::Error) -> String {
    format!("{KVM_DEVICE}: {error}")
}

/// Whether a note is new on this machine: it is shown once, and from then on `lab doctor` has it. Where the cache cannot be
/// written it is shown each time.
pub fn is_news(note: &str, cache: &Path) -> bool {
    let file = cache.join(NOTED_FILE);
    if file::read(&file, ANSWER_BYTES_MAX).is_ok_and(|known| known == note.as_bytes()) {
        return false;
    }
    let _ = fs::create_dir_all(cache).and_then(|()| fs::write(&file, note));
    true
}

/// What an answer is true for.
fn question(qemu: &Qemu) -> Answer {
    Answer { host_release: host_release(), host_cpu: host_cpu(), qemu: qemu.release.clone(), failure: None }
}

fn recall(path: &Path, question: &Answer) -> Option<Answer> {
    let remembered: Answer = serde_json::from_slice(&file::read(path, ANSWER_BYTES_MAX).ok()?).ok()?;
    let asked = Answer { failure: remembered.failure.clone(), ..question.clone() };
    (remembered == asked).then_some(remembered)
}

fn remember(file: &Path, answer: &Answer) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut unfinished = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(&mut unfinished, answer)?;
    unfinished.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// Boots to the ready line. Returns what went wrong, if something did.
fn probe(qemu: &Qemu, spec: &VmSpec) -> Result<Option<String>, QemuError> {
    let spec = VmSpec { accelerator: Accelerator::Kvm, ..spec.clone() };
    let timeouts = Timeouts { boot: PROBE_TIMEOUT, ..Timeouts::default() };
    let failure = Vm::boot(qemu, &spec, timeouts)?.wait_ready().err();
    Ok(failure
        .map(|death| format!("{KVM_DEVICE} is there, but a guest does not boot with it: {}", death.cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_true_for_its_own_machine_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cache").join(ANSWER_FILE);
        let answer = Answer {
            host_release: "6.1".to_owned(),
            host_cpu: "cpu".to_owned(),
            qemu: "10.0.2".to_owned(),
            failure: Some("suberror 1".to_owned()),
        };
        let question = Answer { failure: None, ..answer.clone() };
        assert_eq!(recall(&file, &question), None);
        remember(&file, &answer).unwrap();
        assert_eq!(recall(&file, &question), Some(answer));
        assert_eq!(recall(&file, &Answer { qemu: "10.0.3".to_owned(), ..question.clone() }), None);
        assert_eq!(recall(&file, &Answer { host_cpu: "other".to_owned(), ..question.clone() }), None);
        fs::write(&file, "not json").unwrap();
        assert_eq!(recall(&file, &question), None);
    }

    /// A decision that must not make a machine.
    fn decided(choice: Choice, qemu: &Qemu, cache: &Path) -> Decision {
        decide(choice, qemu, cache, || -> Result<VmSpec, AccelError> { panic!("a machine for {choice:?}") })
            .unwrap()
    }

    #[test]
    fn no_machine_is_made_for_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let version = crate::vm::qemu::Version { major: 10, minor: 0 };
        let qemu = Qemu { path: "/usr/bin/qemu".into(), release: "10.0.2".to_owned(), version };
        assert_eq!(decided(Choice::Tcg, &qemu, dir.path()).accelerator, Accelerator::Tcg);
        let answer = Answer { failure: Some("suberror 1".to_owned()), ..question(&qemu) };
        remember(&dir.path().join(ANSWER_FILE), &answer).unwrap();
        let note = decided(Choice::Auto, &qemu, dir.path()).note.unwrap();
        let reason = device_failure().unwrap_or_else(|| "suberror 1".to_owned());
        assert_eq!(note, format!("no kvm: {reason}"));
    }

    #[test]
    fn a_note_is_news_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let news = ["no kvm: a", "no kvm: a", "no kvm: b", "no kvm: b"].map(|note| is_news(note, &cache));
        assert_eq!(news, [true, false, true, false]);
    }

    #[test]
    fn choices_are_spelled_as_the_command_line_spells_them() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("kvm".parse(), Ok(Choice::Kvm));
        assert!("hvf".parse::<Choice>().unwrap_err().contains("tcg, kvm or auto"));
    }
}
