//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.
//!
//! Reading order: the pure modules first, values in and values out; then what happens inside the kernel under test
//! (`guest`); then what starts and judges it (`host`).

pub use bondlab_core::{import, judge, net, plan, report, topology};
pub use bondlab_guest as guest;

pub mod host;
