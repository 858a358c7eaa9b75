//! Keeps what each fault of a trial took, and gives it back when the fault is cleared.

use indexmap::IndexMap;

use crate::agent::testbed::Testbed;
use crate::fault::taken::{Configuration, Taken};
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::OpError;

/// Of one trial. What a fault took is read before the next change and not right after the fault: a flow that follows it would
/// come later, and a monitor has looked by then.
#[derive(Debug, Default)]
pub struct Restorer {
    /// The last fault, and what stood before it.
    last: Option<(String, Configuration)>,
    /// By fault, in the order of their injection.
    taken: IndexMap<String, Taken>,
}

/// Whether what stands may be changed by it.
fn changes(op: &Op) -> bool {
    !matches!(
        op,
        Op::Flood { broken: None, .. }
            | Op::Wait { .. }
            | Op::Show(_)
            | Op::Pause(_)
            | Op::Connect { .. }
            | Op::Capture(_)
            | Op::Count(_)
            | Op::Ready { .. }
            | Op::Verify { .. }
            | Op::CheckPod { .. }
    )
}

/// The fault that an operation injects.
fn injects(op: &Op) -> Option<&str> {
    match op {
        Op::Inject { name, .. } => Some(name),
        Op::Flood { broken: Some(broken), .. } => Some(&broken.name),
        _ => None,
    }
}

impl Restorer {
    /// Looks at what stands before an operation of `ops`, where that is of use: what a fault removes that is never cleared stays removed.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn before(&mut self, bed: &Testbed, op: &Op, ops: &[Op]) -> Result<(), OpError> {
        let clears = |op: &Op, fault: &str| matches!(op, Op::Clear { name, .. } if name == fault);
        let injected = injects(op).filter(|fault| ops.iter().any(|op| clears(op, fault)));
        if injected.is_none() && !(self.last.is_some() && changes(op)) {
            return Ok(());
        }
        let now = Configuration::read(bed).await?;
        if let Some((name, before)) = self.last.take() {
            self.taken.insert(name, now.taken_since(before));
        }
        self.last = injected.map(|name| (name.to_owned(), now));
        Ok(())
    }

    /// After a fault was cleared.
    ///
    /// # Errors
    /// What is not there again.
    pub async fn restore(&mut self, bed: &Testbed, name: &str) -> Result<(), OpError> {
        let Some(taken) = self.taken.shift_remove(name) else { return Ok(()) };
        let other = self.taken.last_mut().map(|(_, taken)| taken);
        taken.give_back(bed, name, other).await
    }
}
