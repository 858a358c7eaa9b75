//! Values in, values out: from a topology's text to a plan, and from a guest's records to a verdict and its reports.
//!
//! No files, sockets, processes, threads or clocks. Each room depends on those before it, and on no other.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod capture;
pub mod diagnose;
pub mod import;
pub mod judge;
pub mod net;
pub mod plan;
pub mod report;
pub mod topology;
