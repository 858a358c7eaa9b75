//! A topology whose steps are carried out one at a time: the trial is open from the first step to the last, and its account can
//! be asked for at any time.

use std::io;

use crate::agent::host_control::HostControl;
use crate::agent::probe::Probed;
use crate::agent::testbed::Testbed;
use crate::agent::trial::Trial;
use crate::agent::{Prepared, probe, safe_modules};
use crate::syscall::netns::Spares;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::Need;
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::{OpError, Record};
use bondlab_core::plan::stepping::Stepping;

/// The one trial of the plan.
const TRIAL: u16 = 0;

/// A topology that is up.
pub struct Stepper<'a> {
    stepping: &'a Stepping,
    state: State<'a>,
    /// Steps that were carried out.
    steps_done: usize,
    /// Operations that were carried out.
    ops_done: usize,
    records: Vec<Record>,
    probed: Probed,
}

enum State<'a> {
    /// The topology is up, and nothing of the scenario was done.
    Up(Box<Trial<'a>>),
    /// What happens is counted.
    Counting(Box<Trial<'a>>),
    /// An operation failed, or the last one was carried out.
    Ended(Box<Testbed>),
    /// In the midst of becoming something else.
    Moving,
}

/// Why no step was carried out.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The trial is over.
    #[error("the trial has ended: its last step was carried out, or one of its operations failed")]
    Ended,
    /// The kernel has not what the steps need.
    #[error("this kernel lacks: {0}")]
    Missing(String),
    /// It cannot be found out what the kernel has, or what has become of the frames.
    #[error("{0}")]
    Op(OpError),
    /// The socket.
    #[error("the socket of `lab step`: {0}")]
    Socket(#[from] io::Error),
}

impl From<OpError> for StepError {
    fn from(error: OpError) -> Self {
        Self::Op(error)
    }
}

/// Pulling a cable is the host's, which serves files to this guest and nothing else.
struct NoHost;

impl HostControl for NoHost {
    fn plug(&mut self, device: &DeviceRef, _slot: usize, _is_in: bool) -> Result<(), OpError> {
        Err(OpError {
            what: format!("move the cable of {device}"),
            errno: None,
            text: Some("the host moves cables in `lab run` alone, and not for `lab step`".into()),
        })
    }
}

impl<'a> Stepper<'a> {
    /// Makes the topology.
    ///
    /// # Errors
    /// What the kernel lacks or refused, in words.
    pub async fn bring_up(stepping: &'a Stepping, prepared: &'a mut Prepared) -> Result<Self, String> {
        let mut probed = std::mem::take(&mut prepared.probed);
        let missing = missing(&stepping.needs, &mut prepared.spares, &mut probed).await;
        let missing = missing.map_err(|error| error.to_string())?;
        if let Some(missing) = missing {
            return Err(format!("this kernel lacks: {missing}"));
        }
        let trial = Box::new(Trial::new(&stepping.plan, TRIAL, prepared));
        let mut stepper = Self {
            stepping,
            state: State::Up(trial),
            steps_done: 0,
            ops_done: 0,
            records: vec![Record::TrialStarted { trial: TRIAL }],
            probed,
        };
        stepper.perform(stepping.made, &mut |_| Ok(())).await.map_err(|error| error.to_string())?;
        match stepper.failure() {
            Some(error) => Err(error.to_string()),
            None => Ok(stepper),
        }
    }

    /// The topology and its steps.
    pub fn stepping(&self) -> &'a Stepping {
        self.stepping
    }

    /// How many steps were carried out.
    pub fn steps_done(&self) -> usize {
        self.steps_done
    }

    /// How many operations were carried out.
    pub fn ops_done(&self) -> usize {
        self.ops_done
    }

    /// Whether nothing more can be carried out.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Whether the first step was carried out, and the trial is open.
    pub fn is_counting(&self) -> bool {
        matches!(self.state, State::Counting(_))
    }

    /// What the topology is in.
    pub fn bed(&self) -> &Testbed {
        match &self.state {
            State::Up(trial) | State::Counting(trial) => trial.bed(),
            State::Ended(bed) => bed,
            State::Moving => unreachable!("it is moved within one call"),
        }
    }

    /// Begins to count, before the first step: from here on the drop observer's account is the trial's.
    ///
    /// # Errors
    /// The trial has ended, or the kernel lacks what the steps need; nothing was done then.
    pub async fn begin(&mut self, tell: &mut dyn FnMut(&Record) -> io::Result<()>) -> Result<(), StepError> {
        match &self.state {
            State::Counting(_) => return Ok(()),
            State::Up(_) => {}
            State::Ended(_) | State::Moving => return Err(StepError::Ended),
        }
        let missing = missing(&self.stepping.plan.needs, &mut Spares::default(), &mut self.probed).await?;
        if let Some(missing) = missing {
            return Err(StepError::Missing(missing));
        }
        // Without a step the ending is all there is.
        let ops = self.stepping.ops().len();
        let first = self.stepping.steps.first().map_or(ops, |(first, _)| place(*first));
        if let State::Up(trial) = std::mem::replace(&mut self.state, State::Moving) {
            self.state = State::Counting(trial);
        }
        let up_to = if self.stepping.steps.is_empty() { ops } else { first };
        self.perform(u32::try_from(up_to).unwrap_or(u32::MAX), tell).await?;
        self.end_if_done();
        Ok(())
    }

    /// Carries out the next step; after the last one, what ends the trial as well.
    ///
    /// # Errors
    /// The trial has ended.
    pub async fn step(&mut self, tell: &mut dyn FnMut(&Record) -> io::Result<()>) -> Result<(), StepError> {
        let Some((_, end)) = self.stepping.steps.get(self.steps_done) else { return Err(StepError::Ended) };
        self.perform(*end, tell).await?;
        self.steps_done += usize::from(!self.has_ended());
        if self.steps_done == self.stepping.steps.len() {
            let all = u32::try_from(self.stepping.ops().len()).unwrap_or(u32::MAX);
            self.perform(all, tell).await?;
        }
        self.end_if_done();
        Ok(())
    }

    /// All records up to now, as of a run that ends here: of a trial that has ended they are those of a whole run.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn account(&mut self) -> Result<Vec<Record>, OpError> {
        let mut records = self.records.clone();
        if let State::Counting(trial) = &mut self.state {
            records.extend(trial.so_far().await?);
            let op = u32::try_from(self.ops_done).unwrap_or(u32::MAX);
            records.push(Record::OpDone { trial: TRIAL, op });
        }
        records.push(Record::finished(&records));
        Ok(records)
    }

    /// Takes in what has arrived and was dropped meanwhile. What cannot be read is an error of the next account.
    pub fn keep_up(&mut self) {
        if let State::Counting(trial) = &mut self.state {
            let _ = trial.keep_up();
        }
    }

    /// Carries out operations up to this one. A failed one ends the trial.
    async fn perform(
        &mut self,
        up_to: u32,
        tell: &mut dyn FnMut(&Record) -> io::Result<()>,
    ) -> Result<(), StepError> {
        while self.ops_done < place(up_to) {
            let (State::Up(trial) | State::Counting(trial)) = &mut self.state else { return Ok(()) };
            let op: &Op = &self.stepping.ops()[self.ops_done];
            let number = u32::try_from(self.ops_done).unwrap_or(u32::MAX);
            let is_end = match trial.perform(number, op, &mut NoHost).await {
                Ok(records) => {
                    self.ops_done += 1;
                    self.records.extend(records.iter().cloned());
                    self.records.push(Record::OpDone { trial: TRIAL, op: number });
                    // Who asked may be gone; the step is carried out in any case.
                    records.iter().for_each(|record| drop(tell(record)));
                    false
                }
                Err(error) => {
                    let is_unsupported = trial.is_unsupported();
                    let failed = Record::OpFailed { trial: TRIAL, op: number, error, is_unsupported };
                    drop(tell(&failed));
                    self.records.push(failed);
                    true
                }
            };
            if is_end {
                self.end(false);
            }
        }
        Ok(())
    }

    fn end_if_done(&mut self) {
        if self.is_counting() && self.ops_done == self.stepping.ops().len() {
            self.end(true);
        }
    }

    /// Closes the trial; the topology stays up.
    fn end(&mut self, is_whole: bool) {
        let state = std::mem::replace(&mut self.state, State::Moving);
        let (State::Up(mut trial) | State::Counting(mut trial)) = state else {
            self.state = state;
            return;
        };
        self.records.push(trial.log());
        let (records, bed) = trial.close();
        if is_whole {
            self.records.extend(records);
        }
        self.state = State::Ended(Box::new(bed));
    }

    fn failure(&self) -> Option<&OpError> {
        self.records.iter().find_map(|record| match record {
            Record::OpFailed { error, .. } => Some(error),
            _ => None,
        })
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What the kernel lacks, in words.
async fn missing(
    needs: &[Need],
    spares: &mut Spares,
    probed: &mut Probed,
) -> Result<Option<String>, OpError> {
    let (needs, mut missing) = safe_modules::load(needs);
    missing.extend(probe::missing(&needs, spares, probed).await?);
    Ok((!missing.is_empty()).then(|| missing.join("; ")))
}
