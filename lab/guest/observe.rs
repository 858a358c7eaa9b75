//! Counters, states, captures and drops.

pub mod capture;
pub mod counters;
pub mod details;
pub mod drain;
pub mod drop_log;
pub mod drops;
pub mod end_taps;
pub mod kernel_log;
pub mod link_options;
pub mod link_reports;
pub mod link_text;
pub mod log_lines;
pub mod replaced;
pub mod shown;
pub mod states;
pub mod tables;
pub mod waiting;
