//! Which mutant trial comes next: once everything is broken, the others would tell nothing more.

use crate::judge::account::TrialAccount;
use crate::judge::ledger;
use crate::judge::mutation::broken;
use crate::plan::record::Record;
use crate::plan::{MutantOrder, Plan, Role};
use crate::topology::mutant::MutationTarget;

/// The mutant trials of a plan that have not run.
#[derive(Debug)]
pub struct Order<'p> {
    plan: &'p Plan,
    /// By number in the plan; what a condition is to be broken by is counted from the first of them.
    mutants: Vec<u16>,
    waiting: Vec<u16>,
    open: Vec<&'p MutationTarget>,
}

impl<'p> Order<'p> {
    /// All of them.
    pub fn new(plan: &'p Plan) -> Self {
        let numbered = (0..).zip(&plan.trials);
        let mutants: Vec<u16> = numbered
            .filter(|(_, trial)| matches!(trial.role, Role::Mutant(_)))
            .map(|(number, _)| number)
            .collect();
        Self {
            plan,
            waiting: mutants.clone(),
            mutants,
            open: plan.options.mutation_targets().iter().collect(),
        }
    }

    /// Takes note of what a trial has broken.
    fn note(&mut self, trial: &TrialAccount) {
        self.open.retain(|it| broken(&it.condition, trial).is_none());
    }
}

impl MutantOrder for Order<'_> {
    /// The next one to run: those that are meant for what is not broken yet, in the plan's order; then the others, which
    /// may break it all the same. `None` when nothing is left to break, or nothing to break it with.
    fn take_next(&mut self) -> Option<u16> {
        if self.open.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let mutants = &self.mutants;
        let is_meant = |trial: &u16| {
            self.open.iter().any(|it| it.mutants.iter().any(|place| mutants.get(*place) == Some(trial)))
        };
        let place = self.waiting.iter().position(is_meant).unwrap_or(0);
        Some(self.waiting.remove(place))
    }

    fn ran(&mut self, trial: u16, records: &[&Record]) {
        // What is wrong with them is the host's to say: it closes the same account again.
        if let Ok(account) = ledger::close_trial(self.plan, trial.into(), records) {
            self.note(&account);
        }
    }

    fn left_out(&self) -> Vec<u16> {
        self.waiting.clone()
    }
}

/// The order of a plan's mutants, for the agent.
pub fn order(plan: &Plan) -> Box<dyn MutantOrder + '_> {
    Box::new(Order::new(plan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::account::Refusal;
    use crate::net::link_state::{LinkState, LinkStates};
    use crate::plan;
    use crate::plan::record::OpError;
    use crate::topology::Topology;
    use crate::topology::condition::{Bounds, Condition, State, Subject};

    fn must_be(state: State, number: u64, mutants: &[usize]) -> MutationTarget {
        let condition = Condition {
            name: state.to_string(),
            subject: Subject::State { device: "a:x".parse().unwrap(), state },
            bounds: Bounds { at_least: number, at_most: Some(number) },
            broken_by: None,
            when: None,
        };
        MutationTarget { condition, mutants: mutants.into() }
    }

    /// Trial 0 is no mutant one; 1 and 2 are meant for the MTU, 2 also for `up`, 3 for nothing.
    fn plan() -> Plan {
        let mut plan =
            crate::plan::lower::lower(&Topology::parse("t", "t.toml", "[ns.a.dummy.x]\n").unwrap());
        let mutant = |name: &str| plan::Trial { role: Role::Mutant(name.into()), ops: Vec::new() };
        plan.trials.extend(["one", "two", "three"].map(mutant));
        let targets = vec![must_be(State::Mtu, 1500, &[0, 1]), must_be(State::Up, 1, &[1])];
        plan.options.mutation = Some(plan::Mutation { mutants: Vec::new(), targets });
        plan
    }

    fn ended(mtu: u32, up: bool, refused: Option<Refusal>) -> TrialAccount {
        let link = LinkState { mtu, up, ..LinkState::default() };
        TrialAccount {
            refused,
            links: LinkStates::from([("a:x".parse().unwrap(), link)]),
            ..TrialAccount::empty(Role::Mutant("some".into()))
        }
    }

    #[test]
    fn nothing_runs_when_everything_is_broken() {
        let plan = plan();
        let mut order = Order::new(&plan);
        assert_eq!(order.take_next(), Some(1));
        order.note(&ended(1280, false, None));
        assert_eq!(order.take_next(), None);
        assert_eq!(order.left_out(), [2, 3]);
    }

    #[test]
    fn what_is_meant_for_what_is_left_comes_first_and_then_all_others() {
        let mut plan = plan();
        plan.options.mutation.as_mut().expect("it has some").targets.swap_remove(0);
        let mut order = Order::new(&plan);
        for expected in [Some(2), Some(1), Some(3), None] {
            assert_eq!(order.take_next(), expected);
            order.note(&ended(1280, true, None));
        }
    }

    #[test]
    fn a_trial_that_was_not_carried_out_breaks_nothing() {
        let error = OpError { what: "make a device".into(), errno: None, text: None };
        let plan = plan();
        let mut order = Order::new(&plan);
        order.note(&ended(1280, false, Some(Refusal { error, devices: Vec::new(), is_unsupported: false })));
        assert_eq!(order.take_next(), Some(1));
    }
}
