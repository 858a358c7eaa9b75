//! Plans that one agent carries out, one after another on one kernel: each in namespaces of its own, its records closed by a
//! last one.
//!
//! Namespaces of a plan that is done are kept, as those of its trials are, because their end would hold the RTNL lock for
//! long. Nothing in them may act any more: faults are cleared, and every device is set down, so that monitors, LACP
//! and queues of an earlier plan neither log nor send while a later one runs (`bond_close()`, `br_dev_stop()`,
//! `dev_deactivate_many()`).

use std::io::{BufRead, Write};

use tokio::runtime::{Builder, Runtime};

use crate::agent::{AgentError, Prepared, RecordWriter, Standing, read_request, run, unexpected};
use crate::device::links;
use crate::selftest;
use bondlab_core::plan::record::{OpError, Record, Request};
use bondlab_core::plan::{OrderMutants, Plan};

/// An agent at work.
pub(super) struct Session<R, W> {
    runtime: Runtime,
    prepared: Prepared,
    record_writer: RecordWriter<R, W>,
    order: OrderMutants,
    standing: Standing,
}

impl<R: BufRead, W: Write> Session<R, W> {
    /// Nothing is done yet. `order` chooses the mutants.
    pub(super) fn start(
        prepared: Prepared,
        reader: R,
        writer: W,
        order: OrderMutants,
    ) -> Result<Self, AgentError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
        let record_writer = RecordWriter::new(reader, writer);
        Ok(Self { runtime, prepared, record_writer, order, standing: Standing::default() })
    }

    /// Carries out `request`, and those that follow it up to the first after which no other one is to come.
    pub(super) fn serve(mut self, mut request: Request) -> Result<(), AgentError> {
        loop {
            match request {
                Request::Run(plan) => {
                    self.carry_out(&plan)?;
                    // They end with the process, or the machine, and not before it.
                    std::mem::forget(self.standing);
                    return Ok(());
                }
                Request::RunAndWait(plan) => {
                    self.carry_out(&plan)?;
                    if selftest::is_stray_asked_for(&plan.topology) {
                        self.record_writer.write(&Record::TrialStarted { trial: 0 })?;
                    }
                    self.runtime.block_on(quiet(&mut self.standing)).map_err(AgentError::NotQuiet)?;
                }
                Request::Exec(_) | Request::Answer(_) => return Err(unexpected()),
            }
            request = read_request(&mut self.record_writer.reader)?;
        }
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), AgentError> {
        let trials = u16::try_from(plan.trials.len()).map_err(|_| AgentError::TooManyTrials)?;
        let trials_before = self.prepared.trials_before.checked_add(trials);
        let trials_before = trials_before.ok_or(AgentError::TooManyTrials)?;
        if plan.options.unobserved {
            // It ends with its file descriptors.
            self.prepared.observer = Err("switched off with --no-observer".to_owned());
        }
        self.record_writer.begin();
        let Self { runtime, prepared, record_writer, order, standing } = self;
        runtime.block_on(run(plan, prepared, standing, record_writer, *order))?;
        prepared.trials_before = trials_before;
        record_writer.finish()
    }
}

/// Ends everything that acts in the namespaces of the plans that are done.
async fn quiet(standing: &mut Standing) -> Result<(), OpError> {
    for bed in standing.beds.iter_mut().filter(|bed| !bed.is_quiet) {
        bed.held.clear();
        for (ns, rtnl) in bed.sockets() {
            let down = links::set_all_down(rtnl).await;
            down.map_err(|error| error.during(format!("set the devices of {ns} down")))?;
        }
        bed.is_quiet = true;
    }
    Ok(())
}
