//! `lab step`: the next step of a topology that is up around this process, in a guest.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Instant;

use bondlab_core::judge::account::{Account, TrialAccount};
use bondlab_core::judge::ledger;
use bondlab_core::judge::verdict::{self, Check};
use bondlab_core::net::version::Running;
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::Record;
use bondlab_core::plan::stepping::{STEP_SOCKET, StepReply, StepRequest, Stepping};
use bondlab_core::report::document::{Document, KernelDocument, Timing};
use bondlab_core::report::terminal;
use bondlab_core::report::terminal::so_far;
use bondlab_core::topology::Topology;
use clap::Args;

use crate::cli::failure::{DIFFERS, Failure};
use crate::cli::look::LookArgs;
use crate::cli::run::exit_code;
use crate::cli::steps::Steps;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples, inside of `lab shell topologies/vlan-over-bond-tx-drop.toml`:
  lab step --list
  lab step
  ip -s link show bond0; lab step 2
  lab step --all

Exit status: 0 if all steps that were run succeeded, and, after the last step, if the result is a pass; otherwise 1.
Commands that you run between two steps affect the account.";

/// More than a topology has.
const ALL: u32 = u32::MAX;

/// Arguments of `lab step`.
#[derive(Debug, Args)]
pub struct StepArgs {
    /// How many steps to run
    #[arg(value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Run all remaining steps
    #[arg(long, conflicts_with = "count")]
    all: bool,
    /// Print the steps, and which of them were run; run none
    #[arg(long, conflicts_with_all = ["count", "all"])]
    list: bool,
    #[command(flatten)]
    look: LookArgs,
}

/// Asks the guest's agent for steps, and prints what it says.
pub fn step(args: &StepArgs) -> Result<ExitCode, Failure> {
    let request = match (args.list, args.all) {
        (true, _) => StepRequest::List,
        (_, true) => StepRequest::Next { count: ALL },
        _ => StepRequest::Next { count: args.count },
    };
    let asked = Instant::now();
    let mut replies = ask(request)?;
    let first = replies.next().transpose()?;
    let Some(StepReply::Begin { stepping, done, has_ended, release }) = first else {
        return Err(Failure::no_result("the agent did not begin with the topology's steps"));
    };
    let begun = Begun { stepping: *stepping, done, release, look: args.look, asked };
    if args.list {
        print!("{}", list(&begun.stepping, begun.done, has_ended));
        return Ok(ExitCode::SUCCESS);
    }
    begun.follow(replies)
}

fn ask(request: StepRequest) -> Result<impl Iterator<Item = Result<StepReply, Failure>>, Failure> {
    let mut socket = UnixStream::connect(STEP_SOCKET).map_err(|error| {
        Failure::usage(format!(
            "error: no topology is up around this process ({STEP_SOCKET}: {error})\nhint: run `lab step` inside of `lab shell \
             TOPOLOGY`, or of `lab exec --topology TOPOLOGY -- sh -c 'lab step'`"
        ))
    })?;
    let broken = |error: io::Error| Failure::no_result(format!("the socket of the agent: {error}"));
    let mut line = serde_json::to_vec(&request).expect("a request is plain data");
    line.push(b'\n');
    socket.write_all(&line).and_then(|()| socket.shutdown(Shutdown::Write)).map_err(broken)?;
    Ok(BufReader::new(socket).lines().map(move |line| {
        let line = line.map_err(broken)?;
        serde_json::from_str(&line)
            .map_err(|error| Failure::no_result(format!("what the agent says: {error}")))
    }))
}

/// The steps, a line each.
fn list(stepping: &Stepping, done: u32, has_ended: bool) -> String {
    let mut text = String::new();
    for number in 0..stepping.steps.len() {
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        let mark = match () {
            () if number < done => "done",
            () if number == done && !has_ended => "next",
            () => "",
        };
        let what = stepping.step_text(number).unwrap_or_default();
        let _ = writeln!(text, "{:>3} {mark:4} {what}", number + 1);
    }
    if stepping.steps.is_empty() {
        text.push_str(
            "the topology has no steps; `lab step` reads its counters and judges what it expects\n",
        );
    }
    text
}

/// What the agent said first.
struct Begun {
    stepping: Stepping,
    done: u32,
    release: String,
    look: LookArgs,
    asked: Instant,
}

impl Begun {
    /// Prints replies as they come.
    fn follow(&self, replies: impl Iterator<Item = Result<StepReply, Failure>>) -> Result<ExitCode, Failure> {
        let steps = Steps::new(&self.stepping.plan);
        for reply in replies {
            match reply? {
                StepReply::Step { step } => {
                    let number = usize::try_from(step).unwrap_or(usize::MAX);
                    let what = self.stepping.step_text(number).unwrap_or_default();
                    println!("step {} of {}: {what}", number.saturating_add(1), self.stepping.steps.len());
                    // A step may take long.
                    let _ = io::stdout().flush();
                }
                StepReply::Record(record) => {
                    if let Some(line) = steps.line(&record) {
                        println!("{line}");
                    }
                }
                StepReply::Account { done, records, is_final: false } => return self.so_far(done, &records),
                StepReply::Account { records, is_final: true, .. } => return self.finished(&records),
                StepReply::Refused { why } => return Err(Failure::no_result(why)),
                StepReply::Begin { .. } => {
                    return Err(Failure::no_result("the agent began a second time"));
                }
            }
        }
        Err(Failure::no_result("the agent gave no account: it broke off"))
    }

