//! What a test with a machine needs: QEMU and kernels, got where they are missing; and a test that says why it did not run.

use std::path::Path;
use std::sync::OnceLock;

use bondlab_host::cache::Cache;
use bondlab_host::install;
use bondlab_host::install::QEMU_PACKAGE;
use bondlab_host::kernel::download::DownloadEvent;
use bondlab_host::kernel::pins::{KernelPin, Kernels};
use bondlab_host::kernel::store::{InstallPolicy, Kernel, Store};
use bondlab_host::vm::qemu::{Qemu, QemuError};
use libtest_mimic::{Completion, Failed, Trial};

/// The lab as a user types it; also the `/init` of every guest, which the test program itself could not be.
pub const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// Everything tests with a machine share.
pub struct Bench {
    pub qemu: Qemu,
    pub cache: Cache,
}

impl Bench {
    /// The kernel, fetched if it is missing and we are root; two test programs wait for each other at the store's lock.
    pub fn kernel(&self, pin: &KernelPin) -> Result<Kernel, String> {
        let store = Store::new(self.cache.clone(), None);
        store.ensure(pin, policy(), &mut say).map_err(|error| error.to_string())
    }
}

/// Whether what is missing is fetched.
pub fn policy() -> InstallPolicy {
    if is_root() { InstallPolicy::Install } else { InstallPolicy::CachedOnly }
}

/// The pins that `selection` means: a version, a set, a range.
pub fn pins(selection: &str) -> Vec<KernelPin> {
    let kernels = Kernels::built_in().expect("a unit test reads it too");
    let selected = kernels.select(selection).unwrap_or_else(|error| panic!("{selection}: {error}"));
    selected.into_iter().cloned().collect()
}

/// A test that needs a machine with the kernel of `pin`. Where there is none it says why it did not run, which in CI is
/// a failure: there it is the machine that has to be put right.
pub fn trial(
    name: impl Into<String>,
    pin: KernelPin,
    run: impl FnOnce(&Bench, &Kernel) + Send + 'static,
) -> Trial {
    trial_with(name, pin, |_| Ok(()), run)
}

/// As [`trial`]; it needs something more, or a reason why that is not there.
pub fn trial_with(
    name: impl Into<String>,
    pin: KernelPin,
    more: impl FnOnce(&Bench) -> Result<(), String> + Send + 'static,
    run: impl FnOnce(&Bench, &Kernel) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let ready = bench().and_then(|bench| Ok((bench, bench.kernel(&pin)?)));
        let ready = ready.and_then(|ready| more(ready.0).map(|()| ready));
        match ready {
            Ok((bench, kernel)) => {
                run(bench, &kernel);
                Ok(Completion::Completed)
            }
            Err(reason) if is_set("CI") => {
                Err(Failed::from(format!("not to be skipped where CI is set: {reason}")))
            }
            Err(reason) => Ok(Completion::ignored_with(format!("not run: {reason}"))),
        }
    })
}

/// Looked for, and installed if need be, once for the whole process.
fn bench() -> Result<&'static Bench, String> {
    static BENCH: OnceLock<Result<Bench, String>> = OnceLock::new();
    let found = BENCH.get_or_init(|| {
        assert!(Path::new(LAB).exists(), "cargo builds it before the tests");
        let cache = Cache::open().map_err(|error| error.to_string())?;
        let qemu = qemu(&cache)?;
        Ok(Bench { qemu, cache })
    });
    found.as_ref().map_err(Clone::clone)
}

fn qemu(cache: &Cache) -> Result<Qemu, String> {
    match Qemu::find() {
        Err(QemuError::Missing { .. }) if is_root() && install::has_apt() => {}
        found => return found.map_err(|error| error.to_string()),
    }
    let command = install::command_line(QEMU_PACKAGE);
    eprintln!("installing {QEMU_PACKAGE}: it runs the kernels under test ({command})");
    install::ensure(cache, QEMU_PACKAGE, || Qemu::find().is_ok()).map_err(|error| error.to_string())?;
    Qemu::find().map_err(|error| error.to_string())
}

/// Tells what is fetched.
pub fn say(event: DownloadEvent<'_>) {
    match event {
        DownloadEvent::Waiting { kernel } => eprintln!("waiting for another lab that fetches {kernel}"),
        DownloadEvent::Started { package, size } => {
            eprintln!("fetching {package} ({} MB): a kernel under test", size / 1_000_000);
        }
        DownloadEvent::Verified { package } => eprintln!("verified {package}: its SHA-256 is the pinned one"),
        DownloadEvent::Building { module } => eprintln!("building {module}"),
        DownloadEvent::Unpacking { kernel } => eprintln!("unpacking kernel {kernel}"),
        DownloadEvent::Progress { .. } => {}
    }
}

/// Whether a variable of the environment is set to any value but an empty one, `0` and `false`.
pub fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| !matches!(&*value, "" | "0" | "false"))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
