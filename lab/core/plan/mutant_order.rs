//! Which mutant runs next: asked by the agent, answered by whoever judges.

use crate::plan::Plan;
use crate::plan::record::Record;

/// Chooses the mutants of a plan that run, one after the other.
pub trait MutantOrder {
    /// The trial to run next, by its number in the plan; `None` when no other one is needed.
    fn take_next(&mut self) -> Option<u16>;
    /// Takes note of a mutant that has run, and of its records.
    fn ran(&mut self, trial: u16, records: &[&Record]);
    /// The mutants that were not needed, by their numbers in the plan.
    fn left_out(&self) -> Vec<u16>;
}

/// Makes the order of a plan's mutants.
pub type OrderMutants = for<'p> fn(&'p Plan) -> Box<dyn MutantOrder + 'p>;