    fn running(&self) -> Option<Running> {
        Running::of(&self.stepping.kernel, &self.release)
    }

    /// The account of a trial that goes on.
    fn so_far(&self, done: u32, records: &[Record]) -> Result<ExitCode, Failure> {
        let plan = self.stepping.so_far(done);
        let account = ledger::close(&plan, records).map_err(no_account)?;
        let Some(trial) = account.trials.first() else { return Err(no_account("it has no trial")) };
        let left = self.stepping.steps.iter().filter(|(first, _)| *first >= done).count();
        println!("\nThe account so far, with {left} of {} steps to come:", self.stepping.steps.len());
        print!("{}", so_far::render(trial, self.look.look().columns()));
        let failed: Vec<Check> = verdict::of_steps(&self.since(trial), self.running())
            .into_iter()
            .filter(|check| check.outcome.is_failure())
            .collect();
        for check in &failed {
            let (word, name) = (check.outcome.word().to_uppercase(), &check.name);
            println!("  {word} {name}\n    expected {}, observed {}", check.expected, check.observed);
        }
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
    }

    /// The account of what was carried out this time alone.
    fn since(&self, trial: &TrialAccount) -> TrialAccount {
        let done = usize::try_from(self.done).unwrap_or(usize::MAX);
        let before =
            done.checked_sub(1).and_then(|last| self.stepping.steps.get(last)).map_or(0, |(_, end)| *end);
        let ops = self.stepping.ops().iter().take(usize::try_from(before).unwrap_or(usize::MAX));
        let mut trial = trial.clone();
        for op in ops {
            match op {
                Op::Wait { .. } if !trial.waits.is_empty() => drop(trial.waits.remove(0)),
                Op::Attempt { .. } if !trial.attempts.is_empty() => drop(trial.attempts.remove(0)),
                Op::Attach { .. } | Op::Detach { .. } | Op::CheckPod { .. } if !trial.pods.is_empty() => {
                    drop(trial.pods.remove(0));
                }
                _ => {}
            }
        }
        trial
    }

    /// The result of a trial that has ended.
    fn finished(&self, records: &[Record]) -> Result<ExitCode, Failure> {
        let topology: Topology = self.stepping.origin.topology().map_err(no_account)?;
        let account: Account = ledger::close(&self.stepping.plan, records).map_err(no_account)?;
        let options = &self.stepping.plan.options;
        let verdict = verdict::judge(&topology, options, &account, self.running());
        let kernel = KernelDocument {
            id: self.stepping.kernel.clone(),
            release: self.release.clone(),
            backend: "vm".into(),
            accelerator: self.stepping.accelerator.clone(),
            clock: "real".into(),
        };
        let total = u64::try_from(self.asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Of this call: between two steps the time is the user's.
        let timing = Timing { total, ..Timing::default() };
        let document = Document::finished(&topology.name, kernel, &account, &verdict, timing);
        let document = document.of_topology(&topology, options, account.pods());
        println!();
        print!("{}", terminal::render_as(&document, None, &self.look.look()));
        println!(
            "\nThe trial has ended; what was done in the shell between its steps is part of the result."
        );
        Ok(exit_code(document.outcome))
    }
}

fn no_account(error: impl std::fmt::Display) -> Failure {
    Failure::no_result(format!("there is no account: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bondlab_core::plan::stepping::Origin;
    use bondlab_core::topology::source::Source;

    const TEXT: &str = r#"
[ns.a.veth.p]
peer = "b:p"
addresses = ["192.0.2.1/24"]
[ns.b.veth.p]
peer = "a:p"
addresses = ["192.0.2.2/24"]
[fault.down.cut]
device = "b:p"
[flow.f]
from = "a:p"
to = "b:p"
frames = 3
[[step]]
inject = "cut"
[[step]]
flood = "f"
[[step]]
clear = "cut"
"#;

    #[test]
    fn steps_that_are_done_and_the_next_one_are_marked() {
        let origin = Origin::new("t", &Source::of("t.toml", TEXT), None);
        let topology = origin.topology().unwrap_or_else(|error| panic!("{error}"));
        let stepping = Stepping::new(&topology, origin);
        let expected = "  1 done inject cut: down b:p\n  2 next flood f: 3 frames, a:p -> b:p\n  3      clear cut: down b:p\n";
        assert_eq!(list(&stepping, 1, false), expected);
        assert!(!list(&stepping, 1, true).contains("next"), "nothing comes after a failed operation");
    }
}
