//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.

pub mod attribution;
pub mod guest;
