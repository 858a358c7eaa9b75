//! A command on several kernels: a line for each, and the end of what those said that ended otherwise than with 0.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bondlab_core::net::clean;
use bondlab_core::topology::Topology;
use bondlab_host::exec;
use bondlab_host::exec::error::ExecError;
use bondlab_host::exec::{Ended, ExecCommand, Output};
use bondlab_host::kernel::pins::{KernelPin, Kernels};
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::interrupt;
use bondlab_host::run::matrix::{Event, run_all, workers};
use bondlab_host::run::memory;

use crate::cli::exec::{GuestArgs, why};
use crate::cli::failure::{DIFFERS, Failure, INTERNAL, INTERRUPTED};
use crate::cli::progress::Items;
use crate::cli::testbench::Bench;

/// What is kept of each command's output.
const KEPT_BYTES: usize = 64 * 1024;
/// How many lines of it are shown.
const LINES_SHOWN: usize = 20;

/// Runs a command on each kernel, with so many guests at a time.
pub fn on_each(
    args: &GuestArgs,
    topology: Option<&Topology>,
    pins: &[&KernelPin],
    kernels: &Kernels,
    (mut command, jobs): (ExecCommand, Option<usize>),
) -> Result<ExitCode, Failure> {
    command.stdin = false;
    command.output = Output::Kept(KEPT_BYTES);
    let all: Vec<Kernel> =
        pins.iter().map(|pin| args.kernel(topology, pin, kernels)).collect::<Result<_, _>>()?;
    let Some(first) = all.first() else { return Err(Failure::usage("error: no kernel")) };
    let bench = args.bench(first)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let guest_bytes = u64::from(command.memory_mib) << 20;
    let jobs = workers(jobs.unwrap_or(cores), all.len(), memory::available_bytes(), guest_bytes);
    let interrupt: &AtomicBool = interrupt::noted().map_err(|error| Failure::internal(&error))?;
    let mut items = Items::new("kernels", all.iter().map(|kernel| format!("{:16}", kernel.id)).collect());
    let shared: Arc<(Bench, ExecCommand)> = Arc::new((bench, command.clone()));
    let names: Vec<String> = all.iter().map(|kernel| kernel.id.clone()).collect();
    let mut begun = vec![false; names.len()];
    let done = run_all(
        all,
        jobs,
        move |kernel| exec::run(&shared.0.machine(kernel), &of_kernel(&shared.1, kernel)),
        interrupt,
        |event| match event {
            Event::Started { index } => {
                begun[index] = true;
                items.started(index);
            }
            Event::Finished { index, result } => {
                let (word, seconds, is_good) = match result {
                    Ok(Ok(ended)) => {
                        let status = ended.verdict.status();
                        (status.to_string(), ended.total.as_secs_f64(), status == 0)
                    }
                    Ok(Err(_)) | Err(_) => ("error".to_owned(), 0.0, false),
                };
                items.finished(index, &word, seconds, is_good);
            }
            Event::Tick => {}
        },
    );
    drop(items);
    let row = |(kernel, (result, begun))| Row { kernel, result, begun };
    let rows: Vec<Row> = names.into_iter().zip(done.results.into_iter().zip(begun)).map(row).collect();
    print!("{}", render(&rows, &command));
    Ok(code(&rows, done.interrupted))
}

/// The command, whose files go to a folder of the kernel's name.
fn of_kernel(command: &ExecCommand, kernel: &Kernel) -> ExecCommand {
    let mut command = command.clone();
    // A flavour is behind a slash: 6.12.57/generic.
    command.out = command.out.map(|folder| folder.join(kernel.id.replace('/', "-")));
    command
}

/// What came of one kernel; nothing where Ctrl-C was first.
struct Row {
    kernel: String,
    result: Option<Result<Result<Ended, ExecError>, String>>,
    /// Whether its guest was started, or was about to be.
    begun: bool,
}

impl Row {
    /// The status, or why there is none.
    fn status(&self) -> Result<u8, String> {
        match &self.result {
            Some(Ok(Ok(ended))) => Ok(ended.verdict.status()),
            Some(Ok(Err(error))) => Err(clean::lines(&error.to_string()).into_owned()),
            Some(Err(panic)) => Err(format!("the lab failed: {panic}")),
            None if self.begun => Err("interrupted: its guest was ended".into()),
            None => Err("interrupted: not started".into()),
        }
    }

    fn lines(&self) -> Vec<String> {
        let Some(Ok(Ok(ended))) = &self.result else { return Vec::new() };
        clean::output(&ended.kept).lines().map(str::to_owned).collect()
    }
}

