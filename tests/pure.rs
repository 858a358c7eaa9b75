//! Tests without a machine: the language, plans, the ledger, the pages made from accepted results, and the rules of the tree. One
//! program, for each links all of the lab.

mod accepted;
mod book;
mod causes;
mod diagnose;
mod failover;
mod fuzz;
mod fuzz_topology;
mod hypotheses;
mod import;
mod includes;
mod ledger;
mod lint;
mod lowering;
mod mutants;
mod observations;
mod pictures;
mod pods;
mod public_names;
mod random;
mod round_trip;
mod run_options;
mod selftests;
mod streams;
mod tidy;
mod topology;
