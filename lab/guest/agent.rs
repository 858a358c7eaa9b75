//! The agent: carries out a plan inside the kernel under test and tells what happened.

use std::io::{self, BufRead, Write};

use super::counters;
use super::drop_book::DropBook;
use super::flood::{FloodError, flood};
use super::receiver::Receiver;
use super::safe_modules;
use super::sender::Sender;
use super::stage::Stage;
use crate::plan::{FlowPlan, Op, Plan, Trial};
use crate::record::{OpError, Record, Request};

/// Why the agent stopped. Everything a kernel may refuse is a record instead.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The line to the host.
    #[error("the line to the host: {0}")]
    Line(#[from] io::Error),
    /// Not one of the host's requests.
    #[error("a request that is none: {0}")]
    Request(#[from] serde_json::Error),
    /// The runtime that drives netlink.
    #[error("start the netlink runtime: {0}")]
    Runtime(#[source] io::Error),
}

/// Writes records and counts them.
struct Scribe<W> {
    line: W,
    records: u32,
}

impl<W: Write> Scribe<W> {
    fn write(&mut self, record: &Record) -> Result<(), AgentError> {
        let mut bytes = serde_json::to_vec(record)?;
        bytes.push(b'\n');
        self.line.write_all(&bytes)?;
        self.line.flush()?;
        self.records += 1;
        Ok(())
    }
}

/// Reads one request, carries it out, and writes its records; the last one counts the others.
///
/// # Errors
/// When the line to the host breaks, or carries something else than a request.
pub fn serve(mut reader: impl BufRead, writer: impl Write) -> Result<(), AgentError> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Request::Run(plan) = serde_json::from_str(&line)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
    let mut scribe = Scribe { line: writer, records: 0 };
    runtime.block_on(run(&plan, &mut scribe))?;
    let records = scribe.records;
    scribe.write(&Record::Finished { records })
}

async fn run<W: Write>(plan: &Plan, scribe: &mut Scribe<W>) -> Result<(), AgentError> {
    let mut missing = safe_modules::load(&plan.needs);
    if missing.is_empty() {
        missing = super::probe::missing(&plan.needs).await;
    }
    if !missing.is_empty() {
        return scribe.write(&Record::Missing { what: missing });
    }
    for (number, trial) in plan.trials.iter().enumerate() {
        let number = u16::try_from(number).expect("the plan numbers its trials with 16 bits");
        run_trial(plan, number, trial, scribe).await?;
    }
    Ok(())
}

async fn run_trial<W: Write>(
    plan: &Plan,
    number: u16,
    trial: &Trial,
    scribe: &mut Scribe<W>,
) -> Result<(), AgentError> {
    scribe.write(&Record::TrialStarted { trial: number })?;
    let mut stage = Stage::new(plan.ipv6);
    let mut drops: Option<DropBook> = None;
    for (op_number, op) in trial.ops.iter().enumerate() {
        let op_number = u32::try_from(op_number).expect("a plan has under four thousand million operations");
        let done = match op {
            Op::Count(when) => match counters::count(&mut stage.namespaces).await {
                Ok(devices) => {
                    // Watching begins when the topology stands: building it loses frames that nobody asked for.
                    drops.get_or_insert_with(|| DropBook::open(number, stage.namespaces.inodes()));
                    scribe.write(&Record::Counters { trial: number, when: *when, devices })?;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Op::Flood { flow } => match run_flow(&plan.flows[usize::from(*flow)], (number, *flow), &mut stage, &mut drops).await {
                Ok(records) => {
                    for record in &records {
                        scribe.write(record)?;
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            },
            other => stage.perform(other).await,
        };
        match done {
            Ok(()) => scribe.write(&Record::OpDone { trial: number, op: op_number })?,
            Err(error) => return scribe.write(&Record::OpFailed { trial: number, op: op_number, error }),
        }
    }
    for record in drops.map(DropBook::close).unwrap_or_default() {
        scribe.write(&record)?;
    }
    Ok(())
}

async fn run_flow(
    plan: &FlowPlan,
    (trial, number): (u16, u16),
    stage: &mut Stage,
    drops: &mut Option<DropBook>,
) -> Result<[Record; 2], OpError> {
    let flow = &plan.flow;
    let failed = |what: &str, text: String| OpError {
        what: format!("{what} flow {}", flow.name),
        errno: None,
        text: Some(text),
    };
    let (from_index, source) = stage.address(&flow.from).await?;
    let (to_index, next_hop) = stage.address(&flow.to).await?;
    let opened = stage.namespaces.enter(&flow.to.ns, || Receiver::open(plan, trial, number, to_index));
    let receiver = opened?.map_err(|error| failed("receive", error.to_string()))?;
    let opened = stage.namespaces.enter(&flow.from.ns, || Sender::open(plan, from_index, source, next_hop));
    let sender = opened?.map_err(|error| failed("send", error.to_string()))?;
    let drops = drops.as_mut().ok_or_else(|| failed("send", "nothing was counted before it".into()))?;
    flood(plan, (trial, number), sender, receiver, drops)
        .map_err(|error: FloodError| failed("send", error.to_string()))
}
