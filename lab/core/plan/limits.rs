//! How long a plan may take: what its waits, pauses and flows add up to. The watch on the guest follows from it.

use crate::plan::op::Op;
use crate::plan::{FlowPlan, Plan};

impl Plan {
    /// The longest that one operation may keep the agent silent, in ms.
    #[must_use]
    pub fn longest_silence_ms(&self) -> u64 {
        self.trials
            .iter()
            .flat_map(|trial| &trial.ops)
            .map(|op| self.allowed_ms(op))
            .max()
            .unwrap_or_default()
    }

    /// What all operations of all trials and rounds may take that are about time, in ms. The others take what they take.
    #[must_use]
    pub fn waits_ms(&self) -> u64 {
        let ops = self.trials.iter().flat_map(|trial| &trial.ops);
        ops.fold(0, |sum, op| sum.saturating_add(self.allowed_ms(op)))
    }

    fn allowed_ms(&self, op: &Op) -> u64 {
        match op {
            Op::Pause(for_ms) => (*for_ms).into(),
            Op::Wait { within_ms, .. } => (*within_ms).into(),
            Op::Flood { flow, .. } => self.flows.get(usize::from(*flow)).map(paced_ms).unwrap_or_default(),
            _ => 0,
        }
    }
}

fn paced_ms(plan: &FlowPlan) -> u64 {
    u64::from(plan.flow.interval_us.unwrap_or_default()) * u64::from(plan.flow.frames) / 1000
}

#[cfg(test)]
mod tests {
    use crate::plan::lower::lower;
    use crate::topology::Topology;

    #[test]
    fn waits_pauses_and_paced_flows_add_up_over_all_rounds() {
        let text = r#"
            [limits]
            wait_s = 60
            [ns.a.veth.p0]
            peer = "b:p1"
            addresses = ["192.0.2.1/24"]
            [ns.b.veth.p1]
            peer = "a:p0"
            addresses = ["192.0.2.2/24"]
            [flow.slow]
            from = "a:p0"
            to = "b:p1"
            frames = 500
            interval_us = 100000
            [[step]]
            pause_ms = 3000
            [[step]]
            wait = { device = "a:p0", state = "carrier", equals = 1 }
            within_ms = 30000
            [[step]]
            flood = "slow"
            [[expect]]
            flow = "slow"
            field = "lost"
            equals = 0
        "#;
        let topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = lower(&topology);
        assert_eq!(plan.longest_silence_ms(), 50_000);
        assert_eq!(plan.waits_ms(), 83_000);
        assert_eq!(plan.repeated(3).waits_ms(), 3 * 83_000);
    }
}
