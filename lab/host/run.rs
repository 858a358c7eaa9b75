//! Runs one topology on one kernel, or many on many.

pub mod interrupt;
pub mod local;
pub mod matrix;
pub mod memory;
pub mod plugins;
pub mod runner;
pub mod warm_check;
