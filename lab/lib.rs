//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.
//!
//! Reading order: the pure modules first, values in and values out; then what happens inside the kernel under test
//! (`guest`); then what starts and judges it (`host`).

pub mod link;
pub mod wire;
pub mod scenario;
pub mod topology;
pub mod plan;
pub mod frames;
pub mod handshake;
pub mod record;
pub mod attribution;
pub mod ledger;
pub mod outcome;
pub mod verdict;
pub mod document;
pub mod snapshot;
pub mod report;

pub mod guest;
pub mod host;
