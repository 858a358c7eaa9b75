//! What a trial has waited for, so that it has come to rest when the trial ends.

use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::op::Op;
use crate::topology::condition::{State, Subject};

impl Trial {
    /// Bonds whose LACP the trial waits for after everything that it breaks, mends or attaches, each with the place of the
    /// wait in [`Trial::ops`].
    pub fn lacp_waits(&self) -> Vec<(usize, &DeviceRef)> {
        let changes = |op: &Op| {
            matches!(
                op,
                Op::Inject { .. }
                    | Op::Clear { .. }
                    | Op::Attach { .. }
                    | Op::Detach { .. }
                    | Op::SetVf { .. }
                    | Op::SetBond { .. }
                    | Op::Request(_)
                    | Op::Attempt { .. }
                    | Op::Delete(_)
                    | Op::Create { .. }
            ) || matches!(op, Op::Flood { broken: Some(_), .. })
        };
        let last_change = self.ops.iter().rposition(changes).unwrap_or(0);
        let waits = self.ops.iter().enumerate().skip(last_change);
        waits
            .filter_map(|(number, op)| match op {
                Op::Wait { until, .. } => match &until.subject {
                    Subject::State { device, state: State::AggregatorPorts | State::Partner } => {
                        Some((number, device))
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }
}
