//! Renderings of a result: values in, text out.

pub mod behaviour;
pub mod bisect;
pub mod causes;
pub mod delivery;
pub mod document;
pub mod drawing;
pub mod failover;
pub mod format;
pub mod github;
pub mod grid;
#[cfg(test)]
pub(crate) mod hostile;
pub mod html;
pub mod junit;
pub mod kcidb;
pub mod ktap;
pub mod lint_rules;
pub mod markdown;
pub mod matrix;
pub mod merge;
pub mod pcapng;
pub mod plural;
pub mod reference;
pub mod reproducer;
pub mod rounds;
pub mod selftests;
pub mod shard;
pub mod snapshot;
pub mod terminal;
