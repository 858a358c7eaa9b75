//! Records in, verdict out: the account of every frame, and what holds.

pub mod account;
pub mod attribution;
pub mod effects;
pub(crate) mod hypotheses;
pub mod ledger;
pub mod mutation;
pub mod next_checks;
pub mod outcome;
pub mod verdict;
