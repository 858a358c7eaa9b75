//! `lab selftests`: the kernel's own bonding selftests, each in a guest of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bondlab_core::net::clean;
use bondlab_core::report::selftests::{Outcome, Results, Run};
use bondlab_host::cache::Cache;
use bondlab_host::exec;
use bondlab_host::exec::{ExecCommand, Output, Verdict};
use bondlab_host::file;
use bondlab_host::file::TEXT_BYTES_MAX;
use bondlab_host::kernel::pins::{KernelPin, Kernels};
use bondlab_host::kernel::selftests;
use bondlab_host::kernel::selftests::{BONDING, Selftests};
use bondlab_host::kernel::store::Kernel;
use clap::Args;

use crate::cli::exec::GuestArgs;
use crate::cli::failure::{DIFFERS, Failure};
use crate::cli::progress::Downloads;
use crate::cli::testbench::Bench;
use crate::cli::{drivers, provision};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab selftests --kernels quick --output selftests.json
  lab selftests --kernels 7.3.4 --script dev_addr_lists.sh
  lab report selftests selftests.json > docs/selftests.md

Exit status: 0 where each script passed or was skipped, 1 where one did not.";

/// What the scripts' `config` files ask for, as far as it is modules; and what `rfc4106(gcm(aes))` of bond_ipsec_offload.sh is made
/// of, because a guest's kernel cannot load a module by itself.
const MODULES: [&str; 25] = [
    "veth",
    "dummy",
    "bridge",
    "bonding",
    "8021q",
    "macvlan",
    "ipvlan",
    "nlmon",
    "ip_gre",
    "sch_ingress",
    "sch_netem",
    "cls_flower",
    "cls_matchall",
    "act_gact",
    "netconsole",
    "xfrm_user",
    "esp4",
    "esp4_offload",
    "ifb",
    "netdevsim",
    "gcm",
    "ghash_generic",
    "ctr",
    "seqiv",
    "echainiv",
];
/// What is kept of a script's output: its end.
const KEPT_BYTES: usize = 256 * 1024;
/// How long the guest may take beside the script.
const SLACK_S: u64 = 120;

/// Arguments of `lab selftests`.
#[derive(Debug, Args)]
pub struct SelftestsArgs {
    /// Kernels, as in 6.12.57,quick,6.12..6.18
    #[arg(long, value_name = "SET", default_value = "default")]
    kernels: String,
    /// Only this script; may be repeated
    #[arg(long = "script", value_name = "NAME")]
    scripts: Vec<String>,
    /// The time of one script, instead of that of the tests' `settings`: emulation is slow
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
    /// The file for the results. Results of other scripts and kernels in it are kept; a script that has a result is not run again
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    guest: GuestArgs,
}

