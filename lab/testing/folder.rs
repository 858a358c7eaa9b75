//! A test program that makes one test of each topology of a folder on each kernel.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::testing::on::{Lab, NoRun, names};
use crate::testing::run::Run;
use crate::testing::topology::Topology;
use bondlab_host::{ci, file};

/// What each run is looked at with.
type Check = dyn Fn(&Run) + Send + Sync;

/// A test program of its own (`harness = false`) that makes one test of each topology of a folder on each kernel, for
/// `cargo test` and nextest. A test is called `FOLDER/NAME@KERNEL`. A skipped test says `ignored` and its reason, and fails with
/// `CI` set.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     lab::Folder::new("topologies").kernels("quick").main()
/// }
/// ```
pub struct Folder {
    path: PathBuf,
    kernels: String,
    check: Option<Arc<Check>>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder")
            .field("path", &self.path)
            .field("kernels", &self.kernels)
            .finish_non_exhaustive()
    }
}

impl Folder {
    /// The topologies in a folder and those below it, on the set `quick`. A relative path is looked up from the working
    /// directory, which is the package's own folder in `cargo test`.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), kernels: "quick".into(), check: None }
    }

    /// On these kernels: a version, a set, a range, or a list of them with commas.
    #[must_use]
    pub fn kernels(mut self, kernels: &str) -> Self {
        kernels.clone_into(&mut self.kernels);
        self
    }

    /// Looks at each run in this way, instead of asserting that it is as expected. It fails by a panic, as tests do.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&Run) + Send + Sync + 'static) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Runs the tests that the command line asks for. The exit code is 0 if none has failed, 101 if one has.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let trials = match self.trials() {
            Ok(trials) => trials,
            // It is a failed test, and not a folder without tests.
            Err(why) => vec![Trial::test("topologies", move || Err(Failed::from(why)))],
        };
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn trials(&self) -> Result<Vec<Trial>, String> {
        let kernels = names(&self.kernels)?;
        let files = file::files_below(&self.path, "toml").map_err(|error| error.to_string())?;
        if files.is_empty() {
            return Err(format!("{}: there is no topology", self.path.display()));
        }
        let cells = files.iter().flat_map(|file| kernels.iter().map(move |kernel| (file, kernel)));
        Ok(cells.map(|(file, kernel)| self.trial(file, kernel)).collect())
    }

    fn trial(&self, file: &Path, kernel: &str) -> Trial {
        let inside = file.strip_prefix(&self.path).unwrap_or(file).with_extension("");
        let (file, lab, check) = (file.to_owned(), Lab::on(kernel), self.check.clone());
        Trial::ignorable_test(format!("{}@{kernel}", inside.display()), move || {
            let topology = Topology::from_file(&file).map_err(|error| Failed::from(error.to_string()))?;
            match lab.attempt(&topology) {
                Ok(run) => judge(check.as_deref(), &run),
                Err(NoRun::Failed(why)) => Err(Failed::from(why)),
                Err(NoRun::Skipped(why)) if ci::is_ci() => {
                    Err(Failed::from(format!("not to be skipped where CI is set: {why}")))
                }
                Err(NoRun::Skipped(why)) => Ok(Completion::ignored_with(one_line(&why))),
            }
        })
    }
}

fn judge(check: Option<&Check>, run: &Run) -> Result<Completion, Failed> {
    match (check, run.failure()) {
        // The harness reports a panic.
        (Some(check), _) => check(run),
        (None, Some(failure)) => return Err(Failed::from(failure)),
        (None, None) => {}
    }
    Ok(Completion::Completed)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