fn render(rows: &[Row], command: &ExecCommand) -> String {
    let mut text = format!("{:18} {:>6} {:>8} {:>8}  last line\n", "kernel", "status", "started", "total");
    for row in rows {
        let (status, started, total) = match &row.result {
            Some(Ok(Ok(ended))) => (
                ended.verdict.status().to_string(),
                format!("{:.1}s", ended.until_started.as_secs_f64()),
                format!("{:.1}s", ended.total.as_secs_f64()),
            ),
            Some(_) => ("error".into(), "-".into(), "-".into()),
            None => ("-".into(), "-".into(), "-".into()),
        };
        let last = match row.status() {
            Ok(_) => row.lines().pop().unwrap_or_default(),
            Err(why) => why.lines().next().unwrap_or_default().to_owned(),
        };
        let line = format!("{:18} {status:>6} {started:>8} {total:>8}  {last}", row.kernel);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for row in rows {
        let lines = match row.status() {
            Ok(0) => continue,
            // Its line has said all of it.
            Err(_) if row.result.is_none() => continue,
            Ok(_) => {
                let lines = row.lines();
                let mut shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].to_vec();
                if let Some(Ok(Ok(ended))) = &row.result {
                    shown.extend(why(&ended.verdict, command).map(|why| format!("error: {why}")));
                }
                shown
            }
            Err(why) => why.lines().map(str::to_owned).collect(),
        };
        let _ = writeln!(text, "\n{}:", row.kernel);
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// 0 for a command that ended with 0 on every kernel, and never for one of which that is not known.
fn code(rows: &[Row], interrupted: bool) -> ExitCode {
    let code = if interrupted {
        INTERRUPTED
    } else if rows.iter().any(|row| row.status().is_err()) {
        INTERNAL
    } else if rows.iter().any(|row| row.status() != Ok(0)) {
        DIFFERS
    } else {
        return ExitCode::SUCCESS;
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bondlab_core::plan::exec::{ExecRequest, How};
    use bondlab_host::exec::Verdict;

    use super::*;

    fn row(kernel: &str, result: Result<u8, &str>, kept: &str) -> Row {
        let ended = |status| Ended {
            verdict: Verdict::Ended(How::Exited { status }),
            until_started: Duration::from_millis(1200),
            total: Duration::from_millis(2300),
            kept: kept.into(),
            notes: Vec::new(),
        };
        let result = result.map(ended).map_err(|why| ExecError::NotPrepared(why.into()));
        Row { kernel: kernel.into(), result: Some(Ok(result)), begun: true }
    }

    fn command() -> ExecCommand {
        ExecCommand {
            request: ExecRequest {
                args: vec![b"true".to_vec()],
                env: Vec::new(),
                dir: b"/".to_vec(),
                stepping: None,
                ns: None,
                now_ns: 0,
                entropy: Vec::new(),
                terminal: None,
                out: false,
            },
            timeout: None,
            modules: Vec::new(),
            memory_mib: 256,
            out: None,
            stdin: false,
            output: Output::Kept(KEPT_BYTES),
        }
    }

    #[test]
    fn each_kernel_has_a_line_and_what_failed_has_its_output() {
        let rows = [
            row("5.10.262", Ok(0), "one\ntwo\n"),
            row("6.12.57", Ok(3), "bad\n\u{1b}[2Jworse\n"),
            row("7.3.4", Err("no overlay"), ""),
        ];
        let expected = "\
kernel             status  started    total  last line
5.10.262                0     1.2s     2.3s  two
6.12.57                 3     1.2s     2.3s  \\u{1b}[2Jworse
7.3.4               error        -        -  the command did not run: no overlay

6.12.57:
  bad
  \\u{1b}[2Jworse

7.3.4:
  the command did not run: no overlay
";
        assert_eq!(render(&rows, &command()), expected);
    }

    #[test]
    fn only_a_command_that_ended_with_0_everywhere_is_a_success() {
        let text = |rows: &[Row], interrupted| format!("{:?}", code(rows, interrupted));
        let expected = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(text(&[row("a", Ok(0), "")], false), expected(0));
        assert_eq!(text(&[row("a", Ok(0), ""), row("b", Ok(1), "")], false), expected(DIFFERS));
        assert_eq!(text(&[row("a", Err("x"), ""), row("b", Ok(1), "")], false), expected(INTERNAL));
        let unknown = Row { kernel: "c".into(), result: None, begun: true };
        assert_eq!(text(&[row("a", Ok(0), ""), unknown], true), expected(INTERRUPTED));
    }

    #[test]
    fn after_an_interrupt_there_is_what_was_done_and_what_was_not() {
        let rows = [
            row("5.10.262", Ok(0), "one\n"),
            Row { kernel: "6.12.57".into(), result: None, begun: true },
            Row { kernel: "7.3.4".into(), result: None, begun: false },
        ];
        let expected = "\
kernel             status  started    total  last line
5.10.262                0     1.2s     2.3s  one
6.12.57                 -        -        -  interrupted: its guest was ended
7.3.4                   -        -        -  interrupted: not started
";
        assert_eq!(render(&rows, &command()), expected);
    }
}
