//! The agent: carries out a plan inside the kernel under test and tells what happened.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use super::channel;
use super::counters;
use super::drop_book::DropBook;
use super::drops::DropObserver;
use super::flood::flood;
use super::receiver::Receiver;
use super::sender::Sender;
use super::testbed::{Testbed, netns_error};
use super::{addresses, faults, links, probe, ready, safe_modules, tc, verify};
use crate::handshake::Ready;
use crate::link::NsName;
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

/// What takes long enough to be done before there is a plan.
pub struct Prepared {
    /// Where the kernel does not let itself be watched, why.
    observer: Result<DropObserver, String>,
}

/// Starts to watch for drops, and learns the kernel's symbols.
pub fn prepare() -> Prepared {
    let observer = DropObserver::start().and_then(|mut observer| observer.load_symbols().map(|()| observer));
    Prepared { observer: observer.map_err(|error| error.to_string()) }
}

/// The agent of a machine: ready only when it is prepared, so that a saved machine is as well.
///
/// # Errors
/// As [`serve`].
pub fn serve_machine(
    reader: channel::Reader,
    mut writer: channel::Writer,
    ready: Ready,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let prepared = prepare();
    channel::say_ready(&mut writer, ready)?;
    Ok(serve(prepared, reader, writer)?)
}

/// Reads one request, carries it out, and writes its records; the last one counts the others.
///
/// # Errors
/// When the line to the host breaks, or carries something else than a request.
pub fn serve(mut prepared: Prepared, mut reader: impl BufRead, writer: impl Write) -> Result<(), AgentError> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Request::Run(plan) = serde_json::from_str(&line)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
    let mut scribe = Scribe { line: writer, records: 0 };
    runtime.block_on(run(&plan, &mut prepared, &mut scribe))?;
    let records = scribe.records;
    scribe.write(&Record::Finished { records })
}

async fn run<W: Write>(
    plan: &Plan,
    prepared: &mut Prepared,
    scribe: &mut Scribe<W>,
) -> Result<(), AgentError> {
    let (needs, mut missing) = safe_modules::load(&plan.needs);
    // Without permission nothing can be found out, and nothing could be run.
    missing.extend(probe::missing(&needs).await.unwrap_or_else(|error| vec![error.to_string()]));
    if !missing.is_empty() {
        return scribe.write(&Record::Missing { what: missing });
    }
    // All stand until the end: cleanup_net() takes the RTNL lock for long, and the next trial would wait for it.
    let mut beds = Vec::new();
    for (number, trial) in plan.trials.iter().enumerate() {
        let number = u16::try_from(number).expect("the plan numbers its trials with 16 bits");
        beds.push(run_trial(plan, number, trial, prepared, scribe).await?);
    }
    Ok(())
}

async fn run_trial<W: Write>(
    plan: &Plan,
    number: u16,
    trial: &Trial,
    prepared: &mut Prepared,
    scribe: &mut Scribe<W>,
) -> Result<Testbed, AgentError> {
    scribe.write(&Record::TrialStarted { trial: number })?;
    let mut bed = Testbed::new(plan.ipv6);
    let mut drops = DropBook::new(&mut prepared.observer, number);
    for (op_number, op) in trial.ops.iter().enumerate() {
        let op_number = u32::try_from(op_number).expect("a plan has under four thousand million operations");
        match perform(plan, number, op, &mut bed, &mut drops).await {
            Ok(records) => {
                for record in &records {
                    scribe.write(record)?;
                }
                scribe.write(&Record::OpDone { trial: number, op: op_number })?;
            }
            Err(error) => {
                scribe.write(&Record::OpFailed { trial: number, op: op_number, error })?;
                return Ok(bed);
            }
        }
    }
    for record in drops.close() {
        scribe.write(&record)?;
    }
    Ok(bed)
}

/// Carries out one operation; returns what it has to tell.
async fn perform(
    plan: &Plan,
    trial: u16,
    op: &Op,
    bed: &mut Testbed,
    drops: &mut DropBook<'_>,
) -> Result<Vec<Record>, OpError> {
    match op {
        Op::Namespace(ns) => bed.add_namespace(ns).await?,
        Op::Create { link, peer } => links::create(bed, link, peer.as_ref()).await?,
        Op::Join { port, controller } => links::join(bed, port, controller).await?,
        Op::Up(device) => links::set_up(bed, device).await?,
        Op::Qdisc { device, qdisc } => tc::put_root(bed, device, qdisc).await?,
        Op::Addresses(link) => addresses::add_all(bed, link).await?,
        Op::Route { ns, route } => addresses::add_route(bed, ns, route).await?,
        Op::Neighbour { ns, neighbour } => addresses::add_neighbour(bed, ns, neighbour).await?,
        Op::Ready { devices } => ready::ready(bed, devices).await?,
        Op::Verify { links } => verify::verify(bed, links).await?,
        Op::Inject { fault, .. } => faults::inject(bed, fault).await?,
        Op::Clear { fault, standing, .. } => faults::clear(bed, fault, standing.as_ref()).await?,
        Op::Count(when) => {
            // Watching begins when the topology stands: building it loses frames that nobody asked for.
            drops.begin(inodes(bed));
            return Ok(vec![Record::Counters { trial, when: *when, devices: counters::count(bed).await? }]);
        }
        Op::Flood { flow } => {
            let plan = &plan.flows[usize::from(*flow)];
            return run_flow(plan, (trial, *flow), bed, drops).await.map(Vec::from);
        }
    }
    Ok(Vec::new())
}

async fn run_flow(
    plan: &FlowPlan,
    (trial, number): (u16, u16),
    bed: &Testbed,
    drops: &mut DropBook<'_>,
) -> Result<[Record; 2], OpError> {
    let flow = &plan.flow;
    let what = format!("send flow {}", flow.name);
    let failed = |text: String| OpError { what: what.clone(), errno: None, text: Some(text) };
    let (from_index, to_index) = (bed.index(&flow.from).await?, bed.index(&flow.to).await?);
    let source = addresses::mac_of(bed, &flow.from).await?;
    let next_hop = addresses::mac_of(bed, &flow.to).await?;
    let enter = |error| netns_error(&what, &error);
    let open = || Receiver::open(plan, trial, number, to_index);
    let receiver =
        bed.namespaces.enter(&flow.to.ns, open).map_err(enter)?.map_err(|e| failed(e.to_string()))?;
    let open = || Sender::open(plan, from_index, source, next_hop);
    let sender =
        bed.namespaces.enter(&flow.from.ns, open).map_err(enter)?.map_err(|e| failed(e.to_string()))?;
    flood(plan, (trial, number), sender, receiver, drops).map_err(|error| failed(error.to_string()))
}

/// Which namespace a drop event means.
fn inodes(bed: &Testbed) -> BTreeMap<u64, NsName> {
    bed.namespaces.iter().map(|(name, namespace)| (namespace.inum(), name.clone())).collect()
}
