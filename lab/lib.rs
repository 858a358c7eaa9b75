//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.
//!
//! Reading order: the pure modules first, values in and values out; then what happens inside the kernel under test
//! (`guest`); then what starts and judges it (`host`).

pub mod frames;
pub mod guest;
pub mod link;
pub mod plan;
pub mod record;
pub mod scenario;
pub mod topology;
pub mod wire;