/// Runs the scripts, one after the other.
pub fn run(args: &SelftestsArgs) -> Result<ExitCode, Failure> {
    let kernels = args.guest.kernels()?;
    let cache = provision::cache()?;
    let mut results = args.output.as_deref().map(read).transpose()?.unwrap_or_default();
    let mut is_good = true;
    for pin in provision::select(&kernels, &args.kernels)? {
        let source = selftests::source(&kernels, pin).map_err(unavailable)?;
        let mut downloads = Downloads::new("the kernel's own selftests are in it");
        let tests =
            selftests::ensure(&cache, args.guest.mirror(), &source, &mut |event| downloads.show(event))
                .map_err(unavailable)?;
        drop(downloads);
        results.sources.insert(source.version.clone(), tests.scripts.clone());
        let (kernel, bench) = args.machine(pin, &kernels, &cache)?;
        for script in args.wanted(&tests, pin)? {
            let is_same = |run: &&Run| run.kernel == pin.name() && run.script == *script;
            let known = results.runs.iter().find(is_same).filter(|run| run.outcome() != Outcome::None);
            let run = match known.cloned() {
                Some(run) => run,
                None => args.one((&kernel, &bench), &tests, script, &source.version)?,
            };
            let outcome = run.outcome();
            println!("{:18} {:40} {outcome} ({} s)", run.kernel, clean::line(script), run.seconds);
            is_good &= matches!(outcome, Outcome::Pass | Outcome::Skip | Outcome::Xfail);
            results.runs.retain(|other| other.kernel != run.kernel || other.script != run.script);
            results.runs.push(run);
            if let Some(path) = &args.output {
                write(path, &results)?;
            }
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

impl SelftestsArgs {
    fn machine(&self, pin: &KernelPin, kernels: &Kernels, cache: &Cache) -> Result<(Kernel, Bench), Failure> {
        let provision = self.guest.provision();
        let mut kernel = provision::kernel(pin, provision, cache)?;
        drivers::add_netdevsim(&mut kernel, pin, kernels, provision, cache);
        let bench = self.guest.bench(&kernel)?;
        Ok((kernel, bench))
    }

    /// The scripts that are wanted of those there are.
    fn wanted<'t>(&self, tests: &'t Selftests, pin: &KernelPin) -> Result<Vec<&'t String>, Failure> {
        let wanted: Vec<&String> = tests
            .scripts
            .iter()
            .filter(|script| self.scripts.is_empty() || self.scripts.contains(script))
            .collect();
        if wanted.is_empty() {
            return Err(Failure::usage(format!(
                "error: the selftests for {} have none of these scripts\nhint: they have {}",
                pin.name(),
                tests.scripts.join(", ")
            )));
        }
        Ok(wanted)
    }

    fn one(
        &self,
        (kernel, bench): (&Kernel, &Bench),
        tests: &Selftests,
        script: &str,
        source: &str,
    ) -> Result<Run, Failure> {
        let missing = tests.missing_tools(script).map_err(|error| Failure::unreadable(&error))?;
        if !missing.is_empty() {
            // The script throws away that its shell did not find them, so its words would say nothing of the kernel.
            let tools = missing.join(" and ");
            eprintln!(
                "not run: {script} uses {tools}, which this machine has not\nhint: apt-get install iputils-ping"
            );
            return Ok(Run {
                kernel: kernel.id.clone(),
                source: source.to_owned(),
                script: script.to_owned(),
                no_result: Some(format!("it uses {tools}, which the machine has not")),
                seconds: 0,
                output: String::new(),
            });
        }
        let command = self.command(kernel, &tests.root, script)?;
        let ended = exec::run(&bench.machine(kernel), &command);
        let (no_result, seconds, output) = match &ended {
            Ok(ended) => {
                let why = match ended.verdict {
                    Verdict::TimedOut => Some(format!("it took longer than {} s", self.timeout)),
                    Verdict::Ended(_) => None,
                };
                // Where the cache is says nothing about the script.
                let output =
                    clean::output(&ended.kept).replace(&tests.root.display().to_string(), "selftests");
                (why, ended.total.as_secs(), output)
            }
            Err(error) => (Some(clean::lines(&error.to_string()).into_owned()), 0, String::new()),
        };
        Ok(Run {
            kernel: kernel.id.clone(),
            source: source.to_owned(),
            script: script.to_owned(),
            no_result,
            seconds,
            output,
        })
    }

    /// kselftest's own runner for one script, in the script's folder. bash, because the runner is started by it in the
    /// kernel's tree as well (run_kselftest.sh).
    fn command(&self, kernel: &Kernel, root: &Path, script: &str) -> Result<ExecCommand, Failure> {
        let run = "exec 2>&1; . \"$BASE_DIR/kselftest/runner.sh\" && run_many \"$1\"";
        let words = ["/bin/bash", "-c", run, "selftests", script].map(OsString::from);
        let mut command = self.guest.command(None, None, &words)?;
        let variables = [
            ("BASE_DIR", root.display().to_string()),
            ("kselftest_override_timeout", self.timeout.to_string()),
            // net/lib.sh waits longer where this is set.
            ("KSFT_MACHINE_SLOW", "yes".to_owned()),
            // No bonding selftest sends with mausezahn, which forwarding/lib.sh asks for.
            ("REQUIRE_MZ", "no".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()));
        command.request.env.extend(variables);
        command.request.dir = root.join(BONDING).into_os_string().into_encoded_bytes();
        let available = kernel.modules.available(&MODULES).map_err(|error| Failure::internal(&error))?;
        command.modules.extend(available.into_iter().map(str::to_owned));
        command.timeout = Some(Duration::from_secs(self.timeout + SLACK_S));
        command.stdin = false;
        command.output = Output::Kept(KEPT_BYTES);
        Ok(command)
    }
}

/// Reads results; none are there before the first run.
fn read(path: &Path) -> Result<Results, Failure> {
    if !path.exists() {
        return Ok(Results::default());
    }
    let text = file::read_text(path, TEXT_BYTES_MAX).map_err(|error| Failure::unreadable(&error))?;
    parse(path, &text)
}

/// Results of a file.
pub fn parse(path: &Path, text: &str) -> Result<Results, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::invalid(format!("error: {}: no results of `lab selftests`: {error}", path.display()))
    })
}

fn write(path: &Path, results: &Results) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(results).map_err(|error| Failure::internal(&error))?;
    file::replace_text(path, &format!("{text}\n")).map_err(|error| Failure::unavailable_for(&error))
}

fn unavailable(error: selftests::SelftestsError) -> Failure {
    Failure::unavailable_for(&error)
}
