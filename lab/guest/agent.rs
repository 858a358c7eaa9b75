//! The agent: carries out a plan inside the kernel under test and tells what happened.

pub mod channel;
pub mod confine;
pub mod guard;
pub mod host_control;
pub mod machine;
pub mod probe;
pub mod safe_modules;
pub mod session;
pub mod stepper;
pub mod testbed;
pub mod trial;
pub mod wait;

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};

use crate::agent::host_control::HostControl;
use crate::agent::probe::Probed;
use crate::agent::session::Session;
use crate::agent::testbed::Testbed;
use crate::agent::trial::Trial;
use crate::device::nic;
use crate::observe::drops::DropObserver;
use crate::syscall::netns::Spares;
use crate::{exec, selftest};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::digest::Digest;
use bondlab_core::plan::handshake::Ready;
use bondlab_core::plan::record::{OpError, Record, Request};
use bondlab_core::plan::{OrderMutants, Plan, Role};

/// Why the agent stopped. Everything a kernel may refuse is a record instead.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The line to the host.
    #[error("the line to the host: {0}")]
    Line(#[from] io::Error),
    /// Not one of the host's requests.
    #[error("a request that is none: {0}")]
    Request(#[from] serde_json::Error),
    /// The next trial would not start from a pristine machine.
    #[error("between two trials: {0}")]
    Hardware(OpError),
    /// What an earlier plan has left might act in the next one.
    #[error("between two plans: {0}")]
    NotQuiet(OpError),
    /// Frames are numbered in 16 bits.
    #[error("the trials of all plans are more than 65535: share this guest between fewer")]
    TooManyTrials,
    /// The runtime that drives netlink.
    #[error("start the netlink runtime: {0}")]
    Runtime(#[source] io::Error),
}

/// Writes records and counts them.
struct RecordWriter<R, W> {
    reader: R,
    line: W,
    records: u32,
    digest: Digest,
    /// Of the trial that runs: what a mutant one breaks decides which comes next.
    kept: Vec<Record>,
}

impl<R: BufRead, W: Write> HostControl for RecordWriter<R, W> {
    fn plug(&mut self, device: &DeviceRef, slot: usize, is_in: bool) -> Result<(), OpError> {
        let what = format!("{} of {device}", if is_in { "put in the cable" } else { "pull the cable" });
        let mut ask = || -> Result<Option<String>, AgentError> {
            self.write(&Record::CableRequest { slot, is_in })?;
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            match serde_json::from_str(&line)? {
                Request::Answer(why_not) => Ok(why_not),
                Request::Run(_) | Request::RunAndWait(_) | Request::Exec(_) => {
                    Ok(Some("the host asked for something else".into()))
                }
            }
        };
        let failed = |text| Err(OpError { what: what.clone(), errno: None, text: Some(text) });
        match ask() {
            Ok(None) => Ok(()),
            Ok(Some(why_not)) => failed(why_not),
            Err(error) => failed(error.to_string()),
        }
    }
}

impl<R, W: Write> RecordWriter<R, W> {
    fn new(reader: R, line: W) -> Self {
        Self { reader, line, records: 0, digest: Digest::default(), kept: Vec::new() }
    }

    fn write(&mut self, record: &Record) -> Result<(), AgentError> {
        let mut bytes = serde_json::to_vec(record)?;
        bytes.push(b'\n');
        self.line.write_all(&bytes)?;
        self.line.flush()?;
        self.records += 1;
        self.digest.add(record);
        if record.trial().is_some() && !matches!(record, Record::Tapped { .. }) {
            self.kept.push(record.clone());
        }
        Ok(())
    }

    /// The records of the next plan follow.
    fn begin(&mut self) {
        (self.records, self.digest) = (0, Digest::default());
        self.kept.clear();
    }

    /// The last record of a plan.
    fn finish(&mut self) -> Result<(), AgentError> {
        let (records, digest) = (self.records, self.digest.value());
        self.write(&Record::Finished { records, digest })
    }
}

/// What takes long enough to be done before there is a plan, and what an agent keeps from one plan to the next.
pub struct Prepared {
    /// Where the kernel does not let itself be watched, why.
    pub observer: Result<DropObserver, String>,
    /// Namespaces to be used.
    pub spares: Spares,
    /// What the kernel was found to have.
    pub probed: Probed,
    /// Trials of earlier plans: the frames of a trial carry a number that no other trial of this agent has had.
    pub trials_before: u16,
}

/// Namespaces that a saved machine has to offer: two small trials, and the one in which the kernel is probed. More
/// would be kept in every saved machine, and save little: after the first ones their code is translated.
const SPARES: usize = 7;

/// Starts to watch for drops, and learns the kernel's symbols.
pub fn prepare() -> Prepared {
    let observer = DropObserver::start().and_then(|mut observer| observer.load_symbols().map(|()| observer));
    Prepared {
        observer: observer.map_err(|error| error.to_string()),
        spares: Spares::default(),
        probed: Probed::default(),
        trials_before: 0,
    }
}

/// The agent of a machine: ready only when it is prepared, so that a saved machine is as well.
///
/// # Errors
/// As [`serve`].
pub fn serve_machine(
    reader: channel::Reader,
    mut writer: channel::Writer,
    ready: Ready,
    order: OrderMutants,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut prepared = prepare();
    prepared.spares = Spares::make(SPARES)?;
    channel::say_ready(&mut writer, ready)?;
    let mut reader = reader;
    match read_request(&mut reader)? {
        Request::Exec(request) => Ok(exec::serve(&request, prepared)?),
        first => Ok(Session::start(prepared, reader, writer, order)?.serve(first)?),
    }
}

fn read_request(reader: &mut impl BufRead) -> Result<Request, AgentError> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn unexpected() -> AgentError {
    io::Error::other("a request that does not belong here").into()
}

/// Reads requests, carries them out, and writes their records; the last one of each counts the others. `order` chooses the
/// mutants.
///
/// # Errors
/// When the line to the host breaks, or carries something else than a request.
pub fn serve(
    prepared: Prepared,
    mut reader: impl BufRead,
    writer: impl Write,
    order: OrderMutants,
) -> Result<(), AgentError> {
    let first = read_request(&mut reader)?;
    Session::start(prepared, reader, writer, order)?.serve(first)
}

/// Says, instead of serving, what keeps this machine from running anything.
///
/// # Errors
/// When the line to the host breaks.
pub fn refuse(why: &str, writer: impl Write) -> Result<(), AgentError> {
    let mut record_writer = RecordWriter::new(io::empty(), writer);
    record_writer.write(&Record::Missing { what: vec![why.into()] })?;
    record_writer.finish()
}

/// Trials that stand at the same time, at the most. Each takes some two megabytes, and a machine has 256.
const STANDING_MAX: usize = 40;

/// Every namespace that was made for trials. All stand until the end, as far as memory goes: cleanup_net() takes the RTNL lock for
/// long, and the next trial would wait for it; and a machine ends without having to take anything down.
#[derive(Default)]
pub(crate) struct Standing {
    beds: VecDeque<Testbed>,
}

async fn run<R: BufRead, W: Write>(
    plan: &Plan,
    prepared: &mut Prepared,
    standing: &mut Standing,
    record_writer: &mut RecordWriter<R, W>,
    order: OrderMutants,
) -> Result<(), AgentError> {
    let (needs, mut missing) = safe_modules::load(&plan.needs);
    match probe::missing(&needs, &mut prepared.spares, &mut prepared.probed).await {
        Ok(lacks) => missing.extend(lacks),
        // Without permission nothing can be found out, and nothing could be run.
        Err(error) => missing.push(error.to_string()),
    }
    if !missing.is_empty() {
        record_writer.write(&Record::Missing { what: missing })?;
        return Ok(());
    }
    // Only now: what cannot run need not wait.
    if plan.is_timed() {
        wait::whole_second();
    }
    for (number, trial) in (0..).zip(&plan.trials) {
        if !matches!(trial.role, Role::Mutant(_)) {
            next_trial(plan, number, standing, prepared, record_writer).await?;
        }
    }
    let mut order = order(plan);
    while let Some(number) = order.take_next() {
        next_trial(plan, number, standing, prepared, record_writer).await?;
        let records: Vec<&Record> = record_writer.kept.iter().collect();
        order.ran(number, &records);
    }
    for trial in order.left_out() {
        record_writer.write(&Record::TrialLeftOut { trial })?;
    }
    Ok(())
}

async fn next_trial<R: BufRead, W: Write>(
    plan: &Plan,
    number: u16,
    standing: &mut Standing,
    prepared: &mut Prepared,
    record_writer: &mut RecordWriter<R, W>,
) -> Result<(), AgentError> {
    // Namespaces can stand beside one another, NICs are there once.
    if let Some(bed) = standing.beds.back_mut() {
        nic::release(bed, record_writer).map_err(AgentError::Hardware)?;
    }
    standing.beds.push_back(run_trial(plan, number, prepared, record_writer).await?);
    selftest::panic_if_asked_for(&plan.topology);
    if standing.beds.len() > STANDING_MAX {
        drop(standing.beds.pop_front());
    }
    Ok(())
}

async fn run_trial<R: BufRead, W: Write>(
    plan: &Plan,
    number: u16,
    prepared: &mut Prepared,
    record_writer: &mut RecordWriter<R, W>,
) -> Result<Testbed, AgentError> {
    record_writer.kept.clear();
    record_writer.write(&Record::TrialStarted { trial: number })?;
    let mut running = Trial::new(plan, number, prepared);
    let trial = &plan.trials[usize::from(number)];
    for (op_number, op) in trial.ops.iter().enumerate() {
        let op_number = u32::try_from(op_number).expect("a plan has under four thousand million operations");
        match running.perform(op_number, op, record_writer).await {
            Ok(records) => {
                for record in &records {
                    record_writer.write(record)?;
                }
                record_writer.write(&Record::OpDone { trial: number, op: op_number })?;
            }
            Err(error) => {
                let is_unsupported = running.is_unsupported();
                record_writer.write(&Record::OpFailed {
                    trial: number,
                    op: op_number,
                    error,
                    is_unsupported,
                })?;
                record_writer.write(&running.log())?;
                running.tapped().iter().try_for_each(|record| record_writer.write(record))?;
                return Ok(running.close().1);
            }
        }
    }
    record_writer.write(&running.log())?;
    running.tapped().iter().try_for_each(|record| record_writer.write(record))?;
    let (records, bed) = running.close();
    for record in records {
        record_writer.write(&record)?;
    }
    Ok(bed)
}
