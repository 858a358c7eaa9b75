//! A kernel to run topologies on.

use std::process::Command;

use crate::testing::run::Run;
use crate::testing::skip::Skip;
use crate::testing::topology::Topology;
use crate::testing::{command, fail};
use bondlab_core::report::document::Document;
use bondlab_host::kernel::pins::{Kernels, local_file};

/// `--kernel` of the kernel that runs already.
const THIS_KERNEL: &str = "host";
/// Exit status of the command where something needed is not to be had.
const UNAVAILABLE: i32 = 69;

/// A kernel to run topologies on: in a microVM, or the running one.
///
/// A machine is booted once for each kernel and saved in the cache, which all test processes share; each run restores a fresh
/// copy of it.
///
/// ```no_run
/// # fn test() -> Result<(), lab::Skip> {
/// let topology = lab::Topology::from_file("tests/bond.toml").unwrap();
/// let run = lab::Lab::on("6.12.57").run(&topology)?;
/// run.assert_expected();
/// run.flow("flood").assert_refused("ENOBUFS", 989);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
    kernel: String,
    options: Vec<String>,
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum NoRun {
    /// Something is not to be had.
    Skipped(String),
    /// All else.
    Failed(String),
}

impl Lab {
    /// In a microVM with this kernel: a version that `lab kernels list` has. What is missing is fetched and installed, as
    /// `lab run` does it.
    #[must_use]
    pub fn on(kernel: &str) -> Self {
        Self { kernel: kernel.into(), options: Vec::new() }
    }

    /// One for each kernel of a set (`quick`, `lts`, `all`), a range (`6.12..6.18`) or a list with commas.
    ///
    /// # Panics
    /// If it names no kernels.
    #[must_use]
    #[track_caller]
    pub fn on_each(kernels: &str) -> Vec<Self> {
        match names(kernels) {
            Ok(names) => names.iter().map(|name| Self::on(name)).collect(),
            Err(error) => fail(&error),
        }
    }

    /// The running kernel, in namespaces that vanish with the run.
    #[must_use]
    pub fn here() -> Self {
        Self::on(THIS_KERNEL)
    }

    /// The kernel's name.
    #[must_use]
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Does everything so many times, each in fresh namespaces; a round that differs from the first one fails the run.
    #[must_use]
    pub fn repeat(self, times: u16) -> Self {
        self.option(&["--repeat", &times.to_string()])
    }

    /// Breaks something for each expectation that must break it; an expectation that still holds fails the run.
    #[must_use]
    pub fn prove(self) -> Self {
        self.option(&["--prove"])
    }

    fn option(mut self, words: &[&str]) -> Self {
        self.options.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Runs a topology. A run that is not as expected is a result like any other: see [`Run::assert_expected`].
    ///
    /// # Errors
    /// A skip, with its reason, where something is not to be had: QEMU, the kernel, a driver that the kernel lacks.
    ///
    /// # Panics
    /// If there is no result for any other reason; and instead of a skip where the variable `CI` is set.
    #[track_caller]
    pub fn run(&self, topology: &Topology) -> Result<Run, Skip> {
        match self.attempt(topology) {
            Ok(run) => Ok(run),
            Err(NoRun::Skipped(reason)) => Err(Skip::new(&self.what(topology), &reason)),
            Err(NoRun::Failed(why)) => fail(&format!("{}: {why}", self.what(topology))),
        }
    }

    pub(crate) fn what(&self, topology: &Topology) -> String {
        format!("{} on {}", topology.name(), self.kernel)
    }

    pub(crate) fn attempt(&self, topology: &Topology) -> Result<Run, NoRun> {
        let program = command::find().map_err(NoRun::Failed)?;
        let failed = |error: std::io::Error| NoRun::Failed(error.to_string());
        // The result is called what the file is called.
        let dir = tempfile::tempdir().map_err(failed)?;
        let file = topology.write_below(dir.path()).map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("run").arg(&file).args(["--format", "json", "--kernel", &self.kernel]);
        let ended = command::run(command.args(&self.options)).map_err(failed)?;
        if ended.stdout.is_empty() {
            return Err(match ended.status {
                UNAVAILABLE => NoRun::Skipped(ended.stderr),
                status => NoRun::Failed(format!("`lab run` ended with {status}:\n{}", ended.stderr)),
            });
        }
        let document: Document = serde_json::from_slice(&ended.stdout).map_err(|error| {
            NoRun::Failed(format!(
                "`lab run` ended with {} and no result: {error}\n{}",
                ended.status, ended.stderr
            ))
        })?;
        let run = Run::new(document, topology.about());
        match run.skipped() {
            Some(reason) => Err(NoRun::Skipped(reason.to_owned())),
            None => Ok(run),
        }
    }
}

/// The names of the kernels that a user's words name, those of `kernels.local.toml` included.
pub(crate) fn names(kernels: &str) -> Result<Vec<String>, String> {
    let mut pinned = Kernels::built_in().map_err(|error| error.to_string())?;
    local_file::load(&mut pinned).map_err(|error| error.to_string())?;
    let selected = pinned.select(kernels).map_err(|error| error.to_string())?;
    Ok(selected.iter().map(|pin| pin.name()).collect())
}
