//! Renderings of a result: values in, text out.

pub mod causes;
pub mod failover;
pub mod grid;
#[cfg(test)]
mod hostile;
pub mod junit;
pub mod ktap;
pub mod merge;
pub mod terminal;
